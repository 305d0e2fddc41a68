//! The layer in axum and in hyper, over real sockets, with a real client.
#![cfg(all(feature = "tower", feature = "toml"))]
#![expect(clippy::expect_used, reason = "a test")]

mod server;

use std::{convert::Infallible, net::SocketAddr};

use axum::{Extension, Router, body::Body, extract::ConnectInfo, response::IntoResponse, routing::get};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::Value;
use server::{Event, LONG, client, fetch, limiter, listen, trail, used};
use tokio::time::timeout;
use tollgate::{
    Cost, Denial, Identity, Limiter, Meter,
    http::{Admitted, ClientAddress, GateLayer, Rejection, Who},
};
use tower::{Layer, ServiceExt, service_fn};

const POLICY: &str = r#"
    version = 1
    meters = ["requests", "output_tokens"]
    capacity = { accounts = 10_000, organizations = 100 }
    anonymous = "anonymous"

    [tiers.free]
    step_up = "paid"
    account.requests = [{ rate = "6/min", burst = 2 }, { in_flight = 5 }]
    account.output_tokens = { quota = "1000/day" }
    total.requests = { quota = "1M/day" }

    [tiers.paid]
    total = "unlimited"
    account.requests = { rate = "600/min", burst = 100 }

    [tiers.anonymous]
    account.requests = { rate = "1/min", burst = 1 }
    total.requests = { quota = "3/day" }
"#;

struct World {
    limiter: Limiter,
    free: Identity,
    paid: Identity,
    requests: Meter,
    tokens: Meter,
}

fn world(limiter: Limiter) -> World {
    let tier = |name: &str| limiter.tier(name).expect("a tier");
    let meter = |name: &str| limiter.meter(name).expect("a meter");
    let (free, paid) = (tier("free"), tier("paid"));
    let (requests, tokens) = (meter("requests"), meter("output_tokens"));
    World {
        free: limiter.identity(free, "free_1"),
        paid: limiter.identity(paid, "paid_1"),
        limiter,
        requests,
        tokens,
    }
}

impl World {
    /// By bearer key, else by address; a request reserves 1 and 100 tokens.
    fn gate(&self) -> GateLayer {
        let (free, paid) = (self.free, self.paid);
        let keys = move |key: &str| match key {
            "free" => Some(free),
            "paid" => Some(paid),
            _ => None,
        };
        let address = ClientAddress::of_peer(|peer: &ConnectInfo<SocketAddr>| peer.0.ip());
        let who = Who::bearer(keys).or(Who::anonymous(&self.limiter, address));
        let (requests, tokens) = (self.requests, self.tokens);
        let layer = GateLayer::new(
            self.limiter.clone(),
            who.costs_by(move |request| {
                let cost = Cost::of(requests, 1);
                if request.uri.path() == "/" { cost } else { cost.and(tokens, 100) }
            }),
        );
        layer.step_up_url("https://example.com/become/{tier}")
    }
}

async fn serve(app: Router) -> SocketAddr {
    let (listener, address) = listen().await;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn request(address: SocketAddr, path: &str, key: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(format!("http://{address}{path}"));
    let request =
        if key.is_empty() { request } else { request.header("authorization", format!("Bearer {key}")) };
    request.body(Empty::new()).expect("a request")
}

/// A list of one string with parameters, as RFC 9651 has it, read by hand: nothing of the library that wrote it.
fn item(headers: &HeaderMap, field: &str) -> (String, Vec<(String, String)>) {
    let text = headers.get(field).unwrap_or_else(|| panic!("no {field}")).to_str().expect("ASCII");
    let rest = text.strip_prefix('"').expect("a string");
    let (name, rest) = rest.split_once('"').expect("its end");
    assert!(name.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'\\'), "{text}");
    let mut parameters = Vec::new();
    for parameter in rest.split(';').skip(1) {
        let (key, value) = parameter.split_once('=').expect("a value");
        assert!(key.bytes().all(|byte| byte.is_ascii_lowercase()), "{text}");
        let value = match value.strip_prefix('"') {
            Some(string) => string.strip_suffix('"').expect("the end of a string"),
            None => {
                assert!(!value.is_empty() && value.len() <= 15, "{text}");
                assert!(value.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
                value
            }
        };
        parameters.push((key.to_owned(), value.to_owned()));
    }
    (name.to_owned(), parameters)
}

fn pairs(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn problem(response: &Response<Bytes>) -> Value {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    serde_json::from_slice(response.body()).expect("problem details")
}

#[tokio::test]
async fn admits_then_denies_and_says_when_to_come_back() {
    let (limiter, clock) = limiter(POLICY);
    let world = world(limiter);
    let address = serve(Router::new().route("/", get(|| async { "hello" })).layer(world.gate())).await;
    let client = client();

    for _ in 0..2 {
        let response = fetch(&client, request(address, "/", "free")).await;
        assert_eq!((response.status(), &response.body()[..]), (StatusCode::OK, &b"hello"[..]));
        assert!(!response.headers().contains_key("ratelimit"), "not asked for");
    }
    let denied = fetch(&client, request(address, "/", "free")).await;
    assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds =
        denied.headers()[header::RETRY_AFTER].to_str().expect("ASCII").parse::<u64>().expect("seconds");
    let exact = world.limiter.peek(&world.free, &Cost::of(world.requests, 1)).expect_err("empty");
    let exact = exact.retry_after().expect("a wait");
    assert!(
        exact.as_secs_f64() <= seconds as f64 && (seconds as f64) < exact.as_secs_f64() + 1.0,
        "{seconds}"
    );

    let (name, policy) = item(denied.headers(), "ratelimit-policy");
    assert_eq!((name.as_str(), policy), ("account/requests/rate", pairs(&[("q", "2"), ("w", "20")])));
    let (name, state) = item(denied.headers(), "ratelimit");
    let state_is = pairs(&[("r", "0"), ("t", &seconds.to_string())]);
    assert_eq!((name.as_str(), state), ("account/requests/rate", state_is));

    let problem = problem(&denied);
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["status"], 429);
    assert_eq!(problem["violated-policies"], serde_json::json!(["account/requests/rate"]));
    assert_eq!(problem["retry_after"], seconds);
    assert_eq!(problem["step_up"]["url"], "https://example.com/become/paid");

    // Another's key is another's limit; the denied one is let in when it was told.
    assert_eq!(fetch(&client, request(address, "/", "paid")).await.status(), StatusCode::OK);
    clock.advance(std::time::Duration::from_secs(seconds));
    assert_eq!(fetch(&client, request(address, "/", "free")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn jitter_puts_off_within_its_bound() {
    let (limiter, _clock) = limiter(&POLICY.replace("version = 1", "version = 1\nretry_jitter = \"30s\""));
    let world = world(limiter);
    let gate = world.gate();
    let mut waits = Vec::new();
    for number in 0..60_u64 {
        let tier = world.limiter.tier("free").expect("a tier");
        let caller = world.limiter.identity(tier, number);
        let gate = GateLayer::new(world.limiter.clone(), {
            let cost = Cost::of(world.requests, 1);
            move |_: &http::request::Parts| Ok(tollgate::http::Ask::new(caller, cost))
        });
        let service = gate.layer(service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        }));
        for _ in 0..2 {
            let response = service.clone().oneshot(Request::new(())).await.expect("infallible");
            // An empty body has ended.
            assert_eq!(response.status(), StatusCode::OK);
        }
        let denied = service.oneshot(Request::new(())).await.expect("infallible");
        assert!(denied.extensions().get::<Denial>().is_some());
        let wait = denied.headers()[header::RETRY_AFTER].to_str().expect("ASCII").parse::<u64>();
        waits.push(wait.expect("seconds"));
    }
    drop(gate);
    assert!(waits.iter().all(|wait| (10..=41).contains(wait)), "{waits:?}");
    assert!(waits.iter().max() > waits.iter().min().map(|least| least + 10).as_ref(), "{waits:?}");
}

#[tokio::test]
async fn what_others_share_is_not_told() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let tier = world.limiter.tier("anonymous").expect("a tier");
    for other in 0..3_u64 {
        let other = world.limiter.identity(tier, other);
        assert!(world.limiter.check(&other, &Cost::of(world.requests, 1)).is_ok());
    }
    let address = serve(Router::new().route("/", get(|| async { "hello" })).layer(world.gate())).await;
    let denied = fetch(&client(), request(address, "/", "")).await;
    assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(
        !denied.headers().contains_key("ratelimit") && !denied.headers().contains_key("ratelimit-policy")
    );
    let problem = problem(&denied);
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity");
    assert_eq!(problem.get("violated-policies"), None);
    let text = String::from_utf8_lossy(denied.body()).into_owned();
    assert!(!text.contains("anonymous") && !text.contains("day"), "{text}");
}

#[tokio::test]
async fn who_is_not_known_is_not_decided_on() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let address = serve(Router::new().route("/", get(|| async { "hello" })).layer(world.gate())).await;
    let client = client();
    let unknown = fetch(&client, request(address, "/", "stolen")).await;
    assert_eq!(unknown.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(unknown.headers()[header::WWW_AUTHENTICATE], "Bearer");
    problem(&unknown);

    // Without a key it is its address, whatever it says of itself.
    assert_eq!(fetch(&client, request(address, "/", "")).await.status(), StatusCode::OK);
    for forged in ["203.0.113.7", "198.51.100.1, 203.0.113.9"] {
        let mut again = request(address, "/", "");
        again.headers_mut().insert("x-forwarded-for", forged.parse().expect("a value"));
        assert_eq!(fetch(&client, again).await.status(), StatusCode::TOO_MANY_REQUESTS, "{forged}");
    }
}

/// What another scheme has is no bearer key; one that is nobody's is not passed on.
#[tokio::test]
async fn a_credential_of_another_kind_is_passed_on() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let (free, paid) = (world.free, world.paid);
    let basic = move |value: &str| (value == "Basic cGFpZA==").then_some(paid);
    let who =
        Who::bearer(move |key| (key == "free").then_some(free)).or(Who::header(header::AUTHORIZATION, basic));
    let gate = GateLayer::new(world.limiter.clone(), who.costs(Cost::of(world.requests, 1)));
    let service = gate.layer(service_fn(|request: Request<()>| async move {
        let who = *request.extensions().get::<Admitted>().expect("admitted").identity();
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(format!("{:?}", who.tier())))))
    }));
    for (value, known) in [
        ("Bearer free", Some(free)),
        ("bearer   free ", Some(free)),
        ("Basic cGFpZA==", Some(paid)),
        ("Basic other", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearer other", None),
        ("free", None),
        ("", None),
    ] {
        let request = Request::get("/").header(header::AUTHORIZATION, value).body(()).expect("a request");
        let response = service.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status().as_u16(), if known.is_some() { 200 } else { 401 }, "{value:?}");
        if let Some(known) = known {
            let Ok(body) = response.into_body().collect().await;
            assert_eq!(body.to_bytes(), format!("{:?}", known.tier()), "{value:?}");
        }
    }
}

/// What nobody has answered pays what was reserved, but for what was reported before.
#[tokio::test]
async fn a_router_that_knows_no_such_route_pays_what_was_reserved() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let (audit, mut events) = trail();
    let meter = world.tokens;
    let nothing_yet =
        axum::middleware::from_fn(move |request: axum::extract::Request, next: axum::middleware::Next| {
            request.extensions().get::<Admitted>().expect("admitted").report(meter, 0);
            next.run(request)
        });
    let routes = || Router::new().route("/", get(|| async { "hello" }));
    let plain = serve(routes().layer(world.gate().audit(audit.clone()))).await;
    let before = serve(routes().layer(nothing_yet).layer(world.gate().audit(audit))).await;
    for (address, tokens) in [(plain, 100), (before, 0)] {
        let response = fetch(&client(), request(address, "/none", "paid")).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(events.settled().await, Cost::of(world.requests, 1).and(meter, tokens));
    }
}

/// A body that fails was not ended: it pays what was reported.
#[tokio::test]
async fn a_body_that_fails_pays_for_what_was_made() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let (audit, mut events) = trail();
    let meter = world.tokens;
    let breaks = move |Extension(admitted): Extension<Admitted>| async move {
        admitted.report(meter, 0);
        let parts = ["one ", "two "].map(Ok).into_iter().chain([Err("broken")]);
        Body::from_stream(stream::iter(parts).map(move |part| part.inspect(|_| admitted.add(meter, 1))))
    };
    let silent = || async { Body::from_stream(stream::iter([Ok("one "), Err("broken")])) };
    let app = Router::new().route("/breaks", get(breaks)).route("/silent", get(silent));
    let address = serve(app.layer(world.gate().audit(audit))).await;
    for (path, settled) in [("/breaks", Cost::of(world.requests, 1).and(meter, 2)), ("/silent", Cost::FREE)] {
        // Whether its head has been sent before is up to the server.
        if let Ok(response) =
            timeout(LONG, client().request(request(address, path, "free"))).await.expect("an end")
        {
            assert!(timeout(LONG, response.into_body().collect()).await.expect("an end").is_err());
        }
        assert_eq!(events.settled().await, settled, "{path}");
        assert_eq!(used(&world.limiter, &world.free, "requests", "in_flight"), 0);
    }
}

/// What goes on afterwards is nobody's request.
#[tokio::test]
async fn a_connection_that_is_upgraded_is_settled_when_its_response_is_sent() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let (audit, mut events) = trail();
    let upgrades = |request: Request<Body>| async {
        tokio::spawn(async move {
            let mut upgraded = TokioIo::new(hyper::upgrade::on(request).await.expect("upgraded"));
            tokio::io::AsyncWriteExt::write_all(&mut upgraded, b"hello").await.expect("sent");
            let mut end = [0; 1];
            let _ = tokio::io::AsyncReadExt::read(&mut upgraded, &mut end).await;
        });
        (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "test")])
    };
    let app = Router::new().route("/up", get(upgrades)).layer(world.gate().audit(audit));
    let address = serve(app).await;
    let mut up = request(address, "/up", "free");
    up.headers_mut().insert("connection", "upgrade".parse().expect("a value"));
    up.headers_mut().insert("upgrade", "test".parse().expect("a value"));
    let response = timeout(LONG, client().request(up)).await.expect("an answer").expect("a response");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut upgraded = TokioIo::new(hyper::upgrade::on(response).await.expect("upgraded"));
    let mut said = [0; 5];
    tokio::io::AsyncReadExt::read_exact(&mut upgraded, &mut said).await.expect("said");
    assert_eq!(&said, b"hello");
    assert_eq!(events.settled().await, Cost::of(world.requests, 1).and(world.tokens, 100));
    assert_eq!(used(&world.limiter, &world.free, "requests", "in_flight"), 0);
}

/// Each charges for itself; a denial of the inner one has been answered for the outer one.
#[tokio::test]
async fn a_gate_in_a_gate() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let of = |identity: Identity| {
        let cost = Cost::of(world.requests, 1);
        GateLayer::new(world.limiter.clone(), move |_: &http::request::Parts| {
            Ok(tollgate::http::Ask::new(identity, cost))
        })
    };
    let handler = service_fn(|request: Request<()>| async move {
        let admitted = request.extensions().get::<Admitted>().expect("admitted");
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(format!(
            "{:?}",
            admitted.identity().tier()
        )))))
    });
    let service = of(world.paid).layer(of(world.free).layer(handler));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let response = service.clone().oneshot(Request::new(())).await.expect("infallible");
        statuses.push(response.status().as_u16());
        let Ok(body) = response.into_body().collect().await;
        if statuses.len() < 3 {
            assert_eq!(body.to_bytes(), format!("{:?}", world.free.tier()));
        }
    }
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(used(&world.limiter, &world.free, "requests", "rate"), 2);
    assert_eq!(used(&world.limiter, &world.paid, "requests", "rate"), 3);
}

#[tokio::test]
async fn a_thousand_at_once_against_a_hundred() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let address = serve(Router::new().route("/", get(|| async { "hello" })).layer(world.gate())).await;
    let client = client();
    let requests = (0..1_000).map(|_| {
        let (client, request) = (client.clone(), request(address, "/", "paid"));
        tokio::spawn(async move { fetch(&client, request).await.status() })
    });
    let mut admitted = 0;
    for status in requests.collect::<Vec<_>>() {
        match status.await.expect("an answer") {
            StatusCode::OK => admitted += 1,
            status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
        }
    }
    assert_eq!(admitted, 100);
}

/// Sends so many tokens and reports each; for ever where there is no number.
async fn tokens(tokens: Meter, count: Option<usize>, admitted: Admitted) -> Body {
    admitted.report(tokens, 0);
    let token = move |_| {
        admitted.add(tokens, 1);
        Ok::<_, Infallible>(Bytes::from_static(b"token "))
    };
    match count {
        Some(count) => Body::from_stream(stream::iter(0..count).map(token)),
        None => Body::from_stream(stream::repeat(0).map(token)),
    }
}

#[tokio::test]
async fn a_stream_is_settled_at_its_end_with_what_it_reported() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let (audit, mut events) = trail();
    let (meter, count) = (world.tokens, 17);
    let stream = move |Extension(admitted): Extension<Admitted>| tokens(meter, Some(count), admitted);
    let app = Router::new().route("/stream", get(stream)).layer(world.gate().audit(audit));
    let address = serve(app).await;
    let response = fetch(&client(), request(address, "/stream", "free")).await;
    assert_eq!(response.body().len(), 17 * 6);
    assert_eq!(events.settled().await, Cost::of(world.requests, 1).and(world.tokens, 17));
    assert_eq!(used(&world.limiter, &world.free, "output_tokens", "day"), 17);
    assert_eq!(used(&world.limiter, &world.free, "requests", "rate"), 1);
    assert_eq!(used(&world.limiter, &world.free, "requests", "in_flight"), 0);
}

#[tokio::test]
async fn what_is_reported_adds_up_to_no_less_than_its_parts() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let (audit, mut events) = trail();
    let meter = world.tokens;
    let handler = move |Extension(admitted): Extension<Admitted>| async move {
        admitted.add(meter, u64::MAX - 1);
        admitted.add(meter, 5);
        "done"
    };
    let app = Router::new().route("/", get(handler)).layer(world.gate().audit(audit));
    let address = serve(app).await;
    assert_eq!(fetch(&client(), request(address, "/", "free")).await.status(), StatusCode::OK);
    assert_eq!(events.settled().await.amount(meter), u64::MAX);
}

#[tokio::test]
async fn a_client_that_goes_away_pays_for_what_was_made() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let (audit, mut events) = trail();
    let meter = world.tokens;
    let stream = move |Extension(admitted): Extension<Admitted>| tokens(meter, None, admitted);
    let app = Router::new().route("/stream", get(stream)).layer(world.gate().audit(audit));
    let address = serve(app).await;

    let client = client();
    let response = client.request(request(address, "/stream", "free")).await.expect("a response");
    let mut body = response.into_body();
    let frame = timeout(LONG, body.frame()).await.expect("a frame in time").expect("a frame");
    assert!(frame.expect("data").is_data());
    assert_eq!(used(&world.limiter, &world.free, "requests", "in_flight"), 1);
    drop((body, client));

    let settled = events.settled().await;
    let made = settled.amount(world.tokens);
    assert!(made > 0, "something was streamed");
    assert_eq!(used(&world.limiter, &world.free, "output_tokens", "day"), made);
    assert_eq!(used(&world.limiter, &world.free, "requests", "in_flight"), 0);
}

#[tokio::test]
async fn a_handler_that_panics_pays_nothing() {
    async fn panics() -> &'static str {
        panic!("on purpose")
    }
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let (audit, mut events) = trail();
    let app = Router::new().route("/panic", get(panics)).layer(world.gate().audit(audit));
    let address = serve(app).await;
    let answer = timeout(LONG, client().request(request(address, "/panic", "free"))).await.expect("an end");
    assert!(answer.is_err(), "the connection is closed");
    assert_eq!(events.next().await, Event::Admitted);
    assert_eq!(events.settled().await, Cost::FREE);
    for (meter, rule) in [("requests", "rate"), ("requests", "in_flight"), ("output_tokens", "day")] {
        assert_eq!(used(&world.limiter, &world.free, meter, rule), 0, "{meter}/{rule}");
    }
}

#[tokio::test]
async fn a_response_is_at_its_end_where_a_server_polls_no_more() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let (audit, mut events) = trail();
    // Hyper asks a stream of which the length was said for no more than that, and a HEAD's for nothing.
    let sized = || async {
        let body = Body::from_stream(stream::iter(["12", "345"].map(Ok::<_, Infallible>)));
        ([(header::CONTENT_LENGTH, "5")], body).into_response()
    };
    let app = Router::new().route("/sized", get(sized)).layer(world.gate().audit(audit));
    let address = serve(app).await;
    let client = client();
    let whole = Cost::of(world.requests, 1).and(world.tokens, 100);
    assert_eq!(fetch(&client, request(address, "/sized", "paid")).await.body(), "12345");
    assert_eq!(events.settled().await, whole);
    let mut head = request(address, "/sized", "paid");
    *head.method_mut() = http::Method::HEAD;
    assert!(fetch(&client, head).await.body().is_empty());
    assert_eq!(events.settled().await, whole);
}

#[tokio::test]
async fn a_service_that_fails_and_a_future_that_is_dropped_pay_nothing() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let gated = |request| {
        let mut request: Request<()> = request;
        request.headers_mut().insert("authorization", "Bearer free".parse().expect("a value"));
        request
    };
    let fails =
        world.gate().layer(service_fn(|_: Request<()>| async { Err::<Response<Full<Bytes>>, _>("broken") }));
    assert_eq!(fails.oneshot(gated(Request::new(()))).await.err(), Some("broken"));
    let hangs = world.gate().layer(service_fn(|_: Request<()>| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    }));
    let mut pending = Box::pin(hangs.oneshot(gated(Request::new(()))));
    tokio::select! {
        biased;
        _ = &mut pending => panic!("the service hangs"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(used(&world.limiter, &world.free, "requests", "in_flight"), 1);
    drop(pending);
    assert_eq!(used(&world.limiter, &world.free, "requests", "in_flight"), 0);
    assert_eq!(used(&world.limiter, &world.free, "requests", "rate"), 0);
}

#[tokio::test]
async fn hyper_alone_serves_it_too_with_fields_on_success() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let gate = world.gate().fields_on_success();
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = gate.layer(service_fn(|_: Request<hyper::body::Incoming>| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
            }));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), TowerToHyperService::new(service));
            tokio::spawn(connection);
        }
    });
    let client = client();
    let response = fetch(&client, request(address, "/x", "free")).await;
    assert_eq!(response.body(), "hello");
    // Half of the burst is left, and nine tenths of the day.
    assert_eq!(item(response.headers(), "ratelimit-policy").1, pairs(&[("q", "2"), ("w", "20")]));
    assert_eq!(
        item(response.headers(), "ratelimit"),
        (
            "account/requests/rate".to_owned(),
            // Ten seconds and the nanosecond that supply may be short by, rounded up.
            pairs(&[("r", "1"), ("t", "11")]),
        )
    );
    for _ in 0..9 {
        fetch(&client, request(address, "/x", "free")).await;
    }
    assert_eq!(used(&world.limiter, &world.free, "output_tokens", "day"), 200);
}

/// Nothing is given back, and nothing held: not where the service fails either.
#[tokio::test]
async fn what_is_spent_is_spent() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let (audit, mut events) = trail();
    let fails = world.gate().audit(audit).spends().layer(service_fn(|request: Request<()>| async move {
        assert!(request.extensions().get::<Admitted>().is_none());
        Err::<Response<Full<Bytes>>, _>("broken")
    }));
    let request = || {
        let request = Request::get("/x").header("authorization", "Bearer free");
        request.body(()).expect("a request")
    };
    for _ in 0..2 {
        assert_eq!(fails.clone().oneshot(request()).await.err(), Some("broken"));
        assert_eq!(events.next().await, Event::Admitted);
    }
    let denied = fails.oneshot(request()).await.expect("an answer");
    assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(events.next().await, Event::Denied);
    assert_eq!(used(&world.limiter, &world.free, "requests", "rate"), 2);
    assert_eq!(used(&world.limiter, &world.free, "output_tokens", "day"), 200);
    assert_eq!(used(&world.limiter, &world.free, "requests", "in_flight"), 0);
}

/// A response is of the type that the service made, whoever answers; fields are put into it, and it settles nothing.
#[tokio::test]
async fn what_is_spent_leaves_the_response_as_it_is() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let gate = world.gate().fields_on_success().spends();
    let service = gate.layer(service_fn(|request: Request<()>| async move {
        // There is nothing to report to, whether there are fields or not.
        assert!(request.extensions().get::<Admitted>().is_none());
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
    }));
    let request = |key: &str| {
        let request = Request::get("/x").header("authorization", format!("Bearer {key}"));
        request.body(()).expect("a request")
    };
    let mut answers: Vec<Response<Full<Bytes>>> = Vec::new();
    for key in ["free", "free", "free", "nobody"] {
        let Ok(answer) = service.clone().oneshot(request(key)).await;
        answers.push(answer);
    }
    let kinds = answers.iter().map(|answer| answer.status().as_u16());
    assert_eq!(kinds.collect::<Vec<_>>(), [200, 200, 429, 401]);
    let fields: Vec<bool> = answers.iter().map(|answer| answer.headers().contains_key("ratelimit")).collect();
    assert_eq!(fields, [true, true, true, false]);
    let bodies = answers.into_iter().map(|answer| answer.into_body().collect());
    let mut lengths = Vec::new();
    for body in bodies {
        let Ok(body) = body.await;
        lengths.push(body.to_bytes().len());
    }
    assert_eq!(lengths[..2], [5, 5]);
    assert!(lengths[2] > 100 && lengths[3] > 50, "{lengths:?}");
    assert_eq!(used(&world.limiter, &world.free, "requests", "rate"), 2);
}

#[tokio::test]
async fn closures_extract_and_may_let_pass_or_reject() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let (caller, cost) = (world.free, Cost::of(world.requests, 3));
    let gate = GateLayer::new(world.limiter.clone(), move |request: &http::request::Parts| {
        match request.uri.path() {
            "/health" => Ok(tollgate::http::Ask::nothing()),
            "/" => Ok(tollgate::http::Ask::new(caller, cost)),
            _ => Err(Rejection::new(StatusCode::FORBIDDEN, "not here")),
        }
    });
    let service = gate.layer(service_fn(|request: Request<()>| async move {
        let admitted = request.extensions().get::<Admitted>().is_some();
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(admitted.to_string()))))
    }));
    let mut got = Vec::new();
    for path in ["/health", "/", "/", "/else"] {
        let request = Request::get(path).body(()).expect("a request");
        let response = service.clone().oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        got.push((status, response.into_body().collect().await.expect("a body").to_bytes()));
    }
    assert_eq!((got[0].0, &got[0].1[..]), (200, &b"false"[..]));
    // Three of two: what is reserved is clamped to a full bucket.
    assert_eq!((got[1].0, &got[1].1[..]), (200, &b"true"[..]));
    assert_eq!((got[2].0, got[3].0), (429, 403));
}
