//! What evidence does to lines: factors, cohorts joined and left. Each takes the guards of the lines that it writes, in
//! path order, as a charge does; a subject that has lost its slot meanwhile is let be.

use super::{Home, Lines};
use crate::{
    bucket::{self, Factor, Moment},
    decision::Level,
    line::{Guard, Standing},
    policy::plan::{Limit, Plan, Rule},
};

impl Lines {
    /// Multiplies the costs of the subject at `home` by `factor` until `until`. Whether it is still there.
    pub(crate) fn tighten(
        &self,
        home: Home,
        generation: u32,
        (factor, until): (Factor, u64),
        now: u64,
    ) -> bool {
        let Some(mut guard) = self.guard_of(home, generation) else { return false };
        let standing = guard.standing(now);
        let until = if standing.cohort == 0 { until } else { standing.until.max(until) };
        set(&mut guard, Standing { factor, until, ..standing });
        true
    }

    /// Charges the account in `slot` to `cohort` as well until `until`; one that joins brings along what it has spent.
    /// Whether it is still there.
    pub(crate) fn join(
        &self,
        plan: &Plan,
        (slot, generation): (u32, u32),
        (cohort, until): (u16, u64),
        moment: &Moment<'_>,
    ) -> bool {
        let Some(mut guard) = self.guard_of(Home::Account(slot), generation) else { return false };
        let standing = guard.standing(moment.now);
        let until = if standing.factor == Factor::ONE { until } else { standing.until.max(until) };
        if standing.cohort != cohort {
            self.carry_over(plan, &guard, cohort, moment);
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
    pub(crate) fn dissolve(&self, plan: &Plan, cohort: u16) {
        for (tier, rules) in plan.tiers.iter().enumerate() {
            let Ok(tier) = u8::try_from(tier) else { return };
            let home = self.cohort_home(cohort, tier);
            if let Some(line) = self.line(home) {
                let words = vec![0; rules.level(Level::Cohort).rules.len()];
                line.lock().empty(tier, &words, self.refunds(home));
            }
        }
    }

    fn guard_of(&self, home: Home, generation: u32) -> Option<Guard<'_>> {
        let guard = self.line(home)?.lock();
        (guard.generation() == generation && guard.meta().kind() != 0).then_some(guard)
    }

    /// Charges a cohort with what a member has spent in windows and rates that the two have in common; at most to its
    /// limit, so that it is whole again when its window ends.
    fn carry_over(&self, plan: &Plan, account: &Guard<'_>, cohort: u16, moment: &Moment<'_>) {
        let tier = account.meta().tier();
        let Some(rules) = plan.tiers.get(usize::from(tier)) else { return };
        let Some(line) = self.line(self.cohort_home(cohort, tier)) else { return };
        let words = account.snapshot().words;
        let mut line = line.lock();
        for (index, rule) in rules.level(Level::Cohort).rules.iter().enumerate() {
            let of_account = rules.account.rules.iter().zip(words).find(|(own, _)| counts_alike(own, rule));
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
    let nothing = standing.factor == Factor::ONE && standing.cohort == 0;
    guard.set_standing(if nothing { Standing::GOOD } else { standing });
}
