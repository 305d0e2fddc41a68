//! A fixed number of equal lines in two allocations, hot and cold, made once and never moved.

use crate::{
    line::Line,
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
    hot: Box<[AtomicU64]>,
    /// Index of the first word that starts a cache line.
    first: usize,
    stride: usize,
    cold: Box<[AtomicU64]>,
    cold_stride: usize,
    slots: usize,
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
        let hot = zeroed(slots.saturating_mul(stride).saturating_add(CACHE_LINE - 1))?;
        let cold = zeroed(slots.saturating_mul(cold_stride))?;
        // The allocation is aligned to words only; it never moves, so its alignment is found once.
        let words_in = (hot.as_ptr().addr() / size_of::<AtomicU64>()) % CACHE_LINE;
        let first = (CACHE_LINE - words_in) % CACHE_LINE;
        Ok(Arena { hot, first, stride, cold, cold_stride, slots })
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    #[inline]
    pub(crate) fn line(&self, slot: u32) -> Line<'_> {
        let (hot, cold) = (self.first + slot as usize * self.stride, slot as usize * self.cold_stride);
        // Slots come from this arena's own index or from a permit on it, and are in range; an empty line reads
        // as one that nobody holds.
        Line::new(
            self.hot.get(hot..hot + self.stride).unwrap_or(&[]),
            self.cold.get(cold..cold + self.cold_stride).unwrap_or(&[]),
        )
    }

    pub(crate) fn bytes(&self) -> usize {
        (self.hot.len() + self.cold.len()) * size_of::<AtomicU64>()
    }
}

/// `count` words of 0, touched here so that no decision is the first to touch a page.
pub(crate) fn zeroed(count: usize) -> Result<Box<[AtomicU64]>, OutOfMemory> {
    let mut words = Vec::new();
    let bytes = count.saturating_mul(size_of::<AtomicU64>());
    words.try_reserve_exact(count).map_err(|_| OutOfMemory { bytes })?;
    words.extend((0..count).map(|_| AtomicU64::new(0)));
    Ok(words.into_boxed_slice())
}
