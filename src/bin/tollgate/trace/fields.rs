//! One field of a record as the value that its column wants.

use std::{collections::HashMap, hash::Hasher, num::NonZeroU64};

use csv::ByteRecord;
use siphasher::sip::SipHasher13;

use super::columns::Columns;
use crate::row::{Symbol, Value};

/// How much of a wrong field a message shows.
const SHOWN: usize = 40;

/// A field and what is needed to say what is wrong with it.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) columns: &'a Columns,
    pub(super) record: &'a ByteRecord,
    pub(super) index: usize,
}

impl<'a> Field<'a> {
    fn bytes(self) -> &'a [u8] {
        let bytes = self.record.get(self.index).unwrap_or_default();
        // Of a line that ends as on Windows.
        if self.index + 1 == self.record.len() { bytes.strip_suffix(b"\r").unwrap_or(bytes) } else { bytes }
    }

    pub(super) fn text(self) -> Result<&'a str, String> {
        str::from_utf8(self.bytes()).map_err(|_| self.wrong("UTF-8 text"))
    }

    pub(super) fn required_text(self) -> Result<&'a str, String> {
        match self.text()? {
            "" => Err(format!("column {} is empty; a name is needed", self.columns.name(self.index))),
            text => Ok(text),
        }
    }

    /// A whole number from 0 to `most`.
    pub(super) fn number(self, most: u64) -> Result<u64, String> {
        digits(self.bytes())
            .filter(|number| *number <= most)
            .ok_or_else(|| self.wrong(&format!("a whole number from 0 to {most}")))
    }

    pub(super) fn tokens(self) -> Result<u32, String> {
        let number = self.number(u64::from(u32::MAX))?;
        // The bound has just been checked.
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// A whole number of either sign; empty is unknown.
    pub(super) fn signed(self) -> Result<Option<i64>, String> {
        let bytes = self.bytes();
        let (negative, rest) = match bytes.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, bytes),
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        digits(rest)
            .and_then(|number| i64::try_from(number).ok())
            .map(|number| Some(if negative { -number } else { number }))
            .ok_or_else(|| self.wrong("a whole number of milliseconds, negative before the trace's start"))
    }

    fn wrong(self, wanted: &str) -> String {
        let bytes = self.bytes();
        let shown = String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes));
        let more = if bytes.len() > SHOWN { "..." } else { "" };
        format!("column {}: {shown:?}{more} is not {wanted}", self.columns.name(self.index))
    }
}

/// A number of decimal digits and nothing else.
fn digits(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A text of evidence as a value; empty is unknown. The key is fixed: a trace is read the same every time.
pub(super) fn fingerprint(text: &str) -> Value {
    if text.is_empty() {
        return None;
    }
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    // The one text in 2^64 that hashes to zero shares a value with one other.
    Some(NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN))
}

/// The texts of one column, numbered in order of appearance.
#[derive(Default)]
pub(super) struct Symbols {
    numbers: HashMap<Box<str>, Symbol>,
}

impl Symbols {
    /// The number of `text`; a new text is passed to `announce`.
    pub(super) fn number(&mut self, text: &str, announce: impl FnOnce(Box<str>)) -> Result<Symbol, String> {
        if let Some(number) = self.numbers.get(text) {
            return Ok(*number);
        }
        let number = Symbol::try_from(self.numbers.len())
            .map_err(|_| format!("too many distinct names; at most {} in a column", Symbol::MAX))?;
        self.numbers.insert(text.into(), number);
        announce(text.into());
        Ok(number)
    }
}
