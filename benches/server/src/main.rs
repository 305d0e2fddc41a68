//! One service three times, without a limiter, behind ours, behind tower_governor's: `tollgate-server-bench PORT
//! plain|tollgate|tollgate-reserves|governor`. On one thread. Both limiters have a bucket for each peer's address, and refuse
//! nobody; ours has a tier's total besides. tower_governor charges finally, and so does `tollgate`; `tollgate-reserves` reserves,
//! and settles when the body has ended.

use std::{env, net::SocketAddr, sync::Arc};

use axum::{Router, extract::ConnectInfo, routing::get};
use tollgate::{
    Cost, Limiter, Plan,
    http::{ClientAddress, GateLayer, Who},
};
use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder};

const POLICY: &str = r#"
    version = 1
    meters = ["requests"]
    anonymous = "anyone"
    [tiers.anyone]
    account.requests = { rate = "1M/s", burst = 1_000_000 }
    total.requests = { rate = "10M/s", burst = 10_000_000 }
"#;

type Error = Box<dyn std::error::Error>;

fn gate() -> Result<GateLayer, Error> {
    let limiter = Limiter::builder(Plan::from_toml(POLICY)?).build()?;
    let requests = limiter.meter("requests").ok_or("no such meter")?;
    let address = ClientAddress::of_peer(|peer: &ConnectInfo<SocketAddr>| peer.0.ip());
    let who = Who::anonymous(&limiter, address).costs(Cost::of(requests, 1));
    Ok(GateLayer::new(limiter, who))
}

fn main() -> Result<(), Error> {
    let mut arguments = env::args().skip(1);
    let port = arguments.next().ok_or("which port?")?.parse()?;
    let app = Router::new().route("/", get(|| async { "hello" }));
    let app = match arguments.next().as_deref() {
        Some("plain") => app,
        Some("tollgate") => app.layer(gate()?.spends()),
        Some("tollgate-reserves") => app.layer(gate()?),
        Some("tollgate-fields") => app.layer(gate()?.fields_on_success()),
        Some("governor") => {
            let config =
                GovernorConfigBuilder::default().per_nanosecond(1_000).burst_size(1_000_000).finish();
            app.layer(GovernorLayer::new(Arc::new(config.ok_or("no quota")?)))
        }
        _ => return Err("plain, tollgate, tollgate-reserves, tollgate-fields, or governor?".into()),
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
    })
}
