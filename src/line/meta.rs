//! What a header says besides the control word: whose line it is, and how its subject is tightened.

use crate::{bucket::Factor, id::Key};

pub(super) const KEY: usize = 1;
pub(super) const META: usize = 3;
pub(super) const FACTOR: usize = 4;
/// Meta, bits 0-2: the kind of the key; 0 in a slot that holds nobody.
const KIND_MASK: u64 = 0x7;
/// Meta, bits 3-8: the tier under whose rules the words are; a policy has at most 64.
const TIER_SHIFT: u32 = 3;
const TIER_MASK: u64 = 0x3f;
/// Meta, bits 17-22: the tier before that; the same where the subject has always been in one.
const BEFORE_SHIFT: u32 = 17;
/// Meta, bits 23-43: how often the words were converted to other rules, wrapping; what a permit noted in another
/// epoch does not speak of these words.
const EPOCH_SHIFT: u32 = 23;
const EPOCH_MASK: u64 = 0x1f_ffff;
/// Meta, bits 44-63: open permits, a million at most. While there is one, the slot keeps its subject.
const PERMITS_SHIFT: u32 = 44;
const MOST_PERMITS: u32 = (1 << (64 - PERMITS_SHIFT)) - 1;

/// Factor word, bits 52-63: sixteenths; 0 for none.
const FACTOR_SHIFT: u32 = 52;
/// Factor word, bits 40-51: the cohort that the subject is charged to as well; 0 for none.
const COHORT_SHIFT: u32 = 40;
const COHORT_MASK: u64 = 0xfff;
/// Factor word, bits 0-39: when both end, in units of 2^20 ns (1 ms), rounded up. Limiter time ends at 2^60 ns.
const EXPIRY_SHIFT: u32 = 20;
const EXPIRY_MASK: u64 = (1 << COHORT_SHIFT) - 1;

/// The kind of the key, the tier of the words, their epoch, and the open permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta(pub(super) u64);

impl Meta {
    /// The bits of the kind of the key.
    pub(super) const KIND: u64 = KIND_MASK;
    /// The bits of the kind of the key and of the tier.
    pub(super) const KIND_AND_TIER: u64 = KIND_MASK | TIER_MASK << TIER_SHIFT;

    /// Of a line that no key finds: a tier's total, an overflow line.
    pub(crate) fn unnamed(tier: u8) -> Meta {
        let tier = u64::from(tier) & TIER_MASK;
        Meta(tier << TIER_SHIFT | tier << BEFORE_SHIFT)
    }

    pub(crate) fn of(key: &Key, tier: u8) -> Meta {
        Meta(u64::from(key.kind) & KIND_MASK | Meta::unnamed(tier).0)
    }

    pub(crate) fn kind(self) -> u8 {
        (self.0 & KIND_MASK) as u8
    }

    #[inline]
    pub(crate) fn tier(self) -> u8 {
        (self.0 >> TIER_SHIFT & TIER_MASK) as u8
    }

    /// Whether `tier` is the one that the subject had left for the one that it is in.
    pub(crate) fn had_left(self, tier: u8) -> bool {
        let before = (self.0 >> BEFORE_SHIFT & TIER_MASK) as u8;
        before == tier && before != self.tier()
    }

    #[inline]
    pub(crate) fn epoch(self) -> u32 {
        (self.0 >> EPOCH_SHIFT & EPOCH_MASK) as u32
    }

    pub(crate) fn open_permits(self) -> u32 {
        (self.0 >> PERMITS_SHIFT) as u32
    }

    pub(super) fn with_open_permits(self, open: u32) -> Meta {
        Meta(self.0 & !(u64::MAX << PERMITS_SHIFT) | u64::from(open.min(MOST_PERMITS)) << PERMITS_SHIFT)
    }

    /// The same subject under the rules of `tier`, in the next epoch.
    pub(super) fn converted(self, tier: u8) -> Meta {
        let epoch = u64::from(self.epoch().wrapping_add(1)) & EPOCH_MASK;
        let tier = (u64::from(tier) & TIER_MASK) << TIER_SHIFT | u64::from(self.tier()) << BEFORE_SHIFT;
        let meta = tier | u64::from(self.kind()) | epoch << EPOCH_SHIFT;
        Meta(meta).with_open_permits(self.open_permits())
    }
}

/// What evidence has done to a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) factor: Factor,
    /// The cohort that it is charged to as well; 0 for none.
    pub(crate) cohort: u16,
    /// When both end.
    pub(crate) until: u64,
}

impl Standing {
    /// Of a subject that nothing was done to.
    pub(crate) const GOOD: Standing = Standing { factor: Factor::ONE, cohort: 0, until: 0 };

    /// What a factor word says at `now`: nothing where none is set or it has expired.
    pub(super) fn at(word: u64, now: u64) -> Standing {
        if !is_before_expiry(word, now) {
            return Standing::GOOD;
        }
        Standing {
            factor: Factor::from_sixteenths((word >> FACTOR_SHIFT) as u16),
            cohort: (word >> COHORT_SHIFT & COHORT_MASK) as u16,
            until: (word & EXPIRY_MASK) << EXPIRY_SHIFT,
        }
    }

    pub(super) fn word(self) -> u64 {
        let expiry = self.until.div_ceil(1 << EXPIRY_SHIFT).min(EXPIRY_MASK);
        // A factor is at most 64, 1024 sixteenths.
        u64::from(self.factor.sixteenths()) << FACTOR_SHIFT
            | (u64::from(self.cohort) & COHORT_MASK) << COHORT_SHIFT
            | expiry
    }
}

/// Whether a factor word is set and has not expired at `now`.
#[inline]
pub(super) fn is_before_expiry(word: u64, now: u64) -> bool {
    now >> EXPIRY_SHIFT < word & EXPIRY_MASK
}
