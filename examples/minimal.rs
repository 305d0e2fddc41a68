//! A service that answers five requests a minute to each address: `cargo run --example minimal --features tower`.

use std::net::SocketAddr;

use axum::{Router, extract::ConnectInfo, routing::get};
use tollgate::{
    Cost, Limiter, Plan,
    http::{ClientAddress, GateLayer, Who},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let plan = Plan::from_toml(
        r#"
        version = 1
        meters = ["requests"]
        anonymous = "anyone"
        tiers.anyone = { total = "unlimited", account.requests = { rate = "5/min", burst = 5 } }
    "#,
    )?;
    let limiter = Limiter::builder(plan).build()?;
    let requests = limiter.meter("requests").ok_or("no such meter")?;
    let address = ClientAddress::of_peer(|peer: &ConnectInfo<SocketAddr>| peer.0.ip());
    let who = Who::anonymous(&limiter, address).costs(Cost::of(requests, 1));
    let app = Router::new().route("/", get(|| async { "hello\n" })).layer(GateLayer::new(limiter, who));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}
