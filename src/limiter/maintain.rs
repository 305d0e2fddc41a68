//! Housekeeping: what was observed becomes evidence, and evidence becomes factors and cohorts.
//!
//! This is where counts come back to the lines: the only loop of the data flow. All of it is done by whoever calls
//! [`Limiter::maintain`]; the request path neither waits for it nor needs it.

// The tests' policy is text.
#[cfg(all(test, feature = "toml"))]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use super::{Limiter, Shared, checkpoint::Checkpointing, dry::Beside, wall::WallClock};
use crate::{
    adapt::{BIT, Curve, ONE},
    bucket::{Factor, Moment},
    evidence::{Change, Correlators, Rings, Role, Settings, SignalPlan},
    id::Key,
    meter::{Cost, Meter},
    path::{Home, Lines},
    policy::{
        book::Book,
        exception::Scope,
        plan::{EvidencePlan, Plan, RING_CELLS},
        quantity::Share,
    },
    sync::{AtomicU64, Mutex, Ordering, stripes},
    time::Nanos,
};

/// Nothing is asked for under 9 bits in all; each 3 more double the factor, one a step.
const CURVE: Curve = Curve { floor: 9 * BIT, doubling: 3 * BIT, largest: ONE, rise: ONE, fall: ONE / 2 };
/// Observations that one call takes in at most: some 10 ms.
const MOST_OBSERVATIONS: usize = 65_536;
/// Accounts that one call looks at besides those that were observed: what it is for, evidence that fades, has time.
const MOST_SUBJECTS: usize = 4096;

/// What observes, and what makes evidence of it.
pub(super) struct Observer {
    pub(super) rings: Rings,
    pub(super) state: Mutex<State>,
    /// The meter whose amounts are compared.
    meter: Option<Meter>,
    counts: Counts,
}

/// What evidence has come to, for an operator.
#[derive(Debug)]
struct Counts {
    tightened: AtomicU64,
    joined: AtomicU64,
    left: AtomicU64,
}

/// What is remembered between calls, and the changes of one.
pub(super) struct State {
    pub(super) correlators: Correlators,
    pub(super) changes: Vec<Change>,
}

/// What one call of [`Limiter::maintain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maintenance {
    /// Observations that were taken in. As many as one call takes at most: another call has more to do.
    pub observations: usize,
    /// Accounts whose factor or cohort was changed, or would have been, in shadow.
    pub changes: usize,
    /// Whether another thread was at it, so that this call took in no evidence.
    pub busy: bool,
    /// Whether lines are still under an earlier policy than the one in force.
    pub behind: bool,
    /// What the wall clock has done since it was last looked at.
    pub wall_clock: WallClock,
    /// What was done about the checkpoint.
    pub checkpoint: Checkpointing,
    /// How long until a call does more about it, 0 while one is under way; `None` without a store.
    pub next_checkpoint: Option<Duration>,
}

impl Maintenance {
    /// Whether the call left observations for another.
    pub(crate) fn has_more(&self) -> bool {
        self.observations >= MOST_OBSERVATIONS
    }
}

/// What evidence has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct EvidenceStatistics {
    /// Bytes of rings and correlators, fixed when the limiter was built.
    pub bytes: u64,
    /// Observations that found their ring full.
    pub dropped: u64,
    /// Observations in the fullest ring, when `maintain` last emptied it.
    pub ring_filled: u64,
    /// Observations that fit into a ring.
    pub ring_cells: u64,
    /// Signals of sources that were heard too often.
    pub refused_signals: u64,
    /// Cohorts that have members now.
    pub cohorts: u64,
    /// Accounts that are followed and have a factor now (would have, in shadow): of up to 2, to 4, to 8, to 16, and above.
    pub factors: [u64; 5],
    /// Times that a factor was changed, or said again before it ended.
    pub tightened: u64,
    /// Times that an account was put into a cohort, or stayed in it on new evidence.
    pub joined: u64,
    /// Times that an account left its cohort.
    pub left: u64,
}

impl Observer {
    pub(super) fn new(plan: &Plan) -> Option<Observer> {
        let evidence = plan.evidence.as_ref()?;
        let correlators = Correlators::new(settings(plan, evidence));
        Some(Observer {
            rings: Rings::new(stripes(), RING_CELLS),
            state: Mutex::new(State { correlators, changes: Vec::new() }),
            meter: evidence.meter,
            counts: Counts {
                tightened: AtomicU64::new(0),
                joined: AtomicU64::new(0),
                left: AtomicU64::new(0),
            },
        })
    }

    /// What of `cost` is compared among accounts.
    pub(super) fn amount_of(&self, cost: &Cost) -> u32 {
        self.meter.map_or(0, |meter| u32::try_from(cost.amount(meter)).unwrap_or(u32::MAX))
    }

    pub(super) fn statistics(&self) -> EvidenceStatistics {
        let state = self.state.lock();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EvidenceStatistics {
            bytes: (self.rings.bytes() + state.correlators.bytes()) as u64,
            dropped: self.rings.dropped(),
            ring_filled: state.correlators.filled(),
            ring_cells: self.rings.cells(),
            refused_signals: state.correlators.refused_signals(),
            cohorts: state.correlators.cohorts() as u64,
            factors: state.correlators.factors(),
            tightened: count(&self.counts.tightened),
            joined: count(&self.counts.joined),
            left: count(&self.counts.left),
        }
    }

    /// Writes `changes` into the lines, but in shadow only counts them.
    pub(super) fn apply(
        &self,
        lines: &Lines,
        book: &Book,
        changes: &mut Vec<Change>,
        moment: &Moment<'_>,
    ) -> usize {
        let Counts { tightened, joined, left } = &self.counts;
        for change in changes.iter() {
            let counter = match change {
                Change::Factor { .. } | Change::Parent { .. } => tightened,
                Change::Join { .. } => joined,
                Change::Leave { .. } => left,
                Change::Dissolved { .. } => continue,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let count = changes.len();
        let is_shadow = book.plan.evidence.as_ref().is_none_or(|evidence| evidence.shadow);
        for change in changes.drain(..).filter(|_| !is_shadow) {
            match change {
                Change::Factor { account, sixteenths, until } => {
                    let factor = (Factor::from_sixteenths(sixteenths), until);
                    lines.tighten(book, (Home::Account(account.slot), account.generation), factor, moment);
                }
                // By the latest book, and of a tier in it.
                Change::Parent { .. } => {}
                Change::Join { account, cohort, until, .. } => {
                    lines.join(book, (account.slot, account.generation), (cohort, until), moment);
                }
                Change::Leave { account, cohort } => {
                    lines.leave((account.slot, account.generation), cohort, moment.now);
                }
                Change::Dissolved { cohort } => lines.dissolve(book, cohort),
            }
        }
        count
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Observer").field("counts", &self.counts).finish_non_exhaustive()
    }
}

pub(super) fn settings(plan: &Plan, evidence: &EvidencePlan) -> Settings {
    let seconds = |nanos: u64| u32::try_from(nanos / 1_000_000_000).unwrap_or(u32::MAX).max(1);
    let sixteenths = |share: Share| u16::try_from(share.of(16)).unwrap_or(u16::MAX);
    let eighths = |bits: u32| u16::try_from(bits.saturating_mul(u32::from(BIT))).unwrap_or(u16::MAX);
    let signal = |plan: &crate::policy::plan::SignalPlan| SignalPlan {
        weight: eighths(plan.weight),
        cap: eighths(plan.cap),
        half_life_s: seconds(plan.half_life),
    };
    Settings {
        subjects: plan.capacity.accounts,
        roles: evidence.attributes.iter().map(|name| Role::of_name(name.as_str())).collect(),
        half_life_s: seconds(evidence.half_life),
        sensitivity: plan.tiers.iter().map(|tier| sixteenths(tier.guard.sensitivity)).collect(),
        new_s: plan.tiers.iter().map(|tier| seconds(tier.guard.ramp.age)).collect(),
        cohorts: plan.tiers.iter().map(|tier| !tier.guard.cohort.rules.is_empty()).collect(),
        kinds: evidence.kinds,
        curve: Curve {
            largest: u16::try_from(plan.largest_factor.saturating_mul(u32::from(ONE))).unwrap_or(u16::MAX),
            ..CURVE
        },
        signals: evidence.signals.iter().map(signal).collect(),
    }
}

impl Limiter {
    /// Housekeeping: follows the wall clock, brings lines under the policy in force, takes in what was observed since, lets evidence fade, and applies what follows
    /// to factors and cohorts. To be called about once a minute, from any thread; a second that comes meanwhile does nothing.
    ///
    /// A call takes in at most 65,536 observations, and looks at 4,096 accounts besides, in turn; after a
    /// [`reload`](Limiter::reload) it brings over 32,768 lines. Of a checkpoint that is due it looks at 32,768 places, and writes
    /// a block of some 128 KiB ([when](Maintenance::next_checkpoint) to call again for more). If
    /// it is never called, limits are as the policy has them.
    pub fn maintain(&self) -> Maintenance {
        self.shared.maintain(self.now())
    }
}

impl Shared {
    pub(super) fn maintain(&self, now: Nanos) -> Maintenance {
        self.maintained.fetch_max(now.as_u64(), Ordering::Relaxed);
        let wall_clock = self.keep_wall_clock();
        if let Some(beside) = self.books.with(|book| Beside::of(book)) {
            beside.maintain(now);
        }
        self.end_overrides(now);
        let behind = !self.bring_over();
        self.books.with(|book| self.lines.cool(book, &self.moment(book, now)));
        let checkpoint = self.step_checkpoint(now);
        self.names.tidy(|id| self.lines.organizations.knows(id));
        let next_checkpoint = self.next_checkpoint(now);
        let nothing =
            Maintenance { wall_clock, behind, checkpoint, next_checkpoint, ..Maintenance::default() };
        let Some(observer) = &self.observer else { return nothing };
        let Some(mut state) = observer.state.try_lock() else { return Maintenance { busy: true, ..nothing } };
        let State { correlators, changes } = &mut *state;
        let now_ns = now.as_u64();
        let observations =
            correlators.maintain(now_ns, &observer.rings, MOST_OBSERVATIONS, MOST_SUBJECTS, changes);
        let changes = self.apply(observer, changes, now);
        Maintenance { observations, changes, ..nothing }
    }

    /// Writes what follows from evidence into lines and book. How many changes there were.
    pub(super) fn apply(&self, observer: &Observer, changes: &mut Vec<Change>, now: Nanos) -> usize {
        let is_shadow = self.books.with(|book| book.plan.evidence.as_ref().is_none_or(|known| known.shadow));
        for change in changes.iter().filter(|_| !is_shadow) {
            match change {
                Change::Parent { whom: Scope::Tier(tier), sixteenths, until } => {
                    self.tighten_tier(*tier, (*sixteenths, *until), now);
                }
                Change::Parent { whom: Scope::Organization(key), sixteenths, until } => {
                    self.tighten_organization(key, (Factor::from_sixteenths(*sixteenths), *until), now);
                }
                _ => {}
            }
        }
        self.books.with(|book| observer.apply(&self.lines, book, changes, &self.moment(book, now)))
    }

    /// Multiplies costs on an organization's rates, if it has a line.
    fn tighten_organization(&self, key: &Key, factor: (Factor, u64), now: Nanos) {
        let Some((slot, head)) = self.lines.organizations.find(key) else { return };
        let of = (Home::Organization(slot), head.generation());
        let tighten = |book: &Arc<Book>| self.lines.tighten(book, of, factor, &self.moment(book, now));
        while !self.books.with(tighten) {}
    }

    /// Multiplies costs on the rates of the total of `tier`. The book says how much, the mark that it says so: the total's
    /// own factor word tells of leases.
    fn tighten_tier(&self, tier: u8, (sixteenths, until): (u16, u64), now: Nanos) {
        let now_ns = now.as_u64();
        let until = if sixteenths == ONE { now_ns } else { until };
        let done = self.change_book(|book| {
            let known = book.tier(tier).is_some();
            if known { Ok(book.with_tightened(tier, (sixteenths, until), now_ns)) } else { Err(()) }
        });
        if done.is_ok() {
            self.mark(&Scope::Tier(tier), now);
        }
    }
}
