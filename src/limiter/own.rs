//! The rules of a caller's own, as answers tell of them.

use super::{
    Caller, Limiter,
    explain::{full_in, one_of_each},
};
use crate::{
    bucket::{self, Mode, Seen},
    calendar::Period,
    decision::{Level, Name, RuleName},
    path::{Ask, Path},
    policy::plan::Limit,
};

/// A rule of the account's or of its organization's, and where it stands. Neither says anything about others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnRule {
    pub(crate) level: Level,
    pub(crate) meter: Name,
    pub(crate) rule: RuleName,
    /// A rate's burst, else the limit.
    pub(crate) limit: u64,
    pub(crate) left: u64,
    /// Nanoseconds that a rate takes to refill, or a nominal window of a quota.
    pub(crate) window: Option<u64>,
    /// Nanoseconds until it is whole again.
    pub(crate) whole_in: Option<u64>,
    pub(crate) in_flight: bool,
}

impl Limiter {
    /// Visits the rules of the caller's account and organization that refuse anybody. Writes nothing, and takes no lock.
    pub(crate) fn own_rules(&self, caller: &impl Caller, mut visit: impl FnMut(OwnRule)) {
        let shared = &self.shared;
        let now = shared.now();
        let book = shared.books.copy();
        let plan = &book.plan;
        let Some(path) = Path::find(&shared.lines, &book, caller.identity()) else { return };
        let moment = shared.moment_in(&book, caller.identity().zone, now);
        let cost = &one_of_each(plan);
        let ask = Ask { cost, mode: Mode::Spend, moment };
        // A line that changes hands meanwhile leaves the rest untold, which harms nobody.
        let _ = path.inspect(&shared.lines, &ask, |seen: Seen<'_>| {
            let Seen { level, rule, limit, word, factor, withheld, .. } = seen;
            if rule.shadow || !matches!(level, Level::Account | Level::Organization) {
                return;
            }
            let Some(meter) = plan.meters.get(rule.meter.index()) else { return };
            let Some(left) = bucket::left(limit, word, factor, &moment) else { return };
            let window = match limit {
                Limit::Rate(rate) => {
                    let refill = u128::from(rate.burst) * u128::from(rate.period);
                    Some(u64::try_from(refill.div_ceil(u128::from(rate.tokens.max(1)))).unwrap_or(u64::MAX))
                }
                Limit::Quota(quota) => Some(nominal(quota.period)),
                Limit::Budget { .. } | Limit::InFlight { .. } => None,
            };
            visit(OwnRule {
                level,
                meter: meter.name,
                rule: rule.name,
                limit: limit.most(),
                left: left.saturating_sub(withheld),
                window,
                whole_in: full_in(limit, word, &moment),
                in_flight: matches!(limit, Limit::InFlight { .. }),
            });
        });
    }

    /// What the policy in force lets answers add to when to come back, in nanoseconds.
    pub(crate) fn retry_jitter(&self) -> u64 {
        self.shared.books.with(|book| book.plan.retry_jitter)
    }
}

/// Nanoseconds of a window as a contract has it, whatever clocks do.
fn nominal(period: Period) -> u64 {
    let seconds = match period {
        Period::Minute => 60,
        Period::Hour => 3_600,
        Period::Day => 86_400,
        Period::Week => 604_800,
        Period::Month => 2_592_000,
    };
    seconds * 1_000_000_000
}
