//! What a tier does against fleets, in the shape that the request path reads.

use super::LevelPlan;
use crate::{
    decision::Name,
    meter::{MAX_METERS, Meter},
    policy::{quantity::Share, spec::OnStall},
};

/// A rule of an account's own, and how much of it may be used: less is *light*, or under the *floor*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnUse {
    /// Index of the account's rule.
    pub(crate) rule: u8,
    /// Tokens.
    pub(crate) most: u64,
}

/// How the limits of a new account grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ramp {
    /// Nanoseconds; 0 where nobody is new.
    pub(crate) age: u64,
    /// What an account has to have spent, in rules of its own that only count.
    pub(crate) usage: Vec<OwnUse>,
    /// The part that it starts with.
    pub(crate) start: Share,
}

impl Default for Share {
    fn default() -> Share {
        Share::ONE
    }
}

impl Ramp {
    /// The part of its limits that an account of `age` nanoseconds has; `used` tells what a rule of its own has counted.
    pub(crate) fn share(&self, age: u64, used: impl Fn(u8) -> u64) -> Share {
        let whole = u128::from(Share::ONE.0);
        // How far it has come, of `whole`: the least of age and use.
        let part =
            |of: u64, need: u64| (u128::from(of) * whole).checked_div(u128::from(need)).unwrap_or(whole);
        let spent = self.usage.iter().map(|own| part(used(own.rule), own.most));
        let come = spent.fold(part(age, self.age), u128::min).min(whole);
        let rest = u128::from(Share::ONE.0.saturating_sub(self.start.0)) * come / whole;
        Share(self.start.0.saturating_add(u32::try_from(rest).unwrap_or(0)))
    }
}

/// What a tier does against fleets.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuardPlan {
    /// What all new accounts spend together.
    pub(crate) pool: LevelPlan,
    pub(crate) ramp: Ramp,
    /// What accounts that are tied by evidence spend together.
    pub(crate) cohort: LevelPlan,
    /// By meter: what a member of a cohort keeps.
    pub(crate) floor: [Option<OwnUse>; MAX_METERS],
    /// By meter: who has taken little.
    pub(crate) light: [Option<OwnUse>; MAX_METERS],
    /// How much evidence counts.
    pub(crate) sensitivity: Share,
    /// What becomes of requests while nobody calls `maintain`.
    pub(crate) on_stall: OnStall,
    /// The tier that would lift a denial; empty for none.
    pub(crate) step_up: Name,
}

impl GuardPlan {
    pub(crate) fn floor(&self, meter: Meter) -> Option<OwnUse> {
        self.floor.get(meter.index()).copied().flatten()
    }

    pub(crate) fn light(&self, meter: Meter) -> Option<OwnUse> {
        self.light.get(meter.index()).copied().flatten()
    }
}
