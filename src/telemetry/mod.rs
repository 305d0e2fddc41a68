//! Metrics (feature `metrics`) and events (feature `tracing`).
//!
//! Both are told of decisions as an [`Audit`](crate::Audit), by the layer of [`http`](crate::http) or by a server's own code,
//! and of housekeeping after each call of [`maintain`](crate::Limiter::maintain). The limiter itself calls neither: what is
//! off costs nothing on the request path, and what is on costs it nothing either, only those who tell.
//!
//! No label and no field names an account or an organization. Labels are of the policy: its tiers, meters and rules, and a
//! few fixed words; there are as many series as a policy has rules, and no more however many callers come.

#[cfg(feature = "tracing")]
mod events;
#[cfg(feature = "metrics")]
mod metrics;
// The tests' policy is text.
#[cfg(all(test, feature = "toml"))]
mod tests;

#[cfg(feature = "tracing")]
pub use events::Events;
#[cfg(feature = "metrics")]
pub use metrics::Metrics;

use crate::decision::{Denial, Level, Retry};

/// How a denial came about, in a word.
fn outcome(denial: &Denial) -> &'static str {
    match denial.retry() {
        _ if denial.overflow() => "overflow",
        _ if denial.tightened() => "tightened",
        _ if denial.withheld() => "withheld",
        Retry::Never => "never",
        Retry::OnRelease => "in_flight",
        Retry::After(_) => "denied",
    }
}

fn name_of(level: Level) -> &'static str {
    match level {
        Level::Account => "account",
        Level::Cohort => "cohort",
        Level::Organization => "organization",
        Level::Pool => "pool",
        Level::Tier => "tier",
    }
}
