//! A fixed number of equal lines, hot and cold, made once and never moved.

use super::pool::Pool;
use crate::{
    bucket::KEPT_WORDS,
    line::{CacheLine, Head, Line, Refunds},
    policy::plan::lines_for,
    sync::AtomicU64,
};

#[derive(Debug)]
pub(crate) struct Arena {
    /// Each line in whole cache lines of its own, so that no two subjects share one.
    hot: Box<[CacheLine]>,
    stride: usize,
    cold: Cold,
    slots: usize,
}

/// What the buckets of rates keep for permits.
#[derive(Debug)]
enum Cold {
    /// Of every line, so many words.
    Each(Box<[AtomicU64]>, usize),
    /// Of those with permits open.
    Open(Pool),
}

/// The allocator refused this many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory {
    pub(crate) bytes: usize,
}

impl Arena {
    /// `slots` lines of up to `rules` rules each, `rates` of them rates.
    pub(crate) fn new(slots: usize, (rules, rates): (usize, usize)) -> Result<Arena, OutOfMemory> {
        let stride = rates * KEPT_WORDS;
        Arena::of(slots, rules, Cold::Each(filled(slots.saturating_mul(stride))?, stride))
    }

    /// The same, of which at a time few have permits open.
    pub(super) fn with_pool(slots: usize, (rules, rates): (usize, usize)) -> Result<Arena, OutOfMemory> {
        Arena::of(slots, rules, Cold::Open(Pool::new(slots, rates * KEPT_WORDS)?))
    }

    fn of(slots: usize, rules: usize, cold: Cold) -> Result<Arena, OutOfMemory> {
        let stride = lines_for(rules);
        Ok(Arena { hot: filled(slots.saturating_mul(stride))?, stride, cold, slots })
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

    /// The cold part of that line, for who has its guard.
    #[inline]
    pub(crate) fn refunds(&self, slot: u32) -> Refunds<'_> {
        match &self.cold {
            Cold::Open(pool) => pool.of(slot),
            Cold::Each(words, stride) => {
                let rest = words.get(slot as usize * stride..);
                Refunds::new(rest.and_then(|rest| rest.get(..*stride)).unwrap_or(&[]))
            }
        }
    }

    /// The same, for a permit that is opened.
    pub(crate) fn refunds_to_open(&self, slot: u32) -> Refunds<'_> {
        match &self.cold {
            Cold::Open(pool) => pool.open(slot),
            Cold::Each(..) => self.refunds(slot),
        }
    }

    /// How often there was no room for what a permit opens.
    pub(super) fn missed(&self) -> u64 {
        match &self.cold {
            Cold::Open(pool) => pool.missed(),
            Cold::Each(..) => 0,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let cold = match &self.cold {
            Cold::Each(words, _) => size_of_val(&**words),
            Cold::Open(pool) => pool.bytes(),
        };
        size_of_val(&*self.hot) + cold
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
