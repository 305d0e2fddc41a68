//! Organizations and tiers that somebody reported, and the factors that this asks for.
//!
//! They have no evidence but signals: what their accounts do is those accounts' evidence. A factor on an organization
//! multiplies costs on its own rates, one on a tier on those of its total; nobody's quota or budget, and no account's limit,
//! is touched. So a cap on the kind of signal bounds what the loudest source does to everybody in a tier.
//!
//! Memory: [`MOST`] entries; a new one takes the place of the one that weighs least.

use super::{
    Change, Kind, Settings,
    correlate::{NANOS, STEP_S},
    signal::SignalPlan,
    subject::Evidence,
};
use crate::{
    adapt::{ONE, Tightening},
    policy::exception::Scope,
};

/// Organizations and tiers that are remembered at once.
pub(super) const MOST: usize = 256;

/// What was reported of an organization or a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// In eighths of a bit, faded to now.
    pub(crate) points: u16,
    pub(crate) sixteenths: u16,
    pub(crate) pardoned: bool,
}

#[derive(Clone, Debug)]
struct Parent {
    whom: Scope,
    tier: u8,
    evidence: Evidence,
    tightening: Tightening,
    stepped_s: u32,
    pardoned_until_s: u32,
}

impl Parent {
    fn is_forgotten(&self, now_s: u32) -> bool {
        self.evidence.points(now_s) == 0
            && self.tightening.sixteenths() == ONE
            && self.pardoned_until_s <= now_s
    }

    /// Takes a step where one is due, and says the factor again for as long as there is one.
    fn step(&mut self, settings: &Settings, now_s: u32, changes: &mut Vec<Change>) {
        if now_s.saturating_sub(self.stepped_s) < STEP_S {
            return;
        }
        self.stepped_s = now_s;
        let sensitivity = settings.sensitivity.get(usize::from(self.tier)).copied().unwrap_or(16);
        let points = if settings.counts(Kind::Signal) { self.evidence.points(now_s) } else { 0 };
        let points = u32::from(points) * u32::from(sensitivity) / 16;
        let next = self.tightening.step(u16::try_from(points).unwrap_or(u16::MAX), &settings.curve);
        let before = std::mem::replace(&mut self.tightening, next);
        if next != before || next.sixteenths() != ONE {
            changes.push(self.change(now_s.saturating_add(settings.half_life_s)));
        }
    }

    fn change(&self, until_s: u32) -> Change {
        let until = u64::from(until_s) * NANOS;
        Change::Parent { whom: self.whom, sixteenths: self.tightening.sixteenths(), until }
    }
}

/// All that were reported.
#[derive(Debug)]
pub(super) struct Parents {
    parents: Vec<Parent>,
}

impl Parents {
    pub(super) fn new() -> Parents {
        Parents { parents: Vec::with_capacity(MOST) }
    }

    fn find(&mut self, whom: &Scope) -> Option<&mut Parent> {
        self.parents.iter_mut().find(|parent| parent.whom == *whom)
    }

    /// Adds a signal of `weight` to what is known of `whom`, who is judged as one of `tier`.
    pub(super) fn report(
        &mut self,
        (whom, tier): (&Scope, u8),
        plan: SignalPlan,
        weight: u16,
        settings: &Settings,
        now_s: u32,
        changes: &mut Vec<Change>,
    ) {
        if self.find(whom).is_none() {
            let fresh = Parent {
                whom: *whom,
                tier,
                evidence: Evidence::default(),
                tightening: Tightening::default(),
                stepped_s: 0,
                pardoned_until_s: 0,
            };
            if self.parents.len() < MOST {
                self.parents.push(fresh);
            } else {
                let weighs =
                    |parent: &Parent| (parent.tightening.sixteenths(), parent.evidence.points(now_s));
                if let Some(least) = self.parents.iter_mut().min_by_key(|parent| weighs(parent)) {
                    if least.tightening.sixteenths() != ONE {
                        least.tightening = Tightening::default();
                        changes.push(least.change(now_s));
                    }
                    *least = fresh;
                }
            }
        }
        let Some(parent) = self.find(whom) else { return };
        parent.tier = tier;
        if parent.pardoned_until_s <= now_s {
            plan.add_to(&mut parent.evidence, weight, now_s);
            parent.step(settings, now_s, changes);
        }
    }

    pub(super) fn pardon(
        &mut self,
        whom: &Scope,
        until_s: u32,
        now_s: u32,
        changes: &mut Vec<Change>,
    ) -> bool {
        let Some(parent) = self.find(whom) else { return false };
        (parent.evidence, parent.tightening) = Default::default();
        parent.pardoned_until_s = until_s;
        changes.push(parent.change(now_s));
        true
    }

    /// Lets what was reported fade, and forgets what has faded.
    pub(super) fn maintain(&mut self, settings: &Settings, now_s: u32, changes: &mut Vec<Change>) {
        self.parents.iter_mut().for_each(|parent| parent.step(settings, now_s, changes));
        self.parents.retain(|parent| !parent.is_forgotten(now_s));
    }

    pub(super) fn said_of(&self, whom: &Scope, now_s: u32) -> Option<Said> {
        let parent = self.parents.iter().find(|parent| parent.whom == *whom)?;
        let said = Said {
            points: parent.evidence.points(now_s),
            sixteenths: parent.tightening.sixteenths(),
            pardoned: parent.pardoned_until_s > now_s,
        };
        (!parent.is_forgotten(now_s)).then_some(said)
    }

    pub(super) fn bytes(&self) -> usize {
        MOST * size_of::<Parent>()
    }
}
