//! A rate as the request path wants it: scaled once, so that a decision is one multiplication.
//!
//! Tokens are counted in *ticks* of 2^-shift token. The supply at time t, in ticks, is
//! `(t * multiplier) >> 61` with `multiplier = floor(tokens * 2^(shift + 61) / period)`, or for 8 tokens a nanosecond one
//! less. The two floors make it short of the exact `t * tokens * 2^shift / period` by less than two ticks, at any t up to
//! [`Nanos::MAX`](crate::Nanos::MAX): the shortage is absolute and does not accumulate. Where two ticks are supplied
//! within a nanosecond, that nanosecond covers it. Where ticks are coarser, since a large burst left few bits behind the
//! point, a charge to a full bucket starts from two ticks above the supply, which is at least what it is in truth.

use std::fmt;

use crate::decision::SUPPLY_BITS;

/// Supply per nanosecond is at most 2^3 ticks, so that supply at `Nanos::MAX` (2^60 ns) is at most 2^63.
const TICKS_PER_NANO: u128 = 8;
/// Burst (times the largest factor) and debt together stay within 2^62 ticks, so that a bucket's word,
/// which is at most supply and these, stays below 2^64.
const MAX_TICKS: u128 = 1 << 62;

/// A valid rate: `tokens` every `period` nanoseconds, at most `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) tokens: u64,
    /// Nanoseconds.
    pub(crate) period: u64,
    /// Tokens.
    pub(crate) burst: u64,
    /// Tokens by which a settled overage may take the bucket below empty.
    pub(crate) max_debt: u64,
    /// A tick is 2^-shift token.
    pub(crate) shift: u32,
    pub(crate) multiplier: u64,
    /// What supply may be short by, in ticks, where that is more than a nanosecond gives; else 0.
    pub(crate) slack: u64,
    pub(crate) burst_ticks: u64,
    pub(crate) max_debt_ticks: u64,
}

/// Of a rate what a charge reads, in less than a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks {
    pub(crate) burst: u64,
    pub(crate) burst_ticks: u64,
    pub(crate) multiplier: u64,
    pub(crate) slack: u64,
    /// Ticks of a token: multiplying by it leaves more registers free than a shift does.
    pub(crate) token: u64,
}

/// Why numbers do not make a rate, with the nearest that would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RateError {
    /// Tokens, period or burst is zero.
    Zero,
    /// More than 8 tokens a nanosecond.
    TooFast { most_tokens: u64 },
    /// Burst times largest factor, and debt, exceed 2^62 tokens.
    TooLarge { most_burst: u64 },
}

impl Rate {
    pub(crate) fn new(
        tokens: u64,
        period: u64,
        burst: u64,
        max_debt: u64,
        largest_factor: u32,
    ) -> Result<Rate, RateError> {
        if tokens == 0 || period == 0 || burst == 0 {
            return Err(RateError::Zero);
        }
        let factor = u128::from(largest_factor.max(1));
        let fastest = TICKS_PER_NANO * u128::from(period);
        let held = u128::from(burst) * factor + u128::from(max_debt);
        if u128::from(tokens) > fastest {
            return Err(RateError::TooFast { most_tokens: u64::try_from(fastest).unwrap_or(u64::MAX) });
        }
        if held > MAX_TICKS {
            let room = MAX_TICKS.saturating_sub(u128::from(max_debt)) / factor;
            return Err(RateError::TooLarge { most_burst: u64::try_from(room).unwrap_or(u64::MAX) });
        }
        // The second quotient is at least 1 here, and `held >= 1` keeps the shift at or below 62. All but a rate of that many
        // tokens a nanosecond stay below the most ticks.
        let below = ((fastest - 1) / u128::from(tokens)).max(1);
        let shift = below.ilog2().min((MAX_TICKS / held).ilog2());
        // tokens * 2^shift <= 8 * period, hence the quotient is at most 2^64; and the product is below
        // 2^(3 + 64 + 61), since a period is below 2^64.
        let multiplier = ((u128::from(tokens) << shift) << SUPPLY_BITS) / u128::from(period);
        let slack = if multiplier >> SUPPLY_BITS < 2 { 2 } else { 0 };
        Ok(Rate {
            tokens,
            period,
            burst,
            max_debt,
            shift,
            multiplier: u64::try_from(multiplier).unwrap_or(u64::MAX),
            slack,
            burst_ticks: burst << shift,
            max_debt_ticks: max_debt << shift,
        })
    }

    /// What a charge reads.
    #[inline(always)]
    pub(crate) fn ticks(&self) -> Ticks {
        let Rate { burst, burst_ticks, multiplier, slack, shift, .. } = *self;
        Ticks { burst, burst_ticks, multiplier, slack, token: 1 << shift }
    }

    /// The most tokens that this rate gives in any interval of `nanos`: burst and what is supplied meanwhile.
    pub(crate) fn most_in(&self, nanos: u64) -> u128 {
        u128::from(self.burst) + u128::from(self.tokens) * u128::from(nanos) / u128::from(self.period)
    }
}

impl fmt::Display for RateError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RateError::Zero => out.write_str("tokens, period and burst must each be at least 1"),
            RateError::TooFast { most_tokens } => {
                write!(
                    out,
                    "faster than 8 tokens a nanosecond; at most {most_tokens} in this period would do"
                )
            }
            RateError::TooLarge { most_burst } => {
                write!(
                    out,
                    "the burst (times the largest factor) and the debt exceed 2^62; a burst of at most {most_burst} would do"
                )
            }
        }
    }
}
