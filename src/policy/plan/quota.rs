//! Quotas: how much in which windows, and how a bucket's word is laid out.
//!
//! | bits of a word, from the highest | what |
//! |---|---|
//! | as many as its windows need | the window's number |
//! | as many as calendars need, where zones are given to organizations | the place of the calendar that it is a number of |
//! | 1 | *forgiven*, see [`crate::bucket`] |
//! | the rest | what was used in the window |
//!
//! A word of 0 is fresh, and in no calendar yet.

use crate::calendar::Period;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Per window; below 2^(`use_bits` - 1).
    pub(crate) limit: u64,
    pub(crate) period: Period,
    /// Index in the plan's calendars: that of the windows which it has of itself.
    pub(crate) calendar: u8,
    /// How many calendars its bucket may be in the windows of; 0 where that is its own alone, and the word does not say.
    pub(crate) calendars: u8,
    /// How many low bits of the bucket's word hold the use and what was forgiven.
    pub(crate) use_bits: u32,
}

impl Quota {
    /// One whose windows are those of a calendar, whoever asks.
    pub(crate) fn new(limit: u64, period: Period, calendar: u8) -> Quota {
        Quota { limit, period, calendar, calendars: 0, use_bits: Quota::number_shift(period) }
    }

    /// The same where its bucket may be in the windows of any of the first so many calendars.
    #[must_use]
    pub(crate) fn among(self, calendars: u8) -> Quota {
        let use_bits = Quota::number_shift(self.period) - place_bits(calendars);
        Quota { calendars, use_bits, ..self }
    }

    /// Windows are numbered from 1970; through 2106 that takes 27 bits for minutes, 21 for hours and 16 for the
    /// longer ones. The rest of the word is below them, so a number never comes round.
    pub(crate) const fn number_shift(period: Period) -> u32 {
        match period {
            Period::Minute => 37,
            Period::Hour => 43,
            Period::Day | Period::Week | Period::Month => 48,
        }
    }

    /// The most that it can be per window.
    pub(crate) fn most(&self) -> u64 {
        (1 << (self.use_bits - 1)) - 1
    }

    /// The bits of a word that hold the place of a calendar.
    #[inline]
    pub(crate) fn place_mask(&self) -> u64 {
        (1 << Quota::number_shift(self.period)) - (1 << self.use_bits)
    }
}

/// How many bits hold a place among so many calendars.
fn place_bits(calendars: u8) -> u32 {
    u8::BITS - calendars.saturating_sub(1).leading_zeros()
}

/// A zone that an organization may be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZonePlan {
    pub(crate) name: String,
    /// Whether the policy has it no more: who is in it counts as if in none.
    pub(crate) retired: bool,
    pub(crate) calendars: Calendars,
}

/// Places in the plan's calendars by period; none where no quota that follows zones has that period.
pub(crate) type Calendars = [Option<u8>; Period::ALL.len()];

/// Whose windows count for quotas that follow a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    /// Those that a bucket is in: where nobody asks for anything.
    Bucket,
    /// The quota's own.
    Tier,
    /// Those of a zone.
    Zone(Calendars),
}
