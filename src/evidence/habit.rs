//! What is usual: how settled accounts of a tier looked at the same number of requests.
//!
//! A *run* is an account's next [`RUN`] observations. At the 2nd, 3rd, 4th, ... 48th and 64th of it some [`Trait`]s of the run
//! are looked up among those of earlier runs of other accounts of the tier, and then counted there. Surprise is the
//! logarithm of the share of runs that went as far. Comparing at the same number of requests keeps the busy and the quiet
//! apart without a rate that would have to be guessed.
//!
//! Who counts: accounts that were there for [`SETTLED_S`] and for as long as the policy calls one new (or whose age is
//! unknown), that are in no cohort, once a day, and for each kind of evidence only those that are not odd in another, by this
//! look or an earlier one. So the many accounts that a fleet makes don't teach
//! what is usual, nor does one busy account, nor who is suspect for another reason; but those who are odd in this kind
//! alone do, as they must, or the rare would become rarer by itself. What a fleet that aged in a drawer teaches before it
//! is known bounds what it hides (a share s of the teachers hides all but log2(1/s) bits).
//!
//! Memory: [`Habits`] is a fixed array. Counts are halved where they grow large, so that habits follow the years.

use super::TIERS;
use crate::adapt::BIT;

/// Observations in a run.
pub(super) const RUN: u16 = 64;
/// How old an account is whose habits count, in seconds, at least.
pub(super) const SETTLED_S: u32 = 30 * 86_400;
/// Runs that are needed before anything surprises.
const LEAST: u32 = 48;
/// Counts are halved here.
const MOST: u32 = 1 << 14;
/// Numbers of requests at which a run is looked at: early ones, since a fleet's accounts make few.
const LOOKED_AT: [u16; LOOKS] = [2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, RUN];
pub(super) const LOOKS: usize = 13;
/// The place of the first look at a run that is long enough to tell when an account is active.
pub(super) const ACTIVE: usize = 8;
/// The place of the first look at a run that is long enough to be followed rather than remembered at its height.
pub(super) const LONG: usize = 10;
const BUCKETS: usize = 65;
/// Surprise beyond a thousand is not told apart: so much no tier has settled runs to tell.
const MOST_POINTS: u16 = 10 * BIT;

/// What is looked at. All but the last few are high where a fleet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Trait {
    Addresses,
    Clients,
    Templates,
    /// Prompts that nobody had before.
    NewTemplates,
    /// Requests whose prompt others have as well.
    SharedTemplates,
    Models,
    Others,
    /// A run of a day or more over its longest rest.
    Restless,
    /// What a request takes on average.
    Amount,
    /// Against the account's own pace.
    Faster,
    /// How many organizations share what it uses: the rare, not the high, surprises.
    PaymentSharers,
    BeatSharers,
    /// An organization's day against its others, of all tiers together.
    VolumeChange,
    PromptsChange,
    AmountChange,
}

/// How many traits there are.
pub(super) const TRAITS: usize = 15;

impl Trait {
    pub(super) const ALL: [Trait; TRAITS] = [
        Trait::Addresses,
        Trait::Clients,
        Trait::Templates,
        Trait::NewTemplates,
        Trait::SharedTemplates,
        Trait::Models,
        Trait::Others,
        Trait::Restless,
        Trait::Amount,
        Trait::Faster,
        Trait::PaymentSharers,
        Trait::BeatSharers,
        Trait::VolumeChange,
        Trait::PromptsChange,
        Trait::AmountChange,
    ];
}

/// The look at the `count`th observation of a run, if there is one.
pub(super) fn look(count: u16) -> Option<usize> {
    LOOKED_AT.into_iter().position(|looked_at| looked_at == count)
}

/// log2(number) in eighths, rounded down; 0 for 0.
pub(super) fn eighths(number: u64) -> u16 {
    let Some(whole) = number.checked_ilog2() else { return 0 };
    let part = (number << (63 - whole)) << 1 >> 61;
    whole as u16 * BIT + part as u16
}

#[derive(Clone, Debug)]
struct Counts {
    total: u32,
    buckets: [u16; BUCKETS],
}

impl Counts {
    const EMPTY: Counts = Counts { total: 0, buckets: [0; BUCKETS] };

    fn add(&mut self, value: u8) {
        if let Some(count) = self.buckets.get_mut(usize::from(value).min(BUCKETS - 1)) {
            *count += 1;
            self.total += 1;
        }
        if self.total >= MOST {
            self.buckets.iter_mut().for_each(|count| *count /= 2);
            self.total = self.buckets.iter().map(|count| u32::from(*count)).sum();
        }
    }

    fn surprise(&self, value: u8) -> Option<u16> {
        if self.total < LEAST {
            return None;
        }
        let from = usize::from(value).min(BUCKETS - 1);
        let beyond: u32 = self.buckets.iter().skip(from).map(|count| u32::from(*count)).sum();
        // One more than were seen: the account itself.
        let rare = eighths(u64::from(self.total) + 1).saturating_sub(eighths(u64::from(beyond) + 1));
        Some(rare.min(MOST_POINTS))
    }
}

/// The habits of all tiers.
#[derive(Debug)]
pub(super) struct Habits {
    counts: Box<[Counts]>,
}

impl Habits {
    pub(super) fn new() -> Habits {
        Habits { counts: vec![Counts::EMPTY; TIERS * LOOKS * TRAITS].into_boxed_slice() }
    }

    fn place(tier: usize, look: usize, which: Trait) -> usize {
        (tier.min(TIERS - 1) * LOOKS + look) * TRAITS + which as usize
    }

    /// How surprising `value` is, in eighths of a bit; `None` where too few were seen to tell.
    pub(super) fn surprise(&self, tier: usize, look: usize, which: Trait, value: u8) -> Option<u16> {
        self.counts.get(Habits::place(tier, look, which))?.surprise(value)
    }

    pub(super) fn learn(&mut self, tier: usize, look: usize, which: Trait, value: u8) {
        if let Some(counts) = self.counts.get_mut(Habits::place(tier, look, which)) {
            counts.add(value);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_in_eighths() {
        assert_eq!([0, 1, 2, 3, 4, 1024].map(eighths), [0, 0, 8, 12, 16, 80]);
        assert!((1..5000).all(|number| eighths(number) <= eighths(number + 1)));
    }

    #[test]
    fn the_usual_weighs_nothing_and_the_rare_does() {
        let mut habits = Habits::new();
        assert_eq!(habits.surprise(0, 2, Trait::Addresses, 64), None, "nothing is known yet");
        for account in 0..1000 {
            // A tenth of the tier rotates.
            habits.learn(0, 2, Trait::Addresses, if account % 10 == 0 { 16 } else { 2 });
        }
        assert_eq!(habits.surprise(0, 2, Trait::Addresses, 2), Some(0));
        assert!((3 * BIT..4 * BIT).contains(&habits.surprise(0, 2, Trait::Addresses, 16).unwrap()));
        assert!(habits.surprise(0, 2, Trait::Addresses, 17) > Some(9 * BIT));
        assert_eq!(habits.surprise(1, 2, Trait::Addresses, 64), None, "another tier has other habits");
    }

    #[test]
    fn habits_follow_the_years() {
        let mut habits = Habits::new();
        for _ in 0..4 * MOST {
            habits.learn(0, 0, Trait::Models, 1);
        }
        for _ in 0..2 * MOST {
            habits.learn(0, 0, Trait::Models, 4);
        }
        assert!(habits.surprise(0, 0, Trait::Models, 4).is_some_and(|points| points < BIT));
    }
}
