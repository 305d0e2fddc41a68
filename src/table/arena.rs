//! A fixed number of equal lines in two allocations, hot and cold, made once and never moved.

use crate::{
    bucket::KEPT_WORDS,
    line::{CacheLine, Head, Line, Refunds},
    policy::plan::lines_for,
    sync::{AtomicU64, Ordering},
};

#[derive(Debug)]
pub(crate) struct Arena {
    /// Each line in whole cache lines of its own, so that no two subjects share one.
    hot: Box<[CacheLine]>,
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
    pub(crate) fn new(slots: usize, (rules, rates): (usize, usize)) -> Result<Arena, OutOfMemory> {
        let stride = lines_for(rules);
        let hot = filled(slots.saturating_mul(stride))?;
        let cold_stride = rates * KEPT_WORDS;
        let cold = filled(slots.saturating_mul(cold_stride))?;
        Ok(Arena { hot, stride, cold, cold_stride, slots })
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// The head of the line in `slot`; none where there is no such slot, as in a hint of another limiter's.
    #[inline]
    pub(crate) fn head(&self, slot: u32) -> Option<Head<'_>> {
        self.hot.get(slot as usize * self.stride).map(Head::new)
    }

    /// The line in `slot`, if there is one.
    #[inline]
    pub(crate) fn line(&self, slot: u32) -> Option<Line<'_>> {
        Line::new(self.hot.get(slot as usize * self.stride..)?.get(..self.stride)?)
    }

    /// The cold part of that line.
    pub(crate) fn refunds(&self, slot: u32) -> Refunds<'_> {
        let rest = self.cold.get(slot as usize * self.cold_stride..);
        Refunds::new(rest.and_then(|rest| rest.get(..self.cold_stride)).unwrap_or(&[]))
    }

    /// What the bucket of the `rate`th rate of that line ever gave back.
    #[inline]
    pub(crate) fn refunded(&self, slot: u32, rate: u8) -> u64 {
        let place = slot as usize * self.cold_stride + usize::from(rate) * KEPT_WORDS;
        self.cold.get(place).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.hot) + size_of_val(&*self.cold)
    }
}

/// `count` words or cache lines of 0, touched here so that no decision is the first to touch a page.
pub(super) fn filled<T: Default>(count: usize) -> Result<Box<[T]>, OutOfMemory> {
    let mut filled = Vec::new();
    let bytes = count.saturating_mul(size_of::<T>());
    filled.try_reserve_exact(count).map_err(|_| OutOfMemory { bytes })?;
    filled.extend((0..count).map(|_| T::default()));
    Ok(filled.into_boxed_slice())
}
