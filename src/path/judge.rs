//! Asking what does not go straight, one consistent copy of a line after the other.

use super::{
    Ask, LEVELS, Lines, Path, Refused, Stopped,
    enter::{Turn, converted},
};
use crate::{
    bucket::{self, Factor, Moment, Seen, Step},
    policy::plan::MAX_RULES,
};

/// One level of a path as it was found.
#[derive(Clone, Copy)]
struct State {
    words: [u64; MAX_RULES],
    factor: Factor,
    /// The factor, if one is in force, and the instant at which it ends.
    tightened_until: Option<(Factor, u64)>,
}

impl<'a> Path<'a> {
    /// Whether every bucket admits, by words that belong together line by line.
    pub(crate) fn judge(&self, lines: &Lines, ask: &Ask<'_>) -> Result<(), Stopped> {
        let states = self.states(lines, &ask.moment)?;
        let mut behind = None;
        let mut refused: Option<Refused<'_>> = None;
        for meter in ask.cost.spent() {
            let amount = ask.cost.amount(meter);
            for charge in self.rules.charges(meter, self.in_organization()) {
                let State { words, factor, .. } = states[charge.level as usize];
                let word = words[usize::from(charge.index) % MAX_RULES];
                match bucket::step(&charge.limit, word, amount, factor, ask.mode, &ask.moment) {
                    Step::Admit(_) => {}
                    Step::Behind => {
                        behind = behind.max(Some(ask.moment.caught_up_with(&charge.limit, word).now));
                    }
                    Step::Refuse => {
                        let new = Refused { charge, word, amount, factor };
                        Refused::keep_later(&mut refused, new, ask.moment);
                    }
                }
            }
        }
        match (behind, refused) {
            (Some(now), _) => Err(Stopped::Behind(now)),
            (None, Some(refused)) => {
                let denial = refused.denial(self.plan, self.identity.tier.as_u8(), ask.moment, self.overflow);
                Err(Stopped::Refused(denial))
            }
            (None, None) => Ok(()),
        }
    }

    /// Every bucket of the path as it is now.
    pub(crate) fn inspect(
        &self,
        lines: &Lines,
        moment: &Moment<'_>,
        mut visit: impl FnMut(Seen<'a>),
    ) -> Result<(), Stopped> {
        let states = self.states(lines, moment)?;
        for turn in self.turns() {
            let level = turn.level();
            let State { words, factor, tightened_until } = states[level as usize];
            for (rule, word) in self.rules.level(level).rules.iter().zip(words) {
                visit(Seen { level, rule, word, tightened_until, factor });
            }
        }
        Ok(())
    }

    fn states(&self, lines: &Lines, moment: &Moment<'_>) -> Result<[State; LEVELS], Stopped> {
        let fresh = State { words: [0; MAX_RULES], factor: Factor::ONE, tightened_until: None };
        let mut states = [fresh; LEVELS];
        for turn in self.turns() {
            let level = turn.level();
            let rules = self.rules.level(level);
            states[level as usize] = match turn {
                Turn::Absent(newcomer) => {
                    State { words: newcomer.start(lines, self.plan, rules, moment), ..fresh }
                }
                Turn::There(stop) => {
                    let seen = stop.line.snapshot();
                    if stop.key.is_some_and(|key| !seen.holds(key)) {
                        return Err(Stopped::Changed);
                    }
                    let words = if seen.meta.tier() == self.identity.tier.as_u8() {
                        seen.words
                    } else {
                        converted(self.plan, level, rules, seen.meta, &seen.words, moment)
                    };
                    let tightened_until = seen.tightened_until(moment.now);
                    State { words, factor: seen.factor(moment.now), tightened_until }
                }
            };
        }
        Ok(states)
    }
}
