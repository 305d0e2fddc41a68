//! Hierarchical rate limits, quotas and budgets for APIs with paying tiers.
#![forbid(unsafe_code)]

mod sync;
mod time;
mod meter;
mod decision;
mod calendar;
mod policy;

pub use calendar::Period;
pub use decision::{Level, Name, RuleName};
pub use meter::{Cost, MAX_METERS, Meter};
pub use policy::{
    Amount, ByteSize, DescribedLevel, DescribedMeter, DescribedRule, DescribedTier, Description, MostIn,
    Plan, Policy, PolicyCapacity, PolicyError, PolicyLevel, PolicyMeter, PolicyRule, PolicyRules, PolicyTier,
    PolicyTotal, Problem, QuantityError, TierBound, TokenRate, WindowLimit,
};
pub use time::{Clock, ManualClock, Nanos, SystemClock};
