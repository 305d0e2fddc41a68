//! A second policy that decides beside the one in force, for the record only.
//!
//! It has tables of its own, over the same clock and the same names. It is asked what the limiter is asked, after the answer
//! is settled, and has no say in it: what was admitted it charges, where it would have admitted it as well, and settles with
//! it; what was denied it is asked for without a charge. So its buckets hold what it would have let through of the
//! traffic that there was.
//!
//! It is a part of the book, so that it costs a decision one comparison where there is none, and no lock where there is.

use std::sync::{Arc, Weak};

use serde::Serialize;

use super::{
    Counters, Limiter, Places, Shared, Source, books::Books, names::Names, reload::Sweep, wall::Wall,
};
use crate::{
    decision::{Denial, Level, Name, Receipt, RuleName},
    id::{Identity, Zone},
    meter::Cost,
    path::{Hold, Lines, Spend},
    policy::{
        book::Book,
        plan::{LEVELS, Plan},
        succeed::ReloadError,
    },
    sync::{AtomicU64, Ordering},
    time::{Clock, Nanos},
};

/// What decides beside, and how it differed.
pub(super) struct Beside {
    shared: Shared,
    /// Always the latest of it.
    book: Arc<Book>,
    /// By tier.
    counts: Box<[Counts]>,
}

#[derive(Default)]
struct Counts {
    agreed: AtomicU64,
    would_deny: AtomicU64,
    would_admit: AtomicU64,
    /// By level and rule, how many it would deny.
    rules: [Box<[AtomicU64]>; LEVELS.len()],
}

/// What a permit holds of it; a heap allocation each while there is a dry run.
pub(super) struct BesideHold {
    beside: Arc<Beside>,
    hold: Hold,
    zone: Zone,
    reserved: Cost,
}

/// The clock of a limiter that lives longer than what asks it.
struct Same(Weak<Shared>);

impl Clock for Same {
    fn elapsed(&self) -> u64 {
        self.0.upgrade().map_or(0, |shared| shared.now().as_u64())
    }

    fn unix(&self) -> i64 {
        self.0.upgrade().map_or(0, |shared| shared.clock.unix())
    }
}

/// How a [dry run](Limiter::dry_run) differed so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DryRun {
    /// The tiers of the policy that is tried.
    pub tiers: Vec<DryRunTier>,
    /// Bytes of its tables.
    pub bytes: u64,
}

/// Requests of one tier, by how the two policies decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DryRunTier {
    /// The tier.
    pub tier: Name,
    /// Both admitted, or both denied.
    pub agreed: u64,
    /// Admitted, and would not have been.
    pub would_deny: u64,
    /// Denied, and would have been admitted.
    pub would_admit: u64,
    /// Which rules would have denied what was admitted; those that did.
    pub rules: Vec<DryRunRule>,
}

/// A rule of the policy that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DryRunRule {
    /// Where it sits.
    pub level: Level,
    /// What it counts.
    pub meter: Name,
    /// Its name.
    pub rule: RuleName,
    /// Requests that were admitted, and that it would have denied.
    pub would_deny: u64,
}

impl Limiter {
    /// Lets `plan` decide beside the policy in force from now on, for the record only: nothing that it says reaches an
    /// answer. In place of a dry run that there is; each starts with empty buckets, so that what long quotas have used before
    /// is not in it. A [`reload`](Limiter::reload) ends it.
    ///
    /// Evidence, signals and overrides do not reach it: what they do to limits, it is tried without.
    ///
    /// # Cost
    ///
    /// While it lasts, a second limiter: its tables ([`DryRun::bytes`]), a second decision after each, and a heap allocation
    /// for each permit. Without one, a comparison for each decision.
    ///
    /// # Errors
    ///
    /// Where [`reload`](Limiter::reload) would refuse the policy, or the memory is not to be had.
    pub fn dry_run(&self, plan: Plan) -> Result<(), ReloadError> {
        let shared = &self.shared;
        let plan = shared.books.with(|book| plan.succeeding(&book.plan, &shared.sweep.room))?;
        let beside: Arc<Beside> = Arc::new(Beside::new(shared, plan)?);
        let Ok(()) = shared.change_book(|book| Ok::<_, std::convert::Infallible>(book.beside(Some(beside))));
        Ok(())
    }

    /// Ends a dry run. Answers how it differed, if there was one.
    pub fn end_dry_run(&self) -> Option<DryRun> {
        let report = self.dry_run_so_far();
        let Ok(()) = self.shared.change_book(|book| Ok::<_, std::convert::Infallible>(book.beside(None)));
        report
    }

    /// How the dry run that there is differed so far. Not for the request path.
    pub fn dry_run_so_far(&self) -> Option<DryRun> {
        self.shared.books.with(|book| Beside::of(book).map(|beside| beside.report()))
    }
}

impl Beside {
    fn new(live: &Arc<Shared>, mut plan: Plan) -> Result<Beside, ReloadError> {
        plan.number(0);
        let (fingerprints, room) = (live.fingerprints.clone(), plan.room());
        let lines = Lines::new(&plan, &fingerprints.places()).map_err(|error| {
            ReloadError::refused(format!(
                "{} bytes for a second table are not to be had; lower `capacity`, or try it elsewhere",
                error.bytes
            ))
        })?;
        let of_level =
            |tier: usize, level| plan.tiers.get(tier).map_or(0, |tier| tier.level(level).rules.len());
        let counts = (0..plan.tiers.len()).map(|tier| Counts {
            rules: LEVELS.map(|level| (0..of_level(tier, level)).map(|_| AtomicU64::default()).collect()),
            ..Counts::default()
        });
        let counts = counts.collect();
        let books = Books::new(Book::new(plan));
        let book = books.copy();
        let shared = Shared {
            maintained: AtomicU64::new(live.maintained.load(Ordering::Relaxed)),
            books,
            fingerprints,
            clock: Source::Other(Box::new(Same(Arc::downgrade(live)))),
            wall: Wall::new(live.wall.anchor().origin),
            lines,
            counters: Counters::default(),
            observer: None,
            names: Names::new(0),
            checkpoints: None,
            sweep: Sweep::new(room),
        };
        Ok(Beside { shared, book, counts })
    }

    /// The one that `book` has.
    pub(super) fn of(book: &Book) -> Option<Arc<Beside>> {
        Arc::clone(book.beside.as_ref()?).downcast().ok()
    }

    fn decide(
        &self,
        identity: &Identity,
        cost: &Cost,
        at: u64,
        note: &mut impl crate::path::Note,
    ) -> Result<Receipt, Denial> {
        let now = || Nanos::new(at);
        self.shared.decide_by(&self.book, (identity, Places::default(), cost), now, note, &mut None)
    }

    /// Decides on what was decided, and counts. What was admitted for a permit, [`reserve`](Beside::reserve) does.
    #[cold]
    #[inline(never)]
    pub(super) fn follow(&self, identity: &Identity, cost: &Cost, decided: &Result<Receipt, Denial>) {
        match decided {
            Ok(receipt) => self.count(identity, true, &self.decide(identity, cost, receipt.at(), &mut Spend)),
            Err(denial) => {
                let now = Nanos::new(denial.at());
                let beside = self.shared.decide_slow(&self.book, (identity, cost), now, None::<&mut Spend>);
                self.count(identity, false, &beside);
            }
        }
    }

    /// Reserves what was reserved.
    #[cold]
    #[inline(never)]
    pub(super) fn reserve(
        self: Arc<Beside>,
        identity: &Identity,
        reserved: &Cost,
        at: u64,
    ) -> Option<Box<BesideHold>> {
        let mut hold = Hold::new(identity);
        let decided = self.decide(identity, reserved, at, &mut hold);
        self.count(identity, true, &decided);
        let zone = identity.zone;
        decided.ok().map(|_| Box::new(BesideHold { beside: self, hold, zone, reserved: *reserved }))
    }

    fn count(&self, identity: &Identity, admitted: bool, decided: &Result<Receipt, Denial>) {
        let tier = usize::from(identity.tier.as_u8());
        let Some(counts) = self.counts.get(tier) else { return };
        let counter = match (admitted, decided) {
            (true, Ok(_)) | (false, Err(_)) => &counts.agreed,
            (true, Err(_)) => &counts.would_deny,
            (false, Ok(_)) => &counts.would_admit,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let (Err(denial), true) = (decided, admitted) else { return };
        let (plan, level) = (&self.book.plan, denial.level());
        let named = |index: usize| plan.meters.get(index).is_some_and(|meter| meter.name == denial.meter());
        let rules = plan.tiers.get(tier).map(|tier| tier.level(level).rules.iter());
        let place = rules.and_then(|mut rules| {
            rules.position(|rule| rule.name == denial.rule() && named(rule.meter.index()))
        });
        let counters = counts.rules.get(level as usize).zip(place);
        if let Some(counter) = counters.and_then(|(counters, place)| counters.get(place)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn maintain(&self, now: Nanos) {
        self.shared.maintain(now);
    }

    fn report(&self) -> DryRun {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let plan = &self.book.plan;
        let mut tiers = Vec::new();
        for (tier, counts) in plan.tiers.iter().zip(&self.counts).filter(|(tier, _)| !tier.retired) {
            let mut rules = Vec::new();
            for (level, counters) in LEVELS.into_iter().zip(&counts.rules) {
                for (rule, counter) in tier.level(level).rules.iter().zip(counters) {
                    if let (Some(meter), would_deny @ 1..) =
                        (plan.meters.get(rule.meter.index()), count(counter))
                    {
                        rules.push(DryRunRule { level, meter: meter.name, rule: rule.name, would_deny });
                    }
                }
            }
            tiers.push(DryRunTier {
                tier: tier.name,
                agreed: count(&counts.agreed),
                would_deny: count(&counts.would_deny),
                would_admit: count(&counts.would_admit),
                rules,
            });
        }
        DryRun { tiers, bytes: self.shared.lines.bytes() as u64 }
    }
}

impl BesideHold {
    /// Settles with the permit, at the earliest at `now`; `None` for what was used by one that was dropped.
    pub(super) fn settle(&self, actual: Option<&Cost>, now: Option<Nanos>) {
        let BesideHold { beside, hold, zone, reserved } = self;
        let Beside { shared, book, .. } = &**beside;
        let actual = actual.copied().unwrap_or_else(|| book.plan.on_drop.used(reserved));
        let moment = shared.moment_in(book, *zone, now.unwrap_or(Nanos::new(0)));
        let clock = || shared.now().as_u64();
        hold.settle(&shared.lines, (book, || Arc::clone(book)), (reserved, &actual), &moment, clock);
    }
}
