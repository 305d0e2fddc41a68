//! A line: the buckets of one subject at one level, under one control word.
//!
//! Invariant: the words of a line are written only under its guard, and whoever reads them without it learns
//! from the control word whether what he read belonged together (a sequence lock).
//!
//! A line is a few plain words in whole cache lines, the *hot* part, and a few more elsewhere, the *cold* part,
//! that only permits touch.
//!
//! | hot word | what |
//! |---|---|
//! | 0 | control: guard, version, generation |
//! | 1, 2 | the subject's key |
//! | 3 | meta: kind of key, tier, epoch, open permits |
//! | 4 | factor and its expiry |
//! | 5.. | one word for each rule |
//!
//! The cold part has a word for each rate: what its bucket ever gave back.
//!
//! # Control word
//!
//! | bits | name | what |
//! |---|---|---|
//! | 0 | guard | set while somebody writes |
//! | 1-31 | version | counts releases after writing; wraps after 2^31, so that a reader would have to sleep through exactly as many writes to be fooled |
//! | 32-63 | generation | counts the subjects that this slot has held; a permit of another generation settles nothing |
//!
//! # Orderings
//!
//! - A writer takes the guard by compare-exchange (`Acquire`, with the last writer's `Release` store), passes a
//!   `Release` fence, writes words `Relaxed`, and stores the control word `Release`.
//! - A reader loads the control word `Acquire`, the words `Relaxed`, passes an `Acquire` fence and loads the control
//!   word again. If a word came from a writer, the reader's fence meets that writer's fence, so that the second
//!   load sees at least the guard bit, and the reader starts over.
//!
//! The guard is a spin lock with a bounded spin, then a yield to the scheduler. It is held for the arithmetic of
//! one request, some ten nanoseconds, and never across a call out. It is not lock-free: a thread that is preempted
//! under it holds up the others of that line until it runs again.

use crate::{
    bucket::Factor,
    id::{Key, Places},
    policy::plan::{HEADER, MAX_RULES},
    sync::{AtomicU64, Ordering, fence, spin_loop, yield_now},
};

#[cfg(all(test, tollgate_loom))]
pub(crate) mod loom_tests;

/// Set while somebody writes.
const GUARD: u64 = 1;
/// One release in the version.
const VERSION_ONE: u64 = 2;
/// The version and the guard.
const VERSION_MASK: u64 = 0xffff_ffff;
/// One subject in the generation.
const GENERATION_SHIFT: u32 = 32;

/// Attempts on a guard between two yields to the scheduler. Measured on 2 cores with 8 threads on one line: 64
/// gives three times the throughput of spinning alone, and no more comes of more.
const SPINS: u32 = 64;

const KEY: usize = 1;
const META: usize = 3;
const FACTOR: usize = 4;
/// Meta, bits 0-2: the kind of the key; 0 in a slot that holds nobody.
const KIND_MASK: u64 = 0x7;
/// Meta, bits 3-8: the tier under whose rules the words are; a policy has at most 64.
const TIER_SHIFT: u32 = 3;
const TIER_MASK: u64 = 0x3f;
/// Meta, bits 9-31: how often the words were converted to other rules, wrapping; what a permit noted in another
/// epoch does not speak of these words.
const EPOCH_SHIFT: u32 = 9;
const EPOCH_MASK: u64 = 0x7f_ffff;
/// Meta, bits 32-63: open permits. While there is one, the slot keeps its subject.
const PERMITS_SHIFT: u32 = 32;

/// Factor word, bits 48-63: sixteenths; 0 for none. Bits 0-47: expiry, in units of 2^12 ns (4 µs), rounded up.
const FACTOR_SHIFT: u32 = 48;
const EXPIRY_SHIFT: u32 = 12;
const EXPIRY_MASK: u64 = (1 << FACTOR_SHIFT) - 1;

/// The kind of the key, the tier of the words, their epoch, and the open permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta(u64);

impl Meta {
    /// Of a line that no key finds: a tier's total, an overflow line.
    pub(crate) fn unnamed(tier: u8) -> Meta {
        Meta((u64::from(tier) & TIER_MASK) << TIER_SHIFT)
    }

    pub(crate) fn of(key: &Key, tier: u8) -> Meta {
        Meta(u64::from(key.kind) & KIND_MASK | Meta::unnamed(tier).0)
    }

    pub(crate) fn kind(self) -> u8 {
        (self.0 & KIND_MASK) as u8
    }

    #[inline]
    pub(crate) fn tier(self) -> u8 {
        (self.0 >> TIER_SHIFT & TIER_MASK) as u8
    }

    #[inline]
    pub(crate) fn epoch(self) -> u32 {
        (self.0 >> EPOCH_SHIFT & EPOCH_MASK) as u32
    }

    pub(crate) fn open_permits(self) -> u32 {
        (self.0 >> PERMITS_SHIFT) as u32
    }

    fn with_open_permits(self, open: u32) -> Meta {
        Meta(self.0 & !(u64::MAX << PERMITS_SHIFT) | u64::from(open) << PERMITS_SHIFT)
    }

    /// The same subject under the rules of `tier`, in the next epoch.
    fn converted(self, tier: u8) -> Meta {
        let epoch = u64::from(self.epoch().wrapping_add(1)) & EPOCH_MASK;
        let meta = Meta::unnamed(tier).0 | u64::from(self.kind()) | epoch << EPOCH_SHIFT;
        Meta(meta).with_open_permits(self.open_permits())
    }
}

/// The factor in a factor word at `now`: one where none is set or it has expired.
#[inline]
fn factor_at(word: u64, now: u64) -> Factor {
    if word == 0 || now >> EXPIRY_SHIFT >= word & EXPIRY_MASK {
        Factor::ONE
    } else {
        Factor::from_sixteenths((word >> FACTOR_SHIFT) as u16)
    }
}

/// A generation of a control word.
#[inline]
fn generation(control: u64) -> u32 {
    (control >> GENERATION_SHIFT) as u32
}

/// One line of an arena: its hot part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    header: &'a [AtomicU64; HEADER],
    /// One for each rule.
    words: &'a [AtomicU64],
}

/// The cold part of a line: what the bucket of each rate ever gave back. Touched only under the line's guard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refunds<'a>(&'a [AtomicU64]);

impl<'a> Refunds<'a> {
    pub(crate) fn new(words: &'a [AtomicU64]) -> Refunds<'a> {
        Refunds(words)
    }

    /// What the bucket of the `rate`th rate ever gave back.
    pub(crate) fn of(&self, rate: usize) -> u64 {
        self.0.get(rate).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, rate: usize, refunded: u64) {
        if let Some(word) = self.0.get(rate) {
            word.store(refunded, Ordering::Relaxed);
        }
    }

    fn clear(&self) {
        self.0.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }
}

/// The control word that a line was read under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version(u64);

impl Version {
    /// None that a line can be at: one with the guard bit.
    pub(crate) const NONE: Version = Version(GUARD);
}

/// A consistent copy of a line.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) key: [u64; 2],
    pub(crate) meta: Meta,
    factor: u64,
    pub(crate) words: [u64; MAX_RULES],
}

impl Snapshot {
    pub(crate) fn holds(&self, key: &Key) -> bool {
        self.key == key.words && self.meta.kind() == key.kind
    }

    pub(crate) fn factor(&self, now: u64) -> Factor {
        factor_at(self.factor, now)
    }

    /// The factor in force and the instant at which it ends.
    pub(crate) fn tightened_until(&self, now: u64) -> Option<(Factor, u64)> {
        let factor = self.factor(now);
        (factor != Factor::ONE).then_some((factor, (self.factor & EXPIRY_MASK) << EXPIRY_SHIFT))
    }
}

/// Spins for a while, then yields, however often it is called.
pub(crate) struct Backoff(u32);

impl Backoff {
    pub(crate) fn new() -> Backoff {
        Backoff(0)
    }

    pub(crate) fn wait(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(SPINS) || cfg!(tollgate_loom) {
            yield_now();
        } else {
            spin_loop();
        }
    }
}

impl<'a> Line<'a> {
    /// `words` are the header and a word for each rule.
    #[inline]
    pub(crate) fn new(words: &'a [AtomicU64]) -> Option<Line<'a>> {
        let (header, words) = words.split_first_chunk()?;
        Some(Line { header, words })
    }

    #[inline]
    fn control(&self) -> &'a AtomicU64 {
        &self.header[0]
    }

    #[inline]
    fn load(&self, header: usize) -> u64 {
        self.header[header].load(Ordering::Relaxed)
    }

    /// Whether the slot seems to hold `key`; only the version or the guard makes sure.
    #[inline]
    pub(crate) fn seems(&self, key: &Key) -> bool {
        self.load(KEY) == key.words[0]
            && self.load(KEY + 1) == key.words[1]
            && self.load(META) & KIND_MASK == u64::from(key.kind)
    }

    /// A consistent copy of the line with its first `rules` words.
    #[inline]
    pub(crate) fn snapshot(&self, rules: usize) -> Snapshot {
        self.read(|line| line.copy(rules)).1
    }

    /// Runs `read` until no writer came between; answers the control word that it was read under, too.
    #[inline]
    pub(crate) fn read<T>(&self, mut read: impl FnMut(&Line<'a>) -> T) -> (Version, T) {
        let mut backoff = Backoff::new();
        let control = self.control();
        loop {
            // Pairs with the store in `Guard::drop`.
            let before = control.load(Ordering::Acquire);
            if before & GUARD == 0 {
                let value = read(self);
                // Pairs with the fence in `lock_at`.
                fence(Ordering::Acquire);
                #[cfg(not(tollgate_mutant = "reader_without_second_look"))]
                if control.load(Ordering::Relaxed) != before {
                    backoff.wait();
                    continue;
                }
                return (Version(before), value);
            }
            backoff.wait();
        }
    }

    /// Whose line it is, and under which tier's rules; within [`read`](Line::read).
    #[inline]
    pub(crate) fn meta(&self) -> Meta {
        Meta(self.load(META))
    }

    /// The words of the rules, within [`read`](Line::read).
    #[inline]
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> {
        self.words.iter().map(|word| word.load(Ordering::Relaxed))
    }

    /// The factor in force at `now`, within [`read`](Line::read).
    #[inline]
    pub(crate) fn factor(&self, now: u64) -> Factor {
        factor_at(self.load(FACTOR), now)
    }

    #[inline]
    fn copy(&self, rules: usize) -> Snapshot {
        let mut words = [0; MAX_RULES];
        words.iter_mut().take(rules).zip(self.words()).for_each(|(copy, word)| *copy = word);
        Snapshot {
            key: [self.load(KEY), self.load(KEY + 1)],
            meta: self.meta(),
            factor: self.load(FACTOR),
            words,
        }
    }

    /// Takes the guard; it is let go when the answer is dropped.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'a> {
        let mut backoff = Backoff::new();
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            backoff.wait();
        }
    }

    /// Takes the guard if nobody has it.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Guard<'a>> {
        self.lock_at(Version(self.control().load(Ordering::Relaxed)))
    }

    /// Takes the guard if nobody has written, or is writing, since `version` was read.
    #[inline]
    pub(crate) fn lock_at(&self, version: Version) -> Option<Guard<'a>> {
        let (control, Version(before)) = (self.control(), version);
        if before & GUARD != 0 {
            return None;
        }
        #[cfg(not(tollgate_mutant = "guard_without_exchange"))]
        control.compare_exchange(before, before | GUARD, Ordering::Acquire, Ordering::Relaxed).ok()?;
        #[cfg(tollgate_mutant = "guard_without_exchange")]
        control.store(before | GUARD, Ordering::Relaxed);
        // Before any word is written: pairs with the fence in `read`.
        fence(Ordering::Release);
        Some(Guard { line: *self, control: before, written: false })
    }
}

/// The right to write a line.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    line: Line<'a>,
    /// The control word to release with, but for the version.
    control: u64,
    written: bool,
}

impl Guard<'_> {
    pub(crate) fn generation(&self) -> u32 {
        generation(self.control)
    }

    pub(crate) fn meta(&self) -> Meta {
        self.line.meta()
    }

    /// The key of the line's subject.
    pub(crate) fn key(&self, places: &Places) -> Key {
        Key::kept([self.line.load(KEY), self.line.load(KEY + 1)], self.meta().kind(), places)
    }

    /// A copy of the line as it is under the guard.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.line.copy(MAX_RULES)
    }

    #[inline]
    pub(crate) fn holds(&self, key: &Key) -> bool {
        self.line.seems(key)
    }

    #[inline]
    pub(crate) fn factor(&self, now: u64) -> Factor {
        self.line.factor(now)
    }

    /// Multiplies the subject's costs by `factor` until `expiry`.
    #[cfg_attr(
        not(all(test, feature = "toml")),
        expect(dead_code, reason = "tightening sets it; until then tests alone")
    )]
    pub(crate) fn set_factor(&mut self, factor: Factor, expiry: u64) {
        let expiry = expiry.div_ceil(1 << EXPIRY_SHIFT).min(EXPIRY_MASK);
        self.set(FACTOR, u64::from(factor.sixteenths()) << FACTOR_SHIFT | expiry);
    }

    /// Whether a factor is in force at `now`.
    pub(crate) fn is_tightened(&self, now: u64) -> bool {
        self.factor(now) != Factor::ONE
    }

    #[inline]
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> {
        self.line.words()
    }

    /// Stores the words of the first rules.
    #[inline]
    pub(crate) fn set_words(&mut self, words: &[u64]) {
        self.written = true;
        self.line.words.iter().zip(words).for_each(|(place, word)| place.store(*word, Ordering::Relaxed));
    }

    pub(crate) fn set_word(&mut self, rule: usize, word: u64) {
        self.written = true;
        if let Some(place) = self.line.words.get(rule) {
            place.store(word, Ordering::Relaxed);
        }
    }

    #[inline]
    fn set(&mut self, header: usize, value: u64) {
        self.written = true;
        self.line.header[header].store(value, Ordering::Relaxed);
    }

    /// Permits that are open on this line; while there is one, the slot keeps its subject.
    pub(crate) fn open_permits(&self) -> u32 {
        self.meta().open_permits()
    }

    pub(crate) fn set_open_permits(&mut self, open: u32) {
        self.set_meta(self.meta().with_open_permits(open));
    }

    /// The same subject under the rules of another tier.
    pub(crate) fn change_tier(&mut self, tier: u8, words: &[u64], refunds: Refunds<'_>) {
        self.rewrite(self.meta().converted(tier), words, refunds);
    }

    /// Another subject in this slot, or nobody: a new generation, no factor, no open permit.
    pub(crate) fn replace(&mut self, holder: Option<(&Key, u8)>, words: &[u64], refunds: Refunds<'_>) {
        #[cfg(not(tollgate_mutant = "replacement_keeps_generation"))]
        {
            self.control = self.control.wrapping_add(1 << GENERATION_SHIFT);
        }
        let (key, meta) = match holder {
            Some((key, tier)) => (key.words, Meta::of(key, tier)),
            None => ([0; 2], Meta(0)),
        };
        // Whoever misses the old subject here finds what was parked of it before: pairs with the fence in
        // `Table::find`.
        fence(Ordering::Release);
        self.set(KEY, key[0]);
        self.set(KEY + 1, key[1]);
        self.set(FACTOR, 0);
        self.rewrite(meta, words, refunds);
    }

    /// Of a line that no key finds, at start.
    pub(crate) fn set_meta(&mut self, meta: Meta) {
        self.set(META, meta.0);
    }

    fn rewrite(&mut self, meta: Meta, words: &[u64], refunds: Refunds<'_>) {
        self.set_meta(meta);
        self.set_words(words);
        refunds.clear();
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        let version = if self.written { self.control.wrapping_add(VERSION_ONE) } else { self.control };
        let control = (self.control & !VERSION_MASK) | (version & VERSION_MASK);
        // Pairs with the exchange in `lock_at` and the load in `read`.
        self.line.control().store(control, Ordering::Release);
    }
}
