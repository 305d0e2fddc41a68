//! What a replay looked like over time: collected while it runs, drawn afterwards.
//!
//! Memory is bounded by the policy and by how many accounts there are, never by rows: times are kept by
//! [`Series`], which tell shorter traces by the minute and a month by four hours.

mod difference;
mod series;
mod traffic;
mod watch;

pub(crate) use self::{
    difference::{ByRule, Changed, Comparison, Difference},
    series::{Bin, Series},
    traffic::{Counts, Labelled, Traffic},
    watch::{CLASSES, Class, Cohort, Hurt, RuleKey, Sample, Shared, Watch, Watched},
};
