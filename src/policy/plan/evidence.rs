//! What a policy observes, and how evidence from outside weighs.

use crate::decision::Name;

/// How many attributes a policy may name.
pub(crate) const MAX_ATTRIBUTES: usize = 8;
/// How many kinds of signals a policy may name.
pub(crate) const MAX_SIGNALS: usize = 16;

/// What is observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EvidencePlan {
    pub(crate) attributes: Vec<Name>,
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
    /// Points of one signal, where 100 make a suspect.
    pub(crate) weight: u32,
    /// The most that one source adds up to on one subject.
    pub(crate) cap: u32,
    /// Nanoseconds.
    pub(crate) half_life: u64,
}
