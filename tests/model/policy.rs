//! A policy as the model reads it, and the text by which the limiter learns the same.

use std::fmt::Write as _;

use super::{
    bucket::{COUNTS, Limit, Rate},
    calendar::Period,
};

/// How many meters a model policy has at most.
pub const METERS: usize = 3;

#[derive(Clone, Debug)]
pub struct PolicyModel {
    pub meters: Vec<&'static str>,
    /// Unix nanoseconds at limiter time 0.
    pub origin_unix: i64,
    /// Zones that organizations may be in, and by how many nanoseconds their clocks are ahead of UTC.
    pub zones: Vec<(&'static str, i64)>,
    pub largest_factor: u64,
    pub tiers: Vec<TierModel>,
    /// Index of the tier of anonymous callers.
    pub anonymous: Option<usize>,
    pub accounts: u8,
    /// Whether somebody may be reported.
    pub signals: bool,
}

#[derive(Clone, Debug)]
pub struct TierModel {
    pub name: &'static str,
    pub account: LevelRules,
    pub organization: LevelRules,
    pub total: LevelRules,
    pub guard: Option<GuardModel>,
}

/// What a tier does against fleets. Parts are in hundredths.
#[derive(Clone, Debug)]
pub struct GuardModel {
    /// As old as this, in days, an account is no longer new.
    pub days: u64,
    /// The part of its own rates and quotas that a new account starts with.
    pub start: u64,
    /// What it has spent once it has all of them: a meter, which an account's rule that only counts is on, and how much.
    pub usage: (usize, u64),
    /// What all new accounts have together.
    pub pool: LevelRules,
    /// The last part of pool and total, and of how much of its own day an account has used less that has it.
    pub light: (u64, u64),
}

impl GuardModel {
    /// Nanoseconds.
    pub fn age(&self) -> u64 {
        self.days * 86_400 * 1_000_000_000
    }

    /// The part of its own limits that an account has, in ten-thousandths, rounded down, whichever of age and use has come
    /// less far.
    pub fn share(&self, age: u64, used: u128) -> u128 {
        let by_age = u128::from(age) * 10_000 / u128::from(self.age());
        let by_use = used * 10_000 / u128::from(self.usage.1);
        let start = u128::from(self.start) * 100;
        start + (10_000 - start) * by_age.min(by_use).min(10_000) / 10_000
    }
}

pub type LevelRules = Vec<RuleModel>;

#[derive(Clone, Debug)]
pub struct RuleModel {
    pub name: String,
    pub meter: usize,
    pub limit: Limit,
}

impl PolicyModel {
    /// The policy as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "version = 1");
        let _ = writeln!(text, "meters = {:?}", self.meters);
        if !self.zones.is_empty() {
            let _ = writeln!(text, "zones = {:?}", self.zones.iter().map(|zone| zone.0).collect::<Vec<_>>());
        }
        let _ = writeln!(text, "largest_factor = {}", self.largest_factor);
        let _ = writeln!(text, "memory = \"64MiB\"");
        if let Some(tier) = self.anonymous.and_then(|index| self.tiers.get(index)) {
            let _ = writeln!(text, "anonymous = {:?}", tier.name);
        }
        let _ = writeln!(text, "capacity = {{ accounts = 1_000, organizations = 1_000 }}");
        if self.signals {
            let _ =
                writeln!(text, "[evidence]\nsignals.report = {{ weight = 6, cap = 24, half_life = \"1h\" }}");
        }
        for tier in &self.tiers {
            if let Some(GuardModel { days, start, usage: (meter, spent), pool, light: (share, below) }) =
                &tier.guard
            {
                let (name, meter) = (tier.name, self.meters[*meter]);
                let _ = writeln!(text, "[tiers.{name}]");
                let _ = writeln!(
                    text,
                    "ramp = {{ age = \"{days}d\", use.{meter} = {spent}, start = \"{start}%\" }}"
                );
                let _ = writeln!(text, "light_reserve = {{ share = \"{share}%\", below = \"{below}%\" }}");
                let _ = writeln!(text, "[tiers.{name}.pool]");
                self.write_rules(&mut text, pool);
            }
            for (level, rules) in
                [("account", &tier.account), ("organization", &tier.organization), ("total", &tier.total)]
            {
                if rules.is_empty() && level == "total" {
                    let _ = writeln!(text, "[tiers.{}]\ntotal = \"unlimited\"", tier.name);
                } else if !rules.is_empty() {
                    let _ = writeln!(text, "[tiers.{}.{level}]", tier.name);
                    self.write_rules(&mut text, rules);
                }
            }
        }
        text
    }

    fn write_rules(&self, text: &mut String, rules: &[RuleModel]) {
        for (index, meter) in self.meters.iter().enumerate() {
            let of_meter: Vec<String> = rules
                .iter()
                .filter(|rule| rule.meter == index && !rule.only_counts())
                .map(RuleModel::text)
                .collect();
            if !of_meter.is_empty() {
                let _ = writeln!(text, "{meter} = [{}]", of_meter.join(", "));
            }
        }
    }
}

impl RuleModel {
    /// Whether it limits nothing: what a ramp looks at, which the policy's text doesn't name.
    pub fn only_counts(&self) -> bool {
        self.limit == Limit::Budget { limit: COUNTS }
    }

    fn text(&self) -> String {
        let limit = match &self.limit {
            Limit::Rate(Rate { tokens, period, burst, max_debt, .. }) => {
                format!("rate = \"{tokens} per {period}ns\", burst = {burst}, max_debt = {max_debt}")
            }
            Limit::Quota { limit, period } => format!("quota = \"{limit}/{}\"", name_of(*period)),
            Limit::Budget { limit } => format!("budget = {limit}"),
            Limit::InFlight { limit } => format!("in_flight = {limit}"),
        };
        format!("{{ {limit}, name = {:?} }}", self.name)
    }
}

fn name_of(period: Period) -> &'static str {
    match period {
        Period::Minute => "minute",
        Period::Hour => "hour",
        Period::Day => "day",
        Period::Week => "week",
        Period::Month => "month",
    }
}

/// A rate of `tokens` every `period` nanoseconds.
pub fn rate(tokens: u64, period: u64, burst: u64, max_debt: u64) -> Limit {
    Limit::Rate(Rate { tokens, period, burst, max_debt, largest_factor: 16 })
}

pub fn quota(limit: u64, period: Period) -> Limit {
    Limit::Quota { limit, period }
}

/// Names rules by their place, so that each name is its own within a level; what only counts is the ramp's.
pub fn rules(limits: &[(usize, Limit)]) -> LevelRules {
    limits
        .iter()
        .enumerate()
        .map(|(index, &(meter, limit))| RuleModel { name: format!("rule{index}"), meter, limit })
        .map(|rule| if rule.only_counts() { RuleModel { name: "settled".to_owned(), ..rule } } else { rule })
        .collect()
}
