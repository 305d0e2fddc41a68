//! Leases: what many threads spend of a tier's total without meeting on its line.
//!
//! Each tier has a few *stripes*, lines of their own; a thread always uses the same one. While a total is *hot*, that
//! is for [`HOT`] after two threads met on its line, checks are charged to leases on the thread's stripe rather than to
//! the line: its control word is only read then, and stays in every processor's cache.
//!
//! Invariants:
//! - What a stripe holds was charged to the total before, so that leases never let through what the total would refuse
//!   ([`bucket::lease`]), and a lone caller, who meets nobody, never has one.
//! - A bite is one part in [`PARTS`] of what is left, shared by the stripes, so that all of them hold back at most that
//!   much of it. None is taken where under an eighth of the limit is left, and none after a refusal until half is.
//! - Whoever is refused by a total that has leases takes them all back and asks once more, so that what is denied for is
//!   not what a stripe still holds.
//! - Guards are taken in this order: stripes, lowest first, then the total. Neither is held while waiting for an account's
//!   or an organization's.
//!
//! In the total's line, the factor word, which tightening never uses there, says until when it is hot; 0 where no stripe
//! has anything.
//!
//! | stripe's word | what |
//! |---|---|
//! | 8n, 8n + 1, 8n + 2 | low, top and basis of the lease on rule n |

use arrayvec::ArrayVec;

#[cfg(all(test, tollgate_loom))]
mod loom_tests;

use crate::{
    bucket::{
        Moment,
        lease::{self, Lease},
    },
    line::{CacheLine, Guard, Line, Refunds, Snapshot, Word},
    meter::Cost,
    policy::{
        book::Book,
        plan::{CACHE_LINE, Charge, LevelPlan, Rule, StraightRate, Under},
    },
    sync::{AtomicU64, Ordering, mutant, stripes, thread_number},
};

/// How long a total stays hot after a collision, in nanoseconds: long beside a collision, short beside a burst of load.
const HOT: u64 = 10_000_000;
/// All stripes together take one part in this many of what is left.
const PARTS: u64 = 16;
/// Stripes of a total at the most.
const MAX_STRIPES: usize = 64;
/// Requests that a share must be enough for: less would be taken anew at every turn.
const REQUESTS: u128 = 8;
/// Words from one lease to the next: each is in a cache line of its own, at the same place.
const LEASE: usize = CACHE_LINE;

/// The leases on all totals.
#[derive(Debug)]
pub(crate) struct Leases {
    lines: Box<[CacheLine]>,
    stripes: usize,
    /// Cache lines of a stripe.
    stride: usize,
    taken: AtomicU64,
    recalled: AtomicU64,
}

/// A total to lease from, and the rules that it is taken to be under: where it is under others by now, nothing is leased and
/// nothing comes back.
#[derive(Clone, Copy)]
pub(crate) struct Total<'a> {
    pub(crate) book: &'a Book,
    pub(crate) under: Under,
    pub(crate) rules: &'a LevelPlan,
    pub(crate) line: Line<'a>,
    pub(crate) refunds: Refunds<'a>,
}

impl Total<'_> {
    fn is_meant_by(&self, guard: &Guard<'_>) -> bool {
        self.book.is_latest() && guard.meta().under() == self.under
    }
}

impl Leases {
    /// For so many totals of so many rules.
    pub(crate) fn new(tiers: usize, rules: usize) -> Leases {
        let stripes = stripes().min(MAX_STRIPES);
        let stride = rules.max(1);
        let lines = (0..tiers * stripes * stride).map(|_| CacheLine::default()).collect();
        Leases { lines, stripes, stride, taken: AtomicU64::new(0), recalled: AtomicU64::new(0) }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }

    /// How often leases were taken, and how often all of a total's were taken back.
    pub(crate) fn taken_and_recalled(&self) -> (u64, u64) {
        (self.taken.load(Ordering::Relaxed), self.recalled.load(Ordering::Relaxed))
    }

    /// The calling thread's stripe of a tier's total.
    #[inline]
    pub(crate) fn stripe(&self, tier: u8) -> Option<Line<'_>> {
        // A power of two of them.
        self.line(tier, thread_number() & (self.stripes - 1))
    }

    #[inline]
    fn line(&self, tier: u8, stripe: usize) -> Option<Line<'_>> {
        let first = (usize::from(tier) * self.stripes + stripe) * self.stride;
        Line::new(self.lines.get(first..)?.get(..self.stride)?)
    }

    /// The guards of all stripes of a tier's total, so that none is filled, or gives back, behind the back of who looks at the
    /// total.
    fn lock_all(&self, tier: u8) -> ArrayVec<Guard<'_>, MAX_STRIPES> {
        (0..self.stripes).filter_map(|stripe| self.line(tier, stripe)).map(|stripe| stripe.lock()).collect()
    }

    /// Gives the calling thread's stripe a new share of each bucket, for requests like the one of `cost`; `collided` if it
    /// just met another on the total's line, which makes that hot. Where there is too little to share, what is leased
    /// comes back.
    pub(crate) fn refill(&self, total: Total<'_>, collided: bool, cost: &Cost, moment: &Moment<'_>) {
        if !self.try_refill(total, collided, cost, moment) {
            self.recall(total, moment);
        }
    }

    /// The same, but for what comes back; `false` where there is too little to share.
    fn try_refill(&self, total: Total<'_>, collided: bool, cost: &Cost, moment: &Moment<'_>) -> bool {
        let Total { under, rules, line, .. } = total;
        if rules.rules.is_empty() || !rules.rules.iter().all(is_leasable) {
            return true;
        }
        let Some(stripe) = self.stripe(under.tier()) else { return true };
        let mut stripe = stripe.lock();
        let mut guard = line.lock();
        if !total.is_meant_by(&guard) || guard.is_marked() {
            return true;
        }
        // With leases out, down to an eighth; without, from a half on.
        let least = if guard.may_be_leased() { 8 } else { 2 };
        let parts = PARTS * self.stripes as u64;
        let has_room = |rule: &Rule, (left, of): (u64, u64)| {
            // What is kept for the light is not for sharing.
            let left = left.saturating_sub(reserved(rule));
            let requests = lease::in_units(&rule.limit, cost.amount(rule.meter)).saturating_mul(REQUESTS);
            u128::from(left) * least >= u128::from(of) && u128::from(left / parts) >= requests
        };
        let rooms = rules.rules.iter().enumerate().all(|(index, rule)| {
            let word = guard.word(index).unwrap_or(0);
            lease::room(&rule.limit, word, moment).is_none_or(|room| has_room(rule, room))
        });
        if !rooms {
            return false;
        }
        if !collided && !guard.is_hot(moment.now) {
            return true;
        }
        self.exchange(total, &mut stripe, &mut guard, moment, |rule, words| {
            lease::bite(&rule.limit, words, reserved(rule), parts, moment)
        });
        if collided {
            guard.set_hot(moment.now.saturating_add(HOT));
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Gives back what the stripes of a total hold; nobody takes any more until it is hot anew. Answers whether there
    /// was any.
    pub(crate) fn recall(&self, total: Total<'_>, moment: &Moment<'_>) -> bool {
        let Total { under, line, .. } = total;
        if !line.head().may_be_leased() {
            return false;
        }
        let mut stripes = self.lock_all(under.tier());
        let mut guard = line.lock();
        if !total.is_meant_by(&guard) {
            return false;
        }
        for stripe in &mut stripes {
            self.exchange(total, stripe, &mut guard, moment, |_, _| None);
        }
        guard.set_cold();
        self.recalled.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// A copy of the line of a total as if all that stripes hold of it had come back, which stays with them; `None` where it is
    /// under other rules than it is taken to be.
    pub(crate) fn spent(&self, total: Total<'_>, moment: &Moment<'_>) -> Option<Snapshot> {
        let Total { under, rules, line, refunds, .. } = total;
        let stripes = self.lock_all(under.tier());
        let guard = line.lock();
        if !total.is_meant_by(&guard) {
            return None;
        }
        let mut seen = guard.snapshot();
        for (index, (rule, word)) in rules.rules.iter().zip(&mut seen.words).enumerate() {
            let refunded = refunds.kept(&rule.limit, rules.rates_before(index)).refunded;
            for stripe in &stripes {
                let lease = lease_of(|place| stripe.word(place).unwrap_or(0), index);
                *word = lease::give_back(&rule.limit, (*word, refunded), lease, moment);
            }
        }
        Some(seen)
    }

    /// Ends the leases of a stripe and begins those that `next` makes of a bucket and what it ever gave back.
    fn exchange(
        &self,
        Total { rules, refunds, .. }: Total<'_>,
        stripe: &mut Guard<'_>,
        guard: &mut Guard<'_>,
        moment: &Moment<'_>,
        next: impl Fn(&Rule, (u64, u64)) -> Option<(u64, Lease)>,
    ) {
        for (index, rule) in rules.rules.iter().enumerate() {
            let rate = rules.rates_before(index);
            let kept = refunds.kept(&rule.limit, rate);
            let Some(word) = guard.word(index) else { return };
            let old = lease_of(|place| stripe.word(place).unwrap_or(0), index);
            let word = lease::give_back(&rule.limit, (word, kept.refunded), old, moment);
            let (word, new) = next(rule, (word, kept.refunded)).unwrap_or((word, Lease::default()));
            guard.set_word(index, word);
            // What was served of the old lease was served after it was charged.
            refunds.keep(&rule.limit, rate, kept.afresh(word));
            if mutant("recall_keeps_the_lease") && new == Lease::default() {
                continue;
            }
            for (offset, value) in [new.low, new.top, new.basis].into_iter().enumerate() {
                stripe.set_word(LEASE * index + offset, value);
            }
        }
    }
}

/// The word of a stripe that serving `amount` moves, and what it becomes; `None` if the lease has not that much.
#[inline]
pub(crate) fn serve<'a>(
    stripe: &Line<'a>,
    charge: &Charge,
    refunds: Refunds<'_>,
    amount: u64,
    moment: &Moment<'_>,
) -> Option<(Word<'a>, u64)> {
    let index = usize::from(charge.index);
    let lease = lease_of(|place| stripe.word(place).map_or(0, |word| word.load()), index);
    // Without the total's guard: a refund that is made meanwhile is as if it were made after this.
    let refunded = refunds.of_bucket(&charge.limit, usize::from(charge.rate));
    let low = lease::serve(&charge.limit, lease, refunded, amount, moment)?;
    Some((stripe.word(LEASE * index)?, low))
}

/// [`serve`] of a rate of the straight lane, for an `amount` that is at most the burst: the new low, for [`set_low`].
#[inline(always)]
pub(crate) fn serve_plainly(
    stripe: &Line<'_>,
    rate: &StraightRate,
    refunded: u64,
    amount: u64,
    now: u64,
) -> Option<u64> {
    let lease = lease_of(|place| stripe.word(place).map_or(0, |word| word.load()), usize::from(rate.index));
    lease::serve_plainly(&rate.ticks, lease, refunded, amount, now)
}

/// Moves up the low of the lease on a rate of the straight lane, under the stripe's guard.
#[inline(always)]
pub(crate) fn set_low(stripe: &Line<'_>, rate: &StraightRate, low: u64) {
    if let Some(word) = stripe.word(LEASE * usize::from(rate.index)) {
        word.store(low);
    }
}

/// Whether parts of a rule's bucket can be leased: what it tells or watches is not seen on a lease.
fn is_leasable(rule: &Rule) -> bool {
    lease::is_leasable(&rule.limit) && !rule.shadow && rule.soft == 0
}

/// What a rule keeps for the light, in the units of its bucket's word.
fn reserved(rule: &Rule) -> u64 {
    u64::try_from(lease::in_units(&rule.limit, rule.reserved)).unwrap_or(u64::MAX)
}

fn lease_of(word: impl Fn(usize) -> u64, rule: usize) -> Lease {
    let place = LEASE * rule;
    Lease { low: word(place), top: word(place + 1), basis: word(place + 2) }
}
