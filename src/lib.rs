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

pub use decision::{Denial, Level, Name, Receipt, Retry, RuleName};
pub use id::{Id, Identity, Organization, Tier};
pub use limiter::{
    BuildError, Builder, Caller, Explanation, Limiter, Permit, RuleState, Statistics, Subject,
};
pub use meter::{Cost, MAX_METERS, Meter};
pub use path::Settlement;
pub use policy::plan::Plan;
pub use time::{Clock, ManualClock, Nanos, SystemClock};
