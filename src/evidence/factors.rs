//! How many accounts have which factor, for an operator: counted as they change, so that nobody has to go through all.

use crate::adapt::{ONE, Tightening};

/// Classes of factors above one: up to 2, to 4, to 8, to 16, and above.
pub(crate) const FACTORS: usize = 5;

/// Accounts by the class of their factor.
#[derive(Debug, Default)]
pub(super) struct Factors {
    counts: [u64; FACTORS],
}

impl Factors {
    fn place(&mut self, of: Tightening) -> Option<&mut u64> {
        let above = of.sixteenths().checked_sub(ONE + 1)?;
        // 0 below a factor of 2 and at it, 1 up to 4.
        let class = ((above / ONE) + 1).ilog2() as usize;
        self.counts.get_mut(class.min(FACTORS - 1))
    }

    /// An account that had `before` has `after`.
    pub(super) fn recount(&mut self, before: Tightening, after: Tightening) {
        if let Some(count) = self.place(before) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.place(after) {
            *count += 1;
        }
    }

    pub(super) fn counts(&self) -> [u64; FACTORS] {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::{BIT, Curve};

    #[test]
    fn each_factor_is_counted_in_its_class() {
        let curve = Curve { floor: 0, doubling: BIT, largest: 64 * ONE, rise: u16::MAX, fall: u16::MAX };
        let of = |doublings: u16| Tightening::default().step(doublings * BIT, &curve);
        let mut factors = Factors::default();
        for (doublings, class) in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 4)] {
            let mut expected = [0; FACTORS];
            expected[class] = 1;
            factors.recount(Tightening::default(), of(doublings));
            assert_eq!(factors.counts(), expected, "2^{doublings}");
            factors.recount(of(doublings), Tightening::default());
            assert_eq!(factors.counts(), [0; FACTORS]);
        }
    }
}
