//! From the request path to the correlators: a bounded ring for each stripe.
//!
//! Any thread puts observations in and never waits: where a ring is full, or others are faster three times in a row,
//! the observation is dropped and counted. One thread at a time takes out, at `maintain`.
//!
//! A cell is one cache line that only producers write: the consumer says how far it has come once a turn, in a line of its
//! own, which a producer reads when its ring seems full. So a cell goes from the processor that observed to the one that
//! maintains and back, and nothing else does.
//!
//! Invariant: what is taken out was put in, whole, once, in the order of each thread. Memory: `cells` x 64 bytes for each
//! stripe.
//!
//! | word of a cell | bits | what |
//! |---|---|---|
//! | 0 | 32-63 | turn: the low half of 1 + the position that it holds; 0 at first |
//! | 0 | 6-31, 0-5 | age in 8 s, all ones where unknown; tier |
//! | 1 | 32-63, 0-31 | generation; slot |
//! | 2 | | organization |
//! | 3 | 23-63, 2-21, 1, 0 | instant in 2^20 ns; amount; settled; crowded |
//! | 4-7 | | attributes, two in each |
//!
//! # Orderings
//!
//! A producer owns a cell from its exchange on `head` until it stores the cell's turn (release); the consumer loads that
//! turn (acquire) and sees the words. The consumer stores `tail` (release) after it has read; a producer that loads it
//! (acquire), or loads what another made of it in `room` (release and acquire as well), writes after it was read. `head`
//! itself orders nothing. An exchange in [`drain`](Rings::drain) keeps a second consumer out.

#[cfg(all(test, tollgate_loom))]
mod loom_tests;

use super::{ATTRIBUTES, Member, Observation};
use crate::{
    line::CacheLine,
    sync::{AtomicU64, Ordering, mutant},
};

/// Words of an observation: those of a cell, of which the first has half a word for the turn.
const WORDS: usize = 4 + ATTRIBUTES / 2;
const TURN_SHIFT: u32 = 32;
/// How often a producer tries before it drops what it has.
const TRIES: u32 = 3;

const TIER_BITS: u32 = 6;
const TIER_MASK: u64 = (1 << TIER_BITS) - 1;
/// Seconds of one unit of age.
const AGE_UNIT: u32 = 8;
/// An age that is not known.
const NO_AGE: u32 = (1 << (TURN_SHIFT - TIER_BITS)) - 1;
const CROWDED: u64 = 1;
const SETTLED: u64 = 2;
const AMOUNT_SHIFT: u32 = 2;
const AMOUNT_MASK: u64 = 0xf_ffff;
/// Instants in units of 2^20 ns, a millisecond: 41 bits are enough for the 2^60 ns that a clock has.
const AT_UNIT: u32 = 20;
const AT_SHIFT: u32 = 23;

/// What producers write besides cells, in a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Put {
    head: AtomicU64,
    /// A position that is known to be free, and all before it: at most the cells beyond `tail`.
    room: AtomicU64,
    dropped: AtomicU64,
}

/// What the consumer writes.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Taken {
    tail: AtomicU64,
    /// 1 while somebody takes out.
    taking: AtomicU64,
}

#[derive(Debug)]
struct Ring {
    cells: Box<[CacheLine]>,
    put: Put,
    taken: Taken,
}

/// The rings of all stripes.
#[derive(Debug)]
pub(crate) struct Rings {
    /// A power of two of them.
    rings: Box<[Ring]>,
}

impl Ring {
    fn new(cells: usize) -> Ring {
        let cells: Box<[CacheLine]> = (0..cells).map(|_| CacheLine::default()).collect();
        let put = Put { room: AtomicU64::new(cells.len() as u64), ..Put::default() };
        Ring { cells, put, taken: Taken::default() }
    }

    #[inline]
    fn cell(&self, position: u64) -> Option<&CacheLine> {
        self.cells.get(position as usize & (self.cells.len() - 1))
    }

    /// Whether `position` may be written.
    #[inline]
    fn has_room(&self, position: u64) -> bool {
        if position < self.put.room.load(Ordering::Acquire) {
            return true;
        }
        let room = self.taken.tail.load(Ordering::Acquire) + self.cells.len() as u64;
        self.put.room.store(room, Ordering::Release);
        mutant("ring_overwrites") || position < room
    }

    #[inline]
    fn push(&self, observation: &Observation) -> bool {
        for _ in 0..TRIES {
            let head = self.put.head.load(Ordering::Relaxed);
            if !self.has_room(head) {
                return false;
            }
            if self.put.head.compare_exchange(head, head + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                let Some(cell) = self.cell(head) else { return false };
                let [first, rest @ ..] = pack(observation);
                let first = first | (head + 1) << TURN_SHIFT;
                if mutant("ring_turn_first") {
                    cell.word(0).store(first, Ordering::Release);
                }
                for (index, word) in rest.into_iter().enumerate() {
                    cell.word(index + 1).store(word, Ordering::Relaxed);
                }
                cell.word(0).store(first, Ordering::Release);
                return true;
            }
        }
        false
    }

    /// What is at a position, once it is there.
    fn peek(&self, position: u64) -> Option<[u64; WORDS]> {
        let cell = self.cell(position)?;
        let first = cell.word(0).load(Ordering::Acquire);
        if first >> TURN_SHIFT != u64::from((position + 1) as u32) {
            return None;
        }
        let mut words = [first; WORDS];
        for (index, word) in words.iter_mut().enumerate().skip(1) {
            *word = cell.word(index).load(Ordering::Relaxed);
        }
        Some(words)
    }

    /// Takes out at most `most`; how many. The caller is the only consumer.
    fn drain(&self, most: usize, take: &mut impl FnMut(Observation)) -> usize {
        let tail = self.taken.tail.load(Ordering::Relaxed);
        let mut taken = 0;
        while taken < most
            && let Some(words) = self.peek(tail + taken as u64)
        {
            take(unpack(&words));
            taken += 1;
        }
        self.taken.tail.store(tail + taken as u64, Ordering::Release);
        taken
    }
}

impl Rings {
    /// `stripes` rings of at least `cells` cells, both rounded up to a power of two; at least two cells.
    pub(crate) fn new(stripes: usize, cells: usize) -> Rings {
        let up = |count: usize| count.checked_next_power_of_two().unwrap_or(1);
        Rings { rings: (0..up(stripes)).map(|_| Ring::new(up(cells).max(2))).collect() }
    }

    /// Puts `observation` into the ring of `stripe` (any number); whether there was room. Never waits.
    #[inline]
    pub(crate) fn push(&self, stripe: usize, observation: &Observation) -> bool {
        let Some(ring) = self.rings.get(stripe & (self.rings.len() - 1)) else { return false };
        let kept = ring.push(observation);
        if !kept {
            ring.put.dropped.fetch_add(1, Ordering::Relaxed);
        }
        kept
    }

    /// Takes out at most `most` observations, an even share from each ring first; how many. Nothing where another
    /// thread is at it.
    pub(crate) fn drain(&self, most: usize, mut take: impl FnMut(Observation)) -> usize {
        let mut taken = 0;
        for (index, ring) in self.rings.iter().enumerate() {
            let taking = &ring.taken.taking;
            if taking.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
                continue;
            }
            let share = (most - taken).div_ceil(self.rings.len() - index);
            taken += ring.drain(share, &mut take);
            taking.store(0, Ordering::Release);
        }
        taken
    }

    /// How many observations the fullest ring has.
    pub(crate) fn filled(&self) -> u64 {
        let filled = self.rings.iter().map(|ring| {
            let taken = ring.taken.tail.load(Ordering::Relaxed);
            ring.put.head.load(Ordering::Relaxed).saturating_sub(taken).min(ring.cells.len() as u64)
        });
        filled.max().unwrap_or(0)
    }

    /// How many observations fit into a ring.
    pub(crate) fn cells(&self) -> u64 {
        self.rings.first().map_or(0, |ring| ring.cells.len() as u64)
    }

    /// How many observations found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.rings.iter().map(|ring| ring.put.dropped.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rings.iter().map(|ring| size_of::<Ring>() + size_of_val(&*ring.cells)).sum()
    }
}

/// The words of an observation, without a turn.
#[inline]
fn pack(observation: &Observation) -> [u64; WORDS] {
    let Observation { member, organization, tier, attributes, age_s, amount, crowded, settled, at } =
        observation;
    let age = if *age_s == u32::MAX { NO_AGE } else { (age_s / AGE_UNIT).min(NO_AGE - 1) };
    let mut words = [0; WORDS];
    let [who, seat, whose, what, values @ ..] = &mut words;
    *who = u64::from(age) << TIER_BITS | u64::from(*tier) & TIER_MASK;
    *seat = u64::from(member.generation) << 32 | u64::from(member.slot);
    *whose = *organization;
    *what = (at >> AT_UNIT) << AT_SHIFT
        | u64::from(*amount).min(AMOUNT_MASK) << AMOUNT_SHIFT
        | if *settled { SETTLED } else { 0 }
        | if *crowded { CROWDED } else { 0 };
    for (word, pair) in values.iter_mut().zip(attributes.chunks_exact(2)) {
        if let [low, high] = pair {
            *word = u64::from(*high) << 32 | u64::from(*low);
        }
    }
    words
}

fn unpack(words: &[u64; WORDS]) -> Observation {
    let [who, seat, whose, what, values @ ..] = words;
    let mut attributes = [0; ATTRIBUTES];
    for (pair, word) in attributes.chunks_exact_mut(2).zip(values) {
        pair.copy_from_slice(&[*word as u32, (*word >> 32) as u32]);
    }
    let age = *who as u32 >> TIER_BITS;
    Observation {
        member: Member { slot: *seat as u32, generation: (*seat >> 32) as u32 },
        organization: *whose,
        tier: (who & TIER_MASK) as u8,
        attributes,
        age_s: if age == NO_AGE { u32::MAX } else { age * AGE_UNIT },
        amount: (what >> AMOUNT_SHIFT & AMOUNT_MASK) as u32,
        crowded: what & CROWDED != 0,
        settled: what & SETTLED != 0,
        at: (what >> AT_SHIFT) << AT_UNIT,
    }
}

#[cfg(all(test, not(tollgate_loom)))]
mod tests {
    use super::*;

    /// What a cell tells apart comes out as it went in.
    #[test]
    fn packs_into_a_cache_line() {
        let full = Observation {
            member: Member { slot: u32::MAX, generation: u32::MAX },
            organization: u64::MAX,
            tier: 63,
            attributes: [1, 2, 3, 4, 5, 6, 7, u32::MAX],
            age_s: (NO_AGE - 1) * AGE_UNIT,
            amount: 0xf_ffff,
            crowded: true,
            settled: false,
            at: 1 << 60,
        };
        let unknown = Observation { age_s: u32::MAX, settled: true, crowded: false, at: 7 << 20, ..full };
        for observation in [full, unknown, Observation::default()] {
            assert_eq!(
                unpack(&pack(&observation)),
                Observation { at: observation.at & !0xf_ffff, ..observation }
            );
            assert_eq!(pack(&observation)[0] >> TURN_SHIFT, 0);
        }
        assert_eq!(WORDS, 8);
    }

    /// A ring goes round many times, drops what it has no room for, and counts that.
    #[test]
    fn goes_round_and_drops_when_full() {
        let rings = Rings::new(1, 4);
        let mut taken = Vec::new();
        for round in 0..100_u32 {
            let put = |slot| {
                let member = Member { slot, generation: round };
                rings.push(0, &Observation { member, ..Observation::default() })
            };
            assert_eq!([0, 1, 2, 3, 4, 5].map(put), [true, true, true, true, false, false]);
            assert_eq!(rings.drain(3, |observation| taken.push(observation.member)), 3);
            assert!(put(9));
            assert_eq!(rings.drain(9, |observation| taken.push(observation.member)), 2);
        }
        let expected =
            (0..100).flat_map(|generation| [0, 1, 2, 3, 9].map(|slot| Member { slot, generation }));
        assert!(taken.into_iter().eq(expected));
        assert_eq!(rings.dropped(), 200);
    }
}
