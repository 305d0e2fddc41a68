//! tonic behind a gate: each key makes ten calls a minute, and a stream pays for the messages that were sent.
//!
//! ```console
//! $ cargo run --example grpc --features tower
//! ```
//!
//! The service is gRPC's own health service, since that is generated already; a client asks with `authorization: Bearer
//! one` in its metadata. A denial is `RESOURCE_EXHAUSTED` with `RetryInfo`, `QuotaFailure` and `Help`.

use std::{collections::HashMap, pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use tollgate::{
    Cost, Limiter, Meter, Plan,
    http::{Admitted, GateLayer, Who},
};
use tonic::{Request, Response, Status, transport::Server};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_server::{Health, HealthServer},
};

const POLICY: &str = r#"
    version = 1
    meters = ["calls", "messages"]

    [tiers.free]
    total = "unlimited"
    step_up = "paid"
    account.calls = [{ rate = "10/min", burst = 10 }, { in_flight = 2 }]
    account.messages = { quota = "1000/day" }

    [tiers.paid]
    total = "unlimited"
    account.calls = "600/min"
"#;

struct Service {
    messages: Meter,
}

#[tonic::async_trait]
impl Health for Service {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: 1 }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// A message a second, for as long as the client listens.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (admitted, messages) = (request.extensions().get::<Admitted>().cloned(), self.messages);
        let admitted = admitted.ok_or_else(|| Status::internal("there is no gate"))?;
        admitted.report(messages, 0);
        let answers = stream::repeat(1).then(move |status| {
            admitted.add(messages, 1);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(HealthCheckResponse { status })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::builder(Plan::from_toml(POLICY)?).build()?;
    let free = limiter.tier("free").ok_or("no such tier")?;
    let meter = |name: &str| limiter.meter(name).ok_or("no such meter");
    let (calls, messages) = (meter("calls")?, meter("messages")?);
    let keys = HashMap::from(["one", "two"].map(|key| (key, limiter.identity(free, key))));
    let who = Who::bearer(move |key| keys.get(key).copied());
    let asks = who.costs_by(move |request| match request.uri.path() {
        "/grpc.health.v1.Health/Watch" => Cost::of(calls, 1).and(messages, 100),
        _ => Cost::of(calls, 1),
    });
    let gate = GateLayer::new(limiter.clone(), asks).step_up_url("https://example.com/upgrade?to={tier}");
    let service = HealthServer::new(Service { messages });
    Ok(Server::builder().layer(gate).add_service(service).serve("127.0.0.1:50051".parse()?).await?)
}
