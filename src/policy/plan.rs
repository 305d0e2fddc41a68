//! A valid, immutable policy in the shape that the request path reads: names resolved to indexes, rates
//! scaled, calendars tabulated.

use super::rate::Rate;
use crate::{
    calendar::{Calendar, Period},
    decision::{Level, Name, RuleName},
    meter::Meter,
};

/// How many rules one level of a tier may have: what a line can hold.
pub(crate) const MAX_RULES: usize = 16;
/// How many rules an account, its organization and its tier may have together: what a permit can hold.
pub(crate) const MAX_PATH_RULES: usize = 32;
/// How many tiers a policy may have.
pub(crate) const MAX_TIERS: usize = 64;

/// A compiled policy: every check passed, nothing left to look up by name.
#[derive(Debug)]
pub struct Plan {
    pub(crate) meters: Vec<MeterPlan>,
    pub(crate) tiers: Vec<TierPlan>,
    /// Each (zone, period) that a quota names, once.
    pub(crate) calendars: Vec<Calendar>,
    pub(crate) capacity: Capacity,
    /// Index of the tier of anonymous callers.
    pub(crate) anonymous: Option<usize>,
    pub(crate) replicas: u64,
    /// The most that tightening may multiply a cost by.
    pub(crate) largest_factor: u32,
    /// What is allowed but probably not meant; `lint` prints it.
    pub(crate) warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct MeterPlan {
    pub(crate) name: Name,
    /// The least that a request which spends any of it spends.
    pub(crate) least: u64,
}

/// How many subjects each table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) accounts: usize,
    pub(crate) organizations: usize,
    /// Accounts that are idle but for quotas and budgets; 0 where no account rule is one.
    pub(crate) parked_accounts: usize,
    pub(crate) parked_organizations: usize,
}

#[derive(Debug)]
pub(crate) struct TierPlan {
    pub(crate) name: Name,
    pub(crate) account: LevelPlan,
    pub(crate) organization: LevelPlan,
    pub(crate) total: LevelPlan,
}

impl TierPlan {
    pub(crate) fn level(&self, level: Level) -> &LevelPlan {
        match level {
            Level::Account => &self.account,
            Level::Organization => &self.organization,
            Level::Tier => &self.total,
        }
    }
}

/// The rules of one level of a tier, in the order of their words in a line.
#[derive(Debug, Default)]
pub(crate) struct LevelPlan {
    pub(crate) rules: Box<[Rule]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) name: RuleName,
    pub(crate) meter: Meter,
    pub(crate) limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Rate(Rate),
    Quota(Quota),
    /// Never refills. A limit of [`UNLIMITED`] only counts: what a tier's meter without any rule gets in the
    /// tier's total, so that it is counted and never refused.
    Budget {
        limit: u64,
    },
    /// What open permits hold at once.
    InFlight {
        limit: u64,
    },
}

/// A budget that only counts.
pub(crate) const UNLIMITED: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Per window; below 2^`use_bits`.
    pub(crate) limit: u64,
    pub(crate) period: Period,
    /// Index in [`Plan::calendars`].
    pub(crate) calendar: u8,
    /// How many low bits of the bucket's word hold the use; the rest hold the window's number.
    pub(crate) use_bits: u32,
}

impl Quota {
    /// Windows are numbered from 1970; through 2106 that takes 27 bits for minutes, 21 for hours and 16 for the
    /// longer ones. The rest of the word is left for the use, so a number never comes round.
    pub(crate) const fn use_bits(period: Period) -> u32 {
        match period {
            Period::Minute => 37,
            Period::Hour => 43,
            Period::Day | Period::Week | Period::Month => 48,
        }
    }
}
