//! A reference model of the whole limiter: a list of admissions for every rule of every subject.
//!
//! [`run`] takes a small policy and a sequence of operations, does each to a real limiter on a manual clock and
//! to the model, and panics at the first answer that the model does not allow. It is what `operations.rs` and the
//! fuzz target of the same name share; it needs no test framework.

pub mod bucket;
pub mod calendar;
pub mod operation;
pub mod policy;
pub mod run;
pub mod samples;
pub mod world;

pub use operation::{Operation, Settling};
pub use policy::{PolicyModel, TierModel};
pub use run::{Outcome, run};
