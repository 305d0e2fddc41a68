//! What a checkpoint reads of all lines, and how it puts back what it has read.
//!
//! A *place* is as in [`Lines::bring_over`]: the lines of tiers, those of cohorts, accounts, organizations.

use super::{Home, Lines, enter::converted, lines::TIER_LINES};
use crate::{
    bucket::{self, Moment},
    decision::Level,
    id::Key,
    line::{Stamp, Standing},
    policy::{
        book::Book,
        exception::Scope,
        plan::{MAX_RULES, Rule, Under},
    },
    table::{Kept, Subjects},
};

/// What is at a place.
pub(crate) enum Found {
    /// A subject of a level.
    Subject(Level, Kept),
    /// A line of a tier, under the rules of a level; of a cohort, where it is not 0.
    Shared { level: Level, tier: u8, cohort: u16, words: [u64; MAX_RULES] },
}

/// Where a place is.
enum Room<'a> {
    Arena(Home),
    Subjects(&'a Subjects, Level, usize),
}

impl Lines {
    fn room(&self, place: usize) -> Option<Room<'_>> {
        let mut place = place;
        for (arena, home) in [(&self.tiers, Home::Tier as fn(u32) -> Home), (&self.cohorts, Home::Cohort)] {
            if place < arena.slots() {
                return Some(Room::Arena(home(place as u32)));
            }
            place -= arena.slots();
        }
        match place.checked_sub(self.accounts.slots()) {
            None => Some(Room::Subjects(&self.accounts, Level::Account, place)),
            Some(place) if place < self.organizations.slots() => {
                Some(Room::Subjects(&self.organizations, Level::Organization, place))
            }
            Some(_) => None,
        }
    }

    /// The stamp of the line at a place.
    pub(crate) fn stamp(&self, place: usize) -> Option<Stamp> {
        match self.room(place)? {
            Room::Arena(home) => self.line(home).map(|line| line.head().stamp()),
            Room::Subjects(subjects, _, slot) => subjects.stamp(slot),
        }
    }

    /// Whether what is spent at a place may grow without a write to its line, since parts of that are leased.
    pub(crate) fn is_leased(&self, place: usize) -> bool {
        let home = match self.room(place) {
            Some(Room::Arena(home)) => Some(home),
            Some(Room::Subjects(_, level, slot)) => {
                u32::try_from(slot).ok().map(|slot| Home::of(level, slot))
            }
            None => None,
        };
        home.and_then(|home| self.line(home)).is_some_and(|line| line.head().may_be_leased())
    }

    /// What is at a place, in words under the rules in force; `None` where nobody is.
    pub(crate) fn kept(&self, book: &Book, place: usize, moment: &Moment<'_>) -> Option<Found> {
        match self.room(place)? {
            Room::Subjects(subjects, level, slot) => {
                let spent = |slot| self.spent(book, Home::of(level, slot), moment);
                subjects.kept(book, slot, spent, moment).map(|kept| Found::Subject(level, kept))
            }
            Room::Arena(home) => {
                let seen = self.spent(book, home, moment)?;
                let from = seen.meta.under();
                let to = Under::new(from.tier(), book.current());
                let (level, rules) = (home.level(), book.rules(to)?);
                let words = if from == to {
                    seen.words
                } else {
                    converted(book, level, rules.level(level), seen.meta, &seen.words, moment)
                };
                let cohort = match home {
                    Home::Cohort(slot) => (slot / self.tiers_known()) as u16,
                    Home::Account(_) | Home::Organization(_) | Home::Tier(_) => 0,
                };
                Some(Found::Shared { level, tier: to.tier(), cohort, words })
            }
        }
    }

    /// What is at the place of a subject of `level`.
    pub(crate) fn kept_of(&self, book: &Book, level: Level, key: &Key, moment: &Moment<'_>) -> Option<Found> {
        let spent = |slot| self.spent(book, Home::of(level, slot), moment);
        let kept = self.subjects(level)?.kept_of(book, key, spent, moment)?;
        Some(Found::Subject(level, kept))
    }

    /// What is at the place of a tier's total.
    pub(crate) fn kept_total(&self, book: &Book, tier: u8, moment: &Moment<'_>) -> Option<Found> {
        // The lines of tiers come first.
        self.kept(book, usize::from(tier) * TIER_LINES as usize, moment)
    }

    /// How many tiers there is room for.
    fn tiers_known(&self) -> u32 {
        (self.tiers.slots() as u32 / TIER_LINES).max(1)
    }

    /// How many words of marks there are of subjects that have moved.
    pub(crate) fn marks(&self) -> usize {
        self.accounts.marks() + self.organizations.marks()
    }

    /// The first word at or after `from` that may have marks; how many there are where none has.
    pub(crate) fn next_marks(&self, from: usize) -> usize {
        let accounts = self.accounts.marks();
        let of_accounts = self.accounts.next_marks(from);
        if of_accounts < accounts {
            return of_accounts;
        }
        accounts + self.organizations.next_marks(from.saturating_sub(accounts))
    }

    /// Takes the marks of a word: the places that they are for.
    pub(crate) fn take_marks(&self, word: usize) -> impl Iterator<Item = usize> + use<> {
        let accounts = self.accounts.marks();
        let first = self.tiers.slots() + self.cohorts.slots();
        let (subjects, word, first) = match word.checked_sub(accounts) {
            None => (&self.accounts, word, first),
            Some(word) => (&self.organizations, word, first + self.accounts.slots()),
        };
        subjects.take_marks(word).map(move |slot| first + slot)
    }

    /// Gives a subject these words. Where there is no place for it, the line that stands in for it owes at least as much.
    pub(crate) fn put(
        &self,
        book: &Book,
        level: Level,
        (key, under): (&Key, Under),
        words: &[u64; MAX_RULES],
        standing: Standing,
        moment: &Moment<'_>,
    ) -> bool {
        let Some(subjects) = self.subjects(level) else { return false };
        let placed = subjects.put(book, (key, under), words, standing, moment);
        if let Err(rest) = &placed {
            let rules = book.rules(under).map_or(&[][..], |rules| &rules.level(level).rules);
            self.raise(Home::shared(level, under.tier()), rules, rest);
        }
        placed.is_ok()
    }

    /// Gives whom an exception is about a line, where there is a place.
    pub(crate) fn enter(&self, book: &Book, scope: &Scope, moment: &Moment<'_>) -> bool {
        let (Some(key), Some(subjects)) = (scope.key(), self.subjects(scope.level())) else { return false };
        // Under whose rules, it says when it comes.
        let tier = book.plan.tiers.iter().find(|tier| !tier.retired);
        let under = tier.map_or(Under::default(), |tier| tier.under);
        let fresh = [0; MAX_RULES];
        subjects.insert(book, key, under, &fresh, moment).is_some()
    }

    /// Gives the line of a tier these words.
    pub(crate) fn put_shared(&self, level: Level, (tier, cohort): (u8, u16), words: &[u64; MAX_RULES]) {
        let home = match level {
            Level::Cohort => self.cohort_home(cohort, tier),
            _ => Home::shared(level, tier),
        };
        if let Some(line) = self.line(home) {
            let mut guard = line.lock();
            words.iter().enumerate().for_each(|(rule, word)| guard.set_word(rule, *word));
        }
    }

    fn raise(&self, home: Home, rules: &[Rule], words: &[u64; MAX_RULES]) {
        if let Some(line) = self.line(home) {
            let mut guard = line.lock();
            for (index, (rule, word)) in rules.iter().zip(words).enumerate() {
                let held = guard.word(index).unwrap_or(0);
                guard.set_word(index, bucket::greater(&rule.limit, held, *word));
            }
        }
    }
}
