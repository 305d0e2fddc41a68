//! Random draws of integers only, so that a seed gives the same campaign on every machine: no floating point,
//! no library logarithm whose last digit depends on the platform.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// A stream of draws.
pub(super) struct Draws {
    generator: ChaCha8Rng,
}

impl Draws {
    /// The draws of `seed` for one `purpose`; purposes do not disturb each other.
    pub(super) fn new(seed: u64, purpose: u64) -> Draws {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(purpose);
        Draws { generator }
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// A number below `bound`; 0 where `bound` is 0. The bias, below 2^-32 for the bounds in use, is harmless.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// As [`below`](Draws::below), for an index.
    pub(super) fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }

    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// True `share` times out of a thousand.
    pub(super) fn chance(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }
}

/// Mixes the bits of `number` (the finalizer of SplitMix64): equal numbers mix equally, others look unrelated.
pub(super) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A heavy-tailed quantity about a median: two to the power of a bell-shaped number of octaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) median: u32,
    /// The standard deviation, in quarters of an octave.
    pub(super) quarters: u32,
    pub(super) most: u32,
}

/// 2^(i/16) in 1/65536, by repeated integer square roots.
const ROOTS: [u64; 16] = {
    let mut roots = [0; 16];
    let mut index = 0;
    while index < 16 {
        // 2^(index/16) is the 16th root of 2^index; scaled by 2^16 at every halving of the exponent.
        let mut value: u128 = 1 << (16 + index);
        let mut halvings = 0;
        while halvings < 4 {
            value = (value << 16).isqrt();
            halvings += 1;
        }
        roots[index] = value as u64;
        index += 1;
    }
    roots
};

impl Spread {
    /// A quantity from 64 random bits, at least 1.
    pub(super) fn pick(self, bits: u64) -> u32 {
        // The sum of four uniform numbers is bell-shaped about 2^17 with a standard deviation of 37,837.
        let sum = (bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) + (bits >> 48);
        // Times 7/4, a standard deviation is an octave in units of 2^-16.
        let octaves = (sum as i64 - 0x2_0000) * i64::from(self.quarters) * 7 / (4 * 4);
        let sixteenths = octaves >> 12;
        let whole = sixteenths >> 4;
        let root = ROOTS[(sixteenths & 15) as usize];
        let median = u64::from(self.median) * root;
        let amount = if whole >= 0 { median << whole.min(20) } else { median >> (-whole).min(40) } >> 16;
        amount.clamp(1, u64::from(self.most)) as u32
    }
}

/// Picks an index by weight, by binary search over running sums.
#[derive(Debug, Default)]
pub(super) struct Weights {
    sums: Vec<u64>,
}

impl Weights {
    pub(super) fn push(&mut self, weight: u64) {
        self.sums.push(self.total(self.sums.len()) + weight);
    }

    pub(super) fn len(&self) -> usize {
        self.sums.len()
    }

    /// The weight of the first `count`.
    fn total(&self, count: usize) -> u64 {
        count.checked_sub(1).and_then(|last| self.sums.get(last)).copied().unwrap_or(0)
    }

    /// One of the first `count`; `None` where these weigh nothing.
    pub(super) fn pick(&self, draws: &mut Draws, count: usize) -> Option<usize> {
        let total = self.total(count);
        if total == 0 {
            return None;
        }
        let target = draws.below(total);
        Some(self.sums.partition_point(|sum| *sum <= target))
    }
}
