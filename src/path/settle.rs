//! What a permit holds, and how it is settled.
//!
//! A permit names its lines by slot and generation, so that it keeps no borrow and pins no memory but its slots: an
//! open permit is counted on its line, and a line with open permits is not given to another subject. If it happens
//! all the same (a subject was forgotten on purpose), the generation differs and nothing is settled there.

use std::sync::Arc;

use arrayvec::ArrayVec;

use super::{Home, Lines, Note, Taken};
use crate::{
    bucket::{self, Factor, Mode, Moment, Words},
    decision::Level,
    id::Identity,
    line::Held,
    meter::{Cost, MAX_METERS, Meter},
    policy::{
        book::Book,
        plan::{Charge, LEVELS, Limit, MAX_PATH_RULES, Plan, Present, TierPlan},
    },
    sync::mutant,
};

/// One line that a permit was charged to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visited {
    home: Home,
    generation: u32,
    epoch: u32,
    factor: Factor,
}

/// The mark of a rate that keeps nothing for the permit: as if what it reserved had been spent at once.
const UNKNOWN: u64 = u64::MAX;

/// The places in the book of what was different for account, organization and tier, counted from 1; 0 for nothing.
pub(super) type Excepted = [u16; 3];

/// All that a permit was charged to.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    /// What it was charged by, and the tier; none before it was.
    book: Option<Arc<Book>>,
    tier: u8,
    excepted: Excepted,
    /// The levels that were charged.
    present: Present,
    held: ArrayVec<Visited, { LEVELS.len() }>,
    /// For each bucket that was charged, in the order of the plan's charges, what [`bucket::open`] says to note.
    marks: ArrayVec<u64, MAX_PATH_RULES>,
}

/// What settling a permit could not do to the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    clipped: [u64; MAX_METERS],
    cut: [u64; MAX_METERS],
    stale: bool,
}

impl Settlement {
    /// How much of the unused reservation of `meter` a rate bucket could not take back, because supply had already
    /// made up for it and would have been lost to a full bucket, or because too many accounts had permits open when it was
    /// reserved ([`unnoted_permits`](crate::Statistics::unnoted_permits)); the most over the rules on the path.
    pub fn clipped(&self, meter: Meter) -> u64 {
        self.clipped.get(meter.index()).copied().unwrap_or(0)
    }

    /// How much of what was used of `meter` beyond the reservation a rate bucket was not charged, because it would
    /// have gone further below empty than `max_debt`; the most over the rules on the path.
    pub fn cut(&self, meter: Meter) -> u64 {
        self.cut.get(meter.index()).copied().unwrap_or(0)
    }

    /// Whether a line that was charged has another subject now, so that nothing was settled there.
    pub fn stale(&self) -> bool {
        self.stale
    }

    pub(crate) fn any_clipped(&self) -> bool {
        self.clipped.iter().fold(0, |any, clipped| any | clipped) != 0
    }

    pub(crate) fn any_cut(&self) -> bool {
        self.cut.iter().fold(0, |any, cut| any | cut) != 0
    }
}

impl Hold {
    pub(crate) fn new(identity: &Identity) -> Hold {
        Hold {
            book: None,
            excepted: [0; 3],
            tier: identity.tier.as_u8(),
            present: Present::plain(identity.organization.is_some()),
            held: ArrayVec::new(),
            marks: ArrayVec::new(),
        }
    }

    /// The account's slot, and how many subjects that had held; `None` where it was charged on an overflow line.
    pub(crate) fn account(&self) -> Option<(u32, u32)> {
        self.held.iter().find_map(|held| match held.home {
            Home::Account(slot) => Some((slot, held.generation)),
            _ => None,
        })
    }

    /// What it was charged by; `None` before it was.
    pub(crate) fn book(&self) -> Option<&Book> {
        self.book.as_deref()
    }

    /// The limit that a bucket had when it was charged.
    fn limit_of<'a>(&'a self, charge: &'a Charge) -> &'a Limit {
        let place = match charge.level {
            Level::Account => self.excepted[0],
            Level::Organization => self.excepted[1],
            Level::Tier => self.excepted[2],
            Level::Cohort | Level::Pool => 0,
        };
        let place = usize::from(place).checked_sub(1);
        let exceptions = self.book.as_ref().map(|book| &book.exceptions);
        let exception = place.zip(exceptions).and_then(|(place, known)| known.get(place));
        exception.and_then(|known| known.limit(self.tier, charge.index)).unwrap_or(&charge.limit)
    }

    /// Replaces the charge of `reserved` by one of `actual` on every line, one line after the other, at `moment` or at
    /// what `clock` says then, whichever is later.
    ///
    /// A line that is under other rules by now is settled by rule name. `latest` gets the latest book where `book` is not.
    pub(crate) fn settle(
        &self,
        lines: &Lines,
        (book, latest): (&Book, impl Fn() -> Arc<Book>),
        (reserved, actual): (&Cost, &Cost),
        moment: &Moment<'_>,
        clock: impl Fn() -> u64,
    ) -> Settlement {
        let mut settlement = Settlement::default();
        let Some(by) = self.book.as_ref().map(|book| &*book.plan) else { return settlement };
        let Some(tier) = by.tiers.get(usize::from(self.tier)) else { return settlement };
        let mut later: Option<Arc<Book>> = None;
        for held in &self.held {
            let level = held.home.level();
            let Some(line) = lines.line(held.home) else { continue };
            let mut guard = line.lock();
            if guard.generation() != held.generation && !mutant("settle_ignores_generation") {
                settlement.stale = true;
                continue;
            }
            let refunds = lines.refunds(held.home);
            guard.close_permit();
            let leased = guard.may_be_leased();
            let none_open = guard.open_permits() == 0;
            // Read under the guard, so that it is no earlier than any charge: what is given back depends on it. Only where
            // it does.
            let mut clocked = None;
            // Under the guard, so that nobody brings the line under later rules meanwhile.
            while !later.as_deref().unwrap_or(book).is_latest() {
                later = Some(latest());
            }
            let book = later.as_deref().unwrap_or(book);
            let meta = guard.meta();
            let current = book.rules(meta.under()).unwrap_or(tier);
            let same = meta.epoch() == held.epoch;
            let mut marks = self.marks.iter();
            for meter in reserved.spent_or(actual) {
                for charged in tier.charges(meter, self.present) {
                    // In the order in which they were noted.
                    let mark = if reserved.amount(meter) == 0 { None } else { marks.next().copied() };
                    if charged.level != level {
                        continue;
                    }
                    let charged_by = self.limit_of(charged);
                    let amounts =
                        (bucket::asked(charged_by, reserved.amount(meter), Mode::Hold), actual.amount(meter));
                    let counterpart = if same {
                        Some((charged, true))
                    } else {
                        counterpart(charged, (by, tier), (&book.plan, current), meta.moved())
                    };
                    let Some((charge, carried)) = counterpart else { continue };
                    let mark = mark.filter(|_| same || carried && speaks_of(charged, charge));
                    let mark =
                        mark.filter(|mark| *mark != UNKNOWN || !matches!(charge.limit, Limit::Rate(_)));
                    let (index, rate) = (usize::from(charge.index), usize::from(charge.rate));
                    let Some(word) = guard.word(index) else { continue };
                    if none_open && bucket::stays(&charge.limit, amounts) {
                        refunds.close(&charge.limit, rate);
                        continue;
                    }
                    let now = *clocked.get_or_insert_with(|| moment.now.max(clock()));
                    let moment = &Moment { now, calendars: &book.plan.calendars, ..*moment };
                    let words = Words { word, kept: refunds.kept(&charge.limit, rate) };
                    let terms = (held.factor, leased);
                    let limits = (&charge.limit, if same { charged_by } else { &charge.limit });
                    let settled = bucket::settle(limits, words, mark, amounts, terms, moment);
                    let Words { word, kept } = settled.words;
                    guard.set_word(index, word);
                    let kept = if none_open { kept.with_none_open() } else { kept };
                    refunds.keep(&charge.limit, rate, kept);
                    settlement.count(meter, settled.clipped, settled.cut);
                }
            }
            if none_open {
                refunds.let_go();
            }
        }
        settlement
    }
}

impl Note for Hold {
    const MODE: Mode = Mode::Hold;

    #[inline]
    fn charged_by(&mut self, book: &Arc<Book>) {
        self.book = Some(Arc::clone(book));
    }

    #[inline]
    fn excepted(&mut self, excepted: Excepted) {
        self.excepted = excepted;
    }

    #[inline]
    fn line(&mut self, home: Home, guard: &mut Held<'_>, factor: Factor) {
        guard.open_permit();
        // No more lines than levels.
        let _ = self.held.try_push(Visited {
            home,
            generation: guard.generation(),
            epoch: guard.meta().epoch(),
            factor,
        });
    }

    fn charges(&mut self, present: Present, each: impl FnOnce(&mut dyn FnMut(Taken<'_>))) {
        self.present = present;
        each(&mut |Taken { charge, word, refunds, opened, now }| {
            let (limit, rate) = (&charge.limit, usize::from(charge.rate));
            let words = Words { word, kept: refunds.kept(limit, rate) };
            let (mark, kept) = bucket::open(limit, words, opened, now);
            refunds.keep(limit, rate, kept);
            let mark = if refunds.is_none() && matches!(limit, Limit::Rate(_)) { UNKNOWN } else { mark };
            // A path has no more rules than there is room for.
            let _ = self.marks.try_push(mark);
        });
    }
}

impl Settlement {
    fn count(&mut self, meter: Meter, clipped: u64, cut: u64) {
        for (most, amount) in [(&mut self.clipped, clipped), (&mut self.cut, cut)] {
            if let Some(most) = most.get_mut(meter.index()) {
                *most = amount.max(*most);
            }
        }
    }
}

/// Whether what a permit noted of `charged` still says something of its counterpart: the window of a quota does, and a
/// budget has none.
fn speaks_of(charged: &Charge, counterpart: &Charge) -> bool {
    match (&charged.limit, &counterpart.limit) {
        (Limit::Quota(old), Limit::Quota(new)) => old.period == new.period,
        (Limit::Rate(_), _) => false,
        _ => true,
    }
}

/// The bucket of `to` that a charge under the rules of `from`, each a tier of a plan, was carried over to, and whether it
/// surely was: where a subject has `moved` from tier to tier, one of them may have lacked the rule.
fn counterpart<'a>(
    charge: &Charge,
    from: (&Plan, &TierPlan),
    to: (&Plan, &'a TierPlan),
    moved: bool,
) -> Option<(&'a Charge, bool)> {
    let rule = |tier: &TierPlan, charge: &Charge| {
        tier.level(charge.level).rules.get(usize::from(charge.index)).copied()
    };
    let charged = rule(from.1, charge)?;
    let mut charges = to.1.all_charges(charged.meter).iter().filter(|other| other.level == charge.level);
    let found = charges.find(|other| rule(to.1, other).is_some_and(|other| charged.continues_as(&other)))?;
    Some((found, !moved || to.0.has_everywhere_since(from.0, charge.level, &charged)))
}
