//! From the request path to the correlators: a bounded ring for each stripe.
//!
//! Any thread puts observations in and never waits: where a ring is full, or others are faster three times in a row,
//! the observation is dropped and counted. One thread at a time takes out, at `maintain`.
//!
//! After Dmitry Vyukov's bounded queue: each cell has a turn, which says whose it is. For a ring of n cells, cell i goes
//! i (free for position i), i + 1 (full), i + n (free for position i + n), and so on.
//!
//! Invariant: what is taken out was put in, whole, once, in the order of each thread. Memory: `cells` x 80 bytes for each
//! stripe.
//!
//! # Orderings
//!
//! A producer owns a cell from its exchange on `head` until it stores the turn (release); the consumer loads that turn
//! (acquire) and sees the words. The consumer frees the cell by storing the next turn (release); the producer that finds
//! it (acquire) writes after it was read. `head` itself orders nothing. `tail` is the consumer's alone: an exchange in
//! [`drain`](Rings::drain) keeps a second consumer out.

use super::{ATTRIBUTES, Member, Observation};
use crate::sync::{AtomicU64, Ordering};

/// Words of an observation.
const WORDS: usize = 4 + ATTRIBUTES / 2;
/// How often a producer tries before it drops what it has.
const TRIES: u32 = 3;
/// Stands in the age word for a denied request.
const DENIED: u64 = 1 << 40;
/// Stands in the age word for what was settled.
const SETTLED: u64 = 1 << 41;

#[derive(Debug, Default)]
struct Cell {
    turn: AtomicU64,
    words: [AtomicU64; WORDS],
}

#[derive(Debug)]
struct Ring {
    cells: Box<[Cell]>,
    head: AtomicU64,
    tail: AtomicU64,
    dropped: AtomicU64,
    /// 1 while somebody takes out.
    taking: AtomicU64,
}

/// The rings of all stripes.
#[derive(Debug)]
pub(crate) struct Rings {
    rings: Box<[Ring]>,
}

impl Ring {
    fn new(cells: usize) -> Ring {
        let cell = |turn: usize| Cell { turn: AtomicU64::new(turn as u64), words: Default::default() };
        Ring {
            cells: (0..cells).map(cell).collect(),
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            taking: AtomicU64::new(0),
        }
    }

    fn cell(&self, position: u64) -> Option<&Cell> {
        self.cells.get(position as usize & (self.cells.len() - 1))
    }

    fn push(&self, words: &[u64; WORDS]) -> bool {
        for _ in 0..TRIES {
            let head = self.head.load(Ordering::Relaxed);
            let Some(cell) = self.cell(head) else { return false };
            if cell.turn.load(Ordering::Acquire) != head {
                // Full, or another producer has just taken it.
                if self.head.load(Ordering::Relaxed) == head {
                    return false;
                }
                continue;
            }
            if self.head.compare_exchange(head, head + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                for (place, word) in cell.words.iter().zip(words) {
                    place.store(*word, Ordering::Relaxed);
                }
                cell.turn.store(head + 1, Ordering::Release);
                return true;
            }
        }
        false
    }

    fn pop(&self) -> Option<[u64; WORDS]> {
        let tail = self.tail.load(Ordering::Relaxed);
        let cell = self.cell(tail)?;
        if cell.turn.load(Ordering::Acquire) != tail + 1 {
            return None;
        }
        let mut words = [0; WORDS];
        for (word, place) in words.iter_mut().zip(&cell.words) {
            *word = place.load(Ordering::Relaxed);
        }
        self.tail.store(tail + 1, Ordering::Relaxed);
        cell.turn.store(tail + self.cells.len() as u64, Ordering::Release);
        Some(words)
    }
}

impl Rings {
    /// `stripes` rings of at least `cells` cells, rounded up to a power of two; at least two.
    pub(crate) fn new(stripes: usize, cells: usize) -> Rings {
        let cells = cells.max(2).checked_next_power_of_two().unwrap_or(2);
        Rings { rings: (0..stripes.max(1)).map(|_| Ring::new(cells)).collect() }
    }

    /// Puts `observation` into the ring of `stripe` (any number); whether there was room. Never waits.
    pub(crate) fn push(&self, stripe: usize, observation: &Observation) -> bool {
        let Some(ring) = self.rings.get(stripe % self.rings.len()) else { return false };
        let kept = ring.push(&pack(observation));
        if !kept {
            ring.dropped.fetch_add(1, Ordering::Relaxed);
        }
        kept
    }

    /// Takes out at most `most` observations, an even share from each ring first; how many. Nothing where another
    /// thread is at it.
    pub(crate) fn drain(&self, most: usize, mut take: impl FnMut(Observation)) -> usize {
        let mut taken = 0;
        for (index, ring) in self.rings.iter().enumerate() {
            if ring.taking.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
                continue;
            }
            let share = (most - taken).div_ceil(self.rings.len() - index);
            for _ in 0..share {
                let Some(words) = ring.pop() else { break };
                take(unpack(&words));
                taken += 1;
            }
            ring.taking.store(0, Ordering::Release);
        }
        taken
    }

    /// How many observations found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.rings.iter().map(|ring| ring.dropped.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rings.iter().map(|ring| size_of::<Ring>() + size_of_val(&*ring.cells)).sum()
    }
}

fn pack(observation: &Observation) -> [u64; WORDS] {
    let Observation { member, organization, tier, attributes, age_s, amount, denied, settled, at } =
        observation;
    let flags = if *denied { DENIED } else { 0 } | if *settled { SETTLED } else { 0 };
    let mut words = [0; WORDS];
    let [seat, whose, age, when, values @ ..] = &mut words;
    *seat = u64::from(member.generation) << 32 | u64::from(member.slot);
    *whose = *organization;
    *age = u64::from(*tier) << 32 | flags | u64::from(*age_s);
    // In units of 2^20 ns, a millisecond: 44 bits are enough for the 2^60 ns that a clock has.
    *when = at & !0xf_ffff | u64::from(*amount).min(0xf_ffff);
    for (word, pair) in values.iter_mut().zip(attributes.chunks_exact(2)) {
        if let [low, high] = pair {
            *word = u64::from(*high) << 32 | u64::from(*low);
        }
    }
    words
}

fn unpack(words: &[u64; WORDS]) -> Observation {
    let [seat, whose, age, when, values @ ..] = words;
    let mut attributes = [0; ATTRIBUTES];
    for (pair, word) in attributes.chunks_exact_mut(2).zip(values) {
        pair.copy_from_slice(&[*word as u32, (*word >> 32) as u32]);
    }
    Observation {
        member: Member { slot: *seat as u32, generation: (*seat >> 32) as u32 },
        organization: *whose,
        tier: (*age >> 32) as u8,
        attributes,
        age_s: *age as u32,
        amount: (*when & 0xf_ffff) as u32,
        denied: *age & DENIED != 0,
        settled: *age & SETTLED != 0,
        at: *when & !0xf_ffff,
    }
}
