//! What the straight lane reads of a plan.

use std::num::NonZeroU8;

use super::{Charge, FIRST_RULES, HEADER, Limit};
use crate::{decision::Level, meter::MAX_METERS, policy::rate::Ticks};

/// Levels of a plain caller's path: account, organization, tier.
pub(crate) const PLAIN: usize = 3;

/// The place of a plain level among these.
#[inline]
pub(crate) fn place_of(level: Level) -> usize {
    // Between two of them lies a level of guarded callers.
    level as usize / 2
}

/// By meter, how an amount is charged to a plain caller on the straight lane; nothing where that is not its way.
pub(crate) type Straights = [Option<Box<Straight>>; MAX_METERS];

/// The buckets that an amount of one meter is charged to by a plain caller, in as few bytes as that takes: on each level one
/// at most, a rate of which nothing is kept for anybody, whose word is among the first of its line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Straight {
    /// The most that each of them gives at once.
    pub(crate) most: u64,
    pub(crate) rates: [Option<StraightRate>; PLAIN],
}

/// One of these buckets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StraightRate {
    pub(crate) ticks: Ticks,
    /// Of its word in its line; never 0, which is the control word's.
    pub(crate) place: NonZeroU8,
    /// Its own among the charges of its meter.
    pub(crate) position: u8,
    /// As of its [`Charge`].
    pub(crate) index: u8,
    pub(crate) rate: u8,
}

impl Straight {
    pub(super) fn of(charges: &[Charge]) -> Option<Straight> {
        let mut straight = Straight { most: u64::MAX, rates: [None; PLAIN] };
        // A path has at most `MAX_PATH_RULES`.
        for (position, charge) in (0_u8..).zip(charges) {
            let Charge { level, index, rate, limit, .. } = charge;
            let Limit::Rate(limit) = limit else { return None };
            if !charge.is_plain() || usize::from(*index) >= FIRST_RULES {
                return None;
            }
            let of_level = straight.rates.get_mut(place_of(*level)).filter(|known| known.is_none())?;
            let (ticks, place) = (limit.ticks(), NonZeroU8::new(HEADER as u8 + index)?);
            *of_level = Some(StraightRate { ticks, place, position, index: *index, rate: *rate });
            straight.most = straight.most.min(limit.burst);
        }
        Some(straight)
    }
}
