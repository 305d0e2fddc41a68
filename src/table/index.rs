//! Which slot holds a key: a dense array of 16-bit tags, a cache line of 32 to a group.
//!
//! A key may sit in any slot of its two groups, chosen by its hash; it is put in the emptier. A look-up compares tags,
//! two cache lines that are usually at hand (two bytes a slot), and touches a line only where the tag matches: a cold
//! account costs about one cache miss. One look-up in 1,000 touches a line in vain.
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

use super::arena::{OutOfMemory, Words};
use crate::{
    line::Backoff,
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
/// Spreads a hash anew for the second group (2^64 / golden ratio, odd).
const SECOND: u64 = 0x9e37_79b9_7f4a_7c15;

/// Set while somebody inserts into a group.
const GUARD: u64 = 1;

#[derive(Debug)]
pub(crate) struct Index {
    tags: Words,
    guards: Words,
    groups: usize,
}

impl Index {
    pub(crate) fn new(groups: usize) -> Result<Index, OutOfMemory> {
        Ok(Index { tags: Words::new(groups * WORDS)?, guards: Words::new(groups)?, groups })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.tags.bytes() + self.guards.bytes()
    }

    /// The two groups of a key; the same one twice in an index of one.
    #[inline]
    pub(crate) fn groups(&self, hash: u64) -> [usize; 2] {
        let count = self.groups;
        let first = scale(hash, count);
        let second = scale(hash.wrapping_mul(SECOND), count);
        if first != second { [first, second] } else { [first, if first + 1 < count { first + 1 } else { 0 }] }
    }

    /// The first slot in the two groups of `hash` whose tag is that of `hash` and that `is_it` agrees to.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let wanted = LOW * tag(hash);
        self.groups(hash).into_iter().find_map(|group| {
            self.tags(group).iter().zip(group * WORDS..).find_map(|(tags, word)| {
                lanes(tags.load(Ordering::Acquire) ^ wanted, word).find(|slot| is_it(*slot))
            })
        })
    }

    /// The slots of the two groups of `hash` that hold nobody, those of the emptier group first; then the others.
    pub(crate) fn slots(&self, hash: u64) -> impl Iterator<Item = u32> {
        let [first, second] = self.groups(hash);
        let groups = if self.free(second).count() > self.free(first).count() {
            [second, first]
        } else {
            [first, second]
        };
        let free = groups.into_iter().flat_map(|group| self.free(group));
        let taken =
            groups.into_iter().flat_map(|group| group * WAYS..(group + 1) * WAYS).map(|slot| slot as u32);
        free.chain(taken)
    }

    /// The slots of a group that hold nobody.
    fn free(&self, group: usize) -> impl Iterator<Item = u32> {
        let words = self.tags(group).iter().zip(group * WORDS..);
        words.flat_map(|(tags, word)| lanes(tags.load(Ordering::Acquire), word))
    }

    #[inline]
    fn tags(&self, group: usize) -> &[AtomicU64] {
        self.tags.slice(group * WORDS, WORDS)
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
        if let [word] = self.tags.slice(slot / LANES, 1) {
            // The other lanes belong to other slots, which others may write now. Always `Some`: nothing to report.
            let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |tags| {
                Some(tags & !(LANE_MASK << shift) | tag << shift)
            });
        }
    }

    /// How many slots hold somebody.
    pub(crate) fn occupied(&self) -> usize {
        (0..self.groups).map(|group| WAYS - self.free(group).count()).sum()
    }

    /// The right to insert keys whose first group is `hash`'s.
    pub(crate) fn lock(&self, hash: u64) -> GroupGuard<'_> {
        let [first, _] = self.groups(hash);
        let mut backoff = Backoff::new();
        loop {
            // In range by construction; an index without groups inserts nothing.
            let [guard] = self.guards.slice(first, 1) else { return GroupGuard(None) };
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
fn slot(word: usize, lane: usize) -> u32 {
    (word * LANES + lane) as u32
}

/// The slots of the lanes of `tags` that are 0.
///
/// Source: the zero-byte test of H. Warren, *Hacker's Delight* (2nd ed.), 6-1. A lane above a true one may be
/// reported falsely; lines are compared anyway, and for free lanes the exact test below decides.
#[inline]
fn lanes(tags: u64, word: usize) -> impl Iterator<Item = u32> {
    let mut found = tags.wrapping_sub(LOW) & !tags & HIGH;
    std::iter::from_fn(move || {
        while found != 0 {
            let lane = found.trailing_zeros() as usize / LANE_BITS;
            found &= found - 1;
            if (tags >> (lane * LANE_BITS)) & LANE_MASK == 0 {
                return Some(slot(word, lane));
            }
        }
        None
    })
}
