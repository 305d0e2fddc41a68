//! A fixed number of equal lines in two allocations, hot and cold, made once and never moved.

use crate::{
    line::{Line, Refunds},
    policy::plan::{CACHE_LINE, HEADER},
    sync::AtomicU64,
};

/// How the lines of an arena lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// Each line in whole cache lines of its own: no two subjects share one.
    CacheLines,
    /// One after the other, without cold words: for lines that are seldom touched.
    Dense,
}

#[derive(Debug)]
pub(crate) struct Arena {
    hot: Words,
    stride: usize,
    cold: Words,
    cold_stride: usize,
    slots: usize,
}

/// Words that start at a cache line.
#[derive(Debug)]
pub(super) struct Words {
    words: Box<[AtomicU64]>,
    /// Index of the first word that starts a cache line.
    first: usize,
}

/// The allocator refused this many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory {
    pub(crate) bytes: usize,
}

impl Arena {
    /// `slots` lines of up to `rules` rules each, `rates` of them rates.
    pub(crate) fn new(
        slots: usize,
        (rules, rates): (usize, usize),
        spacing: Spacing,
    ) -> Result<Arena, OutOfMemory> {
        let (stride, cold_stride) = match spacing {
            Spacing::CacheLines => ((HEADER + rules).next_multiple_of(CACHE_LINE), rates),
            Spacing::Dense => (HEADER + rules, 0),
        };
        let hot = Words::new(slots.saturating_mul(stride))?;
        let cold = Words::new(slots.saturating_mul(cold_stride))?;
        Ok(Arena { hot, stride, cold, cold_stride, slots })
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// The line in `slot`; none where there is no such slot, as in a hint of another limiter's.
    #[inline]
    pub(crate) fn line(&self, slot: u32) -> Option<Line<'_>> {
        Line::new(self.hot.slice(slot as usize * self.stride, self.stride))
    }

    /// The cold part of that line.
    pub(crate) fn refunds(&self, slot: u32) -> Refunds<'_> {
        Refunds::new(self.cold.slice(slot as usize * self.cold_stride, self.cold_stride))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.hot.bytes() + self.cold.bytes()
    }
}

impl Words {
    /// `count` words of 0, touched here so that no decision is the first to touch a page.
    pub(super) fn new(count: usize) -> Result<Words, OutOfMemory> {
        let count = count.saturating_add(CACHE_LINE - 1);
        let mut words = Vec::new();
        let bytes = count.saturating_mul(size_of::<AtomicU64>());
        words.try_reserve_exact(count).map_err(|_| OutOfMemory { bytes })?;
        words.extend((0..count).map(|_| AtomicU64::new(0)));
        let words = words.into_boxed_slice();
        // An allocation is aligned to words only; it never moves, so its alignment is found once.
        let into = (words.as_ptr().addr() / size_of::<AtomicU64>()) % CACHE_LINE;
        Ok(Words { words, first: (CACHE_LINE - into) % CACHE_LINE })
    }

    /// Words from `start` on; none if they are not all there.
    #[inline]
    pub(super) fn slice(&self, start: usize, count: usize) -> &[AtomicU64] {
        let start = self.first + start;
        self.words.get(start..start + count).unwrap_or(&[])
    }

    pub(super) fn bytes(&self) -> usize {
        self.words.len() * size_of::<AtomicU64>()
    }
}
