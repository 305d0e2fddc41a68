//! What a plan means, resolved: for an operator to read before anybody is refused.
//!
//! Every number is one process's share. Bounds are of what is admitted; settled overage, which is bounded and
//! reported by itself, comes on top.

use serde::Serialize;

use super::{
    compile::{has_fixed_days, shortest},
    plan::{GuardPlan, LEVELS, LevelPlan, Limit, OwnUse, Plan, Quota, Rule, TierPlan, UNLIMITED},
    quantity::{Share, Span},
    spec::{OnDrop, OnStall},
};
use crate::{
    calendar::{Period, Weekday},
    decision::{Level, Name, RuleName},
};

mod table;

const MINUTE: u64 = 60_000_000_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const MONTH: u64 = 30 * DAY;

/// What a policy means, as data and, by `Display`, as a table for a terminal. Numbers are one process's share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Description {
    /// The zone that quotas follow.
    pub zone: String,
    /// The zones that organizations may be in.
    pub zones: Vec<String>,
    /// The day that weeks start on.
    pub week_start: Weekday,
    /// What happens to the cost of a permit that is dropped.
    pub on_drop: OnDrop,
    /// What answers may add, at random, to when to come back, in nanoseconds.
    pub retry_jitter_ns: u64,
    /// How many processes share the limits.
    pub replicas: u64,
    /// The most that tightening may multiply a cost by.
    pub largest_factor: u32,
    /// What is counted.
    pub meters: Vec<DescribedMeter>,
    /// The tier of callers without a credential.
    pub anonymous: Option<Name>,
    /// How many accounts the table holds.
    pub accounts: u64,
    /// How many organizations the table holds.
    pub organizations: u64,
    /// How many idle accounts are remembered for a quota or budget.
    pub parked_accounts: u64,
    /// How many idle organizations are remembered for a quota or budget.
    pub parked_organizations: u64,
    /// How many more rules than this policy's largest a level of a later policy may have.
    pub spare_rules: u64,
    /// How many tiers later policies may add.
    pub spare_tiers: u64,
    /// Whether what has come while something else is gone starts anew when this policy replaces another.
    pub fresh: bool,
    /// Bytes that the tables take.
    pub table_bytes: u64,
    /// Bytes that rings and correlators of evidence take at the most, on a machine with as many processors as this; 0 where
    /// nothing is observed.
    pub evidence_bytes: u64,
    /// Bytes that both may take.
    pub memory: u64,
    /// Every tier.
    pub tiers: Vec<DescribedTier>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
}

/// One meter of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DescribedMeter {
    /// Its name.
    pub name: Name,
    /// The least that a request which spends any of it spends.
    pub least: u64,
}

/// One tier of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DescribedTier {
    /// Its name.
    pub name: Name,
    /// The zone that its quotas follow, but those of its total; `None` where it is the policy's.
    pub zone: Option<String>,
    /// Account, organization, tier.
    pub levels: Vec<DescribedLevel>,
    /// What the whole tier can take of each meter.
    pub bounds: Vec<TierBound>,
    /// Meters that no rule of the tier limits; they are counted and never refused.
    pub counted: Vec<Name>,
    /// What the tier does against fleets besides its rules, a sentence each.
    pub guards: Vec<String>,
}

/// The rules of one level of a tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DescribedLevel {
    /// Where they sit.
    pub level: Level,
    /// The rules, without those that only count.
    pub rules: Vec<DescribedRule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DescribedRule {
    /// What it limits.
    pub meter: Name,
    /// What denials call it.
    pub rule: RuleName,
    /// `rate`, `quota`, `budget` or `in_flight`.
    pub kind: &'static str,
    /// The limit as a policy would say it, such as `600/min`.
    pub limit: String,
    /// Whether the rule only watches.
    pub shadow: bool,
    /// From what use on receipts tell that it is nearly used up.
    pub soft: Option<u64>,
    /// The most at once; of a rate.
    pub burst: Option<u64>,
    /// How far settled overage may take it below empty; of a rate.
    pub max_debt: Option<u64>,
    /// Nanoseconds until one token is back in an empty bucket, rounded up; of a rate.
    pub refill_ns: Option<u64>,
    /// What it admits at most.
    pub most: MostIn,
}

/// What a rule admits at most in each of four times; `None` where it sets no bound. Numbers stop at 2^64 - 1.
///
/// A rate gives burst + rate x time, in any such interval. A quota gives its limit in each of the windows that
/// a calendar minute, hour, day or month of 30 days touches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MostIn {
    /// In a minute.
    pub minute: Option<u64>,
    /// In an hour.
    pub hour: Option<u64>,
    /// In a day.
    pub day: Option<u64>,
    /// In 30 days.
    pub month: Option<u64>,
}

/// What a whole tier can take of one meter: the least over the rules of its total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TierBound {
    /// The meter.
    pub meter: Name,
    /// In a day; `None`: no bound.
    pub per_day: Option<u64>,
    /// In 30 days; `None`: no bound.
    pub per_month: Option<u64>,
}

impl Plan {
    /// What the policy means, resolved.
    pub fn describe(&self) -> Description {
        let meters = self.meters.iter().map(|meter| DescribedMeter { name: meter.name, least: meter.least });
        Description {
            zone: self.zone.clone(),
            zones: self.policy.zones.clone(),
            week_start: self.week_start,
            on_drop: self.on_drop,
            retry_jitter_ns: self.retry_jitter,
            replicas: self.replicas,
            largest_factor: self.largest_factor,
            meters: meters.collect(),
            anonymous: self.anonymous.and_then(|index| self.tiers.get(index)).map(|tier| tier.name),
            accounts: self.capacity.accounts as u64,
            organizations: self.capacity.organizations as u64,
            parked_accounts: self.capacity.parked_accounts as u64,
            parked_organizations: self.capacity.parked_organizations as u64,
            spare_rules: self.capacity.spare_rules as u64,
            spare_tiers: self.capacity.spare_tiers as u64,
            fresh: self.policy.fresh,
            table_bytes: self.table_bytes().total,
            evidence_bytes: self.table_bytes().evidence,
            memory: self.memory,
            tiers: self.tiers.iter().map(|tier| self.describe_tier(tier)).collect(),
            warnings: self.warnings.clone(),
        }
    }

    /// The most of `meter` that everyone in `tier` together can be admitted in any interval of `nanos`
    /// nanoseconds, wherever it begins: the least over the rules of the tier's total. Settled overage comes on
    /// top. `None` if nothing bounds it, or if there is no such tier or meter.
    ///
    /// A quota counts once for each window that such an interval can touch: an interval of a day touches two
    /// days.
    pub fn tier_bound(&self, tier: &str, meter: &str, nanos: u64) -> Option<u128> {
        let tier = self.tiers.iter().find(|known| known.name.as_str() == tier)?;
        let index = self.meters.iter().position(|known| known.name.as_str() == meter)?;
        let fixed_days = has_fixed_days(&self.zone);
        let on_meter = tier.total.rules.iter().filter(|rule| rule.meter.index() == index && !rule.shadow);
        on_meter
            .filter_map(|rule| match rule.limit {
                Limit::Rate(rate) => Some(rate.most_in(nanos)),
                Limit::Quota(Quota { limit, period, .. }) => {
                    // So many edges lie inside at most, and there is one window more than edges.
                    let windows = nanos / shortest(period, fixed_days) + 2;
                    Some(u128::from(limit) * u128::from(windows))
                }
                Limit::Budget { limit: UNLIMITED } | Limit::InFlight { .. } => None,
                Limit::Budget { limit } => Some(u128::from(limit)),
            })
            .min()
    }

    fn describe_tier(&self, tier: &TierPlan) -> DescribedTier {
        let shown = |level: &Level| {
            !matches!(level, Level::Cohort | Level::Pool) || !tier.level(*level).rules.is_empty()
        };
        let only_counts = |rule: &&Rule| rule.limit == Limit::Budget { limit: UNLIMITED };
        DescribedTier {
            name: tier.name,
            zone: self.policy.tiers.get(tier.name.as_str()).and_then(|tier| tier.zone.clone()),
            levels: LEVELS
                .into_iter()
                .filter(shown)
                .map(|level| {
                    let rules = tier.level(level).rules.iter().filter(|rule| !only_counts(rule));
                    DescribedLevel {
                        level,
                        rules: rules.filter_map(|rule| self.describe_rule(rule)).collect(),
                    }
                })
                .collect(),
            bounds: (0..self.meters.len())
                .filter_map(|index| self.describe_bound(&tier.total, index))
                .collect(),
            counted: tier
                .total
                .rules
                .iter()
                .filter(only_counts)
                .filter_map(|rule| self.meter_name(rule))
                .collect(),
            guards: self.describe_guards(tier),
        }
    }

    /// What the tier does against fleets besides rules, a sentence each.
    fn describe_guards(&self, tier: &TierPlan) -> Vec<String> {
        let GuardPlan { pool, ramp, cohort, floor, light, sensitivity, on_stall, step_up } = &tier.guard;
        let mut guards = Vec::new();
        let part = |own: &OwnUse| {
            let rule = tier.account.rules.get(usize::from(own.rule))?;
            Some(format!("{} {}/{}", own.most, self.meter_name(rule)?, rule.name))
        };
        let list = |parts: Vec<String>| parts.join(" and ");
        if ramp.age > 0 {
            let age = Span { nanos: ramp.age };
            let pays = if pool.rules.is_empty() { "" } else { " pays the pool too, and" };
            let counts = ramp.usage.iter().filter_map(part).collect::<Vec<_>>();
            let used = if counts.is_empty() { String::new() } else { format!(" and use ({})", list(counts)) };
            guards.push(format!(
                "an account younger than {age}{pays} has {} of its own rates' bursts and quotas at first, all of \
                 them with age{used}",
                ramp.start
            ));
        }
        let reserved = tier.total.rules.iter().chain(&pool.rules).any(|rule| rule.reserved > 0);
        if reserved {
            let parts = light.iter().flatten().filter_map(part).collect();
            guards.push(format!(
                "the last of total and pool ({}) is for accounts that have used at most {}",
                list(
                    tier.total
                        .rules
                        .iter()
                        .chain(&pool.rules)
                        .filter(|rule| rule.reserved > 0)
                        .filter_map(|rule| Some(format!("{} {}", rule.reserved, self.meter_name(rule)?)))
                        .collect()
                ),
                list(parts)
            ));
        }
        if !cohort.rules.is_empty() {
            let parts: Vec<String> = floor.iter().flatten().filter_map(part).collect();
            if !parts.is_empty() {
                guards.push(format!("a member of a cohort keeps {} whatever the others take", list(parts)));
            }
        }
        if *on_stall == OnStall::Deny {
            guards.push("denied while nobody calls maintain".to_owned());
        }
        if *sensitivity != Share::ONE {
            guards.push(format!("evidence counts {sensitivity} here"));
        }
        if !step_up.as_str().is_empty() {
            guards.push(format!("a denial names tier {step_up} as the way out"));
        }
        guards
    }

    fn meter_name(&self, rule: &Rule) -> Option<Name> {
        self.meters.get(rule.meter.index()).map(|meter| meter.name)
    }

    fn describe_bound(&self, total: &LevelPlan, index: usize) -> Option<TierBound> {
        let binds = |rule: &&Rule| rule.meter.index() == index && !rule.shadow;
        let most = || total.rules.iter().filter(binds).map(most_in);
        Some(TierBound {
            meter: self.meters.get(index)?.name,
            per_day: most().filter_map(|most| most.day).min(),
            per_month: most().filter_map(|most| most.month).min(),
        })
    }

    fn describe_rule(&self, rule: &Rule) -> Option<DescribedRule> {
        let rate = if let Limit::Rate(rate) = rule.limit { Some(rate) } else { None };
        Some(DescribedRule {
            meter: self.meter_name(rule)?,
            rule: rule.name,
            kind: rule.limit.kind(),
            limit: rule.limit.said(),
            shadow: rule.shadow,
            soft: (rule.soft > 0).then(|| rule.limit.most().saturating_sub(rule.soft)),
            burst: rate.map(|rate| rate.burst),
            max_debt: rate.map(|rate| rate.max_debt),
            refill_ns: rate.map(|rate| rate.period.div_ceil(rate.tokens.max(1))),
            most: most_in(rule),
        })
    }
}

/// What `rule` admits at most in a minute, an hour, a day and 30 days.
fn most_in(rule: &Rule) -> MostIn {
    let [minute, hour, day, month] = [0, 1, 2, 3].map(|column: usize| {
        let most = match rule.limit {
            Limit::Rate(rate) => rate.most_in([MINUTE, HOUR, DAY, MONTH][column]),
            Limit::Quota(Quota { limit, period, .. }) => {
                u128::from(limit) * u128::from(windows_touched(period)[column])
            }
            Limit::Budget { limit: UNLIMITED } | Limit::InFlight { .. } => return None,
            Limit::Budget { limit } => u128::from(limit),
        };
        Some(u64::try_from(most).unwrap_or(u64::MAX))
    });
    MostIn { minute, hour, day, month }
}

/// How many windows a calendar minute, hour, day and month of 30 days touches at most.
fn windows_touched(period: Period) -> [u64; 4] {
    match period {
        Period::Minute => [1, 60, 24 * 60, 30 * 24 * 60],
        Period::Hour => [1, 1, 24, 30 * 24],
        Period::Day => [1, 1, 1, 30],
        // A Sunday, four weeks, a Monday.
        Period::Week => [1, 1, 1, 6],
        Period::Month => [1, 1, 1, 1],
    }
}
