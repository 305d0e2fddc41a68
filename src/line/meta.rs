//! What a header says besides the control word: whose line it is, and how its subject is tightened.

use crate::{bucket::Factor, id::Key, policy::plan::Under};

pub(super) const KEY: usize = 1;
pub(super) const META: usize = 3;
pub(super) const FACTOR: usize = 4;
/// Meta, bits 0-2: the kind of the key; 0 in a slot that holds nobody.
const KIND_MASK: u64 = 0x7;
/// Meta, bits 3-11: under which rules the words are, a tier and a plan.
const UNDER_SHIFT: u32 = 3;
/// Meta, bits 12-17: the tier before that; the same where the subject has always been in one.
const BEFORE_SHIFT: u32 = 12;
const BEFORE_MASK: u64 = 0x3f;
/// Meta, bits 18-42: how often the words were converted to other rules, wrapping; what a permit noted in another
/// epoch does not speak of these words.
const EPOCH_SHIFT: u32 = 18;
const EPOCH_MASK: u64 = 0x1ff_ffff;
/// Meta, bit 43: whether the subject came with another tier while a permit was open that may still be.
const MOVED: u64 = 1 << 43;
/// Meta, bits 44-63: open permits, a million at most; that many, it is not known any more when none is. While there is one,
/// the slot keeps its subject.
const PERMITS_SHIFT: u32 = 44;
const MOST_PERMITS: u32 = (1 << (64 - PERMITS_SHIFT)) - 1;

/// Factor word, bit 63: there is an exception to be looked up.
const MARK: u64 = 1 << 63;
/// Factor word, bits 52-62: sixteenths; 0 for none.
const FACTOR_SHIFT: u32 = 52;
const FACTOR_MASK: u64 = 0x7ff;
/// Factor word, bit 51: parts of the line are leased. Then bits 40-50 say which stripes hold them, and bits 0-39 until when
/// more are; there is no factor, and no cohort.
const LEASED: u64 = 1 << 51;
/// Factor word, bits 40-50: the cohort that the subject is charged to as well; 0 for none.
const COHORT_SHIFT: u32 = 40;
const COHORT_MASK: u64 = 0x7ff;
/// Factor word, bits 0-39: when both end, in units of 2^20 ns (1 ms), rounded up. Limiter time ends at 2^60 ns.
const EXPIRY_SHIFT: u32 = 20;
const EXPIRY_MASK: u64 = (1 << COHORT_SHIFT) - 1;

/// The kind of the key, the rules of the words, their epoch, and the open permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta(pub(super) u64);

impl Meta {
    /// The bits of the kind of the key.
    pub(super) const KIND: u64 = KIND_MASK;
    /// The bits of the kind of the key and of the rules.
    pub(super) const KIND_AND_UNDER: u64 = KIND_MASK | Under::MASK << UNDER_SHIFT;

    /// Of a line that no key finds: a tier's total, an overflow line.
    #[inline]
    pub(crate) fn unnamed(under: Under) -> Meta {
        Meta(under.bits() << UNDER_SHIFT | u64::from(under.tier()) << BEFORE_SHIFT)
    }

    #[inline]
    pub(crate) fn of(key: &Key, under: Under) -> Meta {
        Meta(u64::from(key.kind) & KIND_MASK | Meta::unnamed(under).0)
    }

    pub(crate) fn kind(self) -> u8 {
        (self.0 & KIND_MASK) as u8
    }

    /// Under which rules the words are.
    #[inline]
    pub(crate) fn under(self) -> Under {
        Under::from_bits(self.0 >> UNDER_SHIFT)
    }

    /// Whether `tier` is the one that the subject had left for the one that it is in.
    pub(crate) fn had_left(self, tier: u8) -> bool {
        let before = (self.0 >> BEFORE_SHIFT & BEFORE_MASK) as u8;
        before == tier && before != self.under().tier()
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

    pub(super) fn with_one_closed(self) -> Meta {
        match self.open_permits() {
            MOST_PERMITS => self,
            open => self.with_open_permits(open.saturating_sub(1)),
        }
    }

    /// Whether the subject may have been in other tiers since a permit that is open was charged.
    pub(crate) fn moved(self) -> bool {
        self.0 & MOVED != 0
    }

    /// The same subject under rules that count as those do that it is under, of the same tier.
    pub(super) fn relabeled(self, under: Under) -> Meta {
        Meta(self.0 & !(Under::MASK << UNDER_SHIFT) | under.bits() << UNDER_SHIFT)
    }

    /// The same subject under other rules, in the next epoch.
    pub(super) fn converted(self, under: Under) -> Meta {
        let epoch = u64::from(self.epoch().wrapping_add(1)) & EPOCH_MASK;
        let before = match self.under().tier() {
            // Another plan is no move.
            same if same == under.tier() => self.0 & (BEFORE_MASK << BEFORE_SHIFT | MOVED),
            left => u64::from(left) << BEFORE_SHIFT | MOVED,
        };
        let before = if self.open_permits() == 0 { before & !MOVED } else { before };
        let meta = under.bits() << UNDER_SHIFT | before | u64::from(self.kind()) | epoch << EPOCH_SHIFT;
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
    /// Whether there is an exception to be looked up, which has an end of its own.
    pub(crate) marked: bool,
}

impl Standing {
    /// Of a subject that nothing was done to.
    pub(crate) const GOOD: Standing = Standing { factor: Factor::ONE, cohort: 0, until: 0, marked: false };

    /// What a factor word says at `now`: nothing where none is set or it has expired.
    pub(super) fn at(word: u64, now: u64) -> Standing {
        let marked = word & MARK != 0;
        if may_be_leased(word) || !is_before_expiry(word, now) {
            return Standing { marked, ..Standing::GOOD };
        }
        Standing {
            factor: Factor::from_sixteenths((word >> FACTOR_SHIFT & FACTOR_MASK) as u16),
            cohort: (word >> COHORT_SHIFT & COHORT_MASK) as u16,
            until: (word & EXPIRY_MASK) << EXPIRY_SHIFT,
            marked,
        }
    }

    pub(super) fn word(self) -> u64 {
        // A factor is at most 64, 1024 sixteenths.
        u64::from(self.factor.sixteenths()) << FACTOR_SHIFT
            | (u64::from(self.cohort) & COHORT_MASK) << COHORT_SHIFT
            | expiry(self.until)
            | if self.marked { MARK } else { 0 }
    }
}

fn expiry(until: u64) -> u64 {
    until.div_ceil(1 << EXPIRY_SHIFT).min(EXPIRY_MASK)
}

/// The factor word of a line of which the stripes numbered `lot` take leases until `until`.
pub(super) fn leased(lot: usize, until: u64) -> u64 {
    LEASED | (lot as u64 & COHORT_MASK) << COHORT_SHIFT | expiry(until)
}

/// Whether a factor word says that a stripe may hold a lease.
#[inline]
pub(super) fn may_be_leased(word: u64) -> bool {
    word & LEASED != 0
}

/// The number of the stripes that may hold leases, if any do.
#[inline]
pub(super) fn lot(word: u64) -> Option<usize> {
    may_be_leased(word).then_some((word >> COHORT_SHIFT & COHORT_MASK) as usize)
}

/// Whether a factor word says that there is an exception.
pub(super) fn is_marked(word: u64) -> bool {
    word & MARK != 0
}

/// Whether a factor word is set and has not expired at `now`.
#[inline]
pub(super) fn is_before_expiry(word: u64, now: u64) -> bool {
    now >> EXPIRY_SHIFT < word & EXPIRY_MASK
}

/// The same factor word, with the mark or without it.
pub(super) fn marked_as(word: u64, marked: bool) -> u64 {
    if marked { word | MARK } else { word & !MARK }
}
