//! The rules of one level: names, kinds, shares of the replicas, and whether they can admit anything.

use super::{
    Compiler,
    bind::{self, Windows, has_fixed_days},
};
use crate::{
    calendar::{Calendar, Period},
    decision::{Name, RuleName},
    meter::Meter,
    policy::{
        error::KeyPath,
        plan::{LevelPlan, Limit, MAX_RULES, Quota, Rule, UNLIMITED},
        quantity::{Amount, Share, TokenRate, WindowLimit},
        rate::{Rate, RateError},
        spec::{PolicyLevel, PolicyRule},
    },
};

/// A year, the longest that a rate may take for one token: beyond, the supply's resolution no longer carries.
const SLOWEST_NANOS: u128 = 365 * 86_400_000_000_000;

/// A rule, and where the policy says it.
pub(super) struct Placed {
    pub(super) rule: Rule,
    pub(super) path: KeyPath,
}

impl Compiler<'_> {
    /// The rules of a level in the order of the policy's meters, then as written.
    pub(super) fn level(&mut self, path: &KeyPath, level: &PolicyLevel) -> Vec<Placed> {
        let mut placed: Vec<Placed> = Vec::new();
        for (name, rules) in level {
            let path = path.key(name);
            let meter = self.meter(&path, name);
            if rules.0.is_empty() {
                self.problem(&path, "has no rule; give it one, such as \"600/min\", or leave the meter out");
            }
            let first = placed.len();
            for (index, rule) in rules.0.iter().enumerate() {
                let path = if rules.0.len() == 1 { path.clone() } else { path.index(index) };
                let Some(rule) = self.rule(&path, meter, rule) else { continue };
                let name = rule.rule.name;
                if placed.iter().skip(first).any(|earlier| earlier.rule.name == name) {
                    let message =
                        format!("another rule of this meter here is called `{name}`; give one a `name`");
                    self.problem(&path, message);
                }
                placed.push(rule);
            }
        }
        placed.sort_by_key(|placed| placed.rule.meter.index());
        placed
    }

    /// The finished level.
    pub(super) fn finish_level(&mut self, path: &KeyPath, placed: Vec<Placed>) -> LevelPlan {
        if placed.len() > MAX_RULES {
            let message = format!(
                "has {} rules (in a total, meters that are only counted take one each); at most {MAX_RULES} fit",
                placed.len()
            );
            self.problem(path, message);
        }
        LevelPlan::new(placed.into_iter().map(|placed| placed.rule).collect())
    }

    /// Gives each meter that no rule of a tier names a rule in its total that only counts.
    pub(super) fn count_the_rest(&self, children: [&Vec<Placed>; 2], total: &mut Vec<Placed>) {
        let [account, organization] = children;
        for index in 0..self.policy.meters.len() {
            let ruled = |placed: &Placed| placed.rule.meter.index() == index;
            if account.iter().chain(organization).chain(total.iter()).any(ruled) {
                continue;
            }
            if let (Some(meter), Some(name)) = (Meter::from_index(index), Name::new("counted")) {
                let rule = Rule::plain(name, meter, Limit::Budget { limit: UNLIMITED });
                total.push(Placed { rule, path: KeyPath::root() });
            }
        }
    }

    /// What is known of how the windows of two limits lie.
    fn windows(&self, outer: &Limit, inner: &Limit) -> Windows {
        let quota = |limit: &Limit| match limit {
            Limit::Quota(quota) => Some(*quota),
            Limit::Rate(_) | Limit::Budget { .. } | Limit::InFlight { .. } => None,
        };
        let quotas = [quota(outer), quota(inner)];
        let zone =
            |quota: Quota| self.calendars.get(usize::from(quota.calendar)).map(|known| known.windows().1);
        let zones = quotas.map(|quota| quota.and_then(zone));
        let follows = |quota: &Quota| quota.calendars > 0;
        let others: &[&str] = if quotas.iter().flatten().any(follows) { &self.zones } else { &[] };
        Windows {
            fixed_days: zones.iter().flatten().chain(others).all(|zone| has_fixed_days(zone)),
            // Where organizations may be in zones, two of its quotas need not have come to another zone together.
            aligned: others.is_empty() && !matches!(zones, [Some(outer), Some(inner)] if outer != inner),
        }
    }

    /// Refuses each rule of the first `checked` levels that another on its path makes pointless.
    pub(super) fn check_binding(&mut self, levels: &[&Vec<Placed>], checked: usize) {
        // A rule in shadow binds nobody, and is not meant to.
        for (depth, level) in levels.iter().enumerate().take(checked) {
            for child in level.iter().filter(|child| !child.rule.shadow) {
                let on_path = levels.iter().skip(depth).flat_map(|level| level.iter());
                let mut others = on_path.filter(|other| {
                    other.rule.meter == child.rule.meter && other.path != child.path && !other.rule.shadow
                });
                let windows = |other: &Placed| self.windows(&other.rule.limit, &child.rule.limit);
                let stricter =
                    others.find(|other| bind::covers(&other.rule.limit, &child.rule.limit, windows(other)));
                if let Some(stricter) = stricter {
                    let limit = &stricter.rule.limit;
                    let message = format!(
                        "can never bind: {} ({} {}) always refuses first; lower this, raise that, or remove one",
                        stricter.path,
                        limit.kind(),
                        limit.said(),
                    );
                    self.problem(&child.path.key(child.rule.limit.kind()), message);
                }
            }
        }
    }

    fn rule(&mut self, path: &KeyPath, meter: Option<(Meter, u64)>, rule: &PolicyRule) -> Option<Placed> {
        let kinds = [
            ("rate", rule.rate.is_some()),
            ("quota", rule.quota.is_some()),
            ("budget", rule.budget.is_some()),
            ("in_flight", rule.in_flight.is_some()),
        ];
        let said: Vec<&'static str> = kinds.iter().filter(|(_, said)| *said).map(|(key, _)| *key).collect();
        let [key] = said[..] else {
            let message = if said.is_empty() {
                "limits nothing; expected one of `rate`, `quota`, `budget`, `in_flight`".to_owned()
            } else {
                let said = said.join("` and `");
                format!("has `{said}`; a rule is one limit, so write a list of rules")
            };
            self.problem(path, message);
            return None;
        };
        for (of_rate, said) in [("burst", rule.burst.is_some()), ("max_debt", rule.max_debt.is_some())] {
            if said && key != "rate" {
                let message = format!("only a `rate` has a `{of_rate}`, and this is a `{key}`; remove it");
                self.problem(&path.key(of_rate), message);
            }
        }
        let default_name = match rule.quota {
            Some(quota) => quota.period.name(),
            None => key,
        };
        let name: Option<RuleName> = match &rule.name {
            Some(name) => self.name(&path.key("name"), "rule", name),
            None => Name::new(default_name),
        };
        let least = meter.map_or(1, |(_, least)| least);
        let limit = if let Some(rate) = rule.rate {
            self.rate(path, least, rate, rule).map(Limit::Rate)
        } else if let Some(quota) = rule.quota {
            self.quota(path, least, quota).map(Limit::Quota)
        } else if let Some(budget) = rule.budget {
            let path = path.key("budget");
            match budget.0 {
                // Forbidden, and meant so.
                0 => Some(Limit::Budget { limit: 0 }),
                UNLIMITED => {
                    self.problem(&path, format!("{budget} is too large; at most {} fits", UNLIMITED - 1));
                    None
                }
                limit => self.share(&path, "budget", limit, least).map(|limit| Limit::Budget { limit }),
            }
        } else if let Some(Amount(limit)) = rule.in_flight {
            self.share(&path.key("in_flight"), "number in flight", limit, least)
                .map(|limit| Limit::InFlight { limit })
        } else {
            None
        };
        let soft = self.soft(path, rule, limit.as_ref());
        let (meter, _) = meter?;
        let rule = Rule { shadow: rule.shadow, soft, ..Rule::plain(name?, meter, limit?) };
        Some(Placed { rule, path: path.clone() })
    }

    /// Tokens of `limit` beyond a rule's soft threshold.
    fn soft(&mut self, path: &KeyPath, rule: &PolicyRule, limit: Option<&Limit>) -> u64 {
        let (Some(soft), Some(limit)) = (rule.soft, limit) else { return 0 };
        let (most, path) = (limit.most(), path.key("soft"));
        if soft >= Share::ONE {
            self.problem(
                &path,
                format!("{soft} is out of range; expected less than 1, such as `0.8` or `\"80%\"`"),
            );
        } else if rule.shadow {
            self.problem(
                &path,
                "the rule is in `shadow`, which tells nothing to callers; remove one of the two",
            );
        }
        // At least one, or nothing would ever be told.
        most.saturating_sub(soft.of(most)).max(1)
    }

    /// One process's share of `limit`, or a problem if it cannot admit the `least` that is ever asked.
    fn share(&mut self, path: &KeyPath, what: &str, limit: u64, least: u64) -> Option<u64> {
        let share = limit / self.replicas;
        if share >= least.max(1) {
            return Some(share);
        }
        let needed = least.max(1).saturating_mul(self.replicas);
        let message = if limit == 0 {
            format!("a {what} of 0 admits nothing; to forbid the meter say `budget = 0`")
        } else if limit >= least {
            format!(
                "a {what} of {limit} over {} replicas leaves each {share}, and a request takes at least {}; \
                 expected at least {needed}",
                self.replicas,
                least.max(1)
            )
        } else {
            format!(
                "a {what} of {limit} can never admit a request, which takes at least {least} of this meter; \
                 expected at least {needed}"
            )
        };
        self.problem(path, message);
        None
    }

    fn rate(&mut self, path: &KeyPath, least: u64, rate: TokenRate, rule: &PolicyRule) -> Option<Rate> {
        let at_rate = path.key("rate");
        if rate.tokens == 0 || rate.nanos == 0 {
            self.problem(&at_rate, "a rate of 0 admits nothing; to forbid the meter say `budget = 0`");
            return None;
        }
        let (burst, what) = match rule.burst {
            Some(Amount(burst)) => (burst, "burst"),
            None => (rate.tokens, "burst (one period's tokens, where none is said)"),
        };
        let burst = self.share(&path.key("burst"), what, burst, least)?;
        let max_debt = rule.max_debt.map_or(burst, |Amount(debt)| debt / self.replicas);
        // The share of a rate is exact: as few tokens as divide evenly, over a longer period.
        let common = common_divisor(rate.tokens, self.replicas);
        let tokens = rate.tokens / common;
        let Some(period) = rate.nanos.checked_mul(self.replicas / common) else {
            self.problem(&at_rate, "one replica's share of this is slower than one token a year");
            return None;
        };
        if u128::from(period) > u128::from(tokens) * SLOWEST_NANOS {
            let message = "slower than one token a year (for each replica); a `budget` may be what is meant";
            self.problem(&at_rate, message);
            return None;
        }
        match Rate::new(tokens, period, burst, max_debt, self.largest_factor) {
            Ok(rate) => Some(rate),
            Err(RateError::TooLarge { most_burst: 0 }) => {
                let held = u128::from(burst) * u128::from(self.largest_factor);
                let most = (1_u128 << 62).saturating_sub(held);
                let message = format!("{max_debt} is too large beside the burst; at most {most} would do");
                self.problem(&path.key("max_debt"), message);
                None
            }
            Err(error @ RateError::TooLarge { .. }) => {
                self.problem(&path.key("burst"), error.to_string());
                None
            }
            Err(error) => {
                self.problem(&at_rate, error.to_string());
                None
            }
        }
    }

    fn quota(&mut self, path: &KeyPath, least: u64, quota: WindowLimit) -> Option<Quota> {
        let path = path.key("quota");
        let limit = self.share(&path, "quota", quota.tokens, least)?;
        let most = Quota::new(limit, quota.period, 0).among(self.calendars_of_words()).most();
        if limit > most {
            let beside = if self.calendars_of_words() > 0 { " beside the zones" } else { "" };
            let message = format!(
                "{limit} is too large for a window of a {}{beside}; at most {most} fits",
                quota.period
            );
            self.problem(&path, message);
            return None;
        }
        let calendar = self.calendar(&path, quota.period)?;
        Some(Quota::new(limit, quota.period, calendar).among(self.calendars_of_words()))
    }

    /// How many calendars the words of quotas tell apart at this point of the pass, at most.
    fn calendars_of_words(&self) -> u8 {
        if self.follows { self.most_calendars } else { 0 }
    }

    /// The index of the calendar of `period`, which is made where it is first asked for.
    pub(super) fn calendar(&mut self, path: &KeyPath, period: Period) -> Option<u8> {
        let is_it = |known: &Calendar| {
            let (of, zone, _) = known.windows();
            (of, zone) == (period, self.zone)
        };
        if let Some(index) = self.calendars.iter().position(is_it) {
            return u8::try_from(index).ok();
        }
        if !self.zone_is_known {
            // Told already; without the calendar the rule still goes through the other checks.
            return Some(0);
        }
        match Calendar::new(period, self.zone, self.policy.week_start) {
            Ok(calendar) => {
                let Ok(index) = u8::try_from(self.calendars.len()) else {
                    self.problem(path, "there are more zones and windows than 256 together; use fewer zones");
                    return None;
                };
                self.calendars.push(calendar);
                Some(index)
            }
            Err(error) => {
                self.problem(path, format!("no calendar for it: {error}"));
                None
            }
        }
    }
}

/// The greatest common divisor (Euclid); of two numbers that are not 0, at least 1.
fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}
