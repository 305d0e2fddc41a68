//! What outside says, and what an operator asks: signals, pardons, opinions.
//!
//! An account that is reported is followed from then on, whether it was observed or not. Organizations and tiers are not
//! followed; what is said of them is kept by itself ([`Parents`](super::parents::Parents)), and makes a factor alone.

use super::{
    Change, Correlators, Kind, Member, Observation, Opinion, correlate::NANOS, correlate::seconds,
    parents::Said, signal::SignalPlan,
};
use crate::policy::exception::Scope;

impl Correlators {
    /// A signal of the kind at `kind` in the settings by `source`, if it counts: the kind is unknown, or the source was
    /// heard too often.
    fn hear(&mut self, kind: usize, source: u64, now_s: u32) -> Option<SignalPlan> {
        let plan = self.settings.signals.get(kind).copied()?;
        self.sources.admit(source, now_s).then_some(plan)
    }

    /// Somebody outside reports the account of `whom`, an observation of nothing but who it is: a signal of the kind at
    /// `kind` in the settings by a source now, `weight` times what one counts. False where it didn't count.
    pub(crate) fn signal(
        &mut self,
        whom: &Observation,
        kind: usize,
        weight: u16,
        (source, now): (u64, u64),
        changes: &mut Vec<Change>,
    ) -> bool {
        let now_s = seconds(now);
        let Some(plan) = self.hear(kind, source, now_s) else { return false };
        let index = self.find(whom.member).or_else(|| self.follow(whom, now_s, changes));
        let Some(index) = index else { return false };
        let subject = self.subjects.get_mut(index);
        if let Some(evidence) = subject.and_then(|subject| subject.own.get_mut(Kind::Signal as usize)) {
            plan.add_to(evidence, weight, now_s);
        }
        self.review(index, now_s, changes);
        true
    }

    /// The same of an organization, of which an account in `tier` was named, or of a tier.
    pub(crate) fn signal_parent(
        &mut self,
        (whom, tier): (&Scope, u8),
        kind: usize,
        weight: u16,
        (source, now): (u64, u64),
        changes: &mut Vec<Change>,
    ) -> bool {
        let now_s = seconds(now);
        let Some(plan) = self.hear(kind, source, now_s) else { return false };
        self.parents.report((whom, tier), plan, weight, &self.settings, now_s, changes);
        true
    }

    /// Lifts factor and cohort of `account`, and forms no opinion of it until `until`. False where it is not followed.
    pub(crate) fn pardon(
        &mut self,
        account: Member,
        until: u64,
        now: u64,
        changes: &mut Vec<Change>,
    ) -> bool {
        let Some(index) = self.find(account) else { return false };
        if let Some(subject) = self.subjects.get_mut(index) {
            subject.pardoned_until_s = seconds(until);
            subject.own = Default::default();
            subject.company = Default::default();
            self.factors.recount(subject.tightening, Default::default());
            subject.tightening = Default::default();
            subject.until_s = 0;
            changes.push(Change::Factor { account, sixteenths: subject.tightening.sixteenths(), until: now });
        }
        self.review(index, seconds(now), changes);
        true
    }

    /// The same of an organization or a tier. False where nothing was reported of it.
    pub(crate) fn pardon_parent(
        &mut self,
        whom: &Scope,
        until: u64,
        now: u64,
        changes: &mut Vec<Change>,
    ) -> bool {
        self.parents.pardon(whom, seconds(until), seconds(now), changes)
    }

    /// What is known about `account`; `None` where it is not followed.
    pub(crate) fn opinion(&self, account: Member, now: u64) -> Option<Opinion> {
        let subject = self.subjects.get(self.find(account)?)?;
        Some(Opinion {
            points: self.points(subject, seconds(now))[2],
            cohort: subject.cohort,
            until: u64::from(subject.until_s) * NANOS,
            sixteenths: subject.tightening.sixteenths(),
            pardoned: subject.pardoned_until_s > seconds(now),
        })
    }

    /// What was reported of an organization or a tier; `None` where nothing was, or all has faded.
    pub(crate) fn said_of(&self, whom: &Scope, now: u64) -> Option<Said> {
        self.parents.said_of(whom, seconds(now))
    }

    /// Signals that their source was heard too often for.
    pub(crate) fn refused_signals(&self) -> u64 {
        self.sources.refused
    }
}
