//! Asking what does not go straight, one consistent copy of a line after the other.

use super::{
    Ask, Lines, Path, Refused, Stopped,
    enter::{Turn, converted},
    terms::{Account, Terms},
};
use crate::{
    bucket::{self, Moment, Seen, Step},
    decision::{Level, Told},
    line::Standing,
    policy::plan::{LEVELS, MAX_RULES},
};

/// How a line is read of which parts are leased.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// What threads hold of it counts as spent, as to whoever is about to charge it.
    Held,
    /// It does not, as if it had come back.
    Spent,
}

/// One level of a path as it was found.
#[derive(Clone, Copy)]
struct State {
    words: [u64; MAX_RULES],
    standing: Standing,
}

/// The levels of a path, and the terms of its caller.
struct States<'a> {
    levels: [State; LEVELS.len()],
    terms: Terms<'a>,
}

impl States<'_> {
    fn word(&self, level: usize, rule: usize) -> u64 {
        self.levels[level].words[rule % MAX_RULES]
    }
}

impl<'a> Path<'a> {
    /// Whether every bucket admits, by words that belong together line by line.
    pub(crate) fn judge(&self, lines: &'a Lines, ask: &Ask<'_>, reading: Reading) -> Result<Told, Stopped> {
        let states = self.states(lines, ask, reading)?;
        let terms = &states.terms;
        let word = |rule| states.word(0, rule);
        let account = Account { standing: terms.standing, word: &word };
        let mut behind = None;
        let mut told = Told::default();
        let mut refused: Option<Refused<'_>> = None;
        for meter in ask.cost.spent() {
            for charge in self.rules.charges(meter, terms.present) {
                let word = states.word(charge.level as usize, usize::from(charge.index));
                let answered = terms.step(self.rules, (meter, charge), word, &account, ask);
                told = told.and(answered.told);
                match answered.step {
                    Step::Admit(_) => {}
                    Step::Behind => {
                        behind = behind.max(Some(ask.moment.caught_up_with(&charge.limit, word).now));
                    }
                    Step::Refuse => {
                        let limit = terms.limit(self.rules, charge);
                        let amount = bucket::asked(limit, ask.cost.amount(meter), ask.mode);
                        let new = Refused::on(terms, limit, charge, word, (amount, answered.withheld));
                        Refused::keep_later(&mut refused, new, ask.moment);
                    }
                }
            }
        }
        match (behind, refused) {
            (Some(now), _) => Err(Stopped::Behind(now)),
            (None, Some(refused)) => Err(Stopped::Refused(refused.denial(ask.moment, self.overflow))),
            (None, None) => Ok(told),
        }
    }

    /// Every bucket of the path as it is now, for a request like `ask`, without what is leased.
    pub(crate) fn inspect(
        &self,
        lines: &'a Lines,
        ask: &Ask<'_>,
        mut visit: impl FnMut(Seen<'a>),
    ) -> Result<(), Stopped> {
        let states = self.states(lines, ask, Reading::Spent)?;
        let terms = &states.terms;
        let word = |rule| states.word(0, rule);
        let account = Account { standing: terms.standing, word: &word };
        for level in terms.present.levels() {
            let (factor, until) = terms.factor(level);
            for (index, rule) in self.rules.level(level).rules.iter().enumerate() {
                let charge = self.rules.all_charges(rule.meter).iter();
                let mut charge =
                    charge.filter(|charge| (charge.level, usize::from(charge.index)) == (level, index));
                let Some(charge) = charge.next() else { continue };
                let limit = terms.limit(self.rules, charge);
                let withheld = terms.withheld(self.rules, (rule.meter, charge), limit, &account, ask);
                let word = states.word(level as usize, index);
                visit(Seen { level, rule, limit, word, factor, until, withheld });
            }
        }
        Ok(())
    }

    fn states(&self, lines: &'a Lines, ask: &Ask<'_>, reading: Reading) -> Result<States<'a>, Stopped> {
        let moment = &ask.moment;
        let account = self.state(lines, self.account(), reading, moment)?;
        let word = |rule: usize| account.words[rule % MAX_RULES];
        let terms = Terms::new(
            (self.book, self.rules),
            self.identity,
            &Account { standing: account.standing, word: &word },
            ask,
        );
        let mut states = States { levels: [account; LEVELS.len()], terms };
        for turn in self.rest(lines, &terms) {
            let state = self.state(lines, turn, reading, moment)?;
            match turn.level() {
                Level::Organization => {
                    let key = self.identity.organization.as_ref();
                    states.terms.in_organization(self.book, key, state.standing, ask);
                }
                Level::Tier => {
                    states.terms.in_tier(self.book, self.identity.tier.as_u8(), state.standing.marked, ask);
                }
                Level::Account | Level::Cohort | Level::Pool => {}
            }
            states.levels[turn.level() as usize] = state;
        }
        // All of it was read under rules that this book knows.
        if self.book.is_latest() { Ok(states) } else { Err(Stopped::Changed) }
    }

    fn state(
        &self,
        lines: &Lines,
        turn: Turn<'a>,
        reading: Reading,
        moment: &Moment<'_>,
    ) -> Result<State, Stopped> {
        let rules = self.rules.level(turn.level());
        match turn {
            Turn::Absent(newcomer) => {
                let words = newcomer.start(lines, self.book, rules, moment);
                Ok(State { words, standing: Standing::GOOD })
            }
            Turn::There(stop) => {
                let seen = match reading {
                    Reading::Held => stop.line.snapshot(),
                    Reading::Spent => lines.spent(self.book, stop.home, moment).ok_or(Stopped::Changed)?,
                };
                if stop.key.is_some_and(|key| !seen.holds(key)) {
                    return Err(Stopped::Changed);
                }
                let standing = seen.standing(moment.now);
                if seen.meta.under() == self.rules.under {
                    return Ok(State { words: seen.words, standing });
                }
                let words = converted(self.book, turn.level(), rules, seen.meta, &seen.words, moment);
                let is_same_tier = seen.meta.under().tier() == self.rules.under.tier();
                let cohort = if is_same_tier { standing.cohort } else { 0 };
                Ok(State { words, standing: Standing { cohort, ..standing } })
            }
        }
    }
}
