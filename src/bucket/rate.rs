//! The step of a rate bucket: GCRA in supply units.
//!
//! A bucket is one word U: the supply that all its charges up to now have laid claim to. With the supply S(t)
//! that the rate has given since limiter time 0, the bucket holds burst - (max(U, S) - S) ticks, and is full
//! when U <= S. A fresh bucket is 0. Charging is `U' = max(U, S) + cost`, exact; nothing is rounded per charge. (Where
//! ticks are coarse, S is taken with the rate's slack there: see `policy::rate`.)
//!
//! Source: the generic cell rate algorithm (ITU-T I.371, annex A), with arrival time replaced by supply.

use crate::{
    bucket::Factor,
    decision::{Refusal, SUPPLY_BITS, Wait},
    policy::rate::{Rate, Ticks},
};

/// S(now) in ticks; at most 2^63.
#[inline]
pub(crate) fn supply(rate: &Rate, now: u64) -> u64 {
    supplied(rate.multiplier, now)
}

#[inline]
pub(super) fn supplied(multiplier: u64, now: u64) -> u64 {
    // `now` is at most 2^60, so that these bits are free: what is left to do is to take the upper half of a product.
    ((u128::from(now << (u64::BITS - SUPPLY_BITS)) * u128::from(multiplier)) >> u64::BITS) as u64
}

/// The ticks that `amount` is charged; `amount` is at most the burst.
#[inline]
pub(super) fn price(rate: &Rate, amount: u64, factor: Factor) -> u64 {
    factor.times(amount << rate.shift)
}

/// The word after charging `amount`, or `None` if the bucket refuses.
///
/// Admission tests at most a full bucket, so that a price beyond the burst is let through once, and then waited
/// for in full.
#[inline]
pub(crate) fn charge(rate: &Rate, word: u64, amount: u64, factor: Factor, now: u64) -> Option<u64> {
    if amount > rate.burst {
        return None;
    }
    let price = price(rate, amount, factor);
    let supply = supply(rate, now);
    // Differences rather than sums: neither can overflow.
    (word.saturating_sub(supply) <= rate.burst_ticks - price.min(rate.burst_ticks))
        .then(|| word.max(supply + rate.slack) + price)
}

/// [`charge`] without a factor, of an `amount` that is at most the burst.
#[inline(always)]
pub(crate) fn charge_plainly(ticks: &Ticks, word: u64, amount: u64, now: u64) -> Option<u64> {
    let (supply, price) = (supplied(ticks.multiplier, now), amount * ticks.token);
    // All sums of a bucket's own stay below 2^64. What is read while another gives the line away may be anything; then the
    // answer counts for nothing.
    let claim = word.wrapping_add(price);
    (claim <= supply + ticks.burst_ticks).then(|| claim.max(supply + ticks.slack + price))
}

/// The ticks of a full bucket besides `withheld` tokens.
#[inline(always)]
fn rest(rate: &Rate, withheld: u64) -> u64 {
    // At most the burst's, which fits.
    rate.burst_ticks - (withheld.min(rate.burst) << rate.shift)
}

/// Whether `withheld` tokens are left besides `amount`, which is at most the burst.
pub(crate) fn keeps(rate: &Rate, word: u64, amount: u64, factor: Factor, withheld: u64, now: u64) -> bool {
    let (rest, price) = (rest(rate, withheld), price(rate, amount, factor));
    price <= rest && word.saturating_sub(supply(rate, now)) <= rest - price
}

/// Whether `amount` fits into what is left besides `withheld` tokens, or the bucket is full; it is at most the burst.
pub(crate) fn spares(rate: &Rate, word: u64, amount: u64, factor: Factor, withheld: u64, now: u64) -> bool {
    let rest = rest(rate, withheld);
    word.saturating_sub(supply(rate, now)) <= rest - price(rate, amount, factor).min(rest)
}

/// Why [`charge`] refused, or [`spares`] did.
// In place, as is what it calls, since most refusals have no factor and withhold nothing.
#[inline(always)]
pub(crate) fn refusal(
    rate: &Rate,
    word: u64,
    amount: u64,
    factor: Factor,
    withheld: u64,
    now: u64,
) -> Refusal {
    let left = left(rate, word, factor, now).saturating_sub(withheld);
    if amount > rate.burst {
        return Refusal { wait: Wait::Never, left };
    }
    let rest = rest(rate, withheld);
    let tested = price(rate, amount, factor).min(rest);
    let need = word.saturating_sub(rest - tested);
    Refusal { wait: Wait::Supply { need, multiplier: rate.multiplier }, left }
}

/// Whole tokens that the bucket would give now.
#[inline(always)]
pub(crate) fn left(rate: &Rate, word: u64, factor: Factor, now: u64) -> u64 {
    let owed = word.saturating_sub(supply(rate, now));
    if owed == 0 {
        return rate.burst;
    }
    // A granted factor makes more of it than is ever given at once.
    (factor.divide(rate.burst_ticks.saturating_sub(owed)) >> rate.shift).min(rate.burst)
}

/// Whole tokens owed, rounded up.
pub(crate) fn owed(rate: &Rate, word: u64, now: u64) -> u64 {
    tokens_up(rate, word.saturating_sub(supply(rate, now)))
}

/// The instant at which the bucket is full again.
pub(crate) fn full_at(rate: &Rate, word: u64) -> Wait {
    Wait::Supply { need: word, multiplier: rate.multiplier }
}

pub(super) fn tokens_up(rate: &Rate, ticks: u64) -> u64 {
    ticks.div_ceil(1 << rate.shift)
}

/// Charges what was settled beyond the reservation, at most `max_debt` below empty. Answers the word and the
/// whole tokens, rounded up, that were cut.
pub(crate) fn overage(rate: &Rate, word: u64, extra: u64, factor: Factor, now: u64) -> (u64, u64) {
    let supply = supply(rate, now);
    let claimed = word.max(supply + rate.slack);
    let room = (supply + rate.burst_ticks + rate.max_debt_ticks).saturating_sub(claimed);
    // `extra` may be any number; what is beyond 2^62 ticks is beyond any room.
    let most = (1 << 62) >> rate.shift;
    let wanted = factor.times_wide(u128::from(extra.min(most)) << rate.shift);
    let charged = wanted.min(u128::from(room)) as u64;
    let cut = wanted - u128::from(charged);
    let cut = u64::try_from(factor.divide_wide(cut).div_ceil(1 << rate.shift)).unwrap_or(u64::MAX);
    (claimed + charged, cut.saturating_add(extra - extra.min(most)))
}
