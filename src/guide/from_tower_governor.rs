//! From `tower_governor`.
//!
//! | tower_governor | tollgate |
//! |---|---|
//! | `GovernorConfigBuilder::default().per_second(2).burst_size(5)` (one each 2 s) | `{ rate = "1 per 2s", burst = 5 }` in a policy |
//! | `GovernorLayer::new(config)` | [`GateLayer::new`](crate::http::GateLayer::new) |
//! | `PeerIpKeyExtractor` | [`Who::anonymous`](crate::http::Who::anonymous) with [`ClientAddress::of_peer`](crate::http::ClientAddress::of_peer) |
//! | `SmartIpKeyExtractor`, which believes `X-Forwarded-For`, `X-Real-Ip`, `Forwarded` of anybody | [`ClientAddress::trust`](crate::http::ClientAddress::trust): of whom you name, from the end of the field |
//! | what is charged stays charged | [`GateLayer::spends`](crate::http::GateLayer::spends); else it is reserved, and settled when the response ends |
//! | `GlobalKeyExtractor` | a rule in the tier's `total` |
//! | `impl KeyExtractor` | [`Extract`](crate::http::Extract), or a closure |
//! | `use_headers()` | `RateLimit` fields of the IETF draft; on success by [`fields_on_success`](crate::http::GateLayer::fields_on_success) |
//! | `error_handler` | an outer layer, which finds the [`Denial`](crate::Denial) in the response's extensions |
//! | a task that calls `retain_recent()` | nothing |
//!
//! ```
//! use std::net::SocketAddr;
//! use axum::{Router, extract::ConnectInfo, routing::get};
//! use tollgate::{Cost, Limiter, Plan, http::{ClientAddress, GateLayer, Who}};
//!
//! let plan = Plan::from_toml(
//!     r#"
//!     version = 1
//!     meters = ["requests"]
//!     anonymous = "anyone"
//!     tiers.anyone = { total = "unlimited", account.requests = { rate = "1 per 2s", burst = 5 } }
//!     "#,
//! )?;
//! let limiter = Limiter::builder(plan).build()?;
//! let address = ClientAddress::of_peer(|peer: &ConnectInfo<SocketAddr>| peer.0.ip());
//! let one = Cost::of(limiter.meter("requests").unwrap(), 1);
//! let gate = GateLayer::new(limiter.clone(), Who::anonymous(&limiter, address).costs(one));
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(gate);
//! # let _ = app;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An address of IPv6 counts as its network of 64 bits: who has one of them has all. A request without a peer's address is
//! answered with 401, where tower_governor answers 500.
