//! A lease: a part of a bucket that is charged ahead, for many requests at once, and served from elsewhere.
//!
//! A bite charges a bucket once, and the lease is the stretch from `low` to `top` that the charge laid claim to: ticks
//! of supply for a rate, tokens of the window for a quota, tokens for a budget. Serving moves `low` up.
//!
//! Invariant: served late is not served twice. What a rate's lease serves at t lies above S(t), as if it were charged
//! then, and at most at `top`, which was within a burst of S when it was charged, nor a burst above S(t), where t was read
//! before that: so that whatever is admitted from t1 to t2, by the bucket or by leases, lies at distinct places above S(t1)
//! and at most a burst above S(t2). What supply has passed *evaporates*. What the bucket gave back since (R - R_c) has moved
//! later claims down, and so it moves the stretch: what is usable at t is min(top - low, top - S(t) - (R - R_c)).

#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use super::{Moment, quota, rate};
use crate::policy::{
    plan::{Limit, UNLIMITED},
    rate::Ticks,
};

/// A stretch of one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) low: u64,
    pub(crate) top: u64,
    /// What says whether the claim still holds: what the bucket of a rate had given back, the window of a quota.
    pub(crate) basis: u64,
}

/// Whether a bucket of this kind can be leased. What is in flight cannot: a check holds nothing, but must see all
/// that is held. Nor can a quota that follows its callers' zones: which window a charge counts in depends on what the bucket
/// holds.
pub(crate) fn is_leasable(limit: &Limit) -> bool {
    match limit {
        Limit::InFlight { .. } => false,
        Limit::Quota(quota) => quota.calendars == 0,
        Limit::Rate(_) | Limit::Budget { .. } => true,
    }
}

/// An amount in the units of a bucket's word.
pub(crate) fn in_units(limit: &Limit, amount: u64) -> u128 {
    match limit {
        Limit::Rate(rate) => u128::from(amount) << rate.shift,
        _ => u128::from(amount),
    }
}

/// What comes back to a bucket in so many nanoseconds, in the units of its word; `None` of one that does not refill steadily.
pub(crate) fn refill(limit: &Limit, nanos: u64) -> Option<u64> {
    match limit {
        Limit::Rate(rate) => Some(rate::supply(rate, nanos)),
        Limit::Quota(_) | Limit::Budget { .. } | Limit::InFlight { .. } => None,
    }
}

/// What is left of a bucket, and of how much, in its own units; `None` if it has no limit, or has moved on.
pub(crate) fn room(limit: &Limit, word: u64, moment: &Moment<'_>) -> Option<(u64, u64)> {
    match limit {
        Limit::Rate(rate) => {
            let owed = word.max(rate::supply(rate, moment.now) + rate.slack) - rate::supply(rate, moment.now);
            Some((rate.burst_ticks.saturating_sub(owed), rate.burst_ticks))
        }
        Limit::Quota(quota) => {
            let (_, window) = moment.window(quota.calendar)?;
            let used = quota::used_in(quota, word, u64::from(window.number));
            Some((quota.limit.saturating_sub(used), quota.limit))
        }
        Limit::Budget { limit: UNLIMITED } => None,
        Limit::Budget { limit } | Limit::InFlight { limit } => Some((limit.saturating_sub(word), *limit)),
    }
}

/// Charges one in `parts` of what is left besides `reserved`, and at most `most`; answers the bucket's word and the lease.
/// `None` where that is nothing, or the bucket is in a later window than the request.
pub(crate) fn bite(
    limit: &Limit,
    (word, refunded): (u64, u64),
    (reserved, parts, most): (u64, u64, u64),
    moment: &Moment<'_>,
) -> Option<(u64, Lease)> {
    let share =
        |left: u64| Some((left.saturating_sub(reserved) / parts.max(1)).min(most)).filter(|bite| *bite > 0);
    match limit {
        Limit::Rate(rate) => {
            let bite = share(room(limit, word, moment)?.0)?;
            let low = word.max(rate::supply(rate, moment.now) + rate.slack);
            Some((low + bite, Lease { low, top: low + bite, basis: refunded }))
        }
        Limit::Quota(quota) => {
            let (_, window) = moment.window(quota.calendar)?;
            let number = u64::from(window.number);
            let bite = share(room(limit, word, moment)?.0)?;
            if quota::unpack(quota, word).0 > number {
                return None;
            }
            let low = quota::used_in(quota, word, number);
            Some((quota::restate(quota, low + bite, window), Lease { low, top: low + bite, basis: number }))
        }
        // Counted, never refused: the lease counts up from nothing, and what it served is charged when it ends.
        Limit::Budget { limit: UNLIMITED } => Some((word, Lease { low: 0, top: UNLIMITED, basis: 0 })),
        Limit::Budget { .. } => {
            let bite = share(room(limit, word, moment)?.0)?;
            Some((word + bite, Lease { low: word, top: word + bite, basis: 0 }))
        }
        Limit::InFlight { .. } => None,
    }
}

/// The `low` of a lease after serving `amount`, or `None` if it has not that much. `refunded` is what the bucket has
/// given back by now.
#[inline]
pub(crate) fn serve(
    limit: &Limit,
    lease: Lease,
    refunded: u64,
    amount: u64,
    moment: &Moment<'_>,
) -> Option<u64> {
    let Lease { low, top, basis } = lease;
    match limit {
        Limit::Rate(rate) => {
            if amount > rate.burst {
                return None;
            }
            serve_plainly(&rate.ticks(), lease, refunded, amount, moment.now)
        }
        Limit::Quota(quota) => {
            let (_, window) = moment.window(quota.calendar)?;
            let to = low.checked_add(amount)?;
            (u64::from(window.number) == basis && to <= top).then_some(to)
        }
        Limit::Budget { .. } => low.checked_add(amount).filter(|to| *to <= top),
        Limit::InFlight { .. } => None,
    }
}

/// [`serve`] of a rate, for an `amount` that is at most the burst.
#[inline(always)]
pub(crate) fn serve_plainly(
    ticks: &Ticks,
    lease: Lease,
    refunded: u64,
    amount: u64,
    now: u64,
) -> Option<u64> {
    let Lease { low, top, basis } = lease;
    let moved = refunded.saturating_sub(basis);
    let supply = rate::supplied(ticks.multiplier, now);
    let from = low.saturating_sub(moved).max(supply + ticks.slack);
    // What is read while another writes the stripe may be anything; then the answer counts for nothing.
    let to = from.wrapping_add(amount * ticks.token);
    // By a clock that was read before the bite, a burst ends below the top.
    let top = top.saturating_sub(moved).min(supply + ticks.burst_ticks);
    (to <= top).then_some(to.wrapping_add(moved))
}

/// The bucket's word, once a lease has ended and what it did not serve is given back.
///
/// A rate takes back only the stretch that nothing was charged above of since: other claims then stay where they are, so
/// that neither they nor a late `moment` can mint. What is left below others is lost, as if it had evaporated.
pub(crate) fn give_back(
    limit: &Limit,
    (word, refunded): (u64, u64),
    lease: Lease,
    moment: &Moment<'_>,
) -> u64 {
    let Lease { low, top, basis } = lease;
    match limit {
        Limit::Rate(rate) => {
            let moved = refunded.saturating_sub(basis);
            let from = low.saturating_sub(moved).max(rate::supply(rate, moment.now) + rate.slack);
            let top = top.saturating_sub(moved);
            if top == word { word.min(from) } else { word }
        }
        Limit::Quota(quota) => quota::refund(quota, word, basis, top - low),
        Limit::Budget { limit: UNLIMITED } => word.saturating_add(low),
        Limit::Budget { .. } => word.saturating_sub(top - low),
        Limit::InFlight { .. } => word,
    }
}

/// The bucket's word, once all `leases` on it have ended: the one that reaches highest first, so that those which lie on each
/// other all come back.
pub(crate) fn give_all_back(
    limit: &Limit,
    (word, refunded): (u64, u64),
    leases: &mut [Lease],
    moment: &Moment<'_>,
) -> u64 {
    leases.sort_unstable_by_key(|lease| {
        Reverse(lease.top.saturating_sub(refunded.saturating_sub(lease.basis)))
    });
    leases.iter().fold(word, |word, lease| give_back(limit, (word, refunded), *lease, moment))
}
