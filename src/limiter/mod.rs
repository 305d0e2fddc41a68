//! The front: one limiter that decides, for every request, whether its caller may spend what it costs.

mod audit;
mod books;
mod builder;
mod checkpoint;
mod decide;
mod dry;
mod explain;
mod maintain;
mod names;
mod observe;
mod overrides;
#[cfg(feature = "tower")]
mod own;
mod permit;
mod reload;
mod restore;
mod shadow;
mod signal;
mod statistics;
mod usage;
mod wall;
// The tests' policy is text.
#[cfg(all(test, feature = "toml"))]
mod tests;

pub use audit::Audit;
pub use builder::{BuildError, Builder};
pub use checkpoint::{CheckpointStatus, Checkpointing};
pub use dry::{DryRun, DryRunRule, DryRunTier};
pub use explain::{Explanation, RuleState};
pub use maintain::{EvidenceStatistics, Maintenance};
pub use observe::{Attribute, AttributeValue, Attributes, Observed};
pub use overrides::{Override, OverrideError, OverrideState, Whom};
#[cfg(feature = "tower")]
pub(crate) use own::OwnRule;
pub use permit::Permit;
#[cfg(feature = "tower")]
pub(crate) use permit::Reservation;
pub use restore::Restored;
pub use shadow::ShadowCount;
pub use signal::{Evidence, Report, Signal, SignalError};
pub use statistics::Statistics;
pub use usage::Export;
pub use wall::WallClock;

use std::{fmt, sync::Arc};

use books::Books;
use checkpoint::Checkpoints;
use maintain::Observer;
use names::Names;
use reload::Sweep;
use statistics::Counters;
use wall::Wall;

use crate::{
    bucket::Moment,
    decision::{Denial, Level, Receipt},
    id::{Fingerprints, Id, Identity, Organization, Tier, Zone},
    meter::{Cost, Meter},
    path::{Hints, Lines, Path, Spend},
    policy::{
        book::Book,
        exception::Scope,
        plan::{MeterPlan, Plan, TierPlan},
    },
    sync::AtomicU64,
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
    books: Books,
    fingerprints: Fingerprints,
    clock: Source,
    wall: Wall,
    lines: Lines,
    counters: Counters,
    observer: Option<Observer>,
    sweep: Sweep,
    /// When `maintain` was last called, in limiter time; at first when the limiter was built.
    maintained: AtomicU64,
    names: Names,
    checkpoints: Option<Checkpoints>,
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
    pub fn plan(&self) -> Arc<Plan> {
        self.shared.books.with(|book| Arc::clone(&book.plan))
    }

    /// The tier called `name`. It keeps its meaning over [`reload`](Limiter::reload)s.
    pub fn tier(&self, name: &str) -> Option<Tier> {
        let plan = self.plan();
        let is_it = |tier: &TierPlan| !tier.retired && tier.name.as_str() == name;
        Tier::from_index(plan.tiers.iter().position(is_it)?)
    }

    /// The meter called `name`. It keeps its meaning over [`reload`](Limiter::reload)s; where a policy has it no more, what is
    /// spent of it is not counted.
    pub fn meter(&self, name: &str) -> Option<Meter> {
        let plan = self.plan();
        let is_it = |meter: &MeterPlan| !meter.retired && meter.name.as_str() == name;
        Meter::from_index(plan.meters.iter().position(is_it)?)
    }

    /// The zone of an IANA `name`, for [`Organization::in_zone`]; `None` where it is not among the policy's `zones`. It keeps its
    /// meaning over [`reload`](Limiter::reload)s; where a policy has it no more, who is in it counts by the clock of the tier.
    pub fn zone(&self, name: &str) -> Option<Zone> {
        let plan = self.plan();
        Zone::from_index(plan.zones.iter().position(|zone| !zone.retired && zone.name == name)?)
    }

    /// The identity of an account. Hashes a text id, 10 to 20 ns for a short one.
    pub fn identity<'a>(&self, tier: Tier, account: impl Into<Id<'a>>) -> Identity {
        Identity::new(self.shared.fingerprints.key(account.into()), tier)
    }

    /// An organization, for [`Identity::in_organization`]. Where it is a text, it is what usage calls it: the first time, that
    /// takes a lock and memory.
    pub fn organization<'a>(&self, organization: impl Into<Id<'a>>) -> Organization {
        let id = organization.into();
        let key = self.shared.fingerprints.key(id);
        if let Id::Text(name) = id {
            self.shared.names.tell(&key, name);
        }
        Organization { key, zone: Zone::default() }
    }

    /// The identity of a caller without a credential, told apart by `key` (an address, say); `None` if the policy
    /// has no `anonymous` tier. Never the same as an account of that id.
    pub fn anonymous(&self, key: &str) -> Option<Identity> {
        self.anonymous_by(key.as_bytes())
    }

    /// The same, by the bytes of a text.
    pub(crate) fn anonymous_by(&self, key: &[u8]) -> Option<Identity> {
        let tier = Tier::from_index(self.shared.books.with(|book| book.plan.anonymous)?)?;
        Some(Identity::new(self.shared.fingerprints.anonymous(key), tier))
    }

    /// Whether `identity` is of those accounts whose requests its tier's pool is charged for.
    #[cfg(feature = "wait")]
    pub(crate) fn pays_pool(&self, identity: &Identity) -> bool {
        let shared = &self.shared;
        let book = shared.books.copy();
        let moment = shared.moment(&book, self.now());
        let rules = book.plan.tiers.get(usize::from(identity.tier.as_u8()));
        rules.is_some_and(|rules| {
            !rules.guard.pool.rules.is_empty() && crate::path::is_new(rules, identity, &moment)
        })
    }

    /// Finds the lines of `identity` once; gives it lines if it has none and there is room.
    pub fn subject(&self, identity: &Identity) -> Subject {
        let lines = &self.shared.lines;
        let now = self.now();
        self.shared.books.with(|book| {
            if let Some(mut path) = Path::find(lines, book, identity) {
                path.enter(lines, &self.shared.moment_in(book, identity.zone, now));
            }
        });
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

    /// The answer that [`check`](Limiter::check) would give, with nothing spent. For who has no line, that is the answer where
    /// there is a place for one.
    ///
    /// # Errors
    ///
    /// As for [`check`](Limiter::check).
    pub fn peek(&self, caller: &impl Caller, cost: &Cost) -> Result<Receipt, Denial> {
        let now = self.now();
        self.shared
            .books
            .with(|book| self.shared.decide_slow(book, (caller.identity(), cost), now, None::<&mut Spend>))
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
        let explained = explain::explain(&self.shared, caller.identity());
        let overrides = self.shared.overrides_of(caller.identity(), explained.at);
        let reports = self.reports_about(caller.identity());
        Explanation { evidence, overrides, reports, ..explained }
    }

    /// Forgets an account: what it owes, has used and holds, what evidence and what override there is about it. Whether anything was known.
    ///
    /// Its next request comes as that of a newcomer, with fresh buckets: for a deletion that was asked for, not for leniency
    /// ([`pardon`](Limiter::pardon)). What it spent of its organization's and its tier's limits stays spent; permits that
    /// are open are settled there, and on the account are counted no-ops ([`Settlement::stale`](crate::Settlement::stale)).
    pub fn forget(&self, account: &Identity) -> bool {
        self.shared.lift(&Scope::Account(account.account), self.now());
        let known = self.shared.lines.forget(Level::Account, &account.account);
        self.shared.forget_kept(Level::Account, &account.account);
        known
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Limiter").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}

impl Source {
    #[inline]
    fn now(&self) -> Nanos {
        Nanos::new(match self {
            Source::System(clock) => clock.elapsed(),
            Source::Other(clock) => clock.elapsed(),
        })
    }

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
        self.clock.now()
    }

    #[inline]
    fn moment<'b>(&self, book: &'b Book, now: Nanos) -> Moment<'b> {
        Moment::new(now.as_u64(), self.wall.anchor(), &book.plan.calendars)
    }

    /// The same for a caller whose organization is in `zone`.
    #[inline]
    fn moment_in<'b>(&self, book: &'b Book, zone: Zone, now: Nanos) -> Moment<'b> {
        self.moment(book, now).following(book.plan.follows(zone.as_u8()))
    }
}
