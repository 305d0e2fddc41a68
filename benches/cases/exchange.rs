//! The obvious other way to charge three levels: a compare-exchange on each level's word in turn, and a roll-back of
//! those before it when a later one refuses. The arithmetic is ours: GCRA in supply units, one multiplication of
//! 64 by 64 bits a level.
//!
//! It is no limiter that one would want: between a charge and its roll-back, others are refused by it. It shows what
//! the guard costs, or saves, when more threads than cores want one account.

use std::sync::atomic::{AtomicU64, Ordering};

/// A bucket by itself in its cache lines (two: they are fetched in pairs).
#[repr(align(128))]
struct Bucket {
    /// Supply units up to which everything is spent.
    used: AtomicU64,
    /// Supply units in 2^60 ns.
    rate: u64,
    /// Supply units that one token takes, as a power of two.
    shift: u32,
    burst: u64,
}

impl Bucket {
    /// `tokens` a nanosecond; a token is 2^`shift` units.
    fn new(tokens: u64, shift: u32) -> Bucket {
        let burst = (tokens * 1_000_000_000) << shift;
        Bucket { used: AtomicU64::new(0), rate: tokens << (60 + shift), shift, burst }
    }

    #[inline]
    fn charge(&self, tokens: u64, now: u64) -> bool {
        let supply = ((u128::from(now) * u128::from(self.rate)) >> 60) as u64;
        let mut used = self.used.load(Ordering::Acquire);
        loop {
            let then = used.max(supply) + (tokens << self.shift);
            if then > supply + self.burst {
                return false;
            }
            match self.used.compare_exchange_weak(used, then, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(changed) => used = changed,
            }
        }
    }

    fn give_back(&self, tokens: u64) {
        self.used.fetch_sub(tokens << self.shift, Ordering::AcqRel);
    }
}

pub struct Exchange([Bucket; 3]);

impl Exchange {
    /// Rates as those of the hot policy: 4, 5 and 6 tokens a nanosecond.
    pub fn new() -> Exchange {
        Exchange([Bucket::new(4, 1), Bucket::new(5, 0), Bucket::new(6, 0)])
    }

    #[inline]
    pub fn charge(&self, tokens: u64, now: u64) -> bool {
        let [account, organization, tier] = &self.0;
        if !account.charge(tokens, now) {
            return false;
        }
        if !organization.charge(tokens, now) {
            account.give_back(tokens);
            return false;
        }
        if !tier.charge(tokens, now) {
            organization.give_back(tokens);
            account.give_back(tokens);
            return false;
        }
        true
    }
}
