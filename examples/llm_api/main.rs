//! A service that streams tokens to customers with keys, in the tiers of `examples/policy.toml`.
//!
//! ```console
//! $ ADMIN_TOKEN=secret STORE=counted.redb cargo run --release --example llm_api --features tower,tokio,metrics,store
//! $ curl -N -H 'authorization: Bearer sk-verified' -d 'why is the sky blue' http://127.0.0.1:3000/v1/complete
//! $ curl -H 'authorization: Bearer secret' http://127.0.0.1:3001/accounts/acct_2
//! $ curl -H 'authorization: Bearer secret' http://127.0.0.1:3001/metrics
//! ```
//!
//! What is reserved is an estimate: the prompt's length and a whole answer. What is settled is what was streamed, however
//! the stream ends. What was counted is kept in the file that `STORE` names, and taken up when the service starts again;
//! without it, and without the feature `store`, every start begins with full buckets.

mod admin;

use std::{collections::HashMap, env, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    middleware::{self, Next},
    response::Response,
    routing::post,
};
use futures_util::{StreamExt, stream};
use http::{header, request::Parts};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tollgate::{
    Attributes, Builder, Cost, Identity, Limiter, Meter, Plan, Upkeep,
    http::{Admitted, ClientAddress, GateLayer, Who},
    telemetry::Metrics,
};

/// An answer has at most so many tokens.
const LONGEST_ANSWER: u64 = 400;
/// Bytes of English in a token, about.
const BYTES_A_TOKEN: u64 = 4;

type Error = Box<dyn std::error::Error>;

/// What the service knows of its customers; a real one asks its database.
#[derive(Clone)]
struct Customers {
    by_key: Arc<HashMap<&'static str, Identity>>,
    by_account: Arc<HashMap<&'static str, Identity>>,
}

impl Customers {
    fn new(limiter: &Limiter) -> Result<Customers, Error> {
        let (mut by_key, mut by_account) = (HashMap::new(), HashMap::new());
        for (key, account, organization, tier) in [
            ("sk-unverified", "acct_1", None, "unverified"),
            ("sk-verified", "acct_2", None, "verified"),
            ("sk-business", "acct_3", Some("acme"), "business"),
        ] {
            let tier = limiter.tier(tier).ok_or("the policy lacks a tier")?;
            let mut identity = limiter.identity(tier, account);
            if let Some(organization) = organization {
                identity = identity.in_organization(limiter.organization(organization));
            }
            by_key.insert(key, identity);
            by_account.insert(account, identity);
        }
        Ok(Customers { by_key: Arc::new(by_key), by_account: Arc::new(by_account) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let policy = env::args().nth(1).unwrap_or_else(|| "examples/policy.toml".to_owned());
    let plan = Plan::from_toml(&std::fs::read_to_string(&policy)?)?;
    let limiter = stored(Limiter::builder(plan))?.build()?;
    if let Some(restored) = limiter.checkpoint_status().and_then(|status| status.restored) {
        println!("accounts and organizations go on as they were: {} records", restored.lines);
    }
    let customers = Customers::new(&limiter)?;

    let prometheus = PrometheusBuilder::new().install_recorder()?;
    let metrics = Arc::new(Metrics::new(&limiter));
    let audit = Arc::clone(&metrics);
    let upkeep = Upkeep::task(&limiter, Duration::from_secs(60), move |limiter, done| {
        metrics.maintained(limiter, done)
    });

    let token = env::var("ADMIN_TOKEN").map_err(|_| "set ADMIN_TOKEN to what administrators say")?;
    let admin = admin::routes(limiter.clone(), customers.clone(), policy, token, prometheus);
    // On the loopback interface: nobody outside of the machine reaches it.
    let admin_listener = TcpListener::bind("127.0.0.1:3001").await?;
    tokio::spawn(async move { axum::serve(admin_listener, admin).await });

    let app = service(&limiter)?.layer(gate(&limiter, &customers)?.audit(audit));
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(interrupted()).await?;
    // Writes the last checkpoint, where the limiter was given a store.
    Ok(upkeep.shut_down()?)
}

/// Keeps what was counted in the file that `STORE` names: who is killed loses less than a minute of it.
#[cfg(feature = "store")]
fn stored(builder: Builder) -> Result<Builder, Error> {
    let Some(path) = env::var_os("STORE") else { return Ok(builder) };
    Ok(builder.store(tollgate::FileStore::open(path)?, Duration::from_secs(60)))
}

#[cfg(not(feature = "store"))]
fn stored(builder: Builder) -> Result<Builder, Error> {
    match env::var_os("STORE") {
        None => Ok(builder),
        Some(_) => Err("STORE is set, which takes the feature `store`".into()),
    }
}

/// By a terminal, or by what runs services, which asks with another signal.
async fn interrupted() {
    let terminal = tokio::signal::ctrl_c();
    #[cfg(unix)]
    if let Ok(mut asked) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! { _ = terminal => {}, _ = asked.recv() => {} }
        return;
    }
    let _ = terminal.await;
}

/// Who asks, what it may cost, and what is known about it.
fn gate(limiter: &Limiter, customers: &Customers) -> Result<GateLayer, Error> {
    let meter = |name: &str| limiter.meter(name).ok_or("the policy lacks a meter");
    let (requests, input, output) = (meter("requests")?, meter("input_tokens")?, meter("output_tokens")?);
    let keys = Arc::clone(&customers.by_key);
    let peer = || ClientAddress::of_peer(|peer: &ConnectInfo<SocketAddr>| peer.0.ip());
    let who = Who::bearer(move |key| keys.get(key).copied()).or(Who::anonymous(limiter, peer()));
    let asks = who.costs_by(move |request| {
        let bytes =
            request.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let prompt = bytes.unwrap_or(0_u64).div_ceil(BYTES_A_TOKEN);
        Cost::of(requests, 1).and(input, prompt).and(output, LONGEST_ANSWER)
    });
    let (attribute, values) = (|name: &str| limiter.attribute(name), limiter.clone());
    let (address, client) = (attribute("address"), attribute("client"));
    let from = peer();
    let asks = asks.with(move |request: &Parts| {
        let mut attributes = Attributes::NONE;
        if let (Some(address), Some(from)) = (address, from.of(request)) {
            attributes = attributes.and(address, values.attribute_value(&from.to_string()));
        }
        if let (Some(client), Some(agent)) = (client, request.headers.get(header::USER_AGENT)) {
            attributes = attributes.and(client, values.attribute_value(agent.to_str().unwrap_or("")));
        }
        attributes
    });
    let gate = GateLayer::new(limiter.clone(), asks);
    Ok(gate.step_up_url("https://example.com/upgrade?to={tier}").fields_on_success())
}

fn service(limiter: &Limiter) -> Result<Router, Error> {
    let meter = |name: &str| limiter.meter(name).ok_or("the policy lacks a meter");
    let meters = (meter("input_tokens")?, meter("output_tokens")?);
    let app = Router::new().route("/v1/complete", post(complete)).with_state(meters);
    Ok(app.layer(middleware::from_fn_with_state(meters, nothing_yet)))
}

/// What is not reported is charged as it was reserved: a request that comes to no answer, or to none of ours, took no tokens.
async fn nothing_yet(
    State((input, output)): State<(Meter, Meter)>,
    Extension(admitted): Extension<Admitted>,
    request: Request,
    next: Next,
) -> Response {
    admitted.report(input, 0);
    admitted.report(output, 0);
    next.run(request).await
}

/// Streams an answer, a token every 20 ms, and reports each; and the prompt, of which not every client says the length before.
async fn complete(
    State((input, output)): State<(Meter, Meter)>,
    Extension(admitted): Extension<Admitted>,
    prompt: String,
) -> Body {
    let words: Vec<String> = prompt.split_whitespace().map(|word| format!("{word} ")).collect();
    let answer = words.into_iter().cycle().take(LONGEST_ANSWER as usize / 10);
    admitted.report(input, (prompt.len() as u64).div_ceil(BYTES_A_TOKEN));
    Body::from_stream(stream::iter(answer).then(move |token| {
        admitted.add(output, 1);
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, std::convert::Infallible>(token)
        }
    }))
}
