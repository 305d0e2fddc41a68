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
}

impl Cost {
    /// A cost of nothing on every meter.
    pub const FREE: Cost = Cost { amounts: [0; MAX_METERS] };

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
        self.amounts[meter.index()] = amount;
        self
    }

    /// The amount for `meter`.
    #[inline]
    #[must_use]
    pub fn amount(&self, meter: Meter) -> u64 {
        self.amounts[meter.index()]
    }
}
