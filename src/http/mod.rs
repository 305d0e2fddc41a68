//! A tower layer that admits requests or answers them: in axum, in hyper, in tonic. Needs the feature `tower`.
//!
//! [`GateLayer`] asks an extractor who makes a request and what it costs ([`Ask`]), and reserves that. What is denied is
//! answered without calling the inner service. What is admitted is settled when the response's body ends, with what was
//! reserved or with what the handler reports of it ([`Admitted`], in the request's extensions).
//!
//! ```
//! use std::collections::HashMap;
//! use tollgate::{Cost, Limiter, Plan, http::{GateLayer, Who}};
//! # let plan = Plan::from_toml(include_str!("../../examples/policy.toml"))?;
//! let limiter = Limiter::builder(plan).build()?;
//! let (tier, requests) = (limiter.tier("verified").unwrap(), limiter.meter("requests").unwrap());
//!
//! // Whose key it is. A server looks into its own store; what is known is kept as an identity.
//! let keys = HashMap::from([("sk-17".to_owned(), limiter.identity(tier, "acct_17"))]);
//! let who = Who::bearer(move |key| keys.get(key).copied());
//!
//! let layer = GateLayer::new(limiter, who.costs(Cost::of(requests, 1)));
//! # let _ = layer;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Reserve or spend
//!
//! A request is reserved when it comes and settled when its response has ended, which is what a stream needs, a rule on what is
//! in flight, and a request that may fail and shall then cost nothing. Where every request costs what it costs, whatever
//! becomes of it, [`GateLayer::spends`] charges it when it comes: one look at its limits in place of two, and the response's
//! body is left as it is. An answer is then a body of the service's own type, which has to be `From<Bytes>`. axum's is; tonic's
//! is not, so that a service of its goes behind an axum router, or behind `tower::util::MapResponseLayer` with another body.
//!
//! # Ways out
//!
//! | what happens | what is settled |
//! |---|---|
//! | the body ends | what was reported; the reservation for meters of which nothing was |
//! | the service fails or panics, the client goes away, the body is dropped before its end | the same; where nothing at all was reported, as the policy's `on_drop` says |
//!
//! A status that says no, a router's 404 or 413 say, is a response like any other, and where nothing was reported pays what was
//! reserved. Where it shall not, what stands between the gate and the router reports 0 before: `examples/llm_api` does.
//!
//! What is held in flight is let go in each of them. A layer that catches panics belongs outside of this one: what it answers
//! inside is a response like any other. A connection that is upgraded is settled when its response has been sent. Of two gates,
//! one inside of the other, each charges for itself: what the inner one denies has been answered for the outer one, and a
//! handler finds the inner one's [`Admitted`].
//!
//! # Answers
//!
//! A denial is `429 Too Many Requests`, for tonic `RESOURCE_EXHAUSTED`; when to come back is rounded up to a second, and put
//! off by the policy's `retry_jitter`. The `RateLimit` fields follow draft-ietf-httpapi-ratelimit-headers-11 and tell of rules
//! of the caller's own account and organization alone: what a tier has left is made of what others took. A refusal by a tier's
//! total, its pool or an overflow line is `temporary-reduced-capacity`, one that evidence has brought about
//! `abnormal-usage-detected`, and neither says more. All are 429, none 503, which would make balancers take a healthy server out.
//!
//! An outer layer finds the whole [`Denial`](crate::Denial) in the extensions of the response.

mod address;
mod answer;
mod body;
mod error;
mod extract;
mod fields;
mod future;
mod grpc;
mod layer;
mod service;
mod spend;
mod usage;
// The tests' policy is text.
#[cfg(all(test, feature = "toml"))]
mod tests;

pub use address::ClientAddress;
pub use body::GateBody;
pub use error::{NetworkError, Rejection};
pub use extract::{Ask, Asks, Extract, Who};
pub use future::ResponseFuture;
pub use layer::GateLayer;
pub use service::Gate;
pub use spend::{Spend, SpendFuture, SpendLayer};
pub use usage::Admitted;
