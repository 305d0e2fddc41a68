//! From evidence to a factor: pure integers, no clock, no state of anybody else's.
//!
//! Evidence is counted in *points*, eighths of a bit: a subject that one in 2^b of its kind resembles has 8b points
//! of that kind. Points fade by half-life ([`fade`]). A [`Curve`] says what they ask for, in sixteenths, and a
//! [`Tightening`] walks there.
//!
//! # Invariants
//!
//! - A factor is never below [`ONE`] and never above the curve's largest.
//! - More points never ask for a smaller factor.
//! - One step rises by at most `rise` and releases by at most `fall`; without evidence a factor is back at exactly
//!   [`ONE`] after a bounded number of steps.
//! - Between the points that hold a factor and those that raise it nothing moves (hysteresis), so that evidence which
//!   trembles about one value doesn't make a factor tremble.

#[cfg(test)]
mod tests;

/// A factor that changes nothing, in sixteenths.
pub(crate) const ONE: u16 = 16;
/// Points of one bit.
pub(crate) const BIT: u16 = 8;

/// What is left of `points` after `elapsed`, by half-life, in the same unit of time. Linear between two halvings: off
/// by at most 6% of what is left, and never below it. A half-life of 0 leaves nothing.
pub(crate) fn fade(points: u16, elapsed: u64, half_life: u64) -> u16 {
    let (Some(halvings), Some(part)) = (elapsed.checked_div(half_life), elapsed.checked_rem(half_life))
    else {
        return 0;
    };
    if halvings >= 16 {
        return 0;
    }
    let whole = u128::from(points >> halvings);
    let lost = whole * u128::from(part) / (2 * u128::from(half_life));
    whole.saturating_sub(lost) as u16
}

/// What evidence asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Curve {
    /// Points up to which nothing is asked for.
    pub(crate) floor: u16,
    /// Points that double the factor, counted from `floor`.
    pub(crate) doubling: u16,
    /// Sixteenths, at least [`ONE`].
    pub(crate) largest: u16,
    /// The most that a step adds, in sixteenths.
    pub(crate) rise: u16,
    /// The most that a step takes away, in sixteenths.
    pub(crate) fall: u16,
}

impl Curve {
    /// The factor that `points` ask for, in sixteenths.
    pub(crate) fn factor(&self, points: u16) -> u16 {
        let largest = self.largest.max(ONE);
        let above = u32::from(points.saturating_sub(self.floor));
        let doubling = u32::from(self.doubling.max(1));
        let doublings = above / doubling;
        if doublings >= 16 {
            return largest;
        }
        let base = u32::from(ONE) << doublings;
        let asked = base + base * (above % doubling) / doubling;
        asked.min(u32::from(largest)) as u16
    }

    /// As [`factor`](Curve::factor), for evidence a quarter stronger: what must be exceeded before a factor falls.
    fn hold(&self, points: u16) -> u16 {
        self.factor(points.saturating_add(points / 4))
    }
}

/// The factor that a subject has, in sixteenths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tightening {
    sixteenths: u16,
}

impl Default for Tightening {
    fn default() -> Tightening {
        Tightening { sixteenths: ONE }
    }
}

impl Tightening {
    pub(crate) fn sixteenths(self) -> u16 {
        self.sixteenths
    }

    /// One step towards what `points` ask for.
    #[must_use]
    pub(crate) fn step(self, points: u16, curve: &Curve) -> Tightening {
        let (asked, held) = (curve.factor(points), curve.hold(points));
        let now = self.sixteenths.clamp(ONE, curve.largest.max(ONE));
        let sixteenths = if asked > now {
            asked.min(now.saturating_add(curve.rise.max(1)))
        } else if held < now {
            held.max(now.saturating_sub(curve.fall.max(1)))
        } else {
            now
        };
        Tightening { sixteenths }
    }
}
