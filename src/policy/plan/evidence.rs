//! What a policy observes, and how evidence from outside weighs.

use crate::{decision::Name, meter::Meter};

/// How many attributes a policy may name.
pub(crate) const MAX_ATTRIBUTES: usize = 8;
/// How many cohorts there are at the most; they are numbered from 1.
pub(crate) const MAX_COHORTS: usize = 64;
/// How many kinds of signals a policy may name.
pub(crate) const MAX_SIGNALS: usize = 16;

/// Kinds of evidence that are independent of each other.
pub(crate) const KINDS: [&str; 9] =
    ["place", "payment", "prompt", "model", "rhythm", "movement", "lockstep", "other", "signal"];

/// What is observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EvidencePlan {
    pub(crate) attributes: Vec<Name>,
    /// The kinds of evidence that count, a bit for each of [`KINDS`].
    pub(crate) kinds: u16,
    /// The meter whose amounts are compared.
    pub(crate) meter: Option<Meter>,
    /// Nanoseconds.
    pub(crate) half_life: u64,
    /// Judges, and changes nothing.
    pub(crate) shadow: bool,
    pub(crate) signals: Vec<SignalPlan>,
}

/// One kind of evidence from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignalPlan {
    pub(crate) name: Name,
    /// Bits of one signal.
    pub(crate) weight: u32,
    /// The most bits on one account.
    pub(crate) cap: u32,
    /// Nanoseconds.
    pub(crate) half_life: u64,
}
