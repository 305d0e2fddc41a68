//! The front: one limiter that decides, for every request, whether its caller may spend what it costs.

mod builder;
mod explain;
mod maintain;
mod observe;
mod permit;
mod signal;
mod statistics;
mod wall;
// The tests' policy is text.
#[cfg(all(test, feature = "toml"))]
mod tests;

pub use builder::{BuildError, Builder};
pub use explain::{Explanation, RuleState};
pub use maintain::{EvidenceStatistics, Maintenance};
pub use observe::{Attribute, AttributeValue, Attributes, Observed};
pub use permit::Permit;
pub use signal::{Evidence, Signal, SignalError};
pub use statistics::Statistics;
pub use wall::WallClock;

use std::{fmt, sync::Arc};

use maintain::Observer;
use statistics::Counters;
use wall::Wall;

use crate::{
    bucket::{Mode, Moment},
    decision::{Denial, Level, Receipt},
    evidence::Member,
    id::{Fingerprints, Id, Identity, Organization, Tier},
    meter::{Cost, Meter},
    path::{Around, Ask, Hints, Lane, Lines, Look, Note, Path, Seen, Spend, Stopped},
    policy::plan::Plan,
    sync::Ordering,
    time::{Clock, Nanos, SystemClock},
};

/// Decides, on every request, whether a caller may spend what it costs.
///
/// Cheap to clone: clones are the same limiter. See the [crate's documentation](crate) for the whole.
///
/// ```
/// use tollgate::{Cost, Limiter, Plan};
///
/// let plan = Plan::from_toml(
///     r#"
///     version = 1
///     meters = ["requests"]
///     capacity = { accounts = 1000, organizations = 100 }
///
///     [tiers.free]
///     total = "unlimited"
///     account.requests = { rate = "2/s", burst = 2 }
///     "#,
/// )?;
/// let limiter = Limiter::builder(plan).build()?;
/// let (free, requests) = (limiter.tier("free").unwrap(), limiter.meter("requests").unwrap());
/// let caller = limiter.identity(free, "acct_17");
/// let cost = Cost::of(requests, 1);
///
/// assert!(limiter.check(&caller, &cost).is_ok());
/// assert!(limiter.check(&caller, &cost).is_ok());
/// let denial = limiter.check(&caller, &cost).unwrap_err();
/// assert!(denial.retry_after().unwrap() <= std::time::Duration::from_millis(500));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

struct Shared {
    plan: Plan,
    fingerprints: Fingerprints,
    clock: Source,
    wall: Wall,
    lines: Lines,
    counters: Counters,
    observer: Option<Observer>,
}

/// The clock; the usual one without a call through a table.
enum Source {
    System(SystemClock),
    Other(Box<dyn Clock>),
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Identity {}
    impl Sealed for super::Subject {}
}

/// Who makes a request: an [`Identity`], or a [`Subject`] that skips the look-up.
pub trait Caller: sealed::Sealed {
    #[doc(hidden)]
    fn identity(&self) -> &Identity;
    #[doc(hidden)]
    fn places(&self) -> Places;
    #[doc(hidden)]
    #[inline]
    fn attributes(&self) -> Option<&Attributes> {
        None
    }

    /// The same caller, with what is known about its request: for the policy's `evidence`. Without it, decisions are not
    /// observed.
    #[inline]
    fn with(&self, attributes: &Attributes) -> Observed<'_, Self>
    where
        Self: Sized,
    {
        Observed::new(self, attributes)
    }
}

/// Where a caller's lines are, if known; opaque.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Places(Hints);

impl Caller for Identity {
    #[inline]
    fn identity(&self) -> &Identity {
        self
    }

    #[inline]
    fn places(&self) -> Places {
        Places::default()
    }
}

/// An identity whose lines were found once and are kept in mind.
///
/// `Copy`. It never goes stale: when a line has come to hold another subject, the look-up is made again.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    identity: Identity,
    hints: Hints,
}

impl Caller for Subject {
    #[inline]
    fn identity(&self) -> &Identity {
        &self.identity
    }

    #[inline]
    fn places(&self) -> Places {
        Places(self.hints)
    }
}

impl Limiter {
    /// A limiter for `plan`, to be completed with [`Builder::build`].
    pub fn builder(plan: Plan) -> Builder {
        Builder::new(plan)
    }

    /// The limiter's present instant. About 20 ns with the system's clock.
    #[inline]
    pub fn now(&self) -> Nanos {
        self.shared.now()
    }

    /// The policy in force.
    pub fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    /// The tier called `name`.
    pub fn tier(&self, name: &str) -> Option<Tier> {
        Tier::from_index(self.shared.plan.tiers.iter().position(|tier| tier.name.as_str() == name)?)
    }

    /// The meter called `name`.
    pub fn meter(&self, name: &str) -> Option<Meter> {
        Meter::from_index(self.shared.plan.meters.iter().position(|meter| meter.name.as_str() == name)?)
    }

    /// The identity of an account. Hashes a text id, 10 to 20 ns for a short one.
    pub fn identity<'a>(&self, tier: Tier, account: impl Into<Id<'a>>) -> Identity {
        Identity::new(self.shared.fingerprints.key(account.into()), tier)
    }

    /// An organization, for [`Identity::in_organization`].
    pub fn organization<'a>(&self, organization: impl Into<Id<'a>>) -> Organization {
        Organization { key: self.shared.fingerprints.key(organization.into()) }
    }

    /// The identity of a caller without a credential, told apart by `key` (an address, say); `None` if the policy
    /// has no `anonymous` tier. Never the same as an account of that id.
    pub fn anonymous(&self, key: &str) -> Option<Identity> {
        let tier = Tier::from_index(self.shared.plan.anonymous?)?;
        Some(Identity::new(self.shared.fingerprints.anonymous(key), tier))
    }

    /// Finds the lines of `identity` once; gives it lines if it has none and there is room.
    pub fn subject(&self, identity: &Identity) -> Subject {
        let lines = &self.shared.lines;
        let moment = self.shared.moment(self.now());
        if let Some(mut path) = Path::find(lines, &self.shared.plan, identity) {
            path.enter(lines, &moment);
        }
        let account = lines.accounts.find(&identity.account).map(|(slot, _)| slot);
        let organization = identity.organization.as_ref().and_then(|key| lines.organizations.find(key));
        let organization = organization.map(|(slot, _)| slot);
        Subject { identity: *identity, hints: Hints { account, organization } }
    }

    /// Charges `cost` to every bucket on the caller's path, or to none. What is charged is spent, finally.
    ///
    /// # Errors
    ///
    /// The denial names the refusal that passes last. Nothing was charged then. An in-flight rule refuses where
    /// there is no room, but holds nothing for a check.
    #[inline]
    pub fn check(&self, caller: &impl Caller, cost: &Cost) -> Result<Receipt, Denial> {
        self.shared.decide_for(caller, cost, || self.now(), &mut Spend)
    }

    /// [`check`](Limiter::check) by a clock that was read before ([`now`](Limiter::now)).
    ///
    /// # Errors
    ///
    /// As for [`check`](Limiter::check).
    #[inline]
    pub fn check_at(&self, caller: &impl Caller, cost: &Cost, now: Nanos) -> Result<Receipt, Denial> {
        self.shared.decide_for(caller, cost, || now, &mut Spend)
    }

    /// The answer that [`check`](Limiter::check) would give, with nothing spent.
    ///
    /// # Errors
    ///
    /// As for [`check`](Limiter::check).
    pub fn peek(&self, caller: &impl Caller, cost: &Cost) -> Result<Receipt, Denial> {
        self.shared.decide_slow(caller.identity(), cost, self.now(), None::<&mut Spend>)
    }

    /// Charges an estimate that is settled later, when the real cost is known; holds in-flight rules until then.
    ///
    /// An estimate above what a rule holds when it is full (a rate's burst, a quota, a number in flight) is clamped to that:
    /// it waits for a full bucket and takes all of it, and what the request really took beyond is overage when it settles.
    /// A budget never fills again, and refuses it.
    ///
    /// # Errors
    ///
    /// As for [`check`](Limiter::check).
    pub fn reserve(&self, caller: &impl Caller, estimate: &Cost) -> Result<Permit<'_>, Denial> {
        Permit::reserve(&self.shared, caller, estimate, || self.now())
    }

    /// [`reserve`](Limiter::reserve) by a clock that was read before.
    ///
    /// # Errors
    ///
    /// As for [`check`](Limiter::check).
    pub fn reserve_at(
        &self,
        caller: &impl Caller,
        estimate: &Cost,
        now: Nanos,
    ) -> Result<Permit<'_>, Denial> {
        Permit::reserve(&self.shared, caller, estimate, || now)
    }

    /// Every rule on the caller's path: limit, used, left, and when it is whole again. Allocates; not for the
    /// request path.
    pub fn explain(&self, caller: &impl Caller) -> Explanation {
        let evidence = self.evidence_about(caller.identity());
        Explanation { evidence, ..explain::explain(&self.shared, caller.identity()) }
    }

    /// Forgets an account: what it owes, has used and holds, and what evidence there is about it. Whether anything was known.
    ///
    /// Its next request comes as that of a newcomer, with fresh buckets: for a deletion that was asked for, not for leniency
    /// ([`pardon`](Limiter::pardon)). What it spent of its organization's and its tier's limits stays spent; permits that
    /// are open are settled there, and on the account are counted no-ops ([`Settlement::stale`](crate::Settlement::stale)).
    pub fn forget(&self, account: &Identity) -> bool {
        self.shared.lines.forget(Level::Account, &account.account)
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Limiter").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}

impl Source {
    fn unix(&self) -> i64 {
        match self {
            Source::System(clock) => clock.unix(),
            Source::Other(clock) => clock.unix(),
        }
    }
}

impl Shared {
    #[inline]
    fn now(&self) -> Nanos {
        Nanos::new(match &self.clock {
            Source::System(clock) => clock.elapsed(),
            Source::Other(clock) => clock.elapsed(),
        })
    }

    #[inline]
    fn moment(&self, now: Nanos) -> Moment<'_> {
        Moment { now: now.as_u64(), anchor: self.wall.anchor(), calendars: &self.plan.calendars }
    }

    /// Decides, and observes the decision.
    #[inline]
    fn decide_for<N: Note>(
        &self,
        caller: &impl Caller,
        cost: &Cost,
        now: impl FnOnce() -> Nanos,
        note: &mut N,
    ) -> Result<Receipt, Denial> {
        let mut seat = None;
        let decided = self.decide(caller.identity(), caller.places(), cost, now, note, &mut seat);
        if caller.attributes().is_some() {
            let at = match &decided {
                Ok(receipt) => receipt.at(),
                Err(denial) => denial.at(),
            };
            self.observe(caller, seat, cost, N::MODE == Mode::Spend, at, decided.is_err());
        }
        decided
    }

    /// Find, look, commit; the clock is read after the find, so that its cache misses overlap. `seat` is told where the
    /// account's line was found, if it went as far.
    #[inline]
    fn decide<N: Note>(
        &self,
        identity: &Identity,
        places: Places,
        cost: &Cost,
        now: impl FnOnce() -> Nanos,
        note: &mut N,
        seat: &mut Option<Member>,
    ) -> Result<Receipt, Denial> {
        let Some(lane) = Lane::find(&self.lines, &self.plan, identity, places.0) else {
            return self.decide_slow(identity, cost, now(), Some(note));
        };
        let now = now();
        let ask = Ask { cost, mode: N::MODE, moment: self.moment(now) };
        let receipt = Receipt { at: now.as_u64(), overflow: false };
        let look = lane.look(&ask);
        if let Look::Admitted(seen) | Look::Refused(seen) | Look::Winding(seen) = look {
            *seat = lane.seat(seen).map(|(slot, generation)| Member { slot, generation });
        }
        match look {
            Look::Admitted(seen) => match lane.commit(&ask, seen, note) {
                Ok(()) => return Ok(receipt),
                Err(lost) if lane.commit_lost(&self.plan, ask, lost, note) => return Ok(receipt),
                Err(_) => {}
            },
            Look::Refused(seen) => return self.refuse(lane, ask, seen, note),
            look => return self.decide_around(lane, ask, look, note),
        }
        self.decide_slow(identity, cost, now, Some(note))
    }

    /// Goes on from a straight look that was refused.
    #[inline(never)]
    fn refuse<N: Note>(
        &self,
        lane: Lane<'_>,
        ask: Ask<'_>,
        seen: Seen,
        note: &mut N,
    ) -> Result<Receipt, Denial> {
        match lane.straight_denial(&ask, seen) {
            Some(denial) => Err(denial),
            None => self.decide_around(lane, ask, Look::Refused(seen), note),
        }
    }

    /// Goes on from a look that admitted nobody.
    #[inline(never)]
    fn decide_around<N: Note>(
        &self,
        lane: Lane<'_>,
        ask: Ask<'_>,
        look: Look,
        note: &mut N,
    ) -> Result<Receipt, Denial> {
        match lane.go_around(&self.plan, ask, look, note) {
            Around::Charged => Ok(Receipt { at: ask.moment.now, overflow: false }),
            Around::Denied(denial) => Err(denial),
            Around::Stuck => {
                self.decide_slow(lane.identity(), ask.cost, Nanos::new(ask.moment.now), Some(note))
            }
        }
    }

    /// The same for what does not go straight. Without a `note`, only answers.
    #[cold]
    #[inline(never)]
    fn decide_slow<N: Note>(
        &self,
        identity: &Identity,
        cost: &Cost,
        mut now: Nanos,
        mut note: Option<&mut N>,
    ) -> Result<Receipt, Denial> {
        let mut recalled = false;
        let mut held = i64::MIN;
        loop {
            let Some(mut path) = Path::find(&self.lines, &self.plan, identity) else {
                return Err(Denial::unknown_tier(now.as_u64()));
            };
            let mut moment = self.moment(now);
            moment.anchor.held = moment.anchor.held.max(held);
            let ask = &Ask { cost, mode: N::MODE, moment };
            let decided = match note.as_deref_mut() {
                Some(note) => path.charge(&self.lines, ask, note),
                None => path.judge(&self.lines, ask).map(|()| false),
            };
            match decided {
                Ok(overflow) => {
                    if overflow {
                        self.counters.overflowed.fetch_add(1, Ordering::Relaxed);
                    }
                    return Ok(Receipt { at: moment.now, overflow });
                }
                Err(Stopped::Refused(denial)) => {
                    // A total that has leases refuses only once they are back.
                    if recalled || denial.level() != Level::Tier || !path.recall(&self.lines, &moment) {
                        return Err(denial);
                    }
                    recalled = true;
                }
                Err(Stopped::Behind(later)) => {
                    // A window that the limiter's clock has not reached itself was entered before the wall clock went back:
                    // it is held, and not waited for.
                    held = moment.anchor.origin.saturating_add(later.cast_signed());
                    now = Nanos::new(later.min(self.now().as_u64())).max(now);
                }
                Err(Stopped::Changed) => {}
            }
        }
    }
}
