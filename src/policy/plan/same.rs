//! Which rule of one plan is which of another's.

use super::{LevelPlan, Plan, Rule, TierPlan};
use crate::decision::Level;

/// When a rule came to its tier: from then on until it goes, it is one rule, whatever its numbers. What comes back under an
/// earlier name is another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Born {
    tier: u8,
    /// 0 in the first plan of a limiter; otherwise a number that no earlier rule has.
    turn: u64,
}

impl Rule {
    /// Whether a policy that has the one in the other's place means the same rule: of the same name, meter and kind.
    pub(crate) fn is_named_as(&self, other: &Rule) -> bool {
        (self.name, self.meter) == (other.name, other.meter)
            && std::mem::discriminant(&self.limit) == std::mem::discriminant(&other.limit)
    }

    /// Whether what was spent under it counts under `to`. In one tier, if it has been there ever since; what comes with a
    /// subject from another tier goes by name.
    pub(crate) fn continues_as(&self, to: &Rule) -> bool {
        self.is_named_as(to) && (self.born.tier != to.born.tier || self.born.turn == to.born.turn)
    }
}

impl LevelPlan {
    /// Whether words under it are words under `to`, and what permits noted of them goes on to hold.
    pub(crate) fn counts_like(&self, to: &LevelPlan) -> bool {
        let same = |(rule, to): (&Rule, &Rule)| {
            rule.limit == to.limit && rule.is_named_as(to) && rule.born == to.born
        };
        self.rules.len() == to.rules.len() && self.rules.iter().zip(&to.rules).all(same)
    }
}

impl TierPlan {
    fn rules_mut(&mut self) -> impl Iterator<Item = (Level, &mut Rule)> {
        let TierPlan { account, organization, total, guard, .. } = self;
        let levels = [
            (Level::Account, account),
            (Level::Cohort, &mut guard.cohort),
            (Level::Organization, organization),
            (Level::Pool, &mut guard.pool),
            (Level::Tier, total),
        ];
        levels.into_iter().flat_map(|(level, plan)| plan.rules.iter_mut().map(move |rule| (level, rule)))
    }

    /// Notes the place of the tier among those of a plan.
    pub(in crate::policy) fn at(&mut self, tier: u8) {
        self.rules_mut().for_each(|(_, rule)| rule.born.tier = tier);
    }

    /// Notes of each rule when it came: with the one that it continues of `was`, the same tier before, or else in `turn`.
    fn came(&mut self, turn: u64, was: Option<&TierPlan>) {
        for (level, rule) in self.rules_mut() {
            let known = was.and_then(|was| was.level(level).rules.iter().find(|old| old.is_named_as(rule)));
            rule.born.turn = known.map_or(turn, |known| known.born.turn);
        }
    }
}

impl Plan {
    /// Notes of each rule when it came: in `turn`, where it continues none of `old`, whose tiers have the same places.
    pub(in crate::policy) fn follow(&mut self, old: &Plan, turn: u64) {
        for (index, tier) in (0..).zip(&mut self.tiers) {
            tier.at(index);
            tier.came(turn, old.tiers.get(usize::from(index)));
        }
    }

    /// Whether `rule` of a level is in every tier of this plan, and has been in each since `then` was in force: whatever
    /// tiers a subject went through, its use came along.
    pub(crate) fn has_everywhere_since(&self, then: &Plan, level: Level, rule: &Rule) -> bool {
        self.tiers.iter().enumerate().all(|(index, tier)| {
            let of = |tier: &'_ TierPlan| {
                tier.level(level).rules.iter().find(|known| known.is_named_as(rule)).copied()
            };
            let was = then.tiers.get(index).and_then(of);
            of(tier).zip(was).is_some_and(|(now, was)| was.continues_as(&now))
        })
    }
}
