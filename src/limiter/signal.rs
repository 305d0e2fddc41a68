//! Evidence from outside, and what is known about an account.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{Limiter, maintain::State};
use crate::{
    evidence::{Kind, Member},
    id::{Id, Identity},
};

/// One piece of evidence about an account, from a classifier, an abuse team, a webhook.
#[derive(Clone, Copy, Debug)]
pub struct Signal<'a> {
    /// Whom it is about.
    pub subject: &'a Identity,
    /// What the policy's `evidence.signals` calls its kind.
    pub kind: &'a str,
    /// Who says so. A source is heard 64 times a day, so that one that is forged or has run away does bounded harm.
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
    /// The account has made no observed request for long, or never.
    UnknownSubject,
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
            SignalError::UnknownSubject => "the account has made no observed request for long, or never",
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

impl Limiter {
    /// Reports evidence about an account. Takes a lock and some microseconds: not for the request path.
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
        let member = self.member(signal.subject).ok_or(SignalError::UnknownSubject)?;
        let source = shared.fingerprints.key(Id::Text(signal.source)).hash;
        let now = self.now();
        let mut state = observer.state.lock();
        let State { correlators, changes } = &mut *state;
        if correlators.opinion(member, now.as_u64()).is_none() {
            return Err(SignalError::UnknownSubject);
        }
        let heard = correlators.signal(member, kind, signal.weight, source, now.as_u64(), changes);
        shared.books.with(|book| observer.apply(&shared.lines, book, changes, &shared.moment(book, now)));
        if heard { Ok(()) } else { Err(SignalError::Refused) }
    }

    /// Lifts what evidence has done to an account, and forms no opinion of it for so long: for a granted appeal. Whether
    /// anything was known about it.
    pub fn pardon(&self, subject: &Identity, span: Duration) -> bool {
        let shared = &self.shared;
        let (Some(observer), Some(member)) = (&shared.observer, self.member(subject)) else { return false };
        let now = self.now();
        let until = now.as_u64().saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        let mut state = observer.state.lock();
        let State { correlators, changes } = &mut *state;
        let known = correlators.pardon(member, until, now.as_u64(), changes);
        shared.books.with(|book| observer.apply(&shared.lines, book, changes, &shared.moment(book, now)));
        known
    }

    /// What is known about an account; `None` where nothing is.
    pub(super) fn evidence_about(&self, subject: &Identity) -> Option<Evidence> {
        let observer = self.shared.observer.as_ref()?;
        let now = self.now().as_u64();
        let opinion = observer.state.lock().correlators.opinion(self.member(subject)?, now)?;
        let points = Kind::ALL.into_iter().zip(opinion.points).filter(|(_, points)| *points > 0);
        Some(Evidence {
            kinds: points.map(|(kind, points)| (kind.name(), points)).collect(),
            factor_sixteenths: opinion.sixteenths,
            cohort: Some(opinion.cohort).filter(|cohort| *cohort != 0),
            cohort_for: (opinion.cohort != 0).then(|| opinion.until.saturating_sub(now)),
            pardoned: opinion.pardoned,
            shadow: self.plan().evidence.as_ref().is_none_or(|evidence| evidence.shadow),
        })
    }

    fn member(&self, identity: &Identity) -> Option<Member> {
        let (slot, head) = self.shared.lines.accounts.find(&identity.account)?;
        Some(Member { slot, generation: head.generation() })
    }
}
