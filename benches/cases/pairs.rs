//! With something and without it, in turn: how much longer the same takes, as far as so many pairs can tell.

use std::time::Duration;

pub const PAIRS: usize = 20;
/// Of [`PAIRS`] ratios in order, the median of whatever they are drawn from is below this one at 95% (by the binomial
/// distribution, at 97.9%).
const UPPER: usize = 14;

/// What one sample of each took.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub with: Duration,
    pub without: Duration,
}

impl Pair {
    /// The pair of this number: either comes first in turn.
    pub fn measure(number: usize, mut sample: impl FnMut(bool) -> Duration) -> Pair {
        let first = !number.is_multiple_of(2);
        let (one, other) = (sample(first), sample(!first));
        if first { Pair { with: one, without: other } } else { Pair { with: other, without: one } }
    }

    pub fn ratio(&self) -> f64 {
        self.with.as_secs_f64() / self.without.as_secs_f64()
    }
}

/// Of [`PAIRS`] values, the median, and what that is below at 95%.
pub fn median_and_bound<T: Copy>(mut values: Vec<T>, by: impl Fn(&T) -> f64) -> (T, T) {
    assert_eq!(values.len(), PAIRS);
    values.sort_by(|one, other| by(one).total_cmp(&by(other)));
    (values[PAIRS / 2], values[UPPER])
}
