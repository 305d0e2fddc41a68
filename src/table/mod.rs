//! The lines of all subjects of one level, in memory that is taken once.
//!
//! Invariants: a key is in at most one slot of the table, or else parked, never both as seen by whoever inserts it;
//! a slot is given to another subject only while it decides like a fresh one, or after what it is still good for
//! (quotas and budgets) was parked; nothing rehashes, moves or grows.
//!
//! - *Idle*: every bucket decides like a fresh one, no factor is in force, no permit is open.
//! - *Parked*: idle but for quotas and budgets. Those words go to a second, denser table, from which they are
//!   fetched when the subject comes back.
//! - When all 64 slots of a newcomer's two groups hold subjects that owe something, and none can be parked, there
//!   is no place: the caller falls back to the tier's overflow line.
//!
//! Insertion looks at 64 lines at most, twice that where it parks. Guards are taken in this order, so that there
//! is no deadlock: group of the table, line of the table, group of the parked, line of the parked. Of those, an
//! insertion waits only for groups and for the parked line of its own key; a line that is busy is passed over.

mod arena;
mod index;
mod keep;
#[cfg(all(test, tollgate_loom))]
mod loom_tests;
mod pool;

pub(crate) use arena::{Arena, OutOfMemory};
pub(crate) use keep::Kept;

use crate::{
    bucket::{self, Moment},
    decision::Level,
    id::{Key, Places},
    line::{Guard, Head, Line, Refunds, Snapshot, Standing},
    policy::{
        book::Book,
        plan::{LevelPlan, MAX_RULES, Rule, Under, Words, groups_for},
    },
    sync::{AtomicU64, Ordering, fence, mutant},
};
use index::{Index, WAYS};
use keep::Moved;

/// Slots found through an index.
#[derive(Debug)]
struct Table {
    index: Index,
    arena: Arena,
}

impl Table {
    /// At least `capacity` slots, in whole groups.
    fn new(
        capacity: usize,
        arena: impl FnOnce(usize) -> Result<Arena, OutOfMemory>,
    ) -> Result<Table, OutOfMemory> {
        let groups = groups_for(capacity);
        Ok(Table { index: Index::new(groups)?, arena: arena(groups * WAYS)? })
    }

    #[inline(always)]
    fn find(&self, key: &Key) -> Option<(u32, Head<'_>)> {
        let found = self.index.find(key.hash, |slot| {
            self.arena.head(slot).filter(|head| head.seems(key)).map(|head| (slot, head))
        });
        if found.is_none() {
            // What was parked before the key went is seen from here on: pairs with the fence in `Guard::replace`.
            fence(Ordering::Acquire);
        }
        found
    }

    /// A slot for `key`, with the guard of its line: the first that `vacate` agrees to.
    fn take(
        &self,
        key: &Key,
        mut vacate: impl FnMut(Line<'_>) -> bool,
        mut clear: impl FnMut(&Guard<'_>) -> bool,
    ) -> Option<(u32, Guard<'_>)> {
        self.index.slots(key.hash).find_map(|slot| {
            let line = self.arena.line(slot)?;
            // Reading first keeps the lines of those who stay out of everybody's way.
            if !vacate(line) {
                return None;
            }
            let guard = line.try_lock()?;
            (mutant("replacement_without_second_look") || clear(&guard)).then_some((slot, guard))
        })
    }

    fn remove(&self, key: &Key) -> bool {
        if self.arena.slots() == 0 {
            return false;
        }
        let _group = self.index.lock(key.hash);
        let Some((slot, line)) = self.find(key).and_then(|(slot, _)| Some((slot, self.arena.line(slot)?)))
        else {
            return false;
        };
        let mut guard = line.lock();
        // While the group is held, nobody else gives the slot away; but a parked entry is taken without it.
        if !guard.holds(key) {
            return false;
        }
        self.index.clear(slot);
        guard.replace(None, &[], self.arena.refunds(slot));
        true
    }

    fn bytes(&self) -> usize {
        self.index.bytes() + self.arena.bytes()
    }
}

/// All subjects of one level: those with a line, and those parked.
#[derive(Debug)]
pub(crate) struct Subjects {
    level: Level,
    places: Places,
    table: Table,
    parked: Table,
    moved: Moved,
    /// The latest limiter time at which anybody was found to need a place no longer. Stored before the place is given away, so
    /// that whoever misses the subject there, whatever its own clock shows, finds this (as with what was parked).
    left: AtomicU64,
}

/// The book that was decided by is not the latest any more.
struct Stale;

/// Occupancy of one level's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occupancy {
    pub(crate) subjects: usize,
    pub(crate) parked: usize,
    pub(crate) bytes: usize,
}

impl Subjects {
    pub(crate) fn new(
        level: Level,
        (capacity, parked): (usize, usize),
        words: Words,
        places: Places,
    ) -> Result<Subjects, OutOfMemory> {
        let Words { rules, rates, lasting } = words;
        let table = Table::new(capacity, |slots| match level {
            // There are many, of which few are asking at a time.
            Level::Account => Arena::with_pool(slots, (rules, rates)),
            _ => Arena::new(slots, (rules, rates)),
        })?;
        let parked = if lasting > 0 { parked } else { 0 };
        let parked = Table::new(parked, |slots| Arena::new(slots, (lasting, 0)))?;
        let moved = Moved::new(table.arena.slots() + parked.arena.slots())?;
        Ok(Subjects { level, places, table, parked, moved, left: AtomicU64::new(0) })
    }

    #[inline(always)]
    pub(crate) fn find(&self, key: &Key) -> Option<(u32, Head<'_>)> {
        self.table.find(key)
    }

    #[inline]
    pub(crate) fn head(&self, slot: u32) -> Option<Head<'_>> {
        self.table.arena.head(slot)
    }

    #[inline]
    pub(crate) fn line(&self, slot: u32) -> Option<Line<'_>> {
        self.table.arena.line(slot)
    }

    /// The cold part of a line, for who has its guard.
    pub(crate) fn refunds(&self, slot: u32) -> Refunds<'_> {
        self.table.arena.refunds(slot)
    }

    /// The same, for a permit that is opened.
    pub(crate) fn refunds_to_open(&self, slot: u32) -> Refunds<'_> {
        self.table.arena.refunds_to_open(slot)
    }

    /// The words that a subject without a line would start with, where it is parked.
    pub(crate) fn parked_words(
        &self,
        book: &Book,
        key: &Key,
        under: Under,
        moment: &Moment<'_>,
    ) -> Option<[u64; MAX_RULES]> {
        let (slot, _) = self.parked.find(key)?;
        let seen = self.parked.arena.line(slot)?.snapshot();
        seen.holds(key).then(|| self.unpacked(book, &seen.words, seen.meta.under(), under, moment))
    }

    /// The slot of `key`, given one now if it has none; `None` if there is no place.
    ///
    /// A newcomer starts with the words `start`, one that was parked with its own.
    pub(crate) fn insert(
        &self,
        book: &Book,
        key: &Key,
        under: Under,
        start: &[u64; MAX_RULES],
        moment: &Moment<'_>,
    ) -> Option<u32> {
        let _group = self.table.index.lock(key.hash);
        if let Some((slot, _)) = self.table.find(key).filter(|_| !mutant("insert_without_second_look")) {
            return Some(slot);
        }
        let rules = self.rules(book, under).map_or(&[][..], |rules| &rules.rules);
        let (slot, mut guard) = self.table.take(
            key,
            |line| self.may_leave(book, &line.snapshot(), moment),
            |guard| self.leave(book, guard, moment),
        )?;
        let unparked = self.unpark(book, (key, slot), under, moment).ok()?;
        self.table.index.clear(slot);
        if guard.meta().kind() != 0 {
            self.left.fetch_max(moment.now, Ordering::Relaxed);
        }
        let mut words = *start;
        // What is not parked it may owe for when it had no line.
        let parked = rules.iter().zip(words.iter_mut().zip(unparked.iter().flatten()));
        for (_, (word, kept)) in parked.filter(|(rule, _)| rule.limit.outlives_idling()) {
            *word = *kept;
        }
        let left = Moment { now: self.left.load(Ordering::Relaxed), ..*moment };
        if left.now != 0 {
            for (word, rule) in words.iter_mut().zip(rules) {
                *word = bucket::not_before(&rule.limit, *word, &left);
            }
        }
        guard.replace(
            Some((key, under)),
            words.get(..rules.len()).unwrap_or(&words),
            self.table.arena.refunds(slot),
        );
        self.table.index.set(slot, key.hash);
        Some(slot)
    }

    /// Leaves the slot of `key` to nobody, and drops what is parked of it. Whether there was anything.
    ///
    /// Waits for the guard of the line: nobody who has it waits for a group.
    pub(crate) fn remove(&self, key: &Key) -> bool {
        [&self.table, &self.parked].into_iter().fold(false, |any, table| any | table.remove(key))
    }

    fn rules<'a>(&self, book: &'a Book, under: Under) -> Option<&'a LevelPlan> {
        book.rules(under).map(|tier| tier.level(self.level))
    }

    /// Whether the subject of a line seems to need it no longer, permits aside.
    fn may_leave(&self, book: &Book, seen: &Snapshot, moment: &Moment<'_>) -> bool {
        if seen.meta.kind() == 0 {
            return true;
        }
        let Some(rules) = self.rules(book, seen.meta.under()) else { return false };
        seen.standing(moment.now) == Standing::GOOD
            && !seen.may_be_leased()
            && rules.rules.iter().zip(&seen.words).all(|(rule, word)| {
                bucket::is_idle(&rule.limit, *word, moment)
                    || (self.parked.arena.slots() > 0 && rule.limit.outlives_idling())
            })
    }

    /// Makes sure under the guard that the line's subject needs it no longer; parks what is left to keep.
    fn leave(&self, book: &Book, guard: &Guard<'_>, moment: &Moment<'_>) -> bool {
        // By a later book, the line may be under rules that this one knows as another plan's.
        if !book.is_latest() {
            return false;
        }
        let meta = guard.meta();
        if meta.kind() == 0 {
            return true;
        }
        let Some(rules) = self.rules(book, meta.under()) else { return false };
        if guard.open_permits() != 0 && !mutant("replacement_ignores_permits") {
            return false;
        }
        // What is leased of it comes back first.
        if !guard.is_in_good_standing(moment.now) {
            return false;
        }
        let words = guard.snapshot().words;
        let (mut idle, mut counts) = (true, false);
        for (rule, word) in rules.rules.iter().zip(&words) {
            counts |= rule.limit.only_counts() && *word != 0;
            if !bucket::is_idle(&rule.limit, *word, moment) {
                idle = false;
                if !rule.limit.outlives_idling() {
                    return false;
                }
            }
        }
        // What only counts is kept while there is place for it.
        let of = (&guard.key(&self.places), meta.under());
        let parked = (counts || !idle) && self.park(book, of, rules, &words, moment);
        idle || parked
    }

    /// Keeps the words of quotas and budgets in the parked table; `false` if that is full.
    fn park(
        &self,
        book: &Book,
        (key, under): (&Key, Under),
        rules: &LevelPlan,
        words: &[u64; MAX_RULES],
        moment: &Moment<'_>,
    ) -> bool {
        let packed = self.packed(rules, words);
        if mutant("park_after_leaving") {
            return true;
        }
        let _group = self.parked.index.lock(key.hash);
        // One that is left over from an insertion which was given up is as good as free.
        let leftover = self.parked.find(key).and_then(|(slot, _)| {
            let place = self.parked.arena.line(slot)?.lock();
            place.holds(key).then_some((slot, place))
        });
        let taken = leftover.or_else(|| {
            self.parked.take(
                key,
                |line| self.has_expired(book, &line.snapshot(), moment),
                |guard| book.is_latest() && self.has_expired(book, &guard.snapshot(), moment),
            )
        });
        let Some((slot, mut place)) = taken else { return false };
        self.left.fetch_max(moment.now, Ordering::Relaxed);
        // Before it goes from where it is: a checkpoint finds it in one of the two places.
        self.moved.set(self.table.arena.slots() + slot as usize);
        self.parked.index.clear(slot);
        place.replace(Some((key, under)), &packed, self.parked.arena.refunds(slot));
        self.parked.index.set(slot, key.hash);
        true
    }

    /// Words in the order in which they are parked.
    fn packed(&self, rules: &LevelPlan, words: &[u64; MAX_RULES]) -> [u64; MAX_RULES] {
        let mut packed = [0; MAX_RULES];
        for (place, index) in packed.iter_mut().zip(parkable(rules)) {
            *place = words.get(index).copied().unwrap_or(0);
        }
        packed
    }

    /// Whether a parked line holds nobody, or nothing that still counts.
    fn has_expired(&self, book: &Book, seen: &Snapshot, moment: &Moment<'_>) -> bool {
        if seen.meta.kind() == 0 {
            return true;
        }
        let Some(level) = self.rules(book, seen.meta.under()) else { return false };
        parkable(level).zip(&seen.words).all(|(rule, word)| {
            level.rules.get(rule).is_none_or(|rule| bucket::is_idle(&rule.limit, *word, moment))
        })
    }

    /// Takes the words of `key` out of the parked table for its slot `to`, whose guard is held, if any are there; an error
    /// where the book is not the latest.
    fn unpark(
        &self,
        book: &Book,
        (key, to): (&Key, u32),
        under: Under,
        moment: &Moment<'_>,
    ) -> Result<Option<[u64; MAX_RULES]>, Stale> {
        let Some((slot, _)) = self.parked.find(key) else { return Ok(None) };
        let Some(line) = self.parked.arena.line(slot) else { return Ok(None) };
        let mut guard = line.lock();
        if !guard.holds(key) {
            return Ok(None);
        }
        if !book.is_latest() {
            return Err(Stale);
        }
        let seen = guard.snapshot();
        // As in `park`.
        self.moved.set(to as usize);
        self.parked.index.clear(slot);
        guard.replace(None, &[], self.parked.arena.refunds(slot));
        Ok(Some(self.unpacked(book, &seen.words, seen.meta.under(), under, moment)))
    }

    /// Parked words in the order of the rules of `to`.
    fn unpacked(
        &self,
        book: &Book,
        packed: &[u64; MAX_RULES],
        from: Under,
        to: Under,
        moment: &Moment<'_>,
    ) -> [u64; MAX_RULES] {
        let mut words = [0; MAX_RULES];
        let (Some(old), Some(new)) = (self.rules(book, from), self.rules(book, to)) else { return words };
        for (word, index) in packed.iter().zip(parkable(old)) {
            if let Some(place) = words.get_mut(index) {
                *place = *word;
            }
        }
        if from == to { words } else { bucket::convert(old, new, &words, moment) }
    }

    /// Lines and parked entries together, for [`bring_over`](Subjects::bring_over).
    pub(crate) fn slots(&self) -> usize {
        self.table.arena.slots() + self.parked.arena.slots()
    }

    /// Brings what is in the `slot`th of them under the plan in force, if it is not; `false` where parts of it are leased.
    ///
    /// Takes the guard even of those that hold nobody: whoever is about to fill one by an earlier book then sees this one.
    pub(crate) fn bring_over(&self, book: &Book, slot: usize, moment: &Moment<'_>) -> bool {
        let (table, slot, is_parked) = match slot.checked_sub(self.table.arena.slots()) {
            None => (&self.table, slot, false),
            Some(slot) => (&self.parked, slot, true),
        };
        let Some(line) = u32::try_from(slot).ok().and_then(|slot| table.arena.line(slot)) else {
            return true;
        };
        let mut guard = line.lock();
        let from = guard.meta().under();
        let to = Under::new(from.tier(), book.current());
        if from == to || guard.meta().kind() == 0 || !book.is_latest() {
            return true;
        }
        let (Some(old), Some(new)) = (self.rules(book, from), self.rules(book, to)) else { return true };
        if guard.may_be_leased() {
            return false;
        }
        if old.counts_like(new) {
            guard.relabel(to);
            return true;
        }
        let words = guard.snapshot().words;
        let words = if is_parked {
            self.packed(new, &self.unpacked(book, &words, from, to, moment))
        } else {
            bucket::convert(old, new, &words, moment)
        };
        guard.convert(moment.now, to, &words, table.arena.refunds(slot as u32));
        true
    }

    /// How many permits were opened without room for what they note of rates.
    pub(crate) fn unnoted_permits(&self) -> u64 {
        self.table.arena.missed()
    }

    pub(crate) fn occupancy(&self) -> Occupancy {
        Occupancy {
            subjects: self.table.index.occupied(),
            parked: self.parked.index.occupied(),
            bytes: self.table.bytes() + self.parked.bytes() + self.moved.bytes(),
        }
    }
}

/// The indexes of the rules whose words are parked.
fn parkable(level: &LevelPlan) -> impl Iterator<Item = usize> {
    let outlives = |(_, rule): &(usize, &Rule)| rule.limit.outlives_idling();
    level.rules.iter().enumerate().filter(outlives).map(|(index, _)| index)
}
