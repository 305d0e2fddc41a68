//! Explaining where a caller stands.

use serde::Serialize;

use super::{
    Shared,
    overrides::OverrideState,
    signal::{Evidence, Report},
};
use crate::{
    bucket::{self, Factor, Mode, Moment},
    decision::{Level, Name, RuleName, Wait},
    id::Identity,
    meter::{Cost, Meter},
    path::{Ask, Path},
    policy::plan::{Limit, Plan},
};

/// Every rule on a caller's path, in path order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The instant it speaks of, in nanoseconds of limiter time.
    pub at: u64,
    /// The rules of the account, of its organization and of its tier.
    pub rules: Vec<RuleState>,
    /// What an operator has made different for the caller.
    pub overrides: Vec<OverrideState>,
    /// What evidence there is about the account; `None` where nothing is observed, or nothing was.
    pub evidence: Option<Evidence>,
    /// What was reported of its organization and of its tier.
    pub reports: Vec<Report>,
}

/// Where a caller stands with one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RuleState {
    /// Where the rule sits.
    pub level: Level,
    /// The caller's tier.
    pub tier: Name,
    /// What the rule counts.
    pub meter: Name,
    /// The rule's name.
    pub rule: RuleName,
    /// `rate`, `quota`, `budget` or `in_flight`.
    pub kind: &'static str,
    /// Burst, or limit; `None` where the rule only counts.
    pub limit: Option<u64>,
    /// What a reservation of more is charged as: all of a full bucket. `None` for a budget, which refuses it.
    pub clamped_to: Option<u64>,
    /// Owed by a rate bucket (rounded up), used in the quota's window, spent of the budget, or in flight.
    pub used: u64,
    /// What would be admitted now; `None` where the rule only counts.
    pub left: Option<u64>,
    /// Nanoseconds until the rule is whole again if nothing more is charged, 0 if it is now; `None` if no clock tells.
    pub full_in: Option<u64>,
    /// What tightening multiplies the caller's costs by at this level, in sixteenths: 16 is no tightening.
    pub factor_sixteenths: u16,
    /// Nanoseconds until that ends; `None` where there is no tightening.
    pub factor_for: Option<u64>,
    /// What the caller cannot have of the limit now: kept for those who have taken little, or of a new account's own limits
    /// for later.
    pub withheld: u64,
    /// Whether the rule only watches.
    pub shadow: bool,
    /// From what use on receipts tell that it is nearly used up.
    pub soft: Option<u64>,
}

pub(super) fn explain(shared: &Shared, identity: &Identity) -> Explanation {
    let now = shared.now();
    let at = now.as_u64();
    loop {
        let book = shared.books.copy();
        let (plan, moment) = (&book.plan, shared.moment_in(&book, identity.zone, now));
        let mut rules = Vec::new();
        let Some(path) = Path::find(&shared.lines, &book, identity) else {
            return Explanation { at, rules, overrides: Vec::new(), evidence: None, reports: Vec::new() };
        };
        let cost = &one_of_each(plan);
        let ask = Ask { cost, mode: Mode::Spend, moment };
        let tier = plan.tiers.get(usize::from(identity.tier().as_u8()));
        let seen = path.inspect(
            &shared.lines,
            &ask,
            |bucket::Seen { level, rule, limit: inforce, word, factor, until, withheld }| {
                let (Some(tier), Some(meter)) = (tier, plan.meters.get(rule.meter.index())) else {
                    return;
                };
                let (kind, limit) = match inforce {
                    Limit::Rate(rate) => ("rate", Some(rate.burst)),
                    Limit::Quota(quota) => ("quota", Some(quota.limit)),
                    Limit::Budget { limit } => {
                        ("budget", bucket::left(inforce, 0, factor, &moment).and(Some(*limit)))
                    }
                    Limit::InFlight { limit } => ("in_flight", Some(*limit)),
                };
                rules.push(RuleState {
                    level,
                    tier: tier.name,
                    meter: meter.name,
                    rule: rule.name,
                    kind,
                    limit,
                    clamped_to: bucket::clamp(inforce),
                    used: bucket::used(inforce, word, &moment),
                    left: bucket::left(inforce, word, factor, &moment)
                        .map(|left| left.saturating_sub(withheld)),
                    full_in: full_in(inforce, word, &moment),
                    factor_sixteenths: factor.sixteenths(),
                    factor_for: (factor != Factor::ONE).then(|| until.saturating_sub(at)),
                    withheld,
                    shadow: rule.shadow,
                    soft: (rule.soft > 0).then(|| inforce.most().saturating_sub(rule.soft)),
                });
            },
        );
        // A line that changed hands meanwhile is looked up again.
        if seen.is_ok() {
            return Explanation { at, rules, overrides: Vec::new(), evidence: None, reports: Vec::new() };
        }
    }
}

/// What depends on the request is told for one that spends 1 of every meter.
pub(super) fn one_of_each(plan: &Plan) -> Cost {
    let meters = (0..plan.meters.len()).filter_map(Meter::from_index);
    meters.fold(Cost::FREE, |cost, meter| cost.and(meter, 1))
}

/// Nanoseconds until a bucket is whole again; `None` if no clock tells.
pub(super) fn full_in(limit: &Limit, word: u64, moment: &Moment<'_>) -> Option<u64> {
    match bucket::full_at(limit, word, moment) {
        Wait::OnRelease | Wait::Never => None,
        timed => timed.instant().map(|instant| instant.saturating_sub(moment.now)),
    }
}
