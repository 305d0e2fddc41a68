//! The layer in tonic, over real sockets, with tonic's client; details are read back by tonic-types.
#![cfg(all(feature = "tower", feature = "toml"))]
#![expect(clippy::expect_used, reason = "a test")]

mod server;

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use http::request::Parts;
use server::{LONG, limiter, listen, trail, used};
use tokio::time::timeout;
use tollgate::{
    Cost, Identity, Limiter, Meter,
    http::{Admitted, Ask, GateLayer, Rejection},
};
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tonic_types::StatusExt;

const POLICY: &str = r#"
    version = 1
    meters = ["requests", "messages"]
    capacity = { accounts = 100, organizations = 100 }

    [tiers.free]
    step_up = "paid"
    total = "unlimited"
    account.requests = [{ rate = "6/min", burst = 2 }, { in_flight = 5 }]
    account.messages = { quota = "1M/day" }

    [tiers.paid]
    total = "unlimited"
    account.requests = { rate = "600/min", burst = 100 }
"#;

/// Counts what it streams, and streams for ever.
struct Counting {
    messages: Meter,
}

#[tonic::async_trait]
impl Health for Counting {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match request.get_ref().service.as_str() {
            "panic" => panic!("on purpose"),
            _ => Ok(Response::new(HealthCheckResponse { status: 1 })),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (admitted, messages) = (request.extensions().get::<Admitted>().cloned(), self.messages);
        let admitted = admitted.ok_or_else(|| Status::internal("no gate"))?;
        admitted.report(messages, 0);
        let answers = stream::repeat(1).map(move |status| {
            admitted.add(messages, 1);
            Ok(HealthCheckResponse { status })
        });
        let count = request.get_ref().service.parse().unwrap_or(usize::MAX);
        Ok(Response::new(Box::pin(answers.take(count))))
    }
}

struct World {
    limiter: Limiter,
    caller: Identity,
    requests: Meter,
    messages: Meter,
}

fn world(limiter: Limiter) -> World {
    let free = limiter.tier("free").expect("a tier");
    let meter = |name: &str| limiter.meter(name).expect("a meter");
    let (requests, messages) = (meter("requests"), meter("messages"));
    World { caller: limiter.identity(free, "free_1"), limiter, requests, messages }
}

async fn serve(world: &World, gate: impl FnOnce(GateLayer) -> GateLayer) -> HealthClient<Channel> {
    let caller = world.caller;
    let cost = Cost::of(world.requests, 1).and(world.messages, 100);
    let layer = GateLayer::new(world.limiter.clone(), move |request: &Parts| {
        match request.headers.contains_key("x-nobody") {
            true => Err(Rejection::unauthorized()),
            false => Ok(Ask::new(caller, cost)),
        }
    });
    let layer = gate(layer.step_up_url("https://example.com/become/{tier}"));
    let service = HealthServer::new(Counting { messages: world.messages });
    let (listener, address) = listen().await;
    let serving = Server::builder().layer(layer).add_service(service);
    tokio::spawn(serving.serve_with_incoming(TcpIncoming::from(listener)));
    let channel = Channel::from_shared(format!("http://{address}")).expect("an address");
    HealthClient::new(channel.connect().await.expect("a connection"))
}

fn asking(service: &str) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest { service: service.to_owned() })
}

#[tokio::test]
async fn admits_then_denies_with_details() {
    let (limiter, clock) = limiter(POLICY);
    let world = world(limiter);
    let mut client = serve(&world, |gate| gate).await;
    for _ in 0..2 {
        client.check(asking("")).await.expect("an answer");
    }
    let denied = client.check(asking("")).await.expect_err("a denial");
    assert_eq!(denied.code(), Code::ResourceExhausted);
    let details = denied.get_error_details();
    let delay = details.retry_info().and_then(|info| info.retry_delay).expect("a delay");
    let exact =
        world.limiter.peek(&world.caller, &Cost::of(world.requests, 1)).expect_err("empty").retry_after();
    assert_eq!(Some(delay), exact);
    let violations = &details.quota_failure().expect("what was violated").violations;
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].subject, "account/requests/rate");
    let link = &details.help().expect("a way out").links[0];
    assert_eq!(link.url, "https://example.com/become/paid");

    clock.advance(delay);
    client.check(asking("")).await.expect("an answer when it was told");
}

/// Where costs are charged finally, answers are of the service's own type: one that can be made of bytes.
#[tokio::test]
async fn charges_finally_behind_a_body_that_can_be_made_of_bytes() {
    let (limiter, _clock) = limiter(POLICY);
    let world = world(limiter);
    let (caller, cost) = (world.caller, Cost::of(world.requests, 1));
    let spends = GateLayer::new(world.limiter.clone(), move |_: &Parts| Ok(Ask::new(caller, cost))).spends();
    let (listener, address) = listen().await;
    let boxed = |response: http::Response<tonic::body::Body>| response.map(axum::body::Body::new);
    let serving = Server::builder()
        .layer(spends)
        .layer(tower::util::MapResponseLayer::new(boxed))
        .add_service(HealthServer::new(Counting { messages: world.messages }));
    tokio::spawn(serving.serve_with_incoming(TcpIncoming::from(listener)));
    let channel = Channel::from_shared(format!("http://{address}")).expect("an address");
    let mut client = HealthClient::new(channel.connect().await.expect("a connection"));
    for _ in 0..2 {
        client.check(asking("")).await.expect("an answer");
    }
    let denied = client.check(asking("")).await.expect_err("a denial");
    assert_eq!(denied.code(), Code::ResourceExhausted);
    assert_eq!(denied.get_error_details().quota_failure().map(|failure| failure.violations.len()), Some(1));
}

#[tokio::test]
async fn who_is_nobody_is_unauthenticated() {
    let (limiter, _clock) = limiter(POLICY);
    let mut client = serve(&world(limiter), |gate| gate).await;
    let mut nobody = asking("");
    nobody.metadata_mut().insert("x-nobody", "1".parse().expect("a value"));
    assert_eq!(client.check(nobody).await.expect_err("a rejection").code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_stream_is_settled_at_its_end_and_where_its_client_goes() {
    let (limiter, clock) = limiter(POLICY);
    let world = world(limiter);
    let (audit, mut events) = trail();
    let mut client = serve(&world, |gate| gate.audit(audit)).await;

    let whole = client.watch(asking("7")).await.expect("a stream").into_inner();
    assert_eq!(timeout(LONG, whole.count()).await.expect("an end"), 7);
    assert_eq!(events.settled().await, Cost::of(world.requests, 1).and(world.messages, 7));

    let mut endless = client.watch(asking("")).await.expect("a stream").into_inner();
    assert!(endless.message().await.expect("a message").is_some());
    assert_eq!(used(&world.limiter, &world.caller, "requests", "in_flight"), 1);
    drop(endless);
    let made = events.settled().await.amount(world.messages);
    assert!(made > 0);
    assert_eq!(used(&world.limiter, &world.caller, "messages", "day"), 7 + made);
    assert_eq!(used(&world.limiter, &world.caller, "requests", "in_flight"), 0);

    clock.advance(Duration::from_secs(60));
    let panicked = client.check(asking("panic")).await.expect_err("a panic");
    assert_ne!(panicked.code(), Code::ResourceExhausted);
    assert_eq!(events.settled().await, Cost::FREE);
    assert_eq!(used(&world.limiter, &world.caller, "requests", "in_flight"), 0);
}
