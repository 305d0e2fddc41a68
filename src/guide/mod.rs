//! Guides: from an empty folder to a protected service, what numbers to choose, how to come from another limiter, and what to
//! do at three in the morning.

pub mod choosing_limits;
#[cfg(feature = "wait")]
pub mod from_governor;
#[cfg(feature = "tower")]
pub mod from_tower_governor;
#[cfg(feature = "tower")]
pub mod getting_started;
#[cfg(feature = "metrics")]
pub mod operating;
