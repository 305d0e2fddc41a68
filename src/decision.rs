//! Receipt and denial as plain values, and the few words that they are made of.
//!
//! Nothing here allocates or borrows: a decision is returned by value on the request path, and a denial keeps
//! only the integers from which its wait is worked out, by a 128-bit division, when somebody asks.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// A short name kept in place, of at most `N` bytes of UTF-8: a tier, a meter, a rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name<const N: usize = 31> {
    length: u8,
    bytes: [u8; N],
}

impl<const N: usize> Name<N> {
    /// `text` as a name; `None` if it has more than `N` bytes.
    pub(crate) fn new(text: &str) -> Option<Name<N>> {
        let mut bytes = [0; N];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Name { length: u8::try_from(text.len()).ok()?, bytes })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        // Both conversions hold by construction: the bytes came from a `&str` of that length.
        self.bytes.get(..usize::from(self.length)).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or("")
    }
}

impl<const N: usize> fmt::Display for Name<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Name<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), out)
    }
}

impl<const N: usize> Serialize for Name<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The name of a rule within its meter and level: `rate`, `day`, `budget`, `in_flight`, or what the policy says.
pub type RuleName = Name<15>;

/// Where a limit sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Level {
    /// Whoever holds the credential.
    Account,
    /// The organization that the account belongs to.
    Organization,
    /// The total of everyone in the tier.
    Tier,
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Level::Account => "account",
            Level::Organization => "organization",
            Level::Tier => "tier",
        })
    }
}
