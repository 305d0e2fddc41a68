//! What evidence does to lines: factors, cohorts joined and left. Each takes the guards of the lines that it writes, in
//! path order, as a charge does; a subject that has lost its slot meanwhile is let be.

use super::{Home, Lines};
use crate::{
    bucket::{self, Factor, Moment},
    decision::Level,
    line::{Guard, Standing},
    policy::{
        book::Book,
        plan::{Limit, Rule, Under},
    },
};

impl Lines {
    /// Multiplies the costs of the subject at `home` by `factor` until `until`, if it is still there. `false` where parts of it
    /// are leased, and the book is not the latest, by which they come back: it is to be done by that.
    pub(crate) fn tighten(
        &self,
        book: &Book,
        (home, generation): (Home, u32),
        (factor, until): (Factor, u64),
        moment: &Moment<'_>,
    ) -> bool {
        loop {
            let Some(mut guard) = self.guard_of(home, generation) else { return true };
            if !guard.may_be_leased() {
                let standing = guard.standing(moment.now);
                let until = if standing.cohort == 0 { until } else { standing.until.max(until) };
                set(&mut guard, Standing { factor, until, ..standing });
                return true;
            }
            drop(guard);
            // Again where threads have leased meanwhile.
            if !self.recall(book, home, moment) && !book.is_latest() {
                return false;
            }
        }
    }

    /// Charges the account in `slot` to `cohort` as well until `until`; one that joins brings along what it has spent.
    /// Whether it is still there.
    pub(crate) fn join(
        &self,
        book: &Book,
        (slot, generation): (u32, u32),
        (cohort, until): (u16, u64),
        moment: &Moment<'_>,
    ) -> bool {
        let Some(mut guard) = self.guard_of(Home::Account(slot), generation) else { return false };
        let standing = guard.standing(moment.now);
        let until = if standing.factor == Factor::ONE { until } else { standing.until.max(until) };
        if standing.cohort != cohort {
            self.carry_over(book, &guard, cohort, moment);
        }
        set(&mut guard, Standing { cohort, until, ..standing });
        true
    }

    /// Charges the account in `slot` no longer to `cohort`. Whether it is still there.
    pub(crate) fn leave(&self, (slot, generation): (u32, u32), cohort: u16, now: u64) -> bool {
        let Some(mut guard) = self.guard_of(Home::Account(slot), generation) else { return false };
        let standing = guard.standing(now);
        if standing.cohort == cohort {
            set(&mut guard, Standing { cohort: 0, ..standing });
        }
        true
    }

    /// Clears the lines of a cohort that has no member any more.
    pub(crate) fn dissolve(&self, book: &Book, cohort: u16) {
        for rules in &book.plan.tiers {
            let home = self.cohort_home(cohort, rules.under.tier());
            if let Some(line) = self.line(home) {
                let words = vec![0; rules.level(Level::Cohort).rules.len()];
                line.lock().empty(rules.under, &words, self.refunds(home));
            }
        }
    }

    fn guard_of(&self, home: Home, generation: u32) -> Option<Guard<'_>> {
        let guard = self.line(home)?.lock();
        (guard.generation() == generation && guard.meta().kind() != 0).then_some(guard)
    }

    /// Charges a cohort with what a member has spent in windows and rates that the two have in common; at most to its
    /// limit, so that it is whole again when its window ends.
    fn carry_over(&self, book: &Book, account: &Guard<'_>, cohort: u16, moment: &Moment<'_>) {
        let under = account.meta().under();
        let (to, home) = (Under::new(under.tier(), book.current()), self.cohort_home(cohort, under.tier()));
        let (Some(own_rules), Some(rules)) = (book.rules(under), book.rules(to)) else { return };
        let words = account.snapshot().words;
        let Some(mut line) = self.take(book, home, (None, under.tier()), moment) else { return };
        for (index, rule) in rules.level(Level::Cohort).rules.iter().enumerate() {
            let of_account =
                own_rules.account.rules.iter().zip(words).find(|(own, _)| counts_alike(own, rule));
            if let (Some((own, word)), Some(into)) = (of_account, line.word(index)) {
                let spent = bucket::used(&own.limit, word, moment);
                line.set_word(index, bucket::carry_over(&rule.limit, into, spent, moment));
            }
        }
    }
}

/// Whether the use of one rule is a part of that of the other.
fn counts_alike(own: &Rule, shared: &Rule) -> bool {
    own.meter == shared.meter
        && match (&own.limit, &shared.limit) {
            (Limit::Quota(own), Limit::Quota(shared)) => own.calendar == shared.calendar,
            (Limit::Rate(_), Limit::Rate(_)) => true,
            (Limit::Budget { .. }, Limit::Budget { .. }) => !own.limit.only_counts(),
            _ => false,
        }
}

fn set(guard: &mut Guard<'_>, standing: Standing) {
    let nothing = standing.factor == Factor::ONE && standing.cohort == 0 && !standing.marked;
    guard.set_standing(if nothing { Standing::GOOD } else { standing });
}
