//! Quantities as an operator writes them: `200k`, `600/min`, `3 per 2s`, `1.5M/day`, `2GiB`.
//!
//! Only integers decide: a fraction is taken as digits and a power of ten, and must come out whole. What a
//! quantity prints is read back as the same quantity.

mod share;

pub use share::{Share, Span};

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::calendar::Period;

/// A number of tokens (or whatever a meter counts): `5000`, `"5_000"`, `"200k"`, `"1.5M"`.
///
/// The suffixes `k`, `M`, `G` (or `B`) and `T` are powers of 1000. It must come out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u64);

/// So many tokens in so many nanoseconds: `"600/min"`, `"20k/min"`, `"3 per 2s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenRate {
    /// Tokens in each period.
    pub tokens: u64,
    /// The period's length in nanoseconds.
    pub nanos: u64,
}

/// So many tokens in each calendar window: `"200/day"`, `"1.5M/month"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowLimit {
    /// Tokens in each window.
    pub tokens: u64,
    /// The window.
    pub period: Period,
}

/// A size of memory in bytes: `"2GiB"`, `"512MiB"`, `"4GB"`, or a plain number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Why a text is not a quantity, and what would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantityError {
    message: String,
}

impl QuantityError {
    fn new(message: impl Into<String>) -> QuantityError {
        QuantityError { message: message.into() }
    }

    /// Of a replenishing interval that is no rate's period.
    #[cfg(feature = "governor")]
    pub(crate) fn of_interval(interval: std::time::Duration) -> QuantityError {
        QuantityError::new(format!("one token in {interval:?} is not a rate; expected 1 ns to 2^64 ns"))
    }
}

impl fmt::Display for QuantityError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for QuantityError {}

/// Units of a rate's period, the longest first, with the name that is printed.
const UNITS: [(&str, u64); 9] = [
    ("year", 365 * 86_400_000_000_000),
    ("week", 7 * 86_400_000_000_000),
    ("day", 86_400_000_000_000),
    ("hour", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// The longest text that is read as a quantity; a longer one is not quoted back either.
const LONGEST: usize = 64;

/// A decimal number as written: `digits` / 10^`places`.
#[derive(Clone, Copy)]
struct Decimal {
    digits: u128,
    places: u32,
}

impl Decimal {
    /// The number times `scale`, if that is whole and fits.
    fn times(self, scale: u128) -> Result<u64, Fault> {
        let product = self.digits.checked_mul(scale).ok_or(Fault::TooLarge)?;
        let divisor = 10_u128.checked_pow(self.places).ok_or(Fault::Malformed)?;
        if product % divisor != 0 {
            return Err(Fault::NotWhole);
        }
        u64::try_from(product / divisor).map_err(|_| Fault::TooLarge)
    }
}

enum Fault {
    Malformed,
    NotWhole,
    TooLarge,
    Suffix,
}

/// Splits a number off the front of `text`; the rest is trimmed.
fn split_number(text: &str) -> Result<(Decimal, &str), Fault> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '_' || c == '.')).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(end).ok_or(Fault::Malformed)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let mut digits: u128 = 0;
    let mut places = 0;
    for (part, behind_point) in [(whole, false), (fraction, true)] {
        // An underscore stands between digits.
        if part.is_empty() || part.starts_with('_') || part.ends_with('_') || part.contains("__") {
            return Err(Fault::Malformed);
        }
        for byte in part.bytes().filter(|byte| *byte != b'_') {
            if !byte.is_ascii_digit() {
                return Err(Fault::Malformed);
            }
            digits = digits
                .checked_mul(10)
                .and_then(|digits| digits.checked_add(u128::from(byte - b'0')))
                .ok_or(Fault::TooLarge)?;
            places += u32::from(behind_point);
        }
    }
    Ok((Decimal { digits, places }, rest.trim()))
}

/// Reads a number with an optional suffix, the whole of `text`.
fn read_amount(text: &str) -> Result<u64, Fault> {
    let (number, suffix) = split_number(text.trim())?;
    let scale: u128 = match suffix {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" | "B" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => return Err(Fault::Suffix),
    };
    number.times(scale)
}

/// `text` in back quotes, cut where it is absurdly long.
fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

fn amount_error(text: &str, fault: &Fault, example: &str) -> QuantityError {
    let text = quoted(text);
    QuantityError::new(match fault {
        Fault::Malformed => format!("{text} is not a number; expected something like {example}"),
        Fault::NotWhole => format!("{text} is not a whole number; expected something like {example}"),
        Fault::TooLarge => format!("{text} is too large; at most {} fits", u64::MAX),
        Fault::Suffix => {
            format!("{text} has an unknown suffix; expected k, M, G (or B) or T, as in {example}")
        }
    })
}

/// Splits `text` at `/` or the word `per`.
fn split_per(text: &str) -> Option<(&str, &str)> {
    let (amount, period) = match text.split_once('/') {
        Some(parts) => parts,
        None => {
            let (amount, period) = text.split_once("per")?;
            // `3 per 2s`, and not some word that happens to hold the three letters.
            if !amount.ends_with(char::is_whitespace) || !period.starts_with(char::is_whitespace) {
                return None;
            }
            (amount, period)
        }
    };
    Some((amount.trim(), period.trim()))
}

impl FromStr for Amount {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Amount, QuantityError> {
        read_amount(text).map(Amount).map_err(|fault| amount_error(text, &fault, "`5000`, `200k` or `1.5M`"))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Nanoseconds of a rate's unit.
fn unit_nanos(unit: &str) -> Option<u64> {
    let name = match unit {
        "sec" | "second" | "seconds" => "s",
        "minute" | "minutes" => "min",
        "h" | "hours" => "hour",
        "d" | "days" => "day",
        "w" | "weeks" => "week",
        "y" | "years" => "year",
        other => other,
    };
    UNITS.iter().find(|(known, _)| *known == name).map(|(_, nanos)| *nanos)
}

/// Reads `2s`, `min`, `1.5 hours`.
fn read_period(text: &str) -> Result<u64, QuantityError> {
    const ACCEPTED: &str = "ns, us, ms, s, min, hour, day, week or year";
    let (count, unit) = if text.starts_with(|c: char| c.is_ascii_digit()) {
        split_number(text).map_err(|fault| amount_error(text, &fault, "`2s` or `min`"))?
    } else {
        (Decimal { digits: 1, places: 0 }, text)
    };
    if matches!(unit, "mo" | "month" | "months") {
        return Err(QuantityError::new(
            "a month has no fixed length, so it cannot be a rate's period; use `quota = \"200k/month\"`, \
             or `per 30 days`",
        ));
    }
    let nanos = unit_nanos(unit).ok_or_else(|| {
        QuantityError::new(format!("{} is not a unit of time; expected {ACCEPTED}", quoted(unit)))
    })?;
    match count.times(u128::from(nanos)) {
        Ok(0) => Err(QuantityError::new(format!("a period of {} is empty", quoted(text)))),
        Ok(period) => Ok(period),
        Err(Fault::NotWhole) => {
            Err(QuantityError::new(format!("{} is not a whole number of nanoseconds", quoted(text))))
        }
        Err(_) => Err(QuantityError::new(format!(
            "a period of {} is too long; at most {} ns (584 years) fits",
            quoted(text),
            u64::MAX
        ))),
    }
}

impl FromStr for TokenRate {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<TokenRate, QuantityError> {
        const EXAMPLE: &str = "`600/min`, `20k/min` or `3 per 2s`";
        let (amount, period) = split_per(text).ok_or_else(|| {
            QuantityError::new(format!("{} is not a rate; expected something like {EXAMPLE}", quoted(text)))
        })?;
        let nanos = read_period(period)?;
        match read_amount(amount) {
            Ok(tokens) => Ok(TokenRate { tokens, nanos }),
            Err(Fault::NotWhole) => Err(QuantityError::new(format!(
                "{} is not a whole number of tokens; say it over a longer period, such as `3 per 2s` for \
                 1.5 a second",
                quoted(amount)
            ))),
            Err(fault) => Err(amount_error(amount, &fault, EXAMPLE)),
        }
    }
}

impl fmt::Display for TokenRate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The last unit is a nanosecond, which divides everything.
        let (unit, nanos) =
            UNITS.into_iter().find(|(_, nanos)| self.nanos.is_multiple_of(*nanos)).unwrap_or(("ns", 1));
        match self.nanos / nanos {
            1 => write!(out, "{}/{unit}", self.tokens),
            count if unit.len() <= 2 => write!(out, "{} per {count}{unit}", self.tokens),
            count => {
                write!(out, "{} per {count} {unit}{}", self.tokens, if unit == "min" { "" } else { "s" })
            }
        }
    }
}

impl FromStr for WindowLimit {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<WindowLimit, QuantityError> {
        const EXAMPLE: &str = "`200/day` or `1.5M/month`";
        let (amount, window) = split_per(text).ok_or_else(|| {
            QuantityError::new(format!("{} is not a quota; expected something like {EXAMPLE}", quoted(text)))
        })?;
        let tokens = read_amount(amount).map_err(|fault| amount_error(amount, &fault, EXAMPLE))?;
        let period = match window {
            "min" | "minute" => Period::Minute,
            "h" | "hour" => Period::Hour,
            "d" | "day" => Period::Day,
            "w" | "week" => Period::Week,
            "month" => Period::Month,
            _ => {
                return Err(QuantityError::new(format!(
                    "{} is not a calendar window; expected minute, hour, day, week or month (other lengths \
                     can be a `rate`)",
                    quoted(window)
                )));
            }
        };
        Ok(WindowLimit { tokens, period })
    }
}

impl fmt::Display for WindowLimit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.tokens, self.period)
    }
}

/// Units of memory, the largest first.
const MEMORY: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<ByteSize, QuantityError> {
        const EXAMPLE: &str = "`2GiB`, `512MiB` or `4GB`";
        let (number, unit) =
            split_number(text.trim()).map_err(|fault| amount_error(text, &fault, EXAMPLE))?;
        let (_, scale) =
            MEMORY.iter().find(|(name, _)| *name == if unit.is_empty() { "B" } else { unit }).ok_or_else(
                || QuantityError::new(format!("{} is not a size; expected {EXAMPLE}", quoted(text))),
            )?;
        number.times(u128::from(*scale)).map(ByteSize).map_err(|fault| amount_error(text, &fault, EXAMPLE))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = MEMORY
            .into_iter()
            .find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale))
            .unwrap_or(("B", 1));
        write!(out, "{}{unit}", self.0 / scale)
    }
}

/// What a quantity's visitor needs to know of it.
trait Written: FromStr<Err = QuantityError> {
    /// What is accepted, for a message.
    const EXPECTED: &'static str;

    /// The quantity that a bare integer is, if one may be.
    fn from_integer(integer: u64) -> Option<Self>;

    /// The quantity that a bare number with a point is, if one may be.
    fn from_float(_: f64) -> Option<Self> {
        None
    }
}

impl Written for Amount {
    const EXPECTED: &'static str = "a whole number such as 5000, \"200k\" or \"1.5M\"";

    fn from_integer(integer: u64) -> Option<Amount> {
        Some(Amount(integer))
    }
}

impl Written for ByteSize {
    const EXPECTED: &'static str = "a size such as \"2GiB\" or \"512MiB\"";

    fn from_integer(integer: u64) -> Option<ByteSize> {
        Some(ByteSize(integer))
    }
}

impl Written for TokenRate {
    const EXPECTED: &'static str = "a rate such as \"600/min\" or \"3 per 2s\"";

    fn from_integer(_: u64) -> Option<TokenRate> {
        None
    }
}

impl Written for WindowLimit {
    const EXPECTED: &'static str = "a quota such as \"200/day\" or \"1.5M/month\"";

    fn from_integer(_: u64) -> Option<WindowLimit> {
        None
    }
}

struct QuantityVisitor<T>(PhantomData<T>);

impl<T: Written> de::Visitor<'_> for QuantityVisitor<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(T::EXPECTED)
    }

    fn visit_u64<E: de::Error>(self, integer: u64) -> Result<T, E> {
        T::from_integer(integer).ok_or_else(|| E::invalid_type(de::Unexpected::Unsigned(integer), &self))
    }

    fn visit_i64<E: de::Error>(self, integer: i64) -> Result<T, E> {
        u64::try_from(integer)
            .ok()
            .and_then(T::from_integer)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(integer), &self))
    }

    fn visit_f64<E: de::Error>(self, float: f64) -> Result<T, E> {
        T::from_float(float).ok_or_else(|| E::invalid_type(de::Unexpected::Float(float), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// `Deserialize` by the visitor above; `Serialize` as text, or as an integer where one is read and fits the
/// 63 bits that every format has.
macro_rules! serde_as_written {
    ($($quantity:ty => $integer:expr;)*) => {$(
        impl<'de> Deserialize<'de> for $quantity {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(QuantityVisitor(PhantomData))
            }
        }

        impl Serialize for $quantity {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let integer: fn(&$quantity) -> Option<i64> = $integer;
                match integer(self) {
                    Some(integer) => serializer.serialize_i64(integer),
                    None => serializer.collect_str(self),
                }
            }
        }
    )*};
}

serde_as_written! {
    Amount => |amount| i64::try_from(amount.0).ok();
    TokenRate => |_| None;
    WindowLimit => |_| None;
    ByteSize => |_| None;
    Share => |_| None;
    Span => |_| None;
}

#[cfg(test)]
mod tests;
