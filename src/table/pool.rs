//! What the buckets of lines keep for permits, for the lines that have permits open, and not for every line: a pool of cells, a
//! fraction as many as there are lines.
//!
//! Invariant: what is in a cell is read and written under the guard of the line that has it, and a cell that nobody has is all
//! 0.
//!
//! A line's cell is one of the eight of the set that its slot names. A tag says whose a cell is: 1 above the slot, 0 of nobody's.
//! A line takes one when a permit is opened on it and gives it back with the last that is settled, or when it is given to
//! another subject or brought under other rules.
//!
//! Where all eight are taken, a permit is opened without: what it reserved of rates counts as spent, and nothing of it comes
//! back to them, which [`refund`](crate::bucket) treats as any cost that is spent at once. Of as many lines with permits open
//! as there are cells, that befalls one in 7; of half as many, one in 120 (what is above eight of a Poisson distribution of
//! mean 8, or 4, as a part of that mean).
//!
//! # Orderings
//!
//! A cell is taken by compare-exchange of its tag, `Acquire`, and given back by a store of 0, `Release`, after its words were
//! cleared: whoever takes it finds them so. In between, only who has the line's guard touches it, which orders the rest.

use super::arena::{OutOfMemory, filled};
use crate::{
    line::{CacheLine, Refunds},
    policy::plan::{CACHE_LINE, cell_sets_for},
    sync::{AtomicU64, Ordering},
};

/// Cells of a set: its tags are a cache line.
const WAYS: usize = CACHE_LINE;

#[derive(Debug)]
pub(super) struct Pool {
    /// By set.
    tags: Box<[CacheLine]>,
    words: Box<[AtomicU64]>,
    /// Words of a cell.
    stride: usize,
    /// How often a permit was opened on a line without a cell.
    missed: AtomicU64,
}

impl Pool {
    /// For so many lines, of so many words each.
    pub(super) fn new(slots: usize, stride: usize) -> Result<Pool, OutOfMemory> {
        let sets = if stride == 0 { 0 } else { cell_sets_for(slots) };
        let words = filled(sets.saturating_mul(WAYS).saturating_mul(stride))?;
        Ok(Pool { tags: filled(sets)?, words, stride, missed: AtomicU64::new(0) })
    }

    /// The cell of the line in `slot`, whose guard the caller has; nothing of one that has none.
    #[inline]
    pub(super) fn of(&self, slot: u32) -> Refunds<'_> {
        // Nobody else gives the line a cell, or takes its own, meanwhile.
        self.set(slot).and_then(|set| self.tagged(set, tag_of(slot))).unwrap_or(Refunds::NONE)
    }

    /// The same, with a new cell where it has none; none where there is none to be had.
    #[inline]
    pub(super) fn open(&self, slot: u32) -> Refunds<'_> {
        let Some(set) = self.set(slot) else { return Refunds::NONE };
        if let Some(cell) = self.tagged(set, tag_of(slot)) {
            return cell;
        }
        // Somebody else may be faster with any of them.
        while let Some(cell) = self.tagged(set, NOBODY) {
            if cell.take(tag_of(slot)) {
                return cell;
            }
        }
        self.missed.fetch_add(1, Ordering::Relaxed);
        Refunds::NONE
    }

    pub(super) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.tags) + size_of_val(&*self.words)
    }

    #[inline]
    fn set(&self, slot: u32) -> Option<usize> {
        // A division of 32 bits is a fast one.
        slot.checked_rem(self.tags.len() as u32).map(|set| set as usize)
    }

    /// The first cell of a set with this tag.
    #[inline]
    fn tagged(&self, set: usize, tag: u64) -> Option<Refunds<'_>> {
        let tags = self.tags.get(set)?;
        let way = (0..WAYS).find(|way| tags.word(*way).load(Ordering::Relaxed) == tag)?;
        let words = self.words.get((set * WAYS + way) * self.stride..)?.get(..self.stride)?;
        Some(Refunds::of_cell(words, tags.word(way)))
    }
}

/// The tag of a cell that no line has.
const NOBODY: u64 = 0;

/// No two slots have the same, and none has 0.
fn tag_of(slot: u32) -> u64 {
    u64::from(slot) + 1
}
