//! Which slot holds a key: a dense array of 16-bit tags, a cache line of 32 to a group.
//!
//! A key may sit in any slot of its two groups, chosen by its hash. It is put in the first as long as that has room, so
//! that most look-ups end there, and then in the emptier. A look-up compares tags, one or two cache lines that are
//! usually at hand (two bytes a slot), starting at the word where an insertion starts, and touches a line only where the
//! tag matches: a cold account costs about one cache miss. One look-up in 1,000 touches a line in vain.
//!
//! Source: two choices balance the groups (Y. Azar, A. Broder, A. Karlin, E. Upfal, *Balanced Allocations*, 1999).
//!
//! Invariant: a key is inserted only under the guard of its first group, so that it is never in two slots.
//!
//! # Orderings
//!
//! A tag is a hint and carries no other data: it is written `Release` under the line's guard and read `Acquire`, and
//! whoever follows it makes sure of the key on the line itself. The group guard is taken `Acquire` and let go
//! `Release`, so that the next inserter sees the tags of the last.

use super::arena::{OutOfMemory, filled};
use crate::{
    line::{Backoff, CacheLine},
    policy::plan::GROUP,
    sync::{AtomicU64, Ordering},
};

/// Slots in a group; few in a model, whose size grows with them.
pub(crate) const WAYS: usize = if cfg!(tollgate_loom) { 4 } else { GROUP };
/// Tags in a word.
const LANES: usize = 4;
const WORDS: usize = WAYS / LANES;
const LANE_BITS: usize = 16;
const LANE_MASK: u64 = 0xffff;
/// A one in each lane.
const LOW: u64 = 0x0001_0001_0001_0001;
/// The top bit of each lane.
const HIGH: u64 = 0x8000_8000_8000_8000;
/// Free slots below which a newcomer is put in the second of its groups, if that is emptier: half of a group, so that the
/// second half of the table fills evenly.
const ROOM: usize = WAYS / 2;
/// Spreads a hash anew for the second group (2^64 / golden ratio, odd).
const SECOND: u64 = 0x9e37_79b9_7f4a_7c15;

/// Set while somebody inserts into a group.
const GUARD: u64 = 1;

#[derive(Debug)]
pub(crate) struct Index {
    /// One for each group.
    tags: Box<[CacheLine]>,
    guards: Box<[AtomicU64]>,
}

impl Index {
    pub(crate) fn new(groups: usize) -> Result<Index, OutOfMemory> {
        Ok(Index { tags: filled(groups)?, guards: filled(groups)? })
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.tags) + size_of_val(&*self.guards)
    }

    /// The two groups of a key; the same one twice in an index of one.
    #[inline]
    pub(crate) fn groups(&self, hash: u64) -> [usize; 2] {
        let count = self.tags.len();
        let first = scale(hash, count);
        let second = scale(hash.wrapping_mul(SECOND), count);
        if first != second { [first, second] } else { [first, if first + 1 < count { first + 1 } else { 0 }] }
    }

    /// What `is_it` answers first of the slots in the two groups of `hash` whose tag is that of `hash`.
    #[inline(always)]
    pub(crate) fn find<T>(&self, hash: u64, is_it: impl Fn(u32) -> Option<T> + Copy) -> Option<T> {
        let first = scale(hash, self.tags.len());
        // Where it is nearly always, if it is there: an insertion starts at the same word.
        self.find_at(first, word_at(hash, 0), hash, is_it).or_else(|| self.find_further(hash, is_it))
    }

    #[inline(never)]
    fn find_further<T>(&self, hash: u64, is_it: impl Fn(u32) -> Option<T> + Copy) -> Option<T> {
        let [first, second] = self.groups(hash);
        let places =
            (1..WORDS).map(|offset| (first, offset)).chain((0..WORDS).map(|offset| (second, offset)));
        places.into_iter().find_map(|(group, offset)| self.find_at(group, word_at(hash, offset), hash, is_it))
    }

    #[inline(always)]
    fn find_at<T>(
        &self,
        group: usize,
        word: usize,
        hash: u64,
        is_it: impl Fn(u32) -> Option<T>,
    ) -> Option<T> {
        let tags = self.tags.get(group)?.word(word).load(Ordering::Acquire);
        // Whom a lane is reported for falsely is told apart by the line.
        let mut found = lanes_or_more(tags ^ (LOW * tag(hash)));
        while found != 0 {
            if let Some(found) = is_it(slot(group, word, lane(found))) {
                return Some(found);
            }
            found &= found - 1;
        }
        None
    }

    /// The slots of the two groups of `hash` that hold nobody, then the others. Of the free, first those of the first group,
    /// so that a look-up seldom needs the second, unless it is nearly full and the other one emptier.
    pub(crate) fn slots(&self, hash: u64) -> impl Iterator<Item = u32> {
        let [first, second] = self.groups(hash);
        let free = self.free(first, hash).count();
        let groups = if free < ROOM && self.free(second, hash).count() > free {
            [second, first]
        } else {
            [first, second]
        };
        let free = groups.into_iter().flat_map(move |group| self.free(group, hash));
        // Word by word of both, so that whoever may be replaced sooner in one than in the other leaves that one: of groups that
        // are full, it is the one with fewer who stay.
        let taken = (0..WORDS).flat_map(move |offset| {
            let slots = groups.into_iter().flat_map(|group| (0..LANES).map(move |lane| (group, lane)));
            slots.map(move |(group, lane)| slot(group, word_at(hash, offset), lane))
        });
        free.chain(taken)
    }

    /// The slots of a group that hold nobody, in the order in which a look-up of `hash` comes by.
    fn free(&self, group: usize, hash: u64) -> impl Iterator<Item = u32> {
        self.tags.get(group).into_iter().flat_map(move |tags| {
            (0..WORDS).flat_map(move |offset| {
                let word = word_at(hash, offset);
                let free = lanes(tags.word(word).load(Ordering::Acquire));
                free.map(move |lane| slot(group, word, lane))
            })
        })
    }

    /// Marks `slot` as holding a key of `hash`. The caller has the guard of the slot's line.
    pub(crate) fn set(&self, slot: u32, hash: u64) {
        self.write(slot, tag(hash));
    }

    /// Marks `slot` as holding nobody. The caller has the guard of the slot's line.
    pub(crate) fn clear(&self, slot: u32) {
        self.write(slot, 0);
    }

    fn write(&self, slot: u32, tag: u64) {
        let slot = slot as usize;
        let shift = (slot % LANES) * LANE_BITS;
        if let Some(tags) = self.tags.get(slot / WAYS) {
            let word = tags.word(slot % WAYS / LANES);
            // The other lanes belong to other slots, which others may write now. Always `Some`: nothing to report.
            let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |tags| {
                Some(tags & !(LANE_MASK << shift) | tag << shift)
            });
        }
    }

    /// How many slots hold somebody.
    pub(crate) fn occupied(&self) -> usize {
        (0..self.tags.len()).map(|group| WAYS - self.free(group, 0).count()).sum()
    }

    /// The right to insert keys whose first group is `hash`'s.
    pub(crate) fn lock(&self, hash: u64) -> GroupGuard<'_> {
        let [first, _] = self.groups(hash);
        let mut backoff = Backoff::new();
        loop {
            // In range by construction; an index without groups inserts nothing.
            let Some(guard) = self.guards.get(first) else { return GroupGuard(None) };
            if guard.compare_exchange(0, GUARD, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return GroupGuard(Some(guard));
            }
            backoff.wait();
        }
    }
}

#[derive(Debug)]
pub(crate) struct GroupGuard<'a>(Option<&'a AtomicU64>);

impl Drop for GroupGuard<'_> {
    fn drop(&mut self) {
        if let Some(guard) = self.0 {
            // Pairs with the exchange in `lock`.
            guard.store(0, Ordering::Release);
        }
    }
}

/// `hash` scaled to `0..count` by its high bits.
#[inline]
fn scale(hash: u64, count: usize) -> usize {
    ((u128::from(hash) * count as u128) >> 64) as usize
}

/// The low 16 bits of a hash, which choose no group; never 0, which is a free slot.
#[inline]
fn tag(hash: u64) -> u64 {
    (hash & LANE_MASK).max(1)
}

#[inline]
fn slot(group: usize, word: usize, lane: usize) -> u32 {
    (group * WAYS + word * LANES + lane) as u32
}

/// The word of a group that a look-up of `hash` reads after `offset` others: it starts where bits 16 to 18 say, which
/// choose neither the group nor the tag, and so does an insertion.
#[inline]
fn word_at(hash: u64, offset: usize) -> usize {
    ((hash >> LANE_BITS) as usize).wrapping_add(offset) % WORDS
}

/// The top bits of the lanes of `tags` that are 0, and perhaps of lanes above the first of them.
///
/// Source: the zero-byte test of H. Warren, *Hacker's Delight* (2nd ed.), 6-1.
#[inline]
fn lanes_or_more(tags: u64) -> u64 {
    tags.wrapping_sub(LOW) & !tags & HIGH
}

/// The first lane of those whose top bit is set.
#[inline]
fn lane(top_bits: u64) -> usize {
    top_bits.trailing_zeros() as usize / LANE_BITS
}

/// The lanes of `tags` that are 0.
#[inline]
fn lanes(tags: u64) -> impl Iterator<Item = usize> {
    let mut found = lanes_or_more(tags);
    std::iter::from_fn(move || {
        while found != 0 {
            let lane = lane(found);
            found &= found - 1;
            if (tags >> (lane * LANE_BITS)) & LANE_MASK == 0 {
                return Some(lane);
            }
        }
        None
    })
}
