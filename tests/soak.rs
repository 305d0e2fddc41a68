//! A server under traffic while policies reload, checkpoints are written, and clients come and go: memory stays, nothing stays in flight, and metrics
//! are what clients counted. Three seconds, or as many as `TOLLGATE_SOAK_SECONDS` says:
//! `TOLLGATE_SOAK_SECONDS=600 cargo test --release --all-features --test soak -- --nocapture`.
#![cfg(all(feature = "tower", feature = "toml", feature = "metrics"))]
#![expect(clippy::expect_used, reason = "a test")]

mod server;

use std::{
    collections::HashMap,
    convert::Infallible,
    env,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Extension, Router, body::Body, extract::State, routing::get};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use server::{LONG, client, listen};
use tokio::time::{sleep, timeout};
use tollgate::{
    Cost, Limiter, MemoryStore, Meter, Plan, Upkeep,
    http::{Admitted, GateLayer, Who},
    telemetry::Metrics,
};

const ACCOUNTS: u64 = 20;
const CLIENTS: u64 = 16;

fn policy(rate: u32) -> Plan {
    let text = format!(
        r#"
        version = 1
        meters = ["requests", "tokens"]
        capacity = {{ accounts = 1_000, organizations = 10 }}
        [evidence]
        attributes = ["client"]
        [tiers.free]
        account.requests = [{{ rate = "{rate}/s", burst = 5 }}, {{ in_flight = 4 }}]
        account.tokens = {{ quota = "1M/hour" }}
        total.requests = {{ rate = "1M/s", burst = 1_000_000 }}
        "#
    );
    Plan::from_toml(&text).expect("a policy")
}

#[derive(Default)]
struct Counted {
    admitted: u64,
    denied: u64,
    abandoned: u64,
}

/// A linear congruential generator: what a client does is the same in each run, though not when.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

async fn one_client(number: u64, address: SocketAddr, end: Instant) -> Counted {
    let mut state = number;
    let mut counted = Counted::default();
    while Instant::now() < end {
        // A connection for some requests, and then another.
        let http = client();
        for _ in 0..50 {
            let path = if next(&mut state).is_multiple_of(2) { "/short" } else { "/stream" };
            let key = next(&mut state) % ACCOUNTS;
            let request = Request::get(format!("http://{address}{path}")).header("x-key", key);
            let request = request.body(Empty::<Bytes>::new()).expect("a request");
            let response =
                timeout(LONG, http.request(request)).await.expect("an answer").expect("a response");
            match response.status() {
                StatusCode::OK => counted.admitted += 1,
                StatusCode::TOO_MANY_REQUESTS => counted.denied += 1,
                status => panic!("{status}"),
            }
            let mut body = response.into_body();
            if next(&mut state).is_multiple_of(5) {
                // Goes away, after a frame or before.
                if next(&mut state).is_multiple_of(2) {
                    let _ = timeout(LONG, body.frame()).await.expect("a frame in time");
                }
                counted.abandoned += 1;
                break;
            }
            timeout(LONG, body.collect()).await.expect("a body in time").expect("a body");
        }
    }
    counted
}

async fn stream_tokens(State(tokens): State<Meter>, Extension(admitted): Extension<Admitted>) -> Body {
    Body::from_stream(stream::iter(0..200).map(move |_| {
        admitted.add(tokens, 1);
        Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 1_000]))
    }))
}

/// Bytes that the process has in memory; `None` where the system does not tell.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(1024 * line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?)
}

/// What is counted under each name, over all labels.
fn totals(snapshotter: &Snapshotter) -> HashMap<String, u64> {
    let mut totals = HashMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        if let DebugValue::Counter(count) = value {
            *totals.entry(key.key().name().to_owned()).or_default() += count;
        }
    }
    totals
}

fn in_flight(limiter: &Limiter) -> u64 {
    let free = limiter.tier("free").expect("a tier");
    let of = |account| {
        let rules = limiter.explain(&limiter.identity(free, account)).rules;
        rules.into_iter().filter(|rule| rule.kind == "in_flight").map(|rule| rule.used).sum::<u64>()
    };
    (0..ACCOUNTS).map(of).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_grows_and_nothing_is_lost() {
    let seconds = env::var("TOLLGATE_SOAK_SECONDS").map_or(3, |text| text.parse().expect("seconds"));
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().expect("the only recorder");

    let builder = Limiter::builder(policy(5)).store(MemoryStore::new(), Duration::from_secs(1));
    let limiter = builder.build().expect("a limiter");
    let meter = |name: &str| limiter.meter(name).expect("a meter");
    let (requests, tokens) = (meter("requests"), meter("tokens"));
    let metrics = Arc::new(Metrics::new(&limiter));
    let keys = limiter.clone();
    let free = limiter.tier("free").expect("a tier");
    let who = Who::header("x-key".parse().expect("a name"), move |key| {
        Some(keys.identity(free, key.parse::<u64>().ok()?))
    });
    let gate = GateLayer::new(limiter.clone(), who.costs(Cost::of(requests, 1).and(tokens, 500)))
        .audit(metrics.clone())
        .fields_on_success();
    let app = Router::new()
        .route("/short", get(|| async { "hello" }))
        .route("/stream", get(stream_tokens))
        .with_state(tokens)
        .layer(gate);
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let told = Arc::clone(&metrics);
    let upkeep = Upkeep::thread(&limiter, Duration::from_millis(200), move |limiter, done| {
        told.maintained(limiter, done);
    });
    let upkeep = upkeep.expect("a thread");

    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let clients: Vec<_> = (0..CLIENTS).map(|number| tokio::spawn(one_client(number, address, end))).collect();
    let (mut reloads, mut warm) = (0_u32, None);
    while Instant::now() < end {
        sleep(Duration::from_millis(500)).await;
        reloads += u32::from(limiter.reload(policy(5 + 5 * (reloads % 3))).is_ok());
        if warm.is_none() && begin.elapsed() > Duration::from_secs(seconds) / 5 {
            warm = resident();
        }
    }
    let mut counted = Counted::default();
    for client in clients {
        let of_client = client.await.expect("a client");
        counted.admitted += of_client.admitted;
        counted.denied += of_client.denied;
        counted.abandoned += of_client.abandoned;
    }
    let patience = Instant::now() + LONG;
    while in_flight(&limiter) > 0 && Instant::now() < patience {
        sleep(Duration::from_millis(10)).await;
    }
    let last = resident();
    upkeep.shut_down().expect("the last checkpoint");
    server.abort();
    let checkpoints = limiter.checkpoint_status().expect("a store").completed;

    let Counted { admitted, denied, abandoned } = counted;
    println!(
        "{seconds} s: {admitted} admitted, {denied} denied, {abandoned} abandoned, {reloads} reloads, {checkpoints} checkpoints, \
         resident {warm:?} bytes after a fifth, {last:?} at the end"
    );
    assert_eq!(in_flight(&limiter), 0);
    assert!(checkpoints > 1 && reloads > 0 && admitted > 0 && denied > 0 && abandoned > 0, "each happened");
    let totals = totals(&snapshotter);
    assert_eq!(totals["tollgate_admitted_total"], admitted);
    assert_eq!(totals["tollgate_settled_total"], admitted);
    assert_eq!(totals["tollgate_denied_total"], denied);
    if let (Some(warm), Some(last)) = (warm, last) {
        assert!(last <= warm + warm / 10 + (8 << 20), "memory grew from {warm} to {last} bytes");
    }
}
