//! Policy: what an operator writes (`spec`), every check (`compile`), and what the request path reads (`plan`).
//!
//! Invariant: a [`Plan`](plan::Plan) comes only out of `compile`, which has checked all of it.

pub(crate) mod book;
mod compile;
pub(crate) mod describe;
pub(crate) mod error;
pub(crate) mod exception;
#[cfg(feature = "governor")]
mod governor;
pub(crate) mod plan;
pub(crate) mod quantity;
pub(crate) mod rate;
pub(crate) mod spec;
pub(crate) mod succeed;
#[cfg(feature = "toml")]
mod text;

pub use self::{
    describe::{
        DescribedLevel, DescribedMeter, DescribedRule, DescribedTier, Description, MostIn, TierBound,
    },
    error::{PolicyError, Problem},
    plan::Plan,
    quantity::{Amount, ByteSize, QuantityError, Share, Span, TokenRate, WindowLimit},
    spec::{
        OnDrop, OnStall, Policy, PolicyCapacity, PolicyEvidence, PolicyFloor, PolicyLevel, PolicyMeter,
        PolicyRamp, PolicyReserve, PolicyRule, PolicyRules, PolicySignal, PolicyTier, PolicyTotal,
    },
    succeed::ReloadError,
};
