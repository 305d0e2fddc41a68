//! Hierarchical rate limits, quotas and budgets for APIs with paying tiers.
#![forbid(unsafe_code)]

mod sync;
mod time;
mod meter;
mod decision;
mod calendar;
mod policy;

pub use decision::{Level, Name, RuleName};
pub use meter::{Cost, MAX_METERS, Meter};
pub use policy::plan::Plan;
pub use time::{Clock, ManualClock, Nanos, SystemClock};
