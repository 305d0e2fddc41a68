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
//! | 3 | meta: kind of key, rules (tier and plan), epoch, open permits |
//! | 4 | factor, cohort and their expiry; of a line that is leased, by which stripes and until when |
//! | 5.. | one word for each rule |
//!
//! The cold part has a few words for each rate, what its bucket keeps for permits ([`Kept`]).
//!
//! # Control word
//!
//! | bits | name | what |
//! |---|---|---|
//! | 0 | guard | set while somebody writes |
//! | 1-31 | generation | counts the subjects that this slot has held; a permit of another generation settles nothing |
//! | 32-63 | version | counts releases after writing; wraps after 2^32, so that a reader would have to sleep through exactly as many writes to be fooled |
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

mod head;
#[cfg(all(test, tollgate_loom))]
pub(crate) mod loom_tests;
mod meta;

pub(crate) use head::{CacheLine, Head, Held, Stamp, Version, Word};
pub(crate) use meta::{Meta, Standing};

use std::ops::{Deref, DerefMut};

use crate::{
    bucket::{KEPT_WORDS, Kept},
    id::{KeptId, Key},
    policy::plan::{CACHE_LINE, HEADER, Limit, MAX_RULES, Under},
    sync::{AtomicU64, Ordering, fence, mutant, spin_loop, yield_now},
};
use meta::{FACTOR, KEY, may_be_leased};

/// Rounds of waiting between two yields to the scheduler; each spins twice as long as the one before. Measured on 2 cores
/// with 8 threads on one account (`cargo bench --bench ratios -- "8 threads"`): against 64 single spins, the median falls
/// from 130 to 70 ns, and the 99.99th percentile from 24-58 µs to 2-19 µs in two of three runs; in the third, when
/// compare-exchange was slow too, it was 3 ms. 6 and 10 are not told apart from 8 by so few runs.
const ROUNDS: u32 = 8;

/// One line of an arena: its hot part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    head: Head<'a>,
    lines: &'a [CacheLine],
}

/// The cold part of a line: what the bucket of each rate keeps for permits. Written only under the line's guard; leases read
/// what was given back without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refunds<'a> {
    words: &'a [AtomicU64],
    /// Says whose they are, where that is not always the same line.
    tag: Option<&'a AtomicU64>,
}

impl<'a> Refunds<'a> {
    /// Of a line that keeps nothing.
    pub(crate) const NONE: Refunds<'static> = Refunds { words: &[], tag: None };

    pub(crate) fn new(words: &'a [AtomicU64]) -> Refunds<'a> {
        Refunds { words, tag: None }
    }

    /// Words that are a line's until they are [let go](Refunds::let_go).
    pub(crate) fn of_cell(words: &'a [AtomicU64], tag: &'a AtomicU64) -> Refunds<'a> {
        Refunds { words, tag: Some(tag) }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.words.is_empty()
    }

    /// What a bucket ever gave back, that of the `rate`th rate if it is one; the others have nothing here.
    #[inline]
    pub(crate) fn of_bucket(&self, limit: &Limit, rate: usize) -> u64 {
        match limit {
            Limit::Rate(_) => self.of_rate(rate),
            Limit::Quota(_) | Limit::Budget { .. } | Limit::InFlight { .. } => 0,
        }
    }

    /// What the bucket of the `rate`th rate ever gave back.
    #[inline(always)]
    pub(crate) fn of_rate(&self, rate: usize) -> u64 {
        self.words.get(rate * KEPT_WORDS).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn words(&self, limit: &Limit, rate: usize) -> Option<&'a [AtomicU64; KEPT_WORDS]> {
        let words = self.words.get(rate * KEPT_WORDS..)?.first_chunk();
        words.filter(|_| matches!(limit, Limit::Rate(_)))
    }

    /// What the bucket of the `rate`th rate keeps; nothing of a bucket of another kind.
    #[inline]
    pub(crate) fn kept(&self, limit: &Limit, rate: usize) -> Kept {
        let words = self.words(limit, rate);
        words.map_or(Kept::default(), |words| {
            Kept::unpack(words.each_ref().map(|word| word.load(Ordering::Relaxed)))
        })
    }

    #[inline]
    pub(crate) fn keep(&self, limit: &Limit, rate: usize, kept: Kept) {
        if let Some(words) = self.words(limit, rate) {
            words.iter().zip(kept.pack()).for_each(|(word, kept)| word.store(kept, Ordering::Relaxed));
        }
    }

    /// As [`keep`](Refunds::keep) of what a bucket kept, [with none open](Kept::with_none_open).
    #[inline]
    pub(crate) fn close(&self, limit: &Limit, rate: usize) {
        if let Some([.., open]) = self.words(limit, rate) {
            let [.., none] = Kept::default().pack();
            open.store(none, Ordering::Relaxed);
        }
    }

    /// What permits that are open noted says nothing any more.
    fn clear(&self) {
        self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        if let Some(tag) = self.tag {
            // Whoever takes it next finds the words so: pairs with the exchange that it is taken by.
            let order = if mutant("cell_let_go_too_soon") { Ordering::Relaxed } else { Ordering::Release };
            tag.store(0, order);
        }
    }

    /// Takes words that are nobody's for the line of `tag`; whether nobody was faster.
    #[inline]
    pub(crate) fn take(&self, tag: u64) -> bool {
        // Pairs with the store in `clear`.
        let taken = |place: &AtomicU64| place.compare_exchange(0, tag, Ordering::Acquire, Ordering::Relaxed);
        self.tag.is_some_and(|place| taken(place).is_ok())
    }

    /// With no permit open: of words that are a line's for so long, they are nobody's.
    pub(crate) fn let_go(&self) {
        if self.tag.is_some() {
            self.clear();
        }
    }
}

/// A consistent copy of a line.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    key: [u64; 2],
    pub(crate) meta: Meta,
    factor: u64,
    pub(crate) words: [u64; MAX_RULES],
}

impl Snapshot {
    pub(crate) fn holds(&self, key: &Key) -> bool {
        self.key == key.words && self.meta.kind() == key.kind
    }

    /// The identifier of the line's subject; none of a line that is nobody's.
    pub(crate) fn id(&self) -> Option<KeptId> {
        KeptId::new(self.key, self.meta.kind())
    }

    /// What evidence has done to the subject, at `now`.
    pub(crate) fn standing(&self, now: u64) -> Standing {
        Standing::at(self.factor, now)
    }

    /// Whether a stripe may hold a lease on it.
    pub(crate) fn may_be_leased(&self) -> bool {
        may_be_leased(self.factor)
    }
}

/// Spins for a while, longer each time, then yields, however often it is called.
///
/// Who waits longer reads the line less often, and leaves it in the cache of whoever has it.
pub(crate) struct Backoff(u32);

impl Backoff {
    pub(crate) fn new() -> Backoff {
        Backoff(0)
    }

    pub(crate) fn wait(&mut self) {
        let round = self.0 % (ROUNDS + 1);
        self.0 = self.0.wrapping_add(1);
        if round == ROUNDS || cfg!(tollgate_loom) {
            yield_now();
        } else {
            (0..1 << round).for_each(|_| spin_loop());
        }
    }
}

impl<'a> Line<'a> {
    /// `lines` are the header and a word for each rule.
    #[inline]
    pub(crate) fn new(lines: &'a [CacheLine]) -> Option<Line<'a>> {
        Some(Line { head: Head::new(lines.first()?), lines })
    }

    #[inline]
    pub(crate) fn head(&self) -> Head<'a> {
        self.head
    }

    /// The word of a rule.
    #[inline]
    pub(crate) fn word(&self, rule: usize) -> Option<Word<'a>> {
        let place = HEADER + rule;
        self.lines.get(place / CACHE_LINE).map(|line| Word::new(line.word(place)))
    }

    fn words(&self) -> impl Iterator<Item = Word<'a>> {
        (0..).map_while(|rule| self.word(rule))
    }

    /// A consistent copy of the line.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.head.read(|| self.copy())
    }

    fn copy(&self) -> Snapshot {
        let mut words = [0; MAX_RULES];
        words.iter_mut().zip(self.words()).for_each(|(copy, word)| *copy = word.load());
        Snapshot {
            key: [self.head.load(KEY), self.head.load(KEY + 1)],
            meta: self.head.meta(),
            factor: self.head.factor_word(),
            words,
        }
    }

    /// Takes the guard; it is let go when the answer is dropped.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'a> {
        Guard { held: self.head.lock(), line: *self }
    }

    /// Takes the guard if nobody has it.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Guard<'a>> {
        Some(Guard { held: self.head.try_lock()?, line: *self })
    }
}

/// The right to write a line, of which all words are at hand.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    held: Held<'a>,
    line: Line<'a>,
}

impl<'a> Deref for Guard<'a> {
    type Target = Held<'a>;

    #[inline]
    fn deref(&self) -> &Held<'a> {
        &self.held
    }
}

impl DerefMut for Guard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.held
    }
}

impl<'a> Guard<'a> {
    /// The guard alone.
    pub(crate) fn into_held(self) -> Held<'a> {
        self.held
    }

    /// A copy of the line as it is under the guard.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.line.copy()
    }

    #[inline]
    pub(crate) fn word(&self, rule: usize) -> Option<u64> {
        self.line.word(rule).map(|word| word.load())
    }

    #[inline]
    pub(crate) fn set_word(&mut self, rule: usize, value: u64) {
        self.set_written();
        if let Some(word) = self.line.word(rule) {
            word.store(value);
        }
    }

    /// Lets evidence do this to the subject from now on.
    pub(crate) fn set_standing(&mut self, standing: Standing) {
        self.set(FACTOR, if standing == Standing::GOOD { 0 } else { standing.word() });
    }

    /// The same subject under other rules; in no cohort yet where they are another tier's. What is leased of it is lost.
    pub(crate) fn convert(&mut self, now: u64, under: Under, words: &[u64], refunds: Refunds<'_>) {
        self.set_cold();
        let standing = self.standing(now);
        if standing.cohort != 0 && self.meta().under().tier() != under.tier() {
            self.set_standing(Standing { cohort: 0, ..standing });
        }
        self.rewrite(self.meta().converted(under), words, refunds);
    }

    /// The same subject in another plan, under rules of its tier that count as before: words and permits go on to hold.
    pub(crate) fn relabel(&mut self, under: Under) {
        let meta = self.meta().relabeled(under);
        self.set_meta(meta);
    }

    /// Another subject in this slot, or nobody: a new generation, no factor, no open permit.
    pub(crate) fn replace(&mut self, holder: Option<(&Key, Under)>, words: &[u64], refunds: Refunds<'_>) {
        if !mutant("replacement_keeps_generation") {
            self.next_generation();
        }
        let (key, meta) = match holder {
            Some((key, under)) => (key.words, Meta::of(key, under)),
            None => ([0; 2], Meta::unnamed(Under::default())),
        };
        // Whoever misses the old subject here finds what was parked of it before: pairs with the fence in
        // `Table::find`.
        fence(Ordering::Release);
        self.set(KEY, key[0]);
        self.set(KEY + 1, key[1]);
        self.set(FACTOR, 0);
        self.rewrite(meta, words, refunds);
    }

    /// Of a line that no key finds: as at first, for the next who are charged there. Permits from before settle nothing.
    pub(crate) fn empty(&mut self, under: Under, words: &[u64], refunds: Refunds<'_>) {
        self.next_generation();
        self.rewrite(Meta::unnamed(under), words, refunds);
        self.set_written();
    }

    fn rewrite(&mut self, meta: Meta, words: &[u64], refunds: Refunds<'_>) {
        self.set_meta(meta);
        self.line.words().zip(words).for_each(|(place, word)| place.store(*word));
        refunds.clear();
    }
}
