//! Meters and costs: what is counted, and how much of it one request spends.

/// How many meters a policy may have.
pub const MAX_METERS: usize = 8;

/// One of a policy's meters, found by name once ([`Limiter::meter`](crate::Limiter::meter)) and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Meter(u8);

impl Meter {
    /// The meter at `index` in the policy's list; `None` at [`MAX_METERS`] and above.
    pub(crate) fn from_index(index: usize) -> Option<Meter> {
        u8::try_from(index).ok().filter(|_| index < MAX_METERS).map(Meter)
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        usize::from(self.0) & (MAX_METERS - 1)
    }
}

/// What one request spends: an amount for each of a few meters, in the meter's own unit.
///
/// ```
/// # let policy = include_str!("../examples/policy.toml");
/// let limiter = tollgate::Limiter::builder(tollgate::Plan::from_toml(policy)?).build()?;
/// let requests = limiter.meter("requests").unwrap();
/// let input = limiter.meter("input_tokens").unwrap();
/// let cost = tollgate::Cost::of(requests, 1).and(input, 350);
/// assert_eq!(cost.amount(input), 350);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cost {
    amounts: [u64; MAX_METERS],
    /// A bit for each meter whose amount is not 0, so that a decision looks at the rules of these alone.
    spent: u8,
}

impl Cost {
    /// A cost of nothing on every meter.
    pub const FREE: Cost = Cost { amounts: [0; MAX_METERS], spent: 0 };

    /// `amount` of `meter` and nothing of the others.
    #[inline]
    #[must_use]
    pub fn of(meter: Meter, amount: u64) -> Cost {
        Cost::FREE.and(meter, amount)
    }

    /// The same cost, with `amount` for `meter`.
    #[inline]
    #[must_use]
    pub fn and(mut self, meter: Meter, amount: u64) -> Cost {
        let bit = 1 << meter.index();
        self.amounts[meter.index()] = amount;
        self.spent = if amount == 0 { self.spent & !bit } else { self.spent | bit };
        self
    }

    /// The amount for `meter`.
    #[inline]
    #[must_use]
    pub fn amount(&self, meter: Meter) -> u64 {
        self.amounts[meter.index()]
    }

    /// The meters of which it spends something.
    #[inline]
    pub(crate) fn spent(&self) -> Spent {
        Spent(self.spent)
    }

    /// The meters of which it or `other` spends something.
    pub(crate) fn spent_or(&self, other: &Cost) -> Spent {
        Spent(self.spent | other.spent)
    }
}

/// A few meters, first to last.
#[derive(Clone, Copy)]
pub(crate) struct Spent(u8);

impl Spent {
    /// Those from `meter` on.
    #[inline]
    pub(crate) fn from(self, meter: Meter) -> Spent {
        Spent(self.0 & u8::MAX << meter.index())
    }
}

impl Iterator for Spent {
    type Item = Meter;

    #[inline]
    fn next(&mut self) -> Option<Meter> {
        let rest = self.0 & self.0.checked_sub(1)?;
        let meter = Meter(self.0.trailing_zeros() as u8);
        self.0 = rest;
        Some(meter)
    }
}
