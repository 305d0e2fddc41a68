//! Identities: who is charged.
//!
//! Integers and UUIDs are kept as they are and compared exactly. Text becomes a 128-bit fingerprint keyed with
//! the limiter's secret (SipHash-1-3-128), so that nobody who chooses a name can aim at another's line: two
//! given names meet with odds of 2^-128, and among a billion names any two with odds of about 2^-69. A fingerprint also
//! says where a key goes in a table; integers and UUIDs are placed by another hash (`ahash`), under seeds from the same
//! secret, which identifies nobody.

mod sip;

use std::fmt;

use ahash::RandomState;
use serde::{Serialize, Serializer};

use sip::Sip;

/// An identifier as the server knows it.
///
/// The integer `7` and the text `"7"` are two different identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Id<'a> {
    /// A database key or the like.
    Integer(u64),
    /// A UUID as its 128 bits.
    Uuid(u128),
    /// A name, an API key's public part, an address.
    Text(&'a str),
}

impl From<u64> for Id<'_> {
    fn from(id: u64) -> Self {
        Id::Integer(id)
    }
}

impl<'a> From<&'a str> for Id<'a> {
    fn from(id: &'a str) -> Self {
        Id::Text(id)
    }
}

impl<'a> From<&'a String> for Id<'a> {
    fn from(id: &'a String) -> Self {
        Id::Text(id)
    }
}

/// What kind of identifier a key was made of; part of the key, so that kinds never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Integer = 1,
    Uuid = 2,
    Text = 3,
    Anonymous = 4,
}

/// An identifier in the form in which lines keep it, with its place already hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) words: [u64; 2],
    pub(crate) kind: u8,
    pub(crate) hash: u64,
}

impl Key {
    /// The key that a line keeps in `words` and `kind`.
    #[inline]
    pub(crate) fn kept(words: [u64; 2], kind: u8, places: &Places) -> Key {
        let hash = if kind == Kind::Text as u8 || kind == Kind::Anonymous as u8 {
            // A keyed fingerprint is as good as a hash of it; the kind keeps two of one text apart.
            words[0].wrapping_add(u64::from(kind))
        } else {
            places.0.hash_one((words, kind))
        };
        Key { words, kind, hash }
    }
}

/// A checksum of bytes: they are as they were, as far as accidents go.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    let [first, _] = Sip::new([0; 16]).hash(bytes);
    first
}

/// Where keys go in a table.
#[derive(Clone)]
pub(crate) struct Places(RandomState);

impl fmt::Debug for Places {
    /// Never shows the seeds.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Places")
    }
}

/// Turns identifiers into keys.
#[derive(Clone)]
pub(crate) struct Fingerprints {
    secret: [u8; 16],
    hasher: Sip,
    places: Places,
}

impl Fingerprints {
    pub(crate) fn new(secret: [u8; 16]) -> Fingerprints {
        let hasher = Sip::new(secret);
        let ([first, second], [third, fourth]) = (hasher.hash(&[1]), hasher.hash(&[2]));
        Fingerprints { secret, hasher, places: Places(RandomState::with_seeds(first, second, third, fourth)) }
    }

    /// What all of it depends on.
    pub(crate) fn secret(&self) -> [u8; 16] {
        self.secret
    }

    pub(crate) fn places(&self) -> Places {
        self.places.clone()
    }

    #[inline]
    pub(crate) fn key(&self, id: Id<'_>) -> Key {
        match id {
            Id::Integer(id) => self.place(Kind::Integer, [id, 0]),
            Id::Uuid(id) => {
                let [low, high] = [id as u64, (id >> 64) as u64];
                self.place(Kind::Uuid, [low, high])
            }
            Id::Text(text) => self.place(Kind::Text, self.fingerprint(text)),
        }
    }

    /// The key of a caller without a credential; never that of an account of the same text.
    pub(crate) fn anonymous(&self, text: &[u8]) -> Key {
        self.place(Kind::Anonymous, self.hasher.hash(text))
    }

    #[inline]
    fn fingerprint(&self, text: &str) -> [u64; 2] {
        self.hasher.hash(text.as_bytes())
    }

    #[inline]
    fn place(&self, kind: Kind, words: [u64; 2]) -> Key {
        Key::kept(words, kind as u8, &self.places)
    }

    /// The fingerprint of a text, as kept for it.
    pub(crate) fn of_text(&self, text: &str) -> Fingerprint {
        Fingerprint(self.fingerprint(text))
    }
}

impl fmt::Debug for Fingerprints {
    /// Never shows the secret.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Fingerprints")
    }
}

/// What is kept of a text id: 128 bits under the limiter's secret, of which the text cannot be told. Prints as 32 hexadecimal
/// digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u64; 2]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.0;
        write!(out, "{first:016x}{second:016x}")
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An identifier as a limiter keeps it: numbers as they are, texts as fingerprints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptId {
    /// A database key or the like.
    Integer(u64),
    /// A UUID as its 128 bits; serialized as 32 hexadecimal digits, since few formats have numbers as large.
    #[serde(serialize_with = "serialize_uuid")]
    Uuid(u128),
    /// Of a text ([`Limiter::fingerprint`](crate::Limiter::fingerprint)).
    Fingerprint(Fingerprint),
    /// Of the text that tells a caller without a credential.
    Anonymous(Fingerprint),
}

impl KeptId {
    /// What a line keeps in `words` and `kind`; `None` where that is no identifier.
    pub(crate) fn new(words: [u64; 2], kind: u8) -> Option<KeptId> {
        let [low, high] = words;
        match kind {
            _ if kind == Kind::Integer as u8 => (high == 0).then_some(KeptId::Integer(low)),
            _ if kind == Kind::Uuid as u8 => Some(KeptId::Uuid(u128::from(high) << 64 | u128::from(low))),
            _ if kind == Kind::Text as u8 => Some(KeptId::Fingerprint(Fingerprint(words))),
            _ if kind == Kind::Anonymous as u8 => Some(KeptId::Anonymous(Fingerprint(words))),
            _ => None,
        }
    }

    pub(crate) fn words_and_kind(self) -> ([u64; 2], u8) {
        match self {
            KeptId::Integer(id) => ([id, 0], Kind::Integer as u8),
            KeptId::Uuid(id) => ([id as u64, (id >> 64) as u64], Kind::Uuid as u8),
            KeptId::Fingerprint(Fingerprint(words)) => (words, Kind::Text as u8),
            KeptId::Anonymous(Fingerprint(words)) => (words, Kind::Anonymous as u8),
        }
    }

    pub(crate) fn key(self, places: &Places) -> Key {
        let (words, kind) = self.words_and_kind();
        Key::kept(words, kind, places)
    }
}

fn serialize_uuid<S: Serializer>(id: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{id:032x}"))
}

impl fmt::Display for KeptId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeptId::Integer(id) => write!(out, "{id}"),
            KeptId::Uuid(id) => write!(out, "uuid:{id:032x}"),
            KeptId::Fingerprint(id) => write!(out, "text:{id}"),
            KeptId::Anonymous(id) => write!(out, "anonymous:{id}"),
        }
    }
}

/// A tier of a limiter's policy, found by name once ([`Limiter::tier`](crate::Limiter::tier)) and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tier(u8);

impl Tier {
    pub(crate) fn from_index(index: usize) -> Option<Tier> {
        u8::try_from(index).ok().map(Tier)
    }

    #[inline]
    pub(crate) fn as_u8(self) -> u8 {
        self.0
    }
}

/// A zone that a limiter's policy has among its `zones`, found by name once ([`Limiter::zone`](crate::Limiter::zone)) and kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Zone(u8);

impl Zone {
    pub(crate) fn from_index(index: usize) -> Option<Zone> {
        u8::try_from(index + 1).ok().map(Zone)
    }

    /// Its place in the policy's list, counted from 1; 0 for none.
    #[inline]
    pub(crate) fn as_u8(self) -> u8 {
        self.0
    }
}

/// An organization, hashed once ([`Limiter::organization`](crate::Limiter::organization)) and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Organization {
    pub(crate) key: Key,
    pub(crate) zone: Zone,
}

impl Organization {
    /// The same organization in a zone of its own: its quotas and those of its accounts follow that, and not its tier's. What
    /// many share stays as it is: the tier's total, pool and cohorts.
    ///
    /// When it comes in another zone than before, a window that it was in goes on until it ends. The window of the new zone in
    /// which that end lies counts as the same one: what was used is used there, too. So nothing is granted twice, however
    /// often it moves, and it waits for one window at the most.
    ///
    /// ```
    /// use tollgate::{Limiter, Plan};
    ///
    /// let plan = Plan::from_toml(
    ///     r#"
    ///     version = 1
    ///     zones = ["Europe/Berlin", "America/New_York"]
    ///     meters = ["requests"]
    ///     capacity = { accounts = 1000, organizations = 100 }
    ///     [tiers.free]
    ///     total = "unlimited"
    ///     organization.requests = { quota = "1k/day" }
    ///     "#,
    /// )?;
    /// let limiter = Limiter::builder(plan).build()?;
    /// let (free, berlin) = (limiter.tier("free").unwrap(), limiter.zone("Europe/Berlin").unwrap());
    /// let acme = limiter.organization("acme").in_zone(berlin);
    /// let _caller = limiter.identity(free, "acct_17").in_organization(acme);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn in_zone(self, zone: Zone) -> Organization {
        Organization { zone, ..self }
    }
}

/// Who makes a request: an account, its organization if it has one, with its zone, its tier, and since when it exists.
///
/// Built once, when the caller is authenticated ([`Limiter::identity`](crate::Limiter::identity)); `Copy`, and
/// already hashed. It means something only to the limiter that built it and to that limiter's clones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(crate) account: Key,
    pub(crate) organization: Option<Key>,
    pub(crate) tier: Tier,
    /// Of the organization.
    pub(crate) zone: Zone,
    pub(crate) since: Option<i64>,
}

impl Identity {
    pub(crate) fn new(account: Key, tier: Tier) -> Identity {
        Identity { account, organization: None, tier, zone: Zone::default(), since: None }
    }

    /// The same caller as a member of `organization`.
    #[must_use]
    pub fn in_organization(mut self, organization: Organization) -> Identity {
        self.organization = Some(organization.key);
        self.zone = organization.zone;
        self
    }

    /// The same caller, whose account was created at `unix` nanoseconds since 1970-01-01T00:00:00Z. An account
    /// whose age is not told is not treated as new.
    #[must_use]
    pub fn since(mut self, unix: i64) -> Identity {
        self.since = Some(unix);
        self
    }

    /// Nanoseconds since the account was made, at `unix`; as old as can be where that is not known.
    #[inline]
    pub(crate) fn age(&self, unix: i64) -> u64 {
        let since = self.since.unwrap_or(i64::MIN);
        u64::try_from(unix.saturating_sub(since)).unwrap_or(0)
    }

    /// The tier that selects the caller's limits.
    pub fn tier(&self) -> Tier {
        self.tier
    }
}
