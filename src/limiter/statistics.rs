//! What a limiter holds and what has seldom happened.

use super::{EvidenceStatistics, Limiter, Shared, maintain::Observer};
use crate::sync::{AtomicU64, Ordering};

/// Rare events. Each counter is touched only when its event happens.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) overflowed: AtomicU64,
    pub(super) clipped_refunds: AtomicU64,
    pub(super) cut_overages: AtomicU64,
    pub(super) stale_settles: AtomicU64,
    pub(super) wall_steps: AtomicU64,
    pub(super) refused_wall_steps: AtomicU64,
}

/// What a limiter holds and what has seldom happened, for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Statistics {
    /// Accounts that have a line.
    pub accounts: u64,
    /// Organizations that have a line.
    pub organizations: u64,
    /// Accounts of which only quotas and budgets are kept.
    pub parked_accounts: u64,
    /// Organizations of which only quotas and budgets are kept.
    pub parked_organizations: u64,
    /// Bytes in the tables, fixed when the limiter was built.
    pub bytes: u64,
    /// Requests admitted on a tier's overflow line.
    pub overflowed: u64,
    /// Settlements of which a part could not be given back to a rate bucket.
    pub clipped_refunds: u64,
    /// Permits that were opened while there was no room to note what they reserve of their account's rates, which get nothing
    /// back of them: there is for an eighth of the accounts, of up to 1,024 for all, to have permits open at a time.
    pub unnoted_permits: u64,
    /// Settlements of which a part could not be charged to a rate bucket.
    pub cut_overages: u64,
    /// Settlements that found another subject on a line.
    pub stale_settles: u64,
    /// Times that a thread took a part of a tier's total for itself, since threads had met there.
    pub leases_taken: u64,
    /// Times that all of those were given back: before a refusal, an explanation, or when threads met no longer.
    pub leases_recalled: u64,
    /// Times that an account or organization came with another tier than before: what it owes was carried over by rule name.
    pub tier_moves: u64,
    /// Those of them that were back to the tier which it had just left: somebody that flaps, most likely because two parts
    /// of a server do not agree.
    pub tier_flaps: u64,
    /// Times that a quota of an account or organization came to count in the windows of another zone: once for each where an
    /// organization has moved, over and over where two parts of a server do not agree.
    pub zone_moves: u64,
    /// Times that the wall clock was found stepped, and calendars followed.
    pub wall_steps: u64,
    /// Times that the wall clock was found too far ahead to be followed.
    pub refused_wall_steps: u64,
    /// What was observed, and what it has come to; `None` for a policy without `[evidence]`.
    pub evidence: Option<EvidenceStatistics>,
}

impl Limiter {
    /// Occupancy and rare events. Reads two bytes for each slot of the tables.
    pub fn statistics(&self) -> Statistics {
        let Shared { lines, counters, .. } = &*self.shared;
        let (accounts, organizations) = (lines.accounts.occupancy(), lines.organizations.occupancy());
        let (tier_moves, tier_flaps) = lines.moved_and_back();
        let (leases_taken, leases_recalled) = lines.leases.taken_and_recalled();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            accounts: accounts.subjects as u64,
            organizations: organizations.subjects as u64,
            parked_accounts: accounts.parked as u64,
            parked_organizations: organizations.parked as u64,
            bytes: lines.bytes() as u64,
            overflowed: count(&counters.overflowed),
            clipped_refunds: count(&counters.clipped_refunds),
            unnoted_permits: lines.accounts.unnoted_permits(),
            cut_overages: count(&counters.cut_overages),
            stale_settles: count(&counters.stale_settles),
            leases_taken,
            leases_recalled,
            tier_moves,
            tier_flaps,
            zone_moves: lines.zone_moves(),
            wall_steps: count(&counters.wall_steps),
            refused_wall_steps: count(&counters.refused_wall_steps),
            evidence: self.shared.observer.as_ref().map(Observer::statistics),
        }
    }
}
