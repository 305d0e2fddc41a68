//! Evidence from outside, and what is known about an account, its organization and its tier.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{Limiter, Shared, Whom, maintain::State, observe::hash_of};
use crate::{
    decision::Level,
    evidence::{Kind, Member, Observation},
    id::{Id, Identity},
    policy::{
        exception::Scope,
        plan::{EvidencePlan, LevelPlan, Limit},
    },
    time::Nanos,
};

/// One piece of evidence about somebody, from a classifier, an abuse team, a webhook.
///
/// About an account, it is one kind of evidence among the others. About an organization or a tier, it makes a factor alone,
/// on rates of the organization's own, or of the tier's total: everybody there has less. The cap of the kind in the policy
/// bounds what it does.
#[derive(Clone, Copy, Debug)]
pub struct Signal<'a> {
    /// Whom it is about.
    pub subject: Whom<'a>,
    /// What the policy's `evidence.signals` calls its kind.
    pub kind: &'a str,
    /// Who says so. A source is heard 64 times a day, so that one that is forged or has run away does bounded harm. The server
    /// says who the source is: a name that a stranger may choose bounds nothing.
    pub source: &'a str,
    /// How many signals of that kind it counts as; 1 is one.
    pub weight: u16,
}

/// Why a signal did not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalError {
    /// The policy has no `[evidence]`.
    NotObserving,
    /// The policy's `evidence.signals` has no such kind.
    UnknownKind,
    /// The account has no organization, or its tier is none of the policy's.
    Unknown,
    /// The policy gives the organization, or the tier's total, no rate; quotas and budgets are never tightened.
    NoRate,
    /// The table has no place for the account's or the organization's line.
    Full,
    /// The source has been heard often enough today.
    Refused,
}

impl fmt::Display for SignalError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            SignalError::NotObserving => "the policy observes nothing; it needs an `[evidence]` table",
            SignalError::UnknownKind => {
                "the policy knows no such kind of signal; add it to `[evidence.signals]`"
            }
            SignalError::Unknown => "no such organization or tier",
            SignalError::NoRate => {
                "there is no rate to tighten at that level; give it one, or report the accounts"
            }
            SignalError::Full => "the table has no place; raise `capacity` in the policy",
            SignalError::Refused => "the source has been heard as often as a source is in a day",
        })
    }
}

impl std::error::Error for SignalError {}

/// What is known about an account, for its operator; never for the account itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Evidence {
    /// What each kind of evidence weighs now, in eighths of a bit, where it weighs anything: 8 is what one of two honest
    /// accounts of its tier shows, 16 one of four.
    pub kinds: Vec<(&'static str, u16)>,
    /// What evidence asks its costs to be multiplied by, in sixteenths; 16 is nothing.
    pub factor_sixteenths: u16,
    /// The cohort that evidence ties it to.
    pub cohort: Option<u16>,
    /// Nanoseconds for which it stays there if nothing more is seen.
    pub cohort_for: Option<u64>,
    /// Whether it is pardoned.
    pub pardoned: bool,
    /// Whether the policy only watches: then none of this does anything.
    pub shadow: bool,
}

/// What was reported of an organization or a tier, for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Of whom.
    pub level: Level,
    /// What all signals weigh now, in eighths of a bit.
    pub points: u16,
    /// What they ask costs on rates of that level to be multiplied by, in sixteenths; 16 is nothing.
    pub factor_sixteenths: u16,
    /// Whether it is pardoned.
    pub pardoned: bool,
    /// Whether the policy only watches: then none of this does anything.
    pub shadow: bool,
}

impl Limiter {
    /// Reports evidence about an account, an organization or a tier. An account or organization that has no line is given one.
    /// Takes a lock and some microseconds: not for the request path.
    ///
    /// # Errors
    ///
    /// Where it does not count, with the reason.
    pub fn signal(&self, signal: Signal<'_>) -> Result<(), SignalError> {
        let shared = &self.shared;
        let plan = self.plan();
        let (Some(observer), Some(evidence)) = (&shared.observer, &plan.evidence) else {
            return Err(SignalError::NotObserving);
        };
        let kind = evidence.signals.iter().position(|known| known.name.as_str() == signal.kind);
        let kind = kind.ok_or(SignalError::UnknownKind)?;
        let scope = shared.scope_of(&signal.subject).ok_or(SignalError::Unknown)?;
        let now = self.now();
        shared.enter_for(&signal.subject, now).map_err(|error| match error {
            super::OverrideError::Full => SignalError::Full,
            _ => SignalError::Unknown,
        })?;
        let source = (shared.fingerprints.key(Id::Text(signal.source)).hash, now.as_u64());
        let heard = match signal.subject {
            Whom::Account(identity) => {
                let whom = shared.reported(identity, now).ok_or(SignalError::Full)?;
                let State { correlators, changes } = &mut *observer.state.lock();
                let heard = correlators.signal(&whom, kind, signal.weight, source, changes);
                shared.apply(observer, changes, now);
                heard
            }
            Whom::Organization(_) | Whom::Tier(_) => {
                let tier = match signal.subject {
                    Whom::Account(identity) | Whom::Organization(identity) => identity.tier.as_u8(),
                    Whom::Tier(tier) => tier.as_u8(),
                };
                let has_rate =
                    |level: &LevelPlan| level.rules.iter().any(|rule| matches!(rule.limit, Limit::Rate(_)));
                let rules = plan.tiers.get(usize::from(tier));
                if !rules.is_some_and(|rules| has_rate(rules.level(scope.level()))) {
                    return Err(SignalError::NoRate);
                }
                let State { correlators, changes } = &mut *observer.state.lock();
                let heard = correlators.signal_parent((&scope, tier), kind, signal.weight, source, changes);
                shared.apply(observer, changes, now);
                heard
            }
        };
        if heard { Ok(()) } else { Err(SignalError::Refused) }
    }

    /// Lifts what evidence has done to an account, an organization or a tier, and forms no opinion of it for so long: for a
    /// granted appeal. Whether anything was known about it.
    pub fn pardon(&self, subject: Whom<'_>, span: Duration) -> bool {
        let shared = &self.shared;
        let (Some(observer), Some(scope)) = (&shared.observer, shared.scope_of(&subject)) else {
            return false;
        };
        let now = self.now();
        let until = now.as_u64().saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        let State { correlators, changes } = &mut *observer.state.lock();
        let known = match subject {
            Whom::Account(identity) => shared
                .member(identity)
                .is_some_and(|member| correlators.pardon(member, until, now.as_u64(), changes)),
            Whom::Organization(_) | Whom::Tier(_) => {
                correlators.pardon_parent(&scope, until, now.as_u64(), changes)
            }
        };
        shared.apply(observer, changes, now);
        known
    }

    /// What is known about an account; `None` where nothing is.
    pub(super) fn evidence_about(&self, subject: &Identity) -> Option<Evidence> {
        let observer = self.shared.observer.as_ref()?;
        let now = self.now().as_u64();
        let opinion = observer.state.lock().correlators.opinion(self.shared.member(subject)?, now)?;
        let points = Kind::ALL.into_iter().zip(opinion.points).filter(|(_, points)| *points > 0);
        Some(Evidence {
            kinds: points.map(|(kind, points)| (kind.name(), points)).collect(),
            factor_sixteenths: opinion.sixteenths,
            cohort: Some(opinion.cohort).filter(|cohort| *cohort != 0),
            cohort_for: (opinion.cohort != 0).then(|| opinion.until.saturating_sub(now)),
            pardoned: opinion.pardoned,
            shadow: is_shadow(&self.plan().evidence),
        })
    }

    /// What was reported of an account's organization and of its tier.
    pub(super) fn reports_about(&self, subject: &Identity) -> Vec<Report> {
        let Some(observer) = &self.shared.observer else { return Vec::new() };
        let (now, shadow) = (self.now().as_u64(), is_shadow(&self.plan().evidence));
        let organization = subject.organization.map(Scope::Organization);
        let scopes = organization.into_iter().chain([Scope::Tier(subject.tier.as_u8())]);
        let correlators = &observer.state.lock().correlators;
        let report = |scope: Scope| {
            let said = correlators.said_of(&scope, now)?;
            Some(Report {
                level: scope.level(),
                points: said.points,
                factor_sixteenths: said.sixteenths,
                pardoned: said.pardoned,
                shadow,
            })
        };
        scopes.filter_map(report).collect()
    }
}

fn is_shadow(evidence: &Option<EvidencePlan>) -> bool {
    evidence.as_ref().is_none_or(|evidence| evidence.shadow)
}

impl Shared {
    fn member(&self, identity: &Identity) -> Option<Member> {
        let (slot, head) = self.lines.accounts.find(&identity.account)?;
        Some(Member { slot, generation: head.generation() })
    }

    /// Who an account is, as an observation of nothing else.
    fn reported(&self, identity: &Identity, now: Nanos) -> Option<Observation> {
        Some(Observation {
            member: self.member(identity)?,
            organization: hash_of(identity.organization.as_ref()),
            tier: identity.tier.as_u8(),
            age_s: self.age_s(identity, now.as_u64()),
            at: now.as_u64(),
            ..Observation::default()
        })
    }
}
