//! The lines that one request is charged to, and its way over them: find, look, commit.
//!
//! Invariant: a request is charged to every line of its path or to none. *Look* reads the lines and writes nothing;
//! denials end there. *Commit* takes the guards in path order (account, cohort, organization, pool, tier, so that there is
//! no deadlock), and stores only if every bucket admits: there is nothing to roll back. A line that nobody wrote to since
//! the look takes the words that the look worked out; any other is stepped again under its guard. Whoever finds then
//! that a line has changed hands, or a bucket refuses now, lets go and looks again.
//!
//! - [`Lane`] is the way of nearly every request: each subject has a line, under the caller's tier. [`around`] has its
//!   detours.
//! - [`refuse`] has the denials that it meets.
//! - [`Path`] is the way of the others: newcomers, moves to another tier, lost races, questions without a charge.
//!
//! - [`terms`] has what is different for new accounts, members of a cohort, those who are tightened, and the light.
//!
//! A request looks only at the rules of the meters that it spends.

mod around;
mod enter;
mod judge;
mod keep;
mod lane;
mod leased;
mod lines;
#[cfg(all(test, tollgate_loom))]
mod loom_tests;
#[cfg(all(test, feature = "toml"))]
pub(crate) mod meanwhile;
mod refuse;
mod settle;
mod standing;
mod terms;

pub(crate) use around::Around;
pub(crate) use enter::Path;
pub(crate) use judge::Reading;
pub(crate) use keep::Found;
pub(crate) use lane::{Course, Lane, Seen};
pub(crate) use lines::{Home, Lines};
pub(crate) use refuse::plain_denial;
use settle::Excepted;
pub(crate) use settle::Hold;
pub use settle::Settlement;

use std::sync::Arc;

use crate::{
    bucket::{self, Factor, Mode, Moment, Opened, Step},
    decision::{Because, Denial, Level, Refusal},
    id::Key,
    line::{Held, Line, Refunds},
    meter::Cost,
    policy::{
        book::Book,
        plan::{Charge, Limit, Present},
    },
};
use terms::Terms;
#[cfg(feature = "wait")]
pub(crate) use terms::is_new;

/// Slots at which a subject's lines were found before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    pub(crate) account: Option<u32>,
    pub(crate) organization: Option<u32>,
}

/// What a request asks of every bucket on its path.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) cost: &'a Cost,
    pub(crate) mode: Mode,
    pub(crate) moment: Moment<'a>,
}

/// What a request came to, short of being admitted.
pub(crate) enum Stopped {
    Refused(Denial),
    /// A bucket's quota window is later than the request's clock; at this instant it is not.
    Behind(u64),
    /// A line has another subject now, or a bucket has changed since the look.
    Changed,
}

/// One level of a path: a line, and whose it must be; nobody's for a tier's own.
#[derive(Clone, Copy)]
struct Stop<'a> {
    level: Level,
    home: Home,
    line: Line<'a>,
    key: Option<&'a Key>,
}

/// The refusal of one bucket, not yet put into words.
#[derive(Clone, Copy)]
pub(crate) struct Refused<'a> {
    charge: &'a Charge,
    /// The charge's, or what an exception has in its place.
    limit: &'a Limit,
    word: u64,
    amount: u64,
    factor: Factor,
    /// When the factor ends.
    until: u64,
    /// Tokens that this caller could not have.
    withheld: u64,
}

impl<'a> Refused<'a> {
    /// Of a plain caller.
    #[inline]
    fn plainly(charge: &'a Charge, word: u64, amount: u64) -> Refused<'a> {
        Refused { charge, limit: &charge.limit, word, amount, factor: Factor::ONE, until: 0, withheld: 0 }
    }

    /// Whether it is an estimate that may be clamped.
    #[inline]
    pub(crate) fn is_clamped(&self, mode: Mode) -> bool {
        bucket::asked(self.limit, self.amount, mode) < self.amount
    }

    fn on(
        terms: &Terms<'a>,
        limit: &'a Limit,
        charge: &'a Charge,
        word: u64,
        (amount, withheld): (u64, u64),
    ) -> Refused<'a> {
        // Others than rates are never tightened.
        let (factor, until) = match limit {
            Limit::Rate(_) => terms.factor(charge.level),
            Limit::Quota(_) | Limit::Budget { .. } | Limit::InFlight { .. } => (Factor::ONE, 0),
        };
        Refused { charge, limit, word, amount, factor, until, withheld }
    }

    /// Keeps of two refusals the one that passes last; of two that pass together, the earlier on the path.
    #[inline]
    fn keep_later(kept: &mut Option<Self>, new: Self, moment: Moment<'_>) {
        match kept {
            None => *kept = Some(new),
            Some(other) => {
                if new.is_later(other, moment) {
                    *kept = Some(new);
                }
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn is_later(&self, other: &Self, moment: Moment<'_>) -> bool {
        let (wait, other_wait) = (self.refusal(moment).wait, other.refusal(moment).wait);
        let place = |refused: &Self| (refused.charge.level, refused.charge.index);
        wait.passes_after(other_wait) || !other_wait.passes_after(wait) && place(self) < place(other)
    }

    #[inline]
    fn refusal(&self, moment: Moment<'_>) -> Refusal {
        let Refused { limit, word, amount, factor, withheld, .. } = *self;
        bucket::refusal(limit, word, amount, factor, withheld, moment)
    }

    /// The denial; `overflow` where it was on an overflow line.
    pub(crate) fn denial(&self, moment: Moment<'_>, overflow: bool) -> Denial {
        let Charge { level, names, .. } = *self.charge;
        let denial = Denial::new(level, names, self.refusal(moment), moment.now);
        let denial = if overflow { denial.on_overflow() } else { denial };
        if self.withheld == 0 && self.factor == Factor::ONE {
            return denial;
        }
        let Refused { limit, word, amount, factor, until, withheld, .. } = *self;
        // No factor is on what is in flight, which alone tells a hold from a spending.
        let without = bucket::step(limit, word, amount, Factor::ONE, Mode::Spend, &moment);
        let tightened = factor != Factor::ONE
            && matches!(without, Step::Admit(_))
            && bucket::spares(limit, word, amount, Factor::ONE, withheld, &moment);
        denial.because(Because { withheld: withheld > 0, tightened, factor: factor.sixteenths(), until })
    }
}

/// A bucket that was just charged, under the guard of its line.
pub(crate) struct Taken<'a> {
    charge: &'a Charge,
    word: u64,
    refunds: Refunds<'a>,
    opened: Opened,
    now: u64,
}

/// A permit's notes of what it was charged to; those who spend at once take none.
pub(crate) trait Note {
    const MODE: Mode;

    /// Notes the book that was charged by, once all was.
    #[inline(always)]
    fn charged_by(&mut self, _: &Arc<Book>) {}

    /// Notes a line that is about to be charged, under its guard.
    fn line(&mut self, home: Home, guard: &mut Held<'_>, factor: Factor);

    /// Notes that some limits were not those of the policy.
    #[inline(always)]
    fn excepted(&mut self, _: Excepted) {}

    /// Notes the buckets just charged, on the levels that are there, which `each` goes through under the guards of their
    /// lines.
    fn charges(&mut self, present: Present, each: impl FnOnce(&mut dyn FnMut(Taken<'_>)));
}

/// Spends at once.
pub(crate) struct Spend;

impl Note for Spend {
    const MODE: Mode = Mode::Spend;

    #[inline(always)]
    fn line(&mut self, _: Home, _: &mut Held<'_>, _: Factor) {}

    #[inline(always)]
    fn charges(&mut self, _: Present, _: impl FnOnce(&mut dyn FnMut(Taken<'_>))) {}
}
