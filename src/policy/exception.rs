//! What is different for one account, one organization or one tier, for a while.
//!
//! Kept off the lines, in a table of at most [`MOST`] that a book has; a mark on the subject's line says that there is
//! something to look up, so that nobody else pays for it.

use super::{
    plan::{Limit, Plan, Quota, Rule, UNLIMITED},
    rate::Rate,
};
use crate::{
    decision::{Level, Name, RuleName},
    id::Key,
};

/// How many there are at the most.
pub(crate) const MOST: usize = 1024;

/// Whom it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Account(Key),
    Organization(Key),
    Tier(u8),
}

impl Scope {
    pub(crate) fn level(&self) -> Level {
        match self {
            Scope::Account(_) => Level::Account,
            Scope::Organization(_) => Level::Organization,
            Scope::Tier(_) => Level::Tier,
        }
    }
}

/// What is different.
#[derive(Clone, Debug)]
pub(crate) struct Exception {
    pub(crate) scope: Scope,
    /// What costs on rates are multiplied by, in sixteenths; `None` leaves that to evidence.
    pub(crate) sixteenths: Option<u16>,
    /// Whether it is charged always, and refused never.
    pub(crate) exempt: bool,
    /// Limits in place of those of the rules of these names.
    pub(crate) limits: Vec<(Name, RuleName, u64)>,
    /// When it ends.
    pub(crate) until: u64,
    pub(crate) reason: String,
    /// The same limits as the plan in force has them: of which tier's rules, and which of these.
    resolved: Vec<(u8, u8, Limit)>,
}

impl Exception {
    pub(crate) fn new(
        scope: Scope,
        (sixteenths, exempt): (Option<u16>, bool),
        limits: Vec<(Name, RuleName, u64)>,
        until: u64,
        reason: String,
    ) -> Exception {
        Exception { scope, sixteenths, exempt, limits, until, reason, resolved: Vec::new() }
    }

    /// The limit in place of that of a rule, for callers of `tier`.
    pub(crate) fn limit(&self, tier: u8, rule: u8) -> Option<&Limit> {
        self.resolved.iter().find(|(of, index, _)| (*of, *index) == (tier, rule)).map(|(_, _, limit)| limit)
    }

    /// Finds the rules of `plan` that it is about; whether each name is one of some tier's, and its limit fits there.
    pub(crate) fn resolve(&mut self, plan: &Plan) -> Result<(), (Name, RuleName)> {
        self.resolved.clear();
        let level = self.scope.level();
        for (meter, name, amount) in &self.limits {
            let mut known = false;
            for tier in plan.tiers.iter().filter(|tier| !tier.retired) {
                if matches!(self.scope, Scope::Tier(of) if of != tier.under.tier()) {
                    continue;
                }
                let named = |rule: &Rule| {
                    rule.name == *name
                        && plan.meters.get(rule.meter.index()).is_some_and(|known| known.name == *meter)
                };
                let rules = tier.level(level).rules.iter().enumerate();
                for (index, rule) in rules.filter(|(_, rule)| named(rule)) {
                    let limit = replaced(&rule.limit, *amount, plan.largest_factor).ok_or((*meter, *name))?;
                    // At most `MAX_RULES`.
                    self.resolved.push((tier.under.tier(), index as u8, limit));
                    known = true;
                }
            }
            if !known {
                return Err((*meter, *name));
            }
        }
        Ok(())
    }
}

/// `limit` with another number: of a rate, its burst; none where that does not fit.
fn replaced(limit: &Limit, amount: u64, largest_factor: u32) -> Option<Limit> {
    let (limit, fits) = match *limit {
        Limit::Rate(rate) => {
            let ticks = u128::from(amount) << rate.shift;
            let most = u128::from(largest_factor.max(1)) * ticks + u128::from(rate.max_debt_ticks);
            let burst_ticks = amount.checked_shl(rate.shift)?;
            (Limit::Rate(Rate { burst: amount, burst_ticks, ..rate }), amount > 0 && most <= 1 << 62)
        }
        Limit::Quota(quota) => {
            (Limit::Quota(Quota { limit: amount, ..quota }), amount < 1 << (quota.use_bits - 1))
        }
        Limit::Budget { .. } => (Limit::Budget { limit: amount }, amount < UNLIMITED),
        Limit::InFlight { .. } => (Limit::InFlight { limit: amount }, true),
    };
    fits.then_some(limit)
}
