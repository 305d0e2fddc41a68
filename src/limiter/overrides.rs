//! What an operator grants or takes: overrides of limits and factors, for one account, organization or tier, for a while.
//!
//! An override is in the book ([`crate::policy::exception`]), and a mark on its subject's line sends requests the guarded
//! way, where it is looked up. All others pay nothing for it. It ends by its own time; `maintain` only clears up.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{Limiter, Shared};
use crate::{
    decision::{Level, Name, RuleName},
    id::{Identity, Tier},
    path::Path,
    policy::{
        book::Book,
        exception::{Exception, MOST, Scope},
    },
    time::Nanos,
};

/// Whom an [`Override`], a [`Signal`](crate::Signal) or a pardon is about.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Whom<'a> {
    /// This account, whatever tier it comes with.
    Account(&'a Identity),
    /// The organization of this account.
    Organization(&'a Identity),
    /// Everyone in this tier together: its total.
    Tier(Tier),
}

/// What is different for an account, an organization or a tier, for how long, and why.
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Cost, Limiter, Override, Plan, Whom};
///
/// let plan = Plan::from_toml(
///     r#"
///     version = 1
///     meters = ["requests"]
///     capacity = { accounts = 1000, organizations = 100 }
///     [tiers.free]
///     total = "unlimited"
///     account.requests = [{ rate = "2/s", burst = 2 }, { quota = "10/day" }]
///     "#,
/// )?;
/// let limiter = Limiter::builder(plan).build()?;
/// let (free, requests) = (limiter.tier("free").unwrap(), limiter.meter("requests").unwrap());
/// let caller = limiter.identity(free, "acct_17");
///
/// let appeal = Override::new(Duration::from_secs(86_400), "appeal 4711").limit("requests", "day", 500).factor(8);
/// limiter.set_override(Whom::Account(&caller), appeal)?;
/// // At half its price: 4 at once, where there were 2.
/// assert!(limiter.check(&caller, &Cost::of(requests, 2)).is_ok());
/// assert!(limiter.check(&caller, &Cost::of(requests, 2)).is_ok());
/// assert_eq!(limiter.explain(&caller).overrides[0].reason, "appeal 4711");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Override {
    lasting: Duration,
    reason: String,
    sixteenths: Option<u16>,
    exempt: bool,
    limits: Vec<(String, String, u64)>,
}

impl Override {
    /// One that changes nothing yet, and ends by itself after `lasting`.
    pub fn new(lasting: Duration, reason: &str) -> Override {
        Override { lasting, reason: reason.to_owned(), sixteenths: None, exempt: false, limits: Vec::new() }
    }

    /// Multiplies costs on rates by so many sixteenths, in place of what evidence makes of them: 8 lets twice as much through,
    /// 32 half as much; 1 to 1024.
    #[must_use]
    pub fn factor(mut self, sixteenths: u16) -> Override {
        self.sixteenths = Some(sixteenths);
        self
    }

    /// Another number for a rule: of a quota, a budget or what is in flight the limit, of a rate the burst. 0 admits nothing,
    /// but is no burst. What was used of a quota by one number is not held against its subject by the other: it counts in that
    /// window, and in no other.
    #[must_use]
    pub fn limit(mut self, meter: &str, rule: &str, limit: u64) -> Override {
        self.limits.push((meter.to_owned(), rule.to_owned(), limit));
        self
    }

    /// Refuses never: the rules of the subject's own are charged, and count. An account is not tightened, and not charged to
    /// a cohort, either.
    #[must_use]
    pub fn exempt(mut self) -> Override {
        self.exempt = true;
        self
    }
}

/// Why an [`Override`] was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverrideError {
    /// It names a rule that there is not at that level, or a number that does not fit it: meter and rule.
    Rule(String, String),
    /// A factor is 1 to 1024 sixteenths.
    Factor(u16),
    /// The account has no organization, or its tier is none of the policy's.
    Unknown,
    /// There are 1,024 overrides, or no place for the account's line.
    Full,
}

impl fmt::Display for OverrideError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OverrideError::Rule(meter, rule) => write!(
                out,
                "there is no rule `{meter}/{rule}` at that level, or the number does not fit it; `explain` names the rules"
            ),
            OverrideError::Factor(factor) => {
                write!(out, "a factor of {factor} sixteenths is out of range; expected 1 to 1024")
            }
            OverrideError::Unknown => out.write_str("no such organization or tier"),
            OverrideError::Full => {
                write!(out, "no place; at most {MOST} overrides fit, on accounts that have a line")
            }
        }
    }
}

impl std::error::Error for OverrideError {}

/// An override that is in force, in an [`Explanation`](crate::Explanation).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OverrideState {
    /// Where it sits.
    pub level: Level,
    /// Why.
    pub reason: String,
    /// Nanoseconds until it ends.
    pub ends_in: u64,
    /// The same in limiter time, which stays as it is.
    #[serde(skip)]
    until: u64,
    /// What costs on rates are multiplied by, in sixteenths, where it says so.
    pub factor_sixteenths: Option<u16>,
    /// Whether it refuses never.
    pub exempt: bool,
    /// Other numbers, by meter and rule.
    pub limits: Vec<(Name, RuleName, u64)>,
}

impl Limiter {
    /// Makes an override, in place of one that there is. Takes a lock, and copies the table of overrides: not for the request
    /// path.
    ///
    /// # Errors
    ///
    /// Where it names what there is not, or there is no place.
    pub fn set_override(&self, whom: Whom<'_>, what: Override) -> Result<(), OverrideError> {
        if let Some(factor) = what.sixteenths.filter(|factor| !(1..=1024).contains(factor)) {
            return Err(OverrideError::Factor(factor));
        }
        let limits = what.limits.iter().map(|(meter, rule, limit)| {
            let names = Name::new(meter).zip(Name::new(rule));
            let (meter, rule) = names.ok_or_else(|| OverrideError::Rule(meter.clone(), rule.clone()))?;
            Ok((meter, rule, *limit))
        });
        let limits: Vec<(Name, RuleName, u64)> = limits.collect::<Result<_, OverrideError>>()?;
        let scope = self.shared.scope_of(&whom).ok_or(OverrideError::Unknown)?;
        let now = self.now();
        let lasting = u64::try_from(what.lasting.as_nanos()).unwrap_or(u64::MAX);
        let until = now.as_u64().saturating_add(lasting);
        let mut exception = Exception::new(scope, (what.sixteenths, what.exempt), limits, until, what.reason);
        self.shared.enter_for(&whom, now)?;
        self.shared.change_book(|book| {
            exception
                .resolve(&book.plan)
                .map_err(|(meter, rule)| OverrideError::Rule(meter.to_string(), rule.to_string()))?;
            let others =
                book.exceptions.iter().filter(|other| other.scope != scope && now.as_u64() < other.until);
            let mut exceptions: Vec<Exception> = others.cloned().collect();
            if exceptions.len() >= MOST {
                return Err(OverrideError::Full);
            }
            exceptions.push(exception);
            Ok(book.with_exceptions(exceptions))
        })?;
        if self.shared.mark(&scope, now) { Ok(()) } else { Err(OverrideError::Full) }
    }

    /// All overrides that are in force; whom they are about, their reasons may tell.
    pub fn overrides(&self) -> Vec<OverrideState> {
        let now = self.now().as_u64();
        self.shared.books.with(|book| {
            let in_force = book.exceptions.iter().filter(|exception| now < exception.until);
            in_force.map(|exception| OverrideState::of(exception, now)).collect()
        })
    }

    /// Ends an override before its time. Whether there was one.
    pub fn lift_override(&self, whom: Whom<'_>) -> bool {
        let Some(scope) = self.shared.scope_of(&whom) else { return false };
        self.shared.lift(&scope, self.now())
    }
}

impl OverrideState {
    fn of(exception: &Exception, now: u64) -> OverrideState {
        OverrideState {
            level: exception.scope.level(),
            reason: exception.reason.clone(),
            ends_in: exception.until.saturating_sub(now),
            until: exception.until,
            factor_sixteenths: exception.sixteenths,
            exempt: exception.exempt,
            limits: exception.limits.clone(),
        }
    }

    /// Whether both are of one override, seen at two times.
    #[cfg(feature = "tracing")]
    pub(crate) fn is_same(&self, other: &OverrideState) -> bool {
        *self == OverrideState { ends_in: self.ends_in, ..other.clone() }
    }
}

impl Shared {
    pub(super) fn scope_of(&self, whom: &Whom<'_>) -> Option<Scope> {
        match whom {
            Whom::Account(identity) => Some(Scope::Account(identity.account)),
            Whom::Organization(identity) => identity.organization.map(Scope::Organization),
            Whom::Tier(tier) => {
                self.books.with(|book| book.tier(tier.as_u8()).is_some()).then(|| Scope::Tier(tier.as_u8()))
            }
        }
    }

    /// Gives the subject a line of its own.
    pub(super) fn enter_for(&self, whom: &Whom<'_>, now: Nanos) -> Result<(), OverrideError> {
        let (Whom::Account(identity) | Whom::Organization(identity)) = whom else { return Ok(()) };
        self.books.with(|book| {
            let mut path = Path::find(&self.lines, book, identity).ok_or(OverrideError::Unknown)?;
            path.enter(&self.lines, &self.moment(book, now)).map(|_| ()).ok_or(OverrideError::Full)
        })
    }

    /// Says on a line whether the book has something to say of its subject. Whether there is such a line.
    pub(super) fn mark(&self, scope: &Scope, now: Nanos) -> bool {
        self.books.with(|book| {
            let tightened = match scope {
                Scope::Tier(tier) => book.tightened(*tier, now.as_u64()).is_some(),
                Scope::Account(_) | Scope::Organization(_) => false,
            };
            let marked = tightened || book.exceptions.iter().any(|exception| exception.scope == *scope);
            self.lines.mark(book, scope, marked, &self.moment(book, now))
        })
    }

    pub(super) fn lift(&self, scope: &Scope, now: Nanos) -> bool {
        let lifted = self.change_book(|book| {
            let others = book.exceptions.iter().filter(|other| other.scope != *scope);
            let others: Vec<Exception> = others.cloned().collect();
            if others.len() == book.exceptions.len() { Err(()) } else { Ok(book.with_exceptions(others)) }
        });
        if lifted.is_ok() {
            self.mark(scope, now);
        }
        lifted.is_ok()
    }

    /// Clears up what has ended.
    pub(super) fn end_overrides(&self, now: Nanos) {
        let ended: Vec<Scope> = self.books.with(|book: &std::sync::Arc<Book>| {
            let ended = book.exceptions.iter().filter(|exception| exception.until <= now.as_u64());
            ended.map(|exception| exception.scope).collect()
        });
        for scope in ended {
            self.lift(&scope, now);
        }
    }

    /// The overrides that a caller comes under.
    pub(super) fn overrides_of(&self, identity: &Identity, now: u64) -> Vec<OverrideState> {
        let scopes = [
            Some(Scope::Account(identity.account)),
            identity.organization.map(Scope::Organization),
            Some(Scope::Tier(identity.tier.as_u8())),
        ];
        self.books.with(|book| {
            let known = scopes.into_iter().flatten().filter_map(|scope| book.exception(&scope, now));
            known.map(|(_, exception)| OverrideState::of(exception, now)).collect()
        })
    }
}
