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

/// Observations that a thread's ring holds between two calls of `maintain`; a power of two.
pub(crate) const RING_CELLS: usize = 4096;
/// Bytes of a ring: a cache line for each, and what says how far it has come.
const RING_BYTES: u64 = 64 * RING_CELLS as u64 + 256;
/// Bytes of the correlators for each account that they follow: 552 of the account itself, 16 values of 16 bytes, 32 values
/// remembered by 32 bits each, 96 of a past.
const FOLLOWED_BYTES: u64 = 552 + 16 * 16 + 32 * 4 + 96;
/// Bytes of what they have besides: habits of eight tiers, sources, organizations and tiers that were reported.
const COMMON_BYTES: u64 = 256 << 10;

/// Accounts that are followed, where `accounts` have a line.
pub(crate) fn followed(accounts: usize) -> usize {
    accounts.max(8).checked_next_power_of_two().unwrap_or(accounts)
}

/// Bytes that evidence takes at the most, where `accounts` have a line and threads have `stripes` rings.
pub(crate) fn evidence_bytes(accounts: usize, stripes: usize) -> u64 {
    let each = (followed(accounts) as u64).saturating_mul(FOLLOWED_BYTES);
    each.saturating_add(stripes as u64 * RING_BYTES).saturating_add(COMMON_BYTES)
}

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
