//! The words of the format: little-endian integers, short numbers, texts.

use std::fmt;

/// What in a block cannot be read, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Bytes from the start of the block.
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "at byte {}: {}", self.at, self.what)
    }
}

/// Reads what [`put_short`] and the others wrote, and never beyond the end.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn bad(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let rest = self.bytes.get(self.at..).and_then(|rest| rest.get(..count));
        let taken = rest.ok_or_else(|| self.bad("ends too early"))?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_le_bytes)
    }

    /// What [`put_short`] wrote; each number is written in one way alone.
    pub(super) fn short(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = u64::from(self.u8()?);
            let part = byte & 0x7f;
            if part << shift >> shift != part || (byte == 0 && shift > 0) {
                return Err(self.bad("a number that is written in no known way"));
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.bad("a number that does not end"))
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize, what: &'static str) -> Result<usize, Malformed> {
        let at = self.at;
        let number = usize::try_from(self.short()?).ok().filter(|number| *number < end);
        number.ok_or(Malformed { at, what })
    }

    /// A text of at most `most` bytes.
    pub(super) fn text(&mut self, most: usize) -> Result<&'a str, Malformed> {
        let length = self.below(most + 1, "a text that is too long")?;
        let at = self.at;
        str::from_utf8(self.take(length)?).map_err(|_| Malformed { at, what: "a text that is not UTF-8" })
    }

    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.bad("a flag that is neither 0 nor 1")),
        }
    }
}

/// A number in groups of 7 bits, lowest first; the top bit of a byte says that more follow (LEB128).
pub(super) fn put_short(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_short(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(value in prop_oneof![0..300_u64, any::<u64>()]) {
            let mut bytes = Vec::new();
            put_short(&mut bytes, value);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.short(), Ok(value));
            prop_assert!(reader.is_done());
        }

        /// What is read as a number is what writing it gives.
        #[test]
        fn numbers_have_one_form(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.short() {
                let mut again = Vec::new();
                put_short(&mut again, value);
                prop_assert_eq!(&again[..], &bytes[..reader.at]);
            }
        }
    }
}
