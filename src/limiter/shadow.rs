//! What rules that only watch would have refused.

use serde::Serialize;

use super::Limiter;
use crate::{
    decision::{Level, Name, RuleName},
    policy::plan::LEVELS,
    sync::Ordering,
};

/// A rule in `shadow`, and how many requests it would have refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShadowCount {
    /// The rule's tier.
    pub tier: Name,
    /// Where it sits.
    pub level: Level,
    /// What it counts.
    pub meter: Name,
    /// Its name.
    pub rule: RuleName,
    /// Requests that were admitted, and would not have been, since the policy came into force.
    pub would_deny: u64,
}

impl Limiter {
    /// Every rule in `shadow` of the policy in force, with how many requests it would have refused.
    pub fn shadows(&self) -> Vec<ShadowCount> {
        let plan = self.plan();
        let mut counts = Vec::new();
        for tier in plan.tiers.iter().filter(|tier| !tier.retired) {
            for level in LEVELS {
                let of_level = tier.level(level);
                for (rule, counter) in of_level.rules.iter().zip(&of_level.watched) {
                    if let (Some(counter), Some(meter)) = (counter, plan.meters.get(rule.meter.index())) {
                        let would_deny = counter.load(Ordering::Relaxed);
                        let (tier, meter, rule) = (tier.name, meter.name, rule.name);
                        counts.push(ShadowCount { tier, level, meter, rule, would_deny });
                    }
                }
            }
        }
        counts
    }
}
