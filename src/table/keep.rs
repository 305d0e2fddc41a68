//! What a checkpoint reads of a table while requests go on, and how it puts back what it has read.
//!
//! A checkpoint goes through all slots, lines first, then parked entries. A subject that moves meanwhile from a slot that is
//! still to come to one that was gone by would be missed; so whoever moves one marks where it goes, under the guard of that
//! place and before it leaves the other, and the checkpoint goes through the marks until it has been by all without finding
//! any. Then every subject that was there at the beginning has been seen since.

use super::{
    Subjects,
    arena::{OutOfMemory, filled},
};
use crate::{
    bucket::{self, Moment},
    id::{KeptId, Key},
    line::{Snapshot, Stamp, Standing},
    policy::{
        book::Book,
        plan::{MAX_RULES, Under},
    },
    sync::{AtomicU64, Ordering},
};

/// A subject as it was seen, its words under the rules in force for its tier.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) id: KeptId,
    pub(crate) tier: u8,
    pub(crate) standing: Standing,
    pub(crate) words: [u64; MAX_RULES],
}

const BITS: usize = u64::BITS as usize;

/// A mark for each slot to which a subject has moved, and one for each word of them that may have some: going by those that have
/// none takes so little that a checkpoint comes round between two moves, however large the tables.
#[derive(Debug)]
pub(super) struct Moved {
    marks: Box<[AtomicU64]>,
    words: Box<[AtomicU64]>,
}

impl Moved {
    pub(super) fn new(slots: usize) -> Result<Moved, OutOfMemory> {
        let marks = filled(slots.div_ceil(BITS))?;
        let words = filled(marks.len().div_ceil(BITS))?;
        Ok(Moved { marks, words })
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.marks) + size_of_val(&*self.words)
    }

    /// Marks a slot, and then its word, also where that is marked: whoever takes the word's mark takes the slot's.
    pub(super) fn set(&self, slot: usize) {
        mark(&self.marks, slot);
        mark(&self.words, slot / BITS);
    }

    /// The first word at or after `from` that may have marks; how many words there are where none has.
    fn next(&self, from: usize) -> usize {
        let (start, skipped) = (from / BITS, from % BITS);
        let words = self.words.iter().enumerate().skip(start);
        let mut words = words.map(|(place, word)| {
            let word = word.load(Ordering::Acquire);
            (place, if place == start { word >> skipped << skipped } else { word })
        });
        let found = words.find(|(_, word)| *word != 0);
        found.map_or(self.marks.len(), |(place, word)| place * BITS + word.trailing_zeros() as usize)
    }

    fn take(&self, word: usize) -> u64 {
        let Some(marks) = self.marks.get(word) else { return 0 };
        if let Some(of) = self.words.get(word / BITS) {
            of.fetch_and(!(1 << (word % BITS)), Ordering::AcqRel);
        }
        marks.swap(0, Ordering::AcqRel)
    }
}

/// Pairs with the exchanges in [`Moved::take`].
fn mark(marks: &[AtomicU64], bit: usize) {
    if let Some(word) = marks.get(bit / BITS) {
        word.fetch_or(1 << (bit % BITS), Ordering::AcqRel);
    }
}

impl Subjects {
    /// The stamp of the `slot`th line or parked entry.
    pub(crate) fn stamp(&self, slot: usize) -> Option<Stamp> {
        let (table, slot) = self.at(slot);
        table.arena.head(slot).map(|head| head.stamp())
    }

    /// Who is there, and what it owes; `None` where nobody is. `spent` reads the line in a slot.
    pub(crate) fn kept(
        &self,
        book: &Book,
        slot: usize,
        spent: impl Fn(u32) -> Option<Snapshot>,
        moment: &Moment<'_>,
    ) -> Option<Kept> {
        let (table, place) = self.at(slot);
        let is_parked = slot >= self.table.arena.slots();
        let seen = if is_parked { table.arena.line(place)?.snapshot() } else { spent(place)? };
        let id = seen.id()?;
        let from = seen.meta.under();
        let to = Under::new(from.tier(), book.current());
        let words = if is_parked {
            self.unpacked(book, &seen.words, from, to, moment)
        } else if from == to {
            seen.words
        } else {
            bucket::convert(self.rules(book, from)?, self.rules(book, to)?, &seen.words, moment)
        };
        Some(Kept { id, tier: from.tier(), standing: seen.standing(moment.now), words })
    }

    /// Whether anything is known of `id`.
    pub(crate) fn knows(&self, id: KeptId) -> bool {
        let key = id.key(&self.places);
        self.table.find(&key).is_some() || self.parked.find(&key).is_some()
    }

    /// The same of a subject, wherever it is.
    pub(crate) fn kept_of(
        &self,
        book: &Book,
        key: &Key,
        spent: impl Fn(u32) -> Option<Snapshot>,
        moment: &Moment<'_>,
    ) -> Option<Kept> {
        let (id, lines) = (KeptId::new(key.words, key.kind)?, self.table.arena.slots());
        // Again where it was just moving from one to the other.
        (0..4).find_map(|_| {
            let line = self.table.find(key).map(|(slot, _)| slot as usize);
            let slot = line.or_else(|| self.parked.find(key).map(|(slot, _)| lines + slot as usize));
            self.kept(book, slot?, &spent, moment).filter(|kept| kept.id == id)
        })
    }

    fn at(&self, slot: usize) -> (&super::Table, u32) {
        let lines = self.table.arena.slots();
        // Tables have fewer slots than 2^32, or they could not be found.
        match slot.checked_sub(lines) {
            None => (&self.table, slot as u32),
            Some(slot) => (&self.parked, slot as u32),
        }
    }

    /// How many words of marks there are: one for each 64 slots.
    pub(crate) fn marks(&self) -> usize {
        self.moved.marks.len()
    }

    /// The first word at or after `from` that may have marks; how many there are where none has.
    pub(crate) fn next_marks(&self, from: usize) -> usize {
        self.moved.next(from)
    }

    /// Takes the marks of a word: the slots that they are for.
    pub(crate) fn take_marks(&self, word: usize) -> impl Iterator<Item = usize> + use<> {
        let marks = self.moved.take(word);
        (0..BITS).filter(move |bit| marks >> bit & 1 == 1).map(move |bit| word * BITS + bit)
    }

    /// Gives `key` these words, and what evidence has done to it. Where there is no place for a line, what outlives idling is
    /// parked.
    ///
    /// # Errors
    ///
    /// The words for which there was no place.
    pub(crate) fn put(
        &self,
        book: &Book,
        (key, under): (&Key, Under),
        words: &[u64; MAX_RULES],
        standing: Standing,
        moment: &Moment<'_>,
    ) -> Result<(), [u64; MAX_RULES]> {
        let Some(rules) = self.rules(book, under) else { return Err(*words) };
        let slot = self.insert(book, key, under, words, moment);
        let Some((slot, line)) = slot.and_then(|slot| Some((slot, self.line(slot)?))) else {
            let lasting = || {
                self.parked.arena.slots() > 0 && rules.rules.iter().any(|rule| rule.limit.outlives_idling())
            };
            let mut rest = *words;
            if lasting() && self.park(book, (key, under), rules, words, moment) {
                let parked = rest.iter_mut().zip(&rules.rules);
                parked.filter(|(_, rule)| rule.limit.outlives_idling()).for_each(|(word, _)| *word = 0);
            }
            return if rest == [0; MAX_RULES] { Ok(()) } else { Err(rest) };
        };
        let mut guard = line.lock();
        if !guard.holds(key) {
            return Err(*words);
        }
        let words = words.get(..rules.rules.len()).unwrap_or(words);
        guard.convert(moment.now, under, words, self.refunds(slot));
        guard.set_standing(standing);
        Ok(())
    }
}
