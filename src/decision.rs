//! Receipt and denial as plain values, and the few words that they are made of.
//!
//! Nothing here allocates or borrows: a decision is returned by value on the request path, and a denial keeps
//! only the integers from which its wait is worked out, by a 128-bit division, when somebody asks.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// A short name kept in place, of at most `N` bytes of UTF-8: a tier, a meter, a rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name<const N: usize = 23> {
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

impl<const N: usize> Default for Name<N> {
    /// The empty name.
    fn default() -> Name<N> {
        Name { length: 0, bytes: [0; N] }
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
    /// The accounts that evidence ties to this one.
    Cohort,
    /// The organization that the account belongs to.
    Organization,
    /// All new accounts of the tier.
    Pool,
    /// The total of everyone in the tier.
    Tier,
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Level::Account => "account",
            Level::Cohort => "cohort",
            Level::Organization => "organization",
            Level::Pool => "pool",
            Level::Tier => "tier",
        })
    }
}

/// Nanoseconds of a minute.
const MINUTE: u64 = 60_000_000_000;
/// Bits behind the point of the supply that a rate gives in a nanosecond.
pub(crate) const SUPPLY_BITS: u32 = 61;

/// When a refusal passes, in the integers that a bucket has at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// When a permit that is open now is settled or dropped.
    OnRelease,
    /// At this instant of limiter time.
    At(u64),
    /// When the supply `(t * multiplier) >> SUPPLY_BITS` reaches `need`.
    Supply {
        need: u64,
        multiplier: u64,
    },
    Never,
}

impl Wait {
    /// The instant at which the refusal passes, where that is a matter of time.
    pub(crate) fn instant(self) -> Option<u64> {
        match self {
            Wait::OnRelease | Wait::Never => None,
            Wait::At(instant) => Some(instant),
            Wait::Supply { need, multiplier } => {
                // The least t with t * multiplier >= need << SUPPLY_BITS.
                let instant = (u128::from(need) << SUPPLY_BITS).div_ceil(u128::from(multiplier.max(1)));
                Some(u64::try_from(instant).unwrap_or(u64::MAX))
            }
        }
    }

    /// Later refusals are greater; a release, which no clock tells, comes before any instant.
    fn rank(self) -> (u8, u64) {
        match self {
            Wait::OnRelease => (0, 0),
            Wait::Never => (2, 0),
            timed => (1, timed.instant().unwrap_or(u64::MAX)),
        }
    }

    /// Whether this refusal passes after `other`. Two divisions at most; only a second refusal asks.
    pub(crate) fn passes_after(self, other: Wait) -> bool {
        self.rank() > other.rank()
    }
}

/// When it is worth coming back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// After this long, to the nanosecond: the same request, alone, is then admitted. Never zero.
    After(Duration),
    /// When one of the caller's open permits is settled or dropped; no clock tells when that is.
    OnRelease,
    /// Never: the cost exceeds what the rule can ever give, or a budget is spent.
    Never,
}

/// An admitted request that was charged, or in a [`peek`](crate::Limiter::peek) would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub(crate) at: u64,
    pub(crate) told: Told,
}

/// What a receipt tells besides when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) overflow: bool,
    /// Where a rule is used beyond its soft threshold; the first on the path.
    pub(crate) soft: Option<Level>,
    /// Where a rule that only watches would have refused; the first on the path.
    pub(crate) shadow: Option<Level>,
}

impl Told {
    /// What this says, and that: the first of each.
    pub(crate) fn and(self, then: Told) -> Told {
        Told {
            overflow: self.overflow || then.overflow,
            soft: self.soft.or(then.soft),
            shadow: self.shadow.or(then.shadow),
        }
    }
}

impl Receipt {
    /// The instant that the request was decided with, in nanoseconds of limiter time.
    ///
    /// It is the caller's `now`, or later: a request whose clock was read in one quota window and that comes to a
    /// bucket already in the next is decided at the start of that one.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Whether the account, or its organization, was charged on its tier's shared overflow line because the table
    /// is full of subjects that still owe something.
    pub fn overflow(&self) -> bool {
        self.told.overflow
    }

    /// Where a rule with a `soft` threshold is now used beyond it: the first such level on the path. For a server to tell its
    /// caller in good time; `explain` says which rule.
    pub fn soft(&self) -> Option<Level> {
        self.told.soft
    }

    /// Where a rule in `shadow` would have refused the request: the first such level on the path.
    pub fn would_deny(&self) -> Option<Level> {
        self.told.shadow
    }
}

/// A refused request: nothing was charged anywhere.
///
/// It names the refusal that passes last among all the buckets on the request's path. 128 bytes, no heap; the
/// wait is a 128-bit division, done when it is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    names: Names,
    /// The wait, taken apart so that this fits 128 bytes.
    need: u64,
    multiplier: u64,
    left: u64,
    at: u64,
    /// Sixteenths.
    factor: u16,
    /// Minutes.
    factor_for: u16,
    wait: WaitKind,
    level: Level,
    flags: u8,
}

/// What a denial names; a plan has them ready for each bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) tier: Name,
    pub(crate) meter: Name,
    /// Empty where the policy names none.
    pub(crate) step_up: Name,
    pub(crate) rule: RuleName,
}

/// The bucket was a shared overflow line.
const OVERFLOW: u8 = 1;
/// The bucket had that much, and kept it.
const WITHHELD: u8 = 2;
/// The bucket would have admitted that much but for the factor.
const TIGHTENED: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitKind {
    OnRelease,
    At,
    Supply,
    Never,
}

/// What a denial is made of besides names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) wait: Wait,
    /// What the bucket would still give now.
    pub(crate) left: u64,
}

/// How evidence, or a reserve, has made a bucket refuse.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Because {
    pub(crate) withheld: bool,
    /// Without the factor it would have admitted.
    pub(crate) tightened: bool,
    /// Sixteenths.
    pub(crate) factor: u16,
    /// When the factor ends.
    pub(crate) until: u64,
}

impl Denial {
    /// For there was too little.
    #[inline(always)]
    pub(crate) fn new(level: Level, names: Names, refusal: Refusal, at: u64) -> Denial {
        let (wait, need, multiplier) = match refusal.wait {
            Wait::OnRelease => (WaitKind::OnRelease, 0, 0),
            Wait::At(instant) => (WaitKind::At, instant, 0),
            Wait::Supply { need, multiplier } => (WaitKind::Supply, need, multiplier),
            Wait::Never => (WaitKind::Never, 0, 0),
        };
        let (left, factor, factor_for, flags) = (refusal.left, 16, 0, 0);
        Denial { names, need, multiplier, left, at, factor, factor_for, wait, level, flags }
    }

    /// The same on a shared overflow line.
    pub(crate) fn on_overflow(self) -> Denial {
        Denial { flags: self.flags | OVERFLOW, ..self }
    }

    /// The same with how evidence, or a reserve, has made the bucket refuse.
    pub(crate) fn because(self, Because { withheld, tightened, factor, until }: Because) -> Denial {
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        Denial {
            factor,
            factor_for: u16::try_from(until.saturating_sub(self.at).div_ceil(MINUTE)).unwrap_or(u16::MAX),
            flags: self.flags | flag(withheld, WITHHELD) | flag(tightened, TIGHTENED),
            ..self
        }
    }

    /// For an identity whose tier is none of the policy's: it came from another limiter.
    pub(crate) fn unknown_tier(at: u64) -> Denial {
        let unknown = Name::new("unknown").unwrap_or_default();
        let names = Names { tier: unknown, meter: unknown, step_up: Name::default(), rule: Name::default() };
        Denial::new(Level::Tier, names, Refusal { wait: Wait::Never, left: 0 }, at)
    }

    /// For nobody sees to it that the limits are kept as the policy has it: to be asked again in a minute.
    pub(crate) fn stalled(tier: Name, meter: Name, at: u64) -> Denial {
        let rule = Name::new("stalled").unwrap_or_default();
        let names = Names { tier, meter, step_up: Name::default(), rule };
        Denial::new(Level::Tier, names, Refusal { wait: Wait::At(at.saturating_add(MINUTE)), left: 0 }, at)
    }

    fn wait(&self) -> Wait {
        match self.wait {
            WaitKind::OnRelease => Wait::OnRelease,
            WaitKind::At => Wait::At(self.need),
            WaitKind::Supply => Wait::Supply { need: self.need, multiplier: self.multiplier },
            WaitKind::Never => Wait::Never,
        }
    }

    /// The level of the rule that refused.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The caller's tier.
    pub fn tier(&self) -> Name {
        self.names.tier
    }

    /// The meter of the rule that refused.
    pub fn meter(&self) -> Name {
        self.names.meter
    }

    /// The rule that refused.
    pub fn rule(&self) -> RuleName {
        self.names.rule
    }

    /// How much of the meter the rule would have admitted now.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The instant that the request was decided with, in nanoseconds of limiter time.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Whether the refusing bucket was a tier's shared overflow line (see [`Receipt::overflow`]).
    pub fn overflow(&self) -> bool {
        self.flags & OVERFLOW != 0
    }

    /// Whether the bucket had that much, and kept it: the last of what many share for those who have taken little, or of an
    /// account's own limits for when it is no longer new.
    pub fn withheld(&self) -> bool {
        self.flags & WITHHELD != 0
    }

    /// Whether the request would have been admitted there but for a [factor](Denial::factor_sixteenths).
    pub fn tightened(&self) -> bool {
        self.flags & TIGHTENED != 0
    }

    /// What multiplied the cost at the rule that refused, in sixteenths: 16 is as the policy has it.
    pub fn factor_sixteenths(&self) -> u16 {
        self.factor
    }

    /// How long the factor lasts if nothing more is seen, in whole minutes, rounded up, to 45 days; `None` where there is
    /// none.
    pub fn factor_for(&self) -> Option<Duration> {
        (self.factor_for > 0).then(|| Duration::from_secs(60 * u64::from(self.factor_for)))
    }

    /// The better verified tier that would lift this, if the policy names one.
    pub fn step_up(&self) -> Option<Name> {
        Some(self.names.step_up).filter(|name| !name.as_str().is_empty())
    }

    /// When it is worth coming back.
    pub fn retry(&self) -> Retry {
        let wait = self.wait();
        match (wait, wait.instant()) {
            (Wait::OnRelease, _) => Retry::OnRelease,
            // Limiter time ends at 2^60 ns; what would pass later never does.
            (_, Some(instant)) if instant <= 1 << 60 => {
                Retry::After(Duration::from_nanos(instant.saturating_sub(self.at).max(1)))
            }
            _ => Retry::Never,
        }
    }

    /// How long to wait; `None` where no time is known ([`Retry::OnRelease`], [`Retry::Never`]).
    pub fn retry_after(&self) -> Option<Duration> {
        match self.retry() {
            Retry::After(wait) => Some(wait),
            Retry::OnRelease | Retry::Never => None,
        }
    }

    /// Whether the same request can never be admitted.
    pub fn is_never(&self) -> bool {
        self.retry() == Retry::Never
    }
}

impl fmt::Debug for Denial {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Denial")
            .field("level", &self.level)
            .field("tier", &self.names.tier)
            .field("meter", &self.names.meter)
            .field("rule", &self.names.rule)
            .field("retry", &self.retry())
            .field("left", &self.left)
            .field("factor_sixteenths", &self.factor)
            .field("overflow", &self.overflow())
            .field("withheld", &self.withheld())
            .field("tightened", &self.tightened())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Denial { level, names: Names { meter, rule, tier, .. }, left, .. } = self;
        write!(out, "refused by the {level} limit {meter}/{rule} of tier {tier}: {left} left")?;
        match self.retry() {
            Retry::After(wait) => write!(out, ", retry after {wait:?}"),
            Retry::OnRelease => out.write_str(", retry when a request in flight has ended"),
            Retry::Never => out.write_str(", a retry can never succeed"),
        }
    }
}

impl std::error::Error for Denial {}

impl Serialize for Denial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let retry = self.retry();
        let nanos = match retry {
            Retry::After(wait) => u64::try_from(wait.as_nanos()).ok(),
            Retry::OnRelease | Retry::Never => None,
        };
        let mut fields = serializer.serialize_struct("Denial", 12)?;
        fields.serialize_field("level", &self.level)?;
        fields.serialize_field("tier", &self.names.tier)?;
        fields.serialize_field("meter", &self.names.meter)?;
        fields.serialize_field("rule", &self.names.rule)?;
        fields.serialize_field("left", &self.left)?;
        fields.serialize_field("retry_after_ns", &nanos)?;
        fields.serialize_field("never", &(retry == Retry::Never))?;
        fields.serialize_field("overflow", &self.overflow())?;
        fields.serialize_field("withheld", &self.withheld())?;
        fields.serialize_field("tightened", &self.tightened())?;
        fields.serialize_field("factor_sixteenths", &self.factor)?;
        fields.serialize_field("step_up", &self.step_up())?;
        fields.end()
    }
}
