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

    /// Of a subject.
    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Scope::Account(key) | Scope::Organization(key) => Some(key),
            Scope::Tier(_) => None,
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
        let resolved = self.limits.iter().map(|limit| self.found(plan, limit).ok_or((limit.0, limit.1)));
        self.resolved = resolved.collect::<Result<Vec<_>, _>>()?.concat();
        Ok(())
    }

    /// The same with only those that are found.
    pub(crate) fn resolve_known(&mut self, plan: &Plan) {
        let mut limits = std::mem::take(&mut self.limits);
        let mut resolved = Vec::new();
        limits.retain(|limit| {
            let found = self.found(plan, limit);
            let known = found.is_some();
            resolved.extend(found.into_iter().flatten());
            known
        });
        (self.limits, self.resolved) = (limits, resolved);
    }

    /// The rules that one of its limits is about; `None` where there is none, or it does not fit one.
    fn found(
        &self,
        plan: &Plan,
        (meter, name, amount): &(Name, RuleName, u64),
    ) -> Option<Vec<(u8, u8, Limit)>> {
        let mut found = Vec::new();
        for tier in plan.tiers.iter().filter(|tier| !tier.retired) {
            if matches!(self.scope, Scope::Tier(of) if of != tier.under.tier()) {
                continue;
            }
            let named = |rule: &Rule| {
                rule.name == *name
                    && plan.meters.get(rule.meter.index()).is_some_and(|known| known.name == *meter)
            };
            let rules = tier.level(self.scope.level()).rules.iter().enumerate();
            for (index, rule) in rules.filter(|(_, rule)| named(rule)) {
                let limit = replaced(&rule.limit, *amount, plan.largest_factor)?;
                // At most `MAX_RULES`.
                found.push((tier.under.tier(), index as u8, limit));
            }
        }
        Some(found).filter(|found| !found.is_empty())
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
        Limit::Quota(quota) => (Limit::Quota(Quota { limit: amount, ..quota }), amount <= quota.most()),
        Limit::Budget { .. } => (Limit::Budget { limit: amount }, amount < UNLIMITED),
        Limit::InFlight { .. } => (Limit::InFlight { limit: amount }, true),
    };
    fits.then_some(limit)
}
