//! Leases: what many threads spend of a tier's total, or of a large organization, without meeting on its line.
//!
//! A *lot* is a few *stripes*, lines of their own; a thread always uses the same one of each. While a line is *hot*, that
//! is for [`HOT`] after two threads met there, checks are charged to leases on the thread's stripe rather than to
//! the line: its control word is only read then, and stays in every processor's cache.
//!
//! Each tier's total has a lot of its own. Organizations share [`SPARE_LOTS`]: the first that are hot have one, until they no
//! longer are and another is; where all are taken, threads meet on the line as before. Whose a lot is is written under the
//! guards of all its stripes; that it holds leases, the line alone says, in its factor word, which then tells of no tightening.
//!
//! Invariants:
//! - What a stripe holds was charged to the line before, so that leases never let through what the line would refuse
//!   ([`bucket::lease`]), and a lone caller, who meets nobody, never has one.
//! - A bite is one part in [`PARTS`] of what is left, shared by the stripes, so that all of them hold back at most that
//!   much of it. None is taken where under an eighth of the limit is left, and none after a refusal until half is.
//! - Whoever is refused by a line that has leases takes them all back and asks once more, so that what is denied for is
//!   not what a stripe still holds, but for what others lease anew between the two.
//! - What a stripe holds counts only while the line says that its lot has leases on it. Whoever lets the line say so
//!   for the first time empties all stripes before; whoever lets it say so no more, or is to write it otherwise than by
//!   charging and settling, takes all leases back before. An organization's slot is not given away while it says so.
//! - Whoever serves from a stripe has read its version before he found that the line, his organization's, still says so: from
//!   then on, who gives the lot to another writes the stripe.
//! - Guards are taken in this order: the stripes of a lot, lowest first, then the line that it is for; all of an organization
//!   before any of a total's. Under the guards of what comes earlier on a path a stripe may be waited for, under that of its
//!   own line never.
//!
//! # Reservations take none
//!
//! What a permit gives back of a rate depends on where its charge lies by then, which the line's word and R tell
//! ([`bucket::refund`]), and whatever was charged above it moves down with it: so it goes to the line, under its guard. A lease
//! is over after 10 ms, a permit when a stream ends; what it gave back to a lease that has ended would be lost, and what it
//! gave back to the next would come from another place than it was charged to. Charged to a lease and settled on the line, it
//! would spare one of its two writes there; but the line would know nothing of it while it is open: neither that it holds an
//! organization's slot, nor what it may give back beside all that is open, so that all would get less. Two threads that reserve
//! and give all back under one tier did 0.92 and 1.00 times what one did, with a tier each 1.50 and 1.43 (`cargo bench --bench
//! ratios -- "reserve and give back"`): the difference is the most that leases could bring, and they would not bring all of it.
//!
//! # Atomics and cache lines
//!
//! The stripes of a lot follow each other, and each begins a cache line; those of organizations follow those of totals. A
//! leased decision reads the line's first cache line, writes one of its stripe's for each rule that it spends of, and nothing
//! that a thread of another stripe reads. Control words are ordered as [`line`](crate::line) says. Owners are written under the
//! guards of all stripes of their lot and read under that of one, `Relaxed`; without one they are a hint.
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
/// Stripes of a lot at the most.
const MAX_STRIPES: usize = 64;
/// Lots for organizations: more than can be hot for long, since it takes two threads to make one so.
const SPARE_LOTS: usize = if cfg!(tollgate_loom) { 1 } else { 16 };
/// In place of an owner: a lot is nobody's.
const NOBODY: u64 = u64::MAX;
/// Requests that a share must be enough for: less would be taken anew at every turn.
const REQUESTS: u128 = 8;
/// Requests that a share is enough for where the rate is so low that little comes back while it is hot.
const ENOUGH: u128 = 64;
/// Words from one lease to the next: each is in a cache line of its own, at the same place.
const LEASE: usize = CACHE_LINE;

/// All leases.
#[derive(Debug)]
pub(crate) struct Leases {
    lines: Box<[CacheLine]>,
    stripes: usize,
    /// Cache lines of a stripe.
    stride: usize,
    /// How many lots, the first, are those of totals.
    totals: usize,
    /// Of each other lot, the slot of the organization that has it.
    owners: Box<[AtomicU64]>,
    taken: AtomicU64,
    recalled: AtomicU64,
}

/// A line to lease from, and the rules that it is taken to be under: where it is under others by now, nothing is leased and
/// nothing comes back.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) book: &'a Book,
    pub(crate) under: Under,
    pub(crate) rules: &'a LevelPlan,
    pub(crate) line: Line<'a>,
    pub(crate) refunds: Refunds<'a>,
}

impl Source<'_> {
    fn is_meant_by(&self, guard: &Guard<'_>) -> bool {
        self.book.is_latest() && guard.meta().under() == self.under
    }
}

impl Leases {
    /// For so many totals, and for organizations if there are any, of so many rules at most.
    pub(crate) fn new(totals: usize, organizations: bool, rules: usize) -> Leases {
        let stripes = stripes().min(MAX_STRIPES);
        let stride = rules.max(1);
        let owners: Box<[AtomicU64]> =
            (0..if organizations { SPARE_LOTS } else { 0 }).map(|_| AtomicU64::new(NOBODY)).collect();
        let count = (totals + owners.len()) * stripes * stride;
        let lines = (0..count).map(|_| CacheLine::default()).collect();
        let (taken, recalled) = (AtomicU64::new(0), AtomicU64::new(0));
        Leases { lines, stripes, stride, totals, owners, taken, recalled }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.lines) + size_of_val(&*self.owners)
    }

    /// How often leases were taken, and how often all of a line's were taken back.
    pub(crate) fn taken_and_recalled(&self) -> (u64, u64) {
        (self.taken.load(Ordering::Relaxed), self.recalled.load(Ordering::Relaxed))
    }

    /// The calling thread's stripe of a lot.
    #[inline]
    pub(crate) fn stripe(&self, lot: usize) -> Option<Line<'_>> {
        self.line(lot, self.own_stripe())
    }

    #[inline]
    fn own_stripe(&self) -> usize {
        // A power of two of them.
        thread_number() & (self.stripes - 1)
    }

    #[inline]
    fn line(&self, lot: usize, stripe: usize) -> Option<Line<'_>> {
        let first = (lot * self.stripes + stripe) * self.stride;
        Line::new(self.lines.get(first..)?.get(..self.stride)?)
    }

    /// The guards of all stripes of a lot, so that none is filled, or gives back, behind the back of who looks at the line.
    fn lock_all(&self, lot: usize) -> ArrayVec<Guard<'_>, MAX_STRIPES> {
        (0..self.stripes).filter_map(|stripe| self.line(lot, stripe)).map(|stripe| stripe.lock()).collect()
    }

    /// The lots of organizations, and the slot of who has each.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (usize, Option<u32>)> {
        let owner = |owner: &AtomicU64| u32::try_from(owner.load(Ordering::Relaxed)).ok();
        self.owners.iter().enumerate().map(move |(lot, who)| (self.totals + lot, owner(who)))
    }

    /// Gives a lot, that `from` has, to the organization in the slot `to`; whether it was still that one's, and `is_free`,
    /// since the line of that one does not say that it has leases there. It cannot come to say so meanwhile.
    pub(crate) fn hand_over(
        &self,
        lot: usize,
        (from, to): (Option<u32>, u32),
        is_free: impl Fn() -> bool,
    ) -> bool {
        let Some(owner) = lot.checked_sub(self.totals).and_then(|lot| self.owners.get(lot)) else {
            return false;
        };
        let mut stripes = self.lock_all(lot);
        let is_free = mutant("hand_over_without_second_look") || is_free();
        if owner.load(Ordering::Relaxed) != from.map_or(NOBODY, u64::from) || !is_free {
            return false;
        }
        owner.store(u64::from(to), Ordering::Relaxed);
        stripes.iter_mut().for_each(|stripe| stripe.set_written());
        true
    }

    /// Whether `slot`, if that is an organization's, has the lot: under the guard of one of its stripes.
    fn has(&self, slot: Option<u32>, lot: usize) -> bool {
        match lot.checked_sub(self.totals).and_then(|lot| self.owners.get(lot)) {
            Some(owner) => slot.is_some_and(|slot| owner.load(Ordering::Relaxed) == u64::from(slot)),
            None => slot.is_none(),
        }
    }

    /// Whether a request like the one of `cost`, which has met another on the line, may make it hot.
    pub(crate) fn is_worth_it(&self, source: Source<'_>, cost: &Cost, moment: &Moment<'_>) -> bool {
        let words = source.line.snapshot().words;
        self.has_room(source.rules, |index| words.get(index).copied().unwrap_or(0), (false, cost), moment)
    }

    /// Whether there is enough left of each bucket to be shared out, where parts of it are `leased` or none is.
    fn has_room(
        &self,
        rules: &LevelPlan,
        word: impl Fn(usize) -> u64,
        (leased, cost): (bool, &Cost),
        moment: &Moment<'_>,
    ) -> bool {
        // With leases out, down to an eighth; without, from a half on.
        let least = if leased { 8 } else { 2 };
        rules.rules.iter().enumerate().all(|(index, rule)| {
            lease::room(&rule.limit, word(index), moment).is_none_or(|(left, of)| {
                // What is kept for the light is not for sharing.
                let left = left.saturating_sub(reserved(rule));
                let requests = lease::in_units(&rule.limit, cost.amount(rule.meter)).saturating_mul(REQUESTS);
                u128::from(left) * least >= u128::from(of) && u128::from(left / self.parts()) >= requests
            })
        })
    }

    fn parts(&self) -> u64 {
        PARTS * self.stripes as u64
    }

    /// The most that one lease is: of a rate, since what was served of one lease lies above what was not of another, which is
    /// lost then, all together what comes back while it is hot, or what is worth the way here.
    fn most(&self, rule: &Rule, cost: &Cost) -> u64 {
        let refill = lease::refill(&rule.limit, HOT).map(|refill| refill / self.stripes as u64);
        let enough = lease::in_units(&rule.limit, cost.amount(rule.meter)).saturating_mul(ENOUGH);
        refill.map_or(u64::MAX, |refill| refill.max(u64::try_from(enough).unwrap_or(u64::MAX)))
    }

    /// Gives the calling thread's stripe of `lot` a new share of each bucket, for requests like the one of `cost`; `collided`
    /// if it just met another on the line, that of the organization in `slot` or a total's, which makes that hot. Where there
    /// is too little to share, what is leased comes back.
    pub(crate) fn refill(
        &self,
        source: Source<'_>,
        (lot, slot): (usize, Option<u32>),
        (collided, cost): (bool, &Cost),
        moment: &Moment<'_>,
    ) {
        if !self.try_refill(source, (lot, slot), (collided, cost), moment) {
            self.recall(source, moment);
        }
    }

    /// The same, but for what comes back; `false` where there is too little to share.
    fn try_refill(
        &self,
        source: Source<'_>,
        (lot, slot): (usize, Option<u32>),
        (collided, cost): (bool, &Cost),
        moment: &Moment<'_>,
    ) -> bool {
        let Source { rules, line, .. } = source;
        if rules.rules.is_empty() || !rules.rules.iter().all(is_leasable) {
            return true;
        }
        let leased = line.head().may_be_leased();
        if !leased && !collided {
            return true;
        }
        let mut stripes = if leased {
            self.stripe(lot).into_iter().map(|stripe| stripe.lock()).collect()
        } else {
            self.lock_all(lot)
        };
        let mut guard = line.lock();
        let is_ready = if leased { guard.lot() == Some(lot) } else { guard.is_in_good_standing(moment.now) };
        if !is_ready || guard.is_marked() || !source.is_meant_by(&guard) || !self.has(slot, lot) {
            return true;
        }
        if !self.has_room(rules, |index| guard.word(index).unwrap_or(0), (leased, cost), moment) {
            return false;
        }
        if !collided && !guard.is_hot(moment.now) {
            return true;
        }
        if !leased && !mutant("stripes_keep_what_was_lost") {
            // What is left there was forgotten when the line was written otherwise.
            for stripe in &mut stripes {
                (0..rules.rules.len()).for_each(|rule| set_lease(stripe, rule, Lease::default()));
            }
        }
        let Some(stripe) = stripes.get_mut(if leased { 0 } else { self.own_stripe() }) else { return true };
        self.fill(source, stripe, &mut guard, cost, moment);
        if collided {
            guard.set_hot(lot, moment.now.saturating_add(HOT));
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Gives back what the stripes hold of a line; nobody takes any more until it is hot anew. Answers whether there
    /// was any.
    pub(crate) fn recall(&self, source: Source<'_>, moment: &Moment<'_>) -> bool {
        let Some(lot) = source.line.head().lot() else { return false };
        let mut stripes = self.lock_all(lot);
        let mut guard = source.line.lock();
        if guard.lot() != Some(lot) || !source.is_meant_by(&guard) {
            return false;
        }
        let Source { rules, refunds, .. } = source;
        for (index, rule) in rules.rules.iter().enumerate() {
            let rate = rules.rates_before(index);
            let kept = refunds.kept(&rule.limit, rate);
            let word = guard.word(index).unwrap_or(0);
            let mut leases = leases_of(&stripes, index);
            let word = lease::give_all_back(&rule.limit, (word, kept.refunded), &mut leases, moment);
            guard.set_word(index, word);
            // What was served of them was served after it was charged.
            refunds.keep(&rule.limit, rate, kept.afresh(word));
            if !mutant("recall_keeps_the_lease") {
                stripes.iter_mut().for_each(|stripe| set_lease(stripe, index, Lease::default()));
            }
        }
        guard.set_cold();
        self.recalled.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// A copy of a line as if all that stripes hold of it had come back, which stays with them; `None` where nothing is leased
    /// of it by now, or it is under other rules than it is taken to be.
    pub(crate) fn spent(&self, source: Source<'_>, moment: &Moment<'_>) -> Option<Snapshot> {
        let Source { rules, line, refunds, .. } = source;
        let lot = line.head().lot()?;
        let stripes = self.lock_all(lot);
        let guard = line.lock();
        if guard.lot() != Some(lot) || !source.is_meant_by(&guard) {
            return None;
        }
        let mut seen = guard.snapshot();
        for (index, (rule, word)) in rules.rules.iter().zip(&mut seen.words).enumerate() {
            let refunded = refunds.kept(&rule.limit, rules.rates_before(index)).refunded;
            let mut leases = leases_of(&stripes, index);
            *word = lease::give_all_back(&rule.limit, (*word, refunded), &mut leases, moment);
        }
        Some(seen)
    }

    /// Ends those leases of a stripe that are not good for a request of `cost`, and takes others.
    fn fill(
        &self,
        Source { rules, refunds, .. }: Source<'_>,
        stripe: &mut Guard<'_>,
        guard: &mut Guard<'_>,
        cost: &Cost,
        moment: &Moment<'_>,
    ) {
        for (index, rule) in rules.rules.iter().enumerate() {
            let rate = rules.rates_before(index);
            let kept = refunds.kept(&rule.limit, rate);
            let Some(word) = guard.word(index) else { return };
            let old = lease_of(|place| stripe.word(place).unwrap_or(0), index);
            if lease::serve(&rule.limit, old, kept.refunded, cost.amount(rule.meter), moment).is_some() {
                // Below another, it would not come back.
                continue;
            }
            let word = lease::give_back(&rule.limit, (word, kept.refunded), old, moment);
            let share = (reserved(rule), self.parts(), self.most(rule, cost));
            let bite = lease::bite(&rule.limit, (word, kept.refunded), share, moment);
            let (word, new) = bite.unwrap_or((word, Lease::default()));
            guard.set_word(index, word);
            // What was served of the old lease was served after it was charged.
            refunds.keep(&rule.limit, rate, kept.afresh(word));
            set_lease(stripe, index, new);
        }
    }
}

fn set_lease(stripe: &mut Guard<'_>, rule: usize, lease: Lease) {
    for (offset, value) in [lease.low, lease.top, lease.basis].into_iter().enumerate() {
        stripe.set_word(LEASE * rule + offset, value);
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
    // Without the line's guard: a refund that is made meanwhile is as if it were made after this.
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

/// What all stripes hold of a rule's bucket.
fn leases_of(stripes: &[Guard<'_>], rule: usize) -> ArrayVec<Lease, MAX_STRIPES> {
    stripes.iter().map(|stripe| lease_of(|place| stripe.word(place).unwrap_or(0), rule)).collect()
}

fn lease_of(word: impl Fn(usize) -> u64, rule: usize) -> Lease {
    let place = LEASE * rule;
    Lease { low: word(place), top: word(place + 1), basis: word(place + 2) }
}
