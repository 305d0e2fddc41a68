//! Hierarchical rate limits, quotas and budgets for APIs with paying tiers.
#![forbid(unsafe_code)]

mod sync;
mod time;
mod meter;
mod id;
mod decision;
mod calendar;
mod policy;
mod bucket;
mod line;
mod table;
mod path;
mod limiter;

pub use calendar::Period;
pub use decision::{Denial, Level, Name, Receipt, Retry, RuleName};
pub use id::{Id, Identity, Organization, Tier};
pub use limiter::{
    BuildError, Builder, Caller, Explanation, Limiter, Permit, RuleState, Statistics, Subject,
};
pub use meter::{Cost, MAX_METERS, Meter};
pub use path::Settlement;
pub use policy::{
    Amount, ByteSize, DescribedLevel, DescribedMeter, DescribedRule, DescribedTier, Description, MostIn,
    Plan, Policy, PolicyCapacity, PolicyError, PolicyLevel, PolicyMeter, PolicyRule, PolicyRules, PolicyTier,
    PolicyTotal, Problem, QuantityError, TierBound, TokenRate, WindowLimit,
};
pub use time::{Clock, ManualClock, Nanos, SystemClock};
