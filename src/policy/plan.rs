//! A valid, immutable policy in the shape that the request path reads: names resolved to indexes, rates
//! scaled, calendars tabulated.

mod evidence;
mod guard;
mod quota;
mod room;
mod same;
mod straight;

pub(crate) use evidence::{
    EvidencePlan, KINDS, MAX_ATTRIBUTES, MAX_COHORTS, MAX_SIGNALS, RING_CELLS, SignalPlan,
};
pub(crate) use guard::{GuardPlan, OwnUse, Ramp};
pub(crate) use quota::{Calendars, Follows, Quota, ZonePlan};
pub(crate) use room::{
    CACHE_LINE, Capacity, FIRST_RULES, GROUP, HEADER, RATE_WORDS, Room, Words, cell_sets_for, groups_for,
    lines_for,
};
pub(crate) use same::Born;
pub(crate) use straight::{PLAIN, Straight, StraightRate, Straights, place_of};

use std::sync::Arc;

use super::{
    quantity::{TokenRate, WindowLimit},
    rate::Rate,
    spec::{OnDrop, OnStall, Policy},
};
use crate::{
    calendar::{Calendar, Weekday},
    decision::{Level, Name, Names, RuleName},
    meter::{MAX_METERS, Meter},
    sync::AtomicU64,
};

/// How many rules one level of a tier may have: what a line can hold.
pub(crate) const MAX_RULES: usize = 16;
/// How many rules an account, its organization and its tier may have together: what a permit can hold.
pub(crate) const MAX_PATH_RULES: usize = 32;
/// How many tiers a policy may have.
pub(crate) const MAX_TIERS: usize = 64;
/// How many plans the lines of one limiter may be under at once.
pub(crate) const MAX_PLANS: usize = 8;

/// Under which rules the words of a line are: a tier of a plan, by its place among those that a limiter knows.
///
/// | bits | what |
/// |---|---|
/// | 0-5 | the tier |
/// | 6-8 | the plan |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Under(u16);

impl Under {
    const TIER_BITS: u32 = MAX_TIERS.ilog2();
    /// All of its bits.
    pub(crate) const MASK: u64 = (MAX_TIERS * MAX_PLANS) as u64 - 1;

    pub(crate) fn new(tier: u8, plan: u8) -> Under {
        Under::from_bits((u64::from(tier) % MAX_TIERS as u64) | (u64::from(plan) << Under::TIER_BITS))
    }

    pub(crate) fn from_bits(bits: u64) -> Under {
        Under((bits & Under::MASK) as u16)
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        u64::from(self.0)
    }

    pub(crate) fn tier(self) -> u8 {
        (usize::from(self.0) % MAX_TIERS) as u8
    }

    pub(crate) fn plan(self) -> u8 {
        (self.0 >> Under::TIER_BITS) as u8
    }
}

/// A compiled policy: every check passed, nothing left to look up by name.
#[derive(Debug)]
pub struct Plan {
    /// What it was compiled from.
    pub(crate) policy: Policy,
    pub(crate) meters: Vec<MeterPlan>,
    pub(crate) tiers: Vec<TierPlan>,
    /// Each (zone, period) that a quota names, once.
    pub(crate) calendars: Vec<Arc<Calendar>>,
    /// Zones that organizations may be in, in the order of [`Identity`](crate::Identity)'s numbers, which count from 1.
    pub(crate) zones: Vec<ZonePlan>,
    pub(crate) capacity: Capacity,
    pub(crate) on_drop: OnDrop,
    /// What answers may add to when to come back, in nanoseconds.
    pub(crate) retry_jitter: u64,
    /// Index of the tier of anonymous callers.
    pub(crate) anonymous: Option<usize>,
    pub(crate) replicas: u64,
    /// The zone that the calendars follow.
    pub(crate) zone: String,
    pub(crate) week_start: Weekday,
    /// Bytes that the tables may take.
    pub(crate) memory: u64,
    /// The most that tightening may multiply a cost by.
    pub(crate) largest_factor: u32,
    /// What is observed; none for a policy that observes nothing.
    pub(crate) evidence: Option<EvidencePlan>,
    /// What is allowed but probably not meant; `lint` prints it.
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    /// Whose windows count for who is in a zone of this place among all, counted from 1; 0 for nobody's own.
    #[inline]
    pub(crate) fn follows(&self, zone: u8) -> Follows {
        let zone = usize::from(zone).checked_sub(1).and_then(|index| self.zones.get(index));
        zone.filter(|zone| !zone.retired).map_or(Follows::Tier, |zone| Follows::Zone(zone.calendars))
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct MeterPlan {
    pub(crate) name: Name,
    /// Whether the policy has it no more.
    pub(crate) retired: bool,
    /// The least that a request which spends any of it spends.
    pub(crate) least: u64,
}

#[derive(Debug)]
pub(crate) struct TierPlan {
    pub(crate) name: Name,
    /// What lines under these rules say.
    pub(crate) under: Under,
    /// Whether the policy has it no more: its rules are kept for what is owed under them, and its callers refused.
    pub(crate) retired: bool,
    pub(crate) account: LevelPlan,
    pub(crate) organization: LevelPlan,
    pub(crate) total: LevelPlan,
    pub(crate) guard: GuardPlan,
    charges: [Charges; MAX_METERS],
    /// Without and with an organization.
    straight: [Straights; 2],
}

/// The buckets that an amount of one meter is charged to, on all levels: what the request path reads.
#[derive(Debug, Default)]
struct Charges {
    /// Those of account and tier, then those of the organization, then those of cohort and pool.
    all: Box<[Charge]>,
    /// How many are of account and tier.
    without_organization: usize,
    /// How many are of account, tier and organization.
    plain: usize,
}

/// The levels that are on one request's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Present(u8);

impl Present {
    /// Account and tier, and the organization for those who have one.
    #[inline]
    pub(crate) fn plain(in_organization: bool) -> Present {
        let organization = if in_organization { 1 << Level::Organization as u8 } else { 0 };
        Present(1 << Level::Account as u8 | organization | 1 << Level::Tier as u8)
    }

    #[must_use]
    pub(crate) fn with(self, level: Level) -> Present {
        Present(self.0 | 1 << level as u8)
    }

    #[inline]
    pub(crate) fn has(self, level: Level) -> bool {
        self.0 & 1 << level as u8 != 0
    }

    /// The levels, in the order of a path.
    pub(crate) fn levels(self) -> impl DoubleEndedIterator<Item = Level> {
        LEVELS.into_iter().filter(move |level| self.has(*level))
    }
}

/// All levels, in the order of a path.
pub(crate) const LEVELS: [Level; 5] =
    [Level::Account, Level::Cohort, Level::Organization, Level::Pool, Level::Tier];

/// One bucket that an amount is charged to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    pub(crate) level: Level,
    /// The rule's, in its level.
    pub(crate) index: u8,
    /// How many rates come before it in its level: where a line keeps what a rate's bucket ever gave back.
    pub(crate) rate: u8,
    pub(crate) limit: Limit,
    /// Tokens of it that are kept for the light.
    pub(crate) reserved: u64,
    /// Whether it is charged always, and refuses never.
    pub(crate) shadow: bool,
    /// Tokens beyond the soft threshold; 0 without one.
    pub(crate) soft: u64,
    /// What its denial names.
    pub(crate) names: Names,
}

impl Charge {
    /// Whether all that matters is how much is left.
    pub(crate) fn is_plain(&self) -> bool {
        self.watched() == 0 && !self.shadow
    }

    /// Tokens of which it matters whether they are left.
    #[inline]
    pub(crate) fn watched(&self) -> u64 {
        self.reserved.max(self.soft)
    }
}

impl TierPlan {
    /// Whether its rules and those of `other` are the same in the same places.
    pub(crate) fn has_rules_of(&self, other: &TierPlan) -> bool {
        LEVELS.into_iter().all(|level| self.level(level).rules == other.level(level).rules)
    }

    /// The same with quotas of accounts and organizations whose words tell so many calendars apart.
    pub(crate) fn among(&self, calendars: u8, meters: &[MeterPlan]) -> TierPlan {
        let [account, organization] = [&self.account, &self.organization].map(|level| level.among(calendars));
        TierPlan::new(self.name, [account, organization, self.total.clone()], self.guard.clone(), meters)
    }

    /// The rules of each level are in the order of their meters.
    pub(crate) fn new(
        name: Name,
        levels: [LevelPlan; 3],
        guard: GuardPlan,
        meters: &[MeterPlan],
    ) -> TierPlan {
        let [account, organization, total] = levels;
        let names = |rule: &Rule| Names {
            tier: name,
            meter: meters.get(rule.meter.index()).map(|meter| meter.name).unwrap_or_default(),
            step_up: guard.step_up,
            rule: rule.name,
        };
        let charges = std::array::from_fn(|meter| {
            let of = |level, plan: &LevelPlan| -> Vec<Charge> {
                let rules = plan.rules.iter().enumerate().filter(|(_, rule)| rule.meter.index() == meter);
                // At most `MAX_RULES` of them, or the policy is refused.
                let charge = |(index, rule): (usize, &Rule)| Charge {
                    level,
                    index: index as u8,
                    rate: plan.rates_before(index) as u8,
                    limit: rule.limit,
                    reserved: rule.reserved,
                    shadow: rule.shadow,
                    soft: rule.soft,
                    names: names(rule),
                };
                rules.map(charge).collect()
            };
            let mut all = of(Level::Account, &account);
            all.extend(of(Level::Tier, &total));
            let without_organization = all.len();
            all.extend(of(Level::Organization, &organization));
            let plain = all.len();
            all.extend(of(Level::Cohort, &guard.cohort));
            all.extend(of(Level::Pool, &guard.pool));
            Charges { all: all.into_boxed_slice(), without_organization, plain }
        });
        let mut tier = TierPlan {
            name,
            under: Under::default(),
            retired: false,
            account,
            organization,
            total,
            guard,
            charges,
            straight: Default::default(),
        };
        tier.straight = [false, true].map(|organization| {
            std::array::from_fn(|meter| {
                // Whether it is stalled is looked at on the way around.
                if tier.guard.on_stall == OnStall::Deny {
                    return None;
                }
                let charges = Meter::from_index(meter).map(|meter| tier.plain_charges(meter, organization));
                Straight::of(charges?).map(Box::new)
            })
        });
        tier
    }

    /// The buckets that an amount of `meter` is charged to by those who are neither new nor in a cohort.
    #[inline]
    pub(crate) fn plain_charges(&self, meter: Meter, organization: bool) -> &[Charge] {
        let Charges { all, without_organization, plain } = &self.charges[meter.index()];
        all.get(..if organization { *plain } else { *without_organization }).unwrap_or(all)
    }

    /// The same as the straight lane reads them.
    #[inline(always)]
    pub(crate) fn straights(&self, organization: bool) -> &Straights {
        &self.straight[usize::from(organization)]
    }

    /// The buckets that an amount of `meter` is charged to, on the levels that are there.
    #[inline]
    pub(crate) fn charges(&self, meter: Meter, present: Present) -> impl Iterator<Item = &Charge> {
        self.all_charges(meter).iter().filter(move |charge| present.has(charge.level))
    }

    /// The buckets that an amount of `meter` is charged to, on any level.
    #[inline]
    pub(crate) fn all_charges(&self, meter: Meter) -> &[Charge] {
        &self.charges[meter.index()].all
    }

    pub(crate) fn level(&self, level: Level) -> &LevelPlan {
        match level {
            Level::Account => &self.account,
            Level::Cohort => &self.guard.cohort,
            Level::Organization => &self.organization,
            Level::Pool => &self.guard.pool,
            Level::Tier => &self.total,
        }
    }
}

/// The rules of one level of a tier, in the order of their words in a line: that of their meters.
#[derive(Clone, Debug, Default)]
pub(crate) struct LevelPlan {
    pub(crate) rules: Box<[Rule]>,
    /// What each rule that only watches would have refused.
    pub(crate) watched: Watched,
}

/// By rule, how many requests it would have refused.
pub(crate) type Watched = Box<[Option<Arc<AtomicU64>>]>;

impl LevelPlan {
    pub(crate) fn new(rules: Box<[Rule]>) -> LevelPlan {
        let watched = rules.iter().map(|rule| rule.shadow.then(Arc::default)).collect();
        LevelPlan { rules, watched }
    }

    /// The same with quotas whose words tell so many calendars apart.
    pub(crate) fn among(&self, calendars: u8) -> LevelPlan {
        let mut level = self.clone();
        for rule in &mut level.rules {
            if let Limit::Quota(quota) = &mut rule.limit {
                *quota = quota.among(calendars);
            }
        }
        level
    }

    /// How many rates come before rule `index`: where a line keeps what that rule's bucket ever gave back.
    pub(crate) fn rates_before(&self, index: usize) -> usize {
        self.rules.iter().take(index).filter(|rule| matches!(rule.limit, Limit::Rate(_))).count()
    }

    /// How many of the rules are rates.
    pub(crate) fn rates(&self) -> usize {
        self.rates_before(self.rules.len())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) name: RuleName,
    pub(crate) meter: Meter,
    pub(crate) limit: Limit,
    /// Tokens of it that are kept for the light.
    pub(crate) reserved: u64,
    /// Whether it is charged always, and refuses never.
    pub(crate) shadow: bool,
    /// Tokens beyond the soft threshold; 0 without one.
    pub(crate) soft: u64,
    pub(crate) born: Born,
}

impl Rule {
    /// One that always refuses where there is too little, and tells nothing before.
    pub(crate) fn plain(name: RuleName, meter: Meter, limit: Limit) -> Rule {
        Rule { name, meter, limit, reserved: 0, shadow: false, soft: 0, born: Born::default() }
    }

    /// Whether it bounds what is spent over time, and not only at once.
    pub(crate) fn is_bounding(&self) -> bool {
        self.limit.is_bounding() && !self.shadow
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Rate(Rate),
    Quota(Quota),
    /// Never refills. A limit of [`UNLIMITED`] only counts.
    Budget {
        limit: u64,
    },
    /// What open permits hold at once.
    InFlight {
        limit: u64,
    },
}

impl Limit {
    /// What a policy calls its kind.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Limit::Rate(_) => "rate",
            Limit::Quota(_) => "quota",
            Limit::Budget { .. } => "budget",
            Limit::InFlight { .. } => "in_flight",
        }
    }

    /// The limit as a policy would say it, such as `600/min`.
    pub(crate) fn said(&self) -> String {
        match *self {
            Limit::Rate(Rate { tokens, period, .. }) => TokenRate { tokens, nanos: period }.to_string(),
            Limit::Quota(Quota { limit, period, .. }) => WindowLimit { tokens: limit, period }.to_string(),
            Limit::Budget { limit } | Limit::InFlight { limit } => limit.to_string(),
        }
    }

    /// The most that it ever gives at once.
    pub(crate) fn most(&self) -> u64 {
        match self {
            Limit::Rate(rate) => rate.burst,
            Limit::Quota(quota) => quota.limit,
            Limit::Budget { limit } | Limit::InFlight { limit } => *limit,
        }
    }

    /// Whether it bounds what is spent over time, and not only at once.
    pub(crate) fn is_bounding(&self) -> bool {
        match self {
            Limit::Rate(_) | Limit::Quota(_) => true,
            Limit::Budget { limit } => *limit != UNLIMITED,
            Limit::InFlight { .. } => false,
        }
    }

    /// Whether a subject that spends nothing for long still has a bucket that is not like new.
    pub(crate) fn outlives_idling(&self) -> bool {
        match self {
            Limit::Quota(_) | Limit::Budget { .. } => true,
            Limit::Rate(_) | Limit::InFlight { .. } => false,
        }
    }

    /// Whether it only counts, and never refuses.
    pub(crate) fn only_counts(&self) -> bool {
        *self == Limit::Budget { limit: UNLIMITED }
    }
}

/// A budget that only counts: what nobody limits, and what a new account has settled.
pub(crate) const UNLIMITED: u64 = u64::MAX;
