//! A new policy under traffic.
//!
//! [`Limiter::reload`] publishes another book. From then on decisions go by it: a line that is still under an earlier plan is
//! noticed where its tier is compared anyway, and brought over by whoever comes to it: debts and use by rule name, rounded
//! up. Stragglers are brought over by `maintain`, so many a call; then the numbers of earlier plans are free again.
//!
//! Decisions under way that started by the earlier book, and have not yet taken the guards of their lines, start again.

use super::{Limiter, Shared, maintain::settings};
use crate::{
    policy::{
        book::Book,
        plan::{MAX_PLANS, Plan, Room},
        succeed::ReloadError,
    },
    sync::Mutex,
};

/// Places that one call of `maintain` brings over at most: a few milliseconds.
const MOST_PLACES: usize = 32_768;

/// How far bringing over has come.
#[derive(Debug)]
pub(super) struct Sweep {
    /// What the tables were built for.
    pub(super) room: Room,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// The next place.
    place: usize,
    /// Numbers of the plans that no line will be under when this round has gone through all places, a bit for each; those
    /// that were there, and not in force, when it began.
    ending: u64,
}

impl Sweep {
    pub(super) fn new(room: Room) -> Sweep {
        Sweep { room, progress: Mutex::new(Progress::default()) }
    }
}

impl Limiter {
    /// Puts `plan` into force, under traffic.
    ///
    /// Rules match by tier, level, meter and name. What was spent is kept: a debt in tokens, a use in its window, what is in
    /// flight; a rule that has come starts fresh, also where an earlier policy had it. Over an interval with a reload in it, a
    /// rate admits at most what the componentwise larger of the two would, rate and burst. Handles ([`Tier`](crate::Tier),
    /// [`Meter`](crate::Meter), identities, subjects) and open permits keep their meaning; a permit from before is settled by
    /// rule name, but gives nothing back to a rate where its tier's rules of that level have changed. Callers of a tier that is
    /// gone are refused.
    ///
    /// Costs the compiled plan, and for each account one conversion, when it next comes or `maintain` finds it.
    ///
    /// # Errors
    ///
    /// Where something may have been renamed (a rule, a meter, a tier is gone and another has come), unless the policy says
    /// `fresh = true`; where the plan needs more room than the limiter was built with; where evidence would be another. And
    /// *busy* ([`ReloadError::is_busy`]) where lines are under seven earlier policies still: `maintain` brings them over.
    pub fn reload(&self, plan: Plan) -> Result<(), ReloadError> {
        self.shared.reload(plan)
    }
}

impl Shared {
    fn reload(&self, plan: Plan) -> Result<(), ReloadError> {
        // One at a time, and none while evidence is applied to lines.
        let mut state = self.observer.as_ref().map(|observer| observer.state.lock());
        let mut progress = self.sweep.progress.lock();
        let book = self.books.copy();
        let mut plan = plan.succeeding(&book.plan, &self.sweep.room)?;
        let next = match book.with_earlier(&plan) {
            Some(next) => next,
            None => {
                if book.free_number().is_none() {
                    self.bring_over_some(&mut progress);
                }
                let book = self.books.copy();
                let number = book.free_number().ok_or_else(|| {
                    ReloadError::busy(format!(
                        "busy: lines are still under {} earlier policies; call `maintain`, and come again",
                        MAX_PLANS - 1
                    ))
                })?;
                plan.number(number);
                book.with(plan)
            }
        };
        if let (Some(state), Some(evidence)) = (&mut state, &next.plan.evidence) {
            state.correlators.retune(settings(&next.plan, evidence));
        }
        // A round that is under way brings lines under whatever is the latest then; one that this plan comes back in must
        // not end it.
        progress.ending &= !(1 << next.current());
        self.books.publish(next);
        Ok(())
    }

    /// Publishes the book that `next` makes of the latest, one at a time.
    pub(super) fn change_book<E>(&self, next: impl FnOnce(&Book) -> Result<Book, E>) -> Result<(), E> {
        let _one_at_a_time = self.sweep.progress.lock();
        let next = next(&self.books.copy())?;
        self.books.publish(next);
        Ok(())
    }

    /// Brings some lines under the plan in force; whether all are.
    pub(super) fn bring_over(&self) -> bool {
        match self.sweep.progress.try_lock() {
            Some(mut progress) => self.bring_over_some(&mut progress),
            None => false,
        }
    }

    fn bring_over_some(&self, progress: &mut Progress) -> bool {
        let book = self.books.copy();
        if book.plans() == 1 {
            return true;
        }
        if progress.place == 0 {
            progress.ending =
                (0..MAX_PLANS as u64).map(|number| 1 << number).sum::<u64>() & !(1 << book.current());
        }
        let moment = self.moment(&book, self.now());
        let end = self.lines.places().min(progress.place.saturating_add(MOST_PLACES));
        for place in progress.place..end {
            self.lines.bring_over(&book, place, &moment);
        }
        progress.place = end;
        if end < self.lines.places() {
            return false;
        }
        progress.place = 0;
        let ending = progress.ending;
        let next = book.without(|number| ending >> number & 1 == 1);
        let all = next.plans() == 1;
        self.books.publish(next);
        all
    }
}
