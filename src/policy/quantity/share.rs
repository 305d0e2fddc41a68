//! Parts of a whole, and lengths of time.

use std::{fmt, str::FromStr};

use super::{Fault, QuantityError, UNITS, Written, amount_error, quoted, read_period, split_number};

/// A part of a whole, in ten-thousandths: `0.25`, `"25%"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(pub u32);

/// A length of time: `"30d"`, `"24h"`, `"90 min"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Its length in nanoseconds.
    pub nanos: u64,
}

/// The whole.
const WHOLE: u32 = 10_000;

impl Share {
    /// All of it.
    pub(crate) const ONE: Share = Share(WHOLE);

    /// This part of `amount`, rounded down.
    pub(crate) fn of(self, amount: u64) -> u64 {
        let part = u128::from(amount) * u128::from(self.0) / u128::from(WHOLE);
        u64::try_from(part).unwrap_or(u64::MAX)
    }
}

impl FromStr for Share {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Share, QuantityError> {
        const EXAMPLE: &str = "`0.25` or `25%`";
        let read = || -> Result<u64, Fault> {
            let (number, unit) = split_number(text.trim())?;
            match unit {
                "" => number.times(u128::from(WHOLE)),
                "%" => number.times(u128::from(WHOLE / 100)),
                _ => Err(Fault::Malformed),
            }
        };
        match read() {
            Ok(parts) => u32::try_from(parts).map(Share).map_err(|_| Fault::TooLarge),
            Err(fault) => Err(fault),
        }
        .map_err(|fault| match fault {
            Fault::NotWhole => QuantityError::new(format!(
                "{} is finer than a ten-thousandth; expected something like {EXAMPLE}",
                quoted(text)
            )),
            fault => amount_error(text, &fault, EXAMPLE),
        })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, parts) = (self.0 / 100, self.0 % 100);
        match parts {
            0 => write!(out, "{whole}%"),
            parts => {
                let digits = format!("{parts:02}");
                write!(out, "{whole}.{}%", digits.trim_end_matches('0'))
            }
        }
    }
}

impl Written for Share {
    const EXPECTED: &'static str = "a part such as 0.25 or \"25%\"";

    fn from_integer(integer: u64) -> Option<Share> {
        u32::try_from(integer).ok()?.checked_mul(WHOLE).map(Share)
    }

    fn from_float(float: f64) -> Option<Share> {
        // As it prints, which is how it was written, to the digit.
        (0.0..=100.0).contains(&float).then(|| format!("{float}").parse().ok()).flatten()
    }
}

impl FromStr for Span {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Span, QuantityError> {
        let text = text.trim();
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return read_period(text).map(|nanos| Span { nanos });
        }
        Err(QuantityError::new(format!(
            "{} is not a length of time; expected something like `30d`, `24h` or `90 min`",
            quoted(text)
        )))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not in years, which are not always as long.
        let units = UNITS.into_iter().filter(|(name, _)| *name != "year");
        let (unit, nanos) = { units }
            .find(|(_, nanos)| self.nanos.is_multiple_of(*nanos) && self.nanos >= *nanos)
            .unwrap_or(("ns", 1));
        let count = self.nanos / nanos;
        match unit {
            unit if unit.len() <= 3 => write!(out, "{count}{unit}"),
            unit if count == 1 => write!(out, "{count} {unit}"),
            unit => write!(out, "{count} {unit}s"),
        }
    }
}

impl Written for Span {
    const EXPECTED: &'static str = "a length of time such as \"30d\" or \"24h\"";

    fn from_integer(_: u64) -> Option<Span> {
        None
    }
}
