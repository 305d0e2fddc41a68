//! What the tests over sockets share: a limiter, a trail of what was settled, servers and clients.
#![allow(dead_code, reason = "each file of tests takes what it needs")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tollgate::{Audit, Cost, Denial, Identity, Limiter, ManualClock, Plan, Receipt, Settlement};

/// Nothing takes so long unless it hangs.
pub const LONG: Duration = Duration::from_secs(20);

pub fn limiter(policy: &str) -> (Limiter, ManualClock) {
    let clock = ManualClock::new();
    let plan = Plan::from_toml(policy).expect("a policy");
    let limiter = Limiter::builder(plan).clock(clock.clone()).build().expect("a limiter");
    (limiter, clock)
}

/// What an account's rule has been charged.
pub fn used(limiter: &Limiter, identity: &Identity, meter: &str, rule: &str) -> u64 {
    let explained = limiter.explain(identity);
    let mut rules = explained.rules.iter();
    rules
        .find(|state| (state.meter.as_str(), state.rule.as_str()) == (meter, rule))
        .expect("a rule of that name")
        .used
}

/// What a gate has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Admitted,
    Denied,
    Settled(Cost),
}

/// Passes what a gate tells on to a test.
struct Trail(mpsc::UnboundedSender<Event>);

impl Audit for Trail {
    fn admitted(&self, _: &Identity, _: &Cost, _: &Receipt) {
        let _ = self.0.send(Event::Admitted);
    }

    fn denied(&self, _: &Identity, _: &Cost, _: &Denial) {
        let _ = self.0.send(Event::Denied);
    }

    fn settled(&self, _: &Identity, actual: &Cost, _: &Settlement) {
        let _ = self.0.send(Event::Settled(*actual));
    }
}

pub struct Events(mpsc::UnboundedReceiver<Event>);

impl Events {
    pub async fn next(&mut self) -> Event {
        timeout(LONG, self.0.recv()).await.expect("an event in time").expect("an event")
    }

    /// What the next request that settles came to.
    pub async fn settled(&mut self) -> Cost {
        loop {
            if let Event::Settled(cost) = self.next().await {
                return cost;
            }
        }
    }
}

pub fn trail() -> (Arc<dyn Audit>, Events) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Arc::new(Trail(sender)), Events(receiver))
}

pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

pub type Http = Client<HttpConnector, Empty<Bytes>>;

pub fn client() -> Http {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A request, and its response with the whole body.
pub async fn fetch(client: &Http, request: Request<Empty<Bytes>>) -> Response<Bytes> {
    let response = timeout(LONG, client.request(request)).await.expect("an answer").expect("a response");
    let (parts, body) = response.into_parts();
    let body = timeout(LONG, body.collect()).await.expect("a body in time").expect("a body");
    Response::from_parts(parts, body.to_bytes())
}
