//! The head of a line: its first cache line, with the control word that guards it all.

use std::num::NonZeroU8;

use super::{
    Backoff,
    meta::{
        FACTOR, KEY, META, Meta, Standing, is_before_expiry, is_marked, leased, lot, marked_as, may_be_leased,
    },
};
use crate::{
    id::{Key, Places},
    policy::plan::{CACHE_LINE, FIRST_RULES, HEADER, Under},
    sync::{AtomicU64, Ordering, fence, mutant},
};

/// Set while somebody writes.
const GUARD: u64 = 1;
/// One subject in the generation.
const GENERATION_ONE: u64 = 2;
const GENERATION_MASK: u64 = 0xffff_fffe;
/// One release in the version: the highest bits, so that adding wraps by itself.
const VERSION_ONE: u64 = 1 << 32;

/// The words that one cache line holds, at its start.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct CacheLine([AtomicU64; CACHE_LINE]);

impl CacheLine {
    /// The word at `index`, counted on from the first again where there is none.
    #[inline]
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        &self.0[index % CACHE_LINE]
    }
}

/// The control word that a line was read under: without the guard bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version(u64);

impl Version {
    /// How many subjects the slot had held.
    #[inline]
    pub(crate) fn generation(self) -> u32 {
        generation_of(self.0)
    }
}

/// What tells whether a line was written to since: equal where it was not, unless exactly 2^32 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    /// Of no line.
    pub(crate) const NEVER: Stamp = Stamp(!GUARD);

    /// The same with a bit of whoever keeps it, and without it.
    pub(crate) fn with(self, bit: bool) -> Stamp {
        Stamp(self.0 & !GUARD | u64::from(bit))
    }

    /// That bit.
    pub(crate) fn bit(self) -> bool {
        self.0 & GUARD != 0
    }

    /// Whether it is another stamp of the same subject in the slot.
    pub(crate) fn is_of_subject(self, other: Stamp) -> bool {
        generation_of(self.0) == generation_of(other.0)
    }
}

/// The word of one rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a>(&'a AtomicU64);

impl<'a> Word<'a> {
    pub(super) fn new(word: &'a AtomicU64) -> Word<'a> {
        Word(word)
    }

    /// Its value: under the guard, or since a [`version`](Head::version).
    #[inline]
    pub(crate) fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Stores a value, under the line's guard.
    #[inline]
    pub(crate) fn store(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// The first cache line of a line: the header, and the words of its first rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a>(&'a CacheLine);

impl<'a> Head<'a> {
    #[inline]
    pub(crate) fn new(line: &'a CacheLine) -> Head<'a> {
        Head(line)
    }

    #[inline]
    fn control(&self) -> &'a AtomicU64 {
        self.0.word(0)
    }

    #[inline]
    pub(super) fn load(&self, header: usize) -> u64 {
        self.0.word(header).load(Ordering::Relaxed)
    }

    /// The word of a rule, if it is here.
    #[inline]
    pub(crate) fn word(&self, rule: usize) -> Option<Word<'a>> {
        (rule < FIRST_RULES).then(|| Word(self.0.word(HEADER + rule)))
    }

    /// The word at a place that is here.
    #[inline(always)]
    pub(crate) fn word_at(&self, place: NonZeroU8) -> Word<'a> {
        Word(self.0.word(usize::from(place.get())))
    }

    /// Whether the slot seems to hold `key`; only the version or the guard makes sure.
    #[inline]
    pub(crate) fn seems(&self, key: &Key) -> bool {
        self.differs_in(key, Meta::KIND, Under::default()) == 0
    }

    /// 0 if the slot seems to hold `key` under these rules.
    #[inline]
    pub(crate) fn differs(&self, key: &Key, under: Under) -> u64 {
        self.differs_in(key, Meta::KIND_AND_UNDER, under)
    }

    /// 0 if the line seems to be nobody's under these rules.
    #[inline]
    pub(crate) fn is_not_under(&self, under: Under) -> u64 {
        (self.load(META) ^ Meta::unnamed(under).0) & Meta::KIND_AND_UNDER
    }

    #[inline]
    fn differs_in(&self, key: &Key, meta: u64, under: Under) -> u64 {
        (self.load(KEY) ^ key.words[0])
            | (self.load(KEY + 1) ^ key.words[1])
            | (self.load(META) ^ Meta::of(key, under).0) & meta
    }

    /// The control word, to work words out from that [`lock_at`](Head::lock_at) is then given; `None` while somebody
    /// writes.
    #[inline]
    pub(crate) fn version(&self) -> Option<Version> {
        // Pairs with the store in `Held::drop`.
        let control = self.control().load(Ordering::Acquire);
        (control & GUARD == 0).then_some(Version(control))
    }

    /// Whether all that was read since `version` belonged together.
    #[inline]
    pub(crate) fn is_still(&self, version: Version) -> bool {
        // Pairs with the fence in `lock_at`.
        fence(Ordering::Acquire);
        self.control().load(Ordering::Relaxed) == version.0
    }

    /// Runs `read` until no writer came between.
    #[inline]
    pub(crate) fn read<T>(&self, mut read: impl FnMut() -> T) -> T {
        let mut backoff = Backoff::new();
        loop {
            if let Some(version) = self.version() {
                let value = read();
                if mutant("reader_without_second_look") || self.is_still(version) {
                    return value;
                }
            }
            backoff.wait();
        }
    }

    /// Whose line it is, and under which tier's rules.
    #[inline]
    pub(crate) fn meta(&self) -> Meta {
        Meta(self.load(META))
    }

    /// Not 0 where evidence may have done something to the subject.
    #[inline]
    pub(crate) fn factor_word(&self) -> u64 {
        self.load(FACTOR)
    }

    /// What evidence has done to the subject, at `now`.
    pub(crate) fn standing(&self, now: u64) -> Standing {
        Standing::at(self.factor_word(), now)
    }

    /// Whether leases are taken from it at `now`.
    #[inline]
    pub(crate) fn is_hot(&self, now: u64) -> bool {
        let word = self.factor_word();
        may_be_leased(word) && is_before_expiry(word, now)
    }

    /// Whether a stripe may hold a lease on it.
    #[inline]
    pub(crate) fn may_be_leased(&self) -> bool {
        may_be_leased(self.factor_word())
    }

    /// The number of the stripes that may.
    #[inline]
    pub(crate) fn lot(&self) -> Option<usize> {
        lot(self.factor_word())
    }

    /// Whether there is an exception to be looked up.
    pub(crate) fn is_marked(&self) -> bool {
        is_marked(self.factor_word())
    }

    /// Taken before the line is read: whoever writes later leaves another.
    pub(crate) fn stamp(&self) -> Stamp {
        // Pairs with the store in `Held::drop`. Of a line that is being written, what it was before.
        Stamp(self.control().load(Ordering::Acquire) & !GUARD)
    }

    /// How many subjects the slot has held.
    pub(crate) fn generation(&self) -> u32 {
        // Pairs with the store in `Held::drop`.
        generation_of(self.control().load(Ordering::Acquire))
    }

    /// Takes the guard; it is let go when the answer is dropped.
    #[inline]
    pub(crate) fn lock(&self) -> Held<'a> {
        let mut backoff = Backoff::new();
        loop {
            if let Some(held) = self.try_lock() {
                return held;
            }
            backoff.wait();
        }
    }

    /// Takes the guard if nobody has it.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Held<'a>> {
        let control = self.control().load(Ordering::Relaxed);
        if control & GUARD == 0 { self.lock_at(Version(control)) } else { None }
    }

    /// Takes the guard if nobody has written, or is writing, since `version` was read.
    #[inline]
    pub(crate) fn lock_at(&self, version: Version) -> Option<Held<'a>> {
        let (control, Version(before)) = (self.control(), version);
        if mutant("guard_without_exchange") {
            control.store(before | GUARD, Ordering::Relaxed);
        } else {
            control.compare_exchange(before, before | GUARD, Ordering::Acquire, Ordering::Relaxed).ok()?;
        }
        // Before any word is written: pairs with the fence in `is_still`.
        fence(Ordering::Release);
        Some(Held { head: *self, control: before, written: false })
    }
}

/// The guard of a line: the right to write it.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    pub(super) head: Head<'a>,
    /// The control word to release with, but for the version.
    control: u64,
    written: bool,
}

impl Held<'_> {
    pub(crate) fn generation(&self) -> u32 {
        generation_of(self.control)
    }

    /// Another subject: permits of the one before settle nothing any more.
    pub(super) fn next_generation(&mut self) {
        let next = self.control.wrapping_add(GENERATION_ONE) & GENERATION_MASK;
        self.control = self.control & !GENERATION_MASK | next;
    }

    pub(crate) fn meta(&self) -> Meta {
        self.head.meta()
    }

    /// The key of the line's subject.
    pub(crate) fn key(&self, places: &Places) -> Key {
        Key::kept([self.head.load(KEY), self.head.load(KEY + 1)], self.meta().kind(), places)
    }

    #[inline]
    pub(crate) fn holds(&self, key: &Key) -> bool {
        self.head.seems(key)
    }

    /// What evidence has done to the subject, at `now`.
    #[inline]
    pub(crate) fn standing(&self, now: u64) -> Standing {
        self.head.standing(now)
    }

    /// The stripes numbered `lot` may take leases from it until `until`; evidence has done nothing to it.
    pub(crate) fn set_hot(&mut self, lot: usize, until: u64) {
        let marked = self.head.is_marked();
        self.set(FACTOR, marked_as(leased(lot, until), marked));
    }

    /// No stripe holds a lease on it any more.
    pub(crate) fn set_cold(&mut self) {
        if self.may_be_leased() {
            self.set(FACTOR, marked_as(0, self.head.is_marked()));
        }
    }

    pub(crate) fn may_be_leased(&self) -> bool {
        self.head.may_be_leased()
    }

    pub(crate) fn lot(&self) -> Option<usize> {
        self.head.lot()
    }

    pub(crate) fn is_marked(&self) -> bool {
        self.head.is_marked()
    }

    /// Whether nothing is done to the subject at `now`, and none of it leased.
    pub(crate) fn is_in_good_standing(&self, now: u64) -> bool {
        !self.may_be_leased() && self.standing(now) == Standing::GOOD
    }

    /// Says that there is an exception to be looked up, or none any more.
    pub(crate) fn mark(&mut self, marked: bool) {
        let word = self.head.factor_word();
        self.set(FACTOR, marked_as(word, marked));
    }

    pub(crate) fn is_hot(&self, now: u64) -> bool {
        self.head.is_hot(now)
    }

    /// The line has been written to: readers have to look again.
    #[inline]
    pub(crate) fn set_written(&mut self) {
        self.written = true;
    }

    #[inline]
    pub(super) fn set(&mut self, header: usize, value: u64) {
        self.written = header != FACTOR || !mutant("tightening_unseen");
        self.head.0.word(header).store(value, Ordering::Relaxed);
    }

    /// Of a line that no key finds, at start.
    #[inline]
    pub(crate) fn set_meta(&mut self, meta: Meta) {
        self.set(META, meta.0);
    }

    /// Permits that are open on this line; while there is one, the slot keeps its subject.
    pub(crate) fn open_permits(&self) -> u32 {
        self.meta().open_permits()
    }

    pub(crate) fn open_permit(&mut self) {
        self.set_meta(self.meta().with_open_permits(self.open_permits().saturating_add(1)));
    }

    pub(crate) fn close_permit(&mut self) {
        self.set_meta(self.meta().with_one_closed());
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        let control = if self.written { self.control.wrapping_add(VERSION_ONE) } else { self.control };
        // Pairs with the exchange in `lock_at` and the load in `version`.
        self.head.control().store(control, Ordering::Release);
    }
}

#[inline]
fn generation_of(control: u64) -> u32 {
    ((control & GENERATION_MASK) / GENERATION_ONE) as u32
}
