//! What a rate bucket gives back when a permit settles.
//!
//! Taking off what was not used mints: supply has served a part of the charge since, and had the charge been smaller, the
//! bucket would have stood full for that long, and supply to a full bucket is lost. What may be given back is what keeps
//! the word U at or above U*, the word of a replay in which every settled permit was charged what it took, and every open
//! one what it reserved, each when it was admitted. The exact U* takes a list of admissions. Two bounds of it take three
//! words, and the word goes down to the lower:
//!
//! - **Of the order.** With W the word right after the charge, R the total that the bucket ever gave back and R_c its
//!   value at the charge, the charge's place now ends at W - (R - R_c) at the lowest: there, if all that came back was
//!   charged before it. What of the charge lies above the supply S then is unserved, and may come back. Good where few
//!   are open for long; where many settle, each takes what the later ones gave back for given back before it.
//! - **Of what is open.** A replay in which each settled permit was charged when it *settled*, and the open ones on top of
//!   all, is no lower than U* at any time: charging later only makes a word larger. So U* <= max(Z, S) + O, with Z the word
//!   of what has settled and of all that was spent at once, and O what open permits have reserved. Good where many
//!   are open for a moment each; useless where more than a burst is open.
//!
//! Z is not kept up by those who spend at once, who write the word alone. Since some moment (`seen` was the word then) they
//! have charged at most U - seen, at the worst all of it just now: Z is then at most max(Z then, S) + (U - seen), and
//! never above max(U, S), since U >= U* is no lower than the word of a part of what U* is of.
//!
//! A tier's total, or an organization, is leased in parts ([`lease`](super::lease)), which are charged before they are
//! served, so that the second bound does not hold while any are out: Z is taken to be U there until they are back
//! ([`Kept::afresh`]).
//!
//! # What it is worth
//!
//! 200 clients, each reserving 4,000 tokens against 100,000 a minute and as much at once, and settling to the lengths of
//! 19,366 real requests (211 on average, 10 ms a token): 2,453 s are what the sum takes at the rate. By the first bound
//! alone they take 3,925 s, by both 2,442 (`tests/streams.rs`). Of the exact U* there is a simulation, over the first 3,000
//! of them: 454.5 s, and 456.2 by both. The more of a burst is always open, the more a list would know: with a burst of
//! 40,000 both take 1.16 times as long as the exact, with streams ten times as long 1.6 times. By the second bound alone,
//! streams thirty times as long took half as long again as by both.
//!
//! It never gives back less than the first bound alone: that, and the exact U*, are the two sides between which the
//! reference model leaves the answer to the limiter.
//!
//! It takes 24 bytes for each rate of a subject, where the first bound alone takes 8: but only while a permit is open. With none
//! open, Z is U, O is 0, and R is compared with nothing, so that what was kept may be forgotten.

#[cfg(test)]
mod tests;

use super::{
    Factor, Opened, Settled, Words,
    rate::{overage, price, supply, tokens_up},
};
use crate::policy::{plan::RATE_WORDS, rate::Rate};

/// Bits of [`Kept::behind`] in its word; those above are [`Kept::open`].
const BEHIND_BITS: u32 = 24;
const MOST_BEHIND: u64 = (1 << BEHIND_BITS) - 1;
/// What is open is not known any more, until no permit is.
const UNKNOWN: u64 = u64::MAX >> BEHIND_BITS;

/// What a rate bucket keeps for permits besides its word.
///
/// | word | what |
/// |---|---|
/// | 0 | ticks that it ever gave back (R) |
/// | 1 | its word when Z was last worked out; later by what permits reserved since |
/// | 2 | bits 0-23: by how much Z was below that; bits 24-63: O; both in units of a 2^21th to 2^22th of a burst |
///
/// Rounding is to the side that gives less back: a unit for each permit that is open, and one charged more at each
/// settling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Ticks.
    pub(crate) refunded: u64,
    /// Ticks.
    seen: u64,
    /// Units, rounded down.
    behind: u64,
    /// Units, rounded up for each permit.
    open: u64,
}

/// How many words it is.
pub(crate) const KEPT_WORDS: usize = RATE_WORDS;

/// Ticks in a unit, as a power of two.
fn unit(rate: &Rate) -> u32 {
    (u64::BITS - rate.burst_ticks.leading_zeros()).saturating_sub(BEHIND_BITS - 2)
}

fn units_up(rate: &Rate, ticks: u64) -> u64 {
    ticks.div_ceil(1 << unit(rate))
}

impl Kept {
    pub(crate) fn unpack([refunded, seen, both]: [u64; KEPT_WORDS]) -> Kept {
        Kept { refunded, seen, behind: both & MOST_BEHIND, open: both >> BEHIND_BITS }
    }

    pub(crate) fn pack(self) -> [u64; KEPT_WORDS] {
        let Kept { refunded, seen, behind, open } = self;
        [refunded, seen, behind.min(MOST_BEHIND) | open << BEHIND_BITS]
    }

    /// Z, of a bucket that holds `word`, by a clock that is no earlier than that of any charge. `base` is max(U, S).
    fn settled(self, rate: &Rate, word: u64, base: u64, now: u64) -> u64 {
        let then = self.seen.saturating_sub(self.behind << unit(rate));
        let since = word.saturating_sub(self.seen);
        then.max(supply(rate, now) + rate.slack).saturating_add(since).min(base)
    }

    /// O, in ticks; `None` where it is not known, or more than there can be.
    fn open_ticks(self, rate: &Rate) -> Option<u64> {
        let ticks = u128::from(self.open) << unit(rate);
        u64::try_from(ticks).ok().filter(|ticks| self.open != UNKNOWN && *ticks < 1 << 62)
    }

    /// With `settled` for Z, and `word` for U.
    fn at(self, rate: &Rate, word: u64, settled: u64) -> Kept {
        let behind = (word.saturating_sub(settled) >> unit(rate)).min(MOST_BEHIND);
        Kept { seen: word, behind, ..self }
    }

    /// With max(U, S) for Z: all that is open counts as used in full.
    pub(crate) fn afresh(self, word: u64) -> Kept {
        Kept { seen: word, behind: 0, ..self }
    }

    /// With no permit open: what a sum that was too large left is gone.
    pub(crate) fn with_none_open(self) -> Kept {
        Kept { open: 0, behind: 0, ..self }
    }

    fn with_open(self, open: u64) -> Kept {
        Kept { open: if self.open == UNKNOWN { UNKNOWN } else { open.min(UNKNOWN) }, ..self }
    }
}

/// A permit's charge, after which the bucket holds `word`: what the permit notes, and what the bucket keeps.
pub(crate) fn open(rate: &Rate, word: u64, kept: Kept, opened: Opened, now: u64) -> (u64, Kept) {
    let Opened { amount, factor, forced } = opened;
    let price = price(rate, amount, factor);
    let mark = word.saturating_add(kept.refunded);
    // Who is forced may have been charged less than its price.
    let before = if forced { word } else { word.saturating_sub(price) };
    let counted = kept.with_open(kept.open.saturating_add(units_up(rate, price)));
    // `now` may be earlier than that of other charges, and says nothing of Z then; but a bucket that was full by it was
    // full by any.
    let was_full = || before <= supply(rate, now) + rate.slack;
    let kept = if kept.open == 0 || was_full() {
        counted.at(rate, word, before)
    } else {
        // What is rounded off here, Z is taken to be higher by.
        let behind = (kept.behind + ((word - before) >> unit(rate))).min(MOST_BEHIND);
        Kept { seen: kept.seen.saturating_add(word - before), behind, ..counted }
    };
    (mark, kept)
}

/// Replaces a permit's charge of `reserved` by one of `actual`, by a clock that is no earlier than that of any charge.
/// `mark` is what it noted; `leased`, whether parts of the bucket are; `by`, the rate with the burst that it was charged by.
pub(crate) fn settle(
    (rate, by): (&Rate, &Rate),
    Words { word, kept }: Words,
    mark: u64,
    (reserved, actual): (u64, u64),
    (factor, leased): (Factor, bool),
    now: u64,
) -> Settled {
    let supply = supply(rate, now) + rate.slack;
    let base = word.max(supply);
    let price_reserved = price(rate, reserved, factor);
    let price_settled = price(rate, actual.min(reserved), factor);
    let wanted = price_reserved.saturating_sub(price_settled);
    let settled = kept.settled(rate, word, base, now).saturating_add(price_settled);
    let kept = kept.with_open(kept.open.saturating_sub(units_up(rate, price_reserved)));

    let (charged, cut) = match actual.saturating_sub(reserved) {
        0 => (word, 0),
        extra => overage(by, word, extra, factor, now),
    };
    let settled = settled.saturating_add(charged.saturating_sub(base));
    let unserved = mark.saturating_sub(kept.refunded).saturating_sub(supply);
    let by_order = charged - wanted.min(unserved).min(charged);
    let by_open = match kept.open_ticks(rate) {
        Some(open) if !leased => settled.saturating_add(open),
        _ => u64::MAX,
    };
    let given = charged - by_order.min(by_open);
    let word = charged - given;
    let base = word.max(supply);
    // The total cannot reach 2^64 within limiter time: it is at most what was ever charged.
    let kept = Kept { refunded: kept.refunded.saturating_add(given), ..kept };
    let kept = if leased { kept.afresh(word) } else { kept.at(rate, word, settled.min(base)) };
    Settled {
        words: Words { word, kept },
        clipped: tokens_up(rate, factor.divide(wanted.saturating_sub(given))),
        cut,
    }
}
