//! The step of a quota bucket: a calendar window's number above its use, in one word.
//!
//! Numbers only grow (1970 is 0, a fresh word), so a word of an earlier window needs no sweeping: it is read as
//! the current window with what it overran, if anything. A request whose clock was read before the bucket moved
//! on is *behind*: it is decided again in the bucket's window, since its own has been closed.
//!
//! The highest bit of the use is a flag: *forgiven*, what is beyond the limit is not carried, since another policy allowed it
//! when it was used.

use crate::{
    bucket::Step,
    calendar::{Calendar, Window},
    decision::{Refusal, Wait},
    policy::plan::Quota,
};

/// Window number and use of a word.
#[inline]
pub(crate) fn unpack(quota: &Quota, word: u64) -> (u64, u64) {
    (word >> Quota::number_shift(quota.period), word & mask(quota))
}

/// The window's number alone.
pub(crate) fn number(quota: &Quota, word: u64) -> u32 {
    // Windows have fewer numbers.
    u32::try_from(unpack(quota, word).0).unwrap_or(u32::MAX)
}

/// The place of the calendar that a word is in the windows of; `None` of a fresh one, which may come to be in any.
#[inline]
pub(crate) fn place(quota: &Quota, word: u64) -> Option<u8> {
    match (quota.calendars, word) {
        (0, _) => Some(quota.calendar),
        (_, 0) => None,
        // A place among at most 255 calendars.
        _ => Some(((word & quota.place_mask()) >> quota.use_bits) as u8),
    }
}

/// The same word in the windows of the calendar at `place`.
pub(crate) fn in_place(quota: &Quota, word: u64, place: u8) -> u64 {
    let mask = quota.place_mask();
    word & !mask | u64::from(place) << quota.use_bits & mask
}

/// The use of a word as one of window `number` of the calendar at `place`.
pub(crate) fn moved(quota: &Quota, word: u64, number: u32, place: u8) -> u64 {
    let moved = pack(quota, 0, u64::from(number), unpack(quota, word).1) | word & forgiven(quota);
    in_place(quota, moved, place)
}

/// What tells the window that a word is in from all others, under whatever policy: number and calendar.
pub(crate) fn mark(quota: &Quota, word: u64) -> u64 {
    unpack(quota, word).0 | u64::from(place(quota, word).unwrap_or(quota.calendar)) << u32::BITS
}

/// The flag of a word.
#[inline]
fn forgiven(quota: &Quota) -> u64 {
    1 << (quota.use_bits - 1)
}

/// In the calendar that `word` is in.
#[inline]
fn pack(quota: &Quota, word: u64, number: u64, used: u64) -> u64 {
    number << Quota::number_shift(quota.period) | word & quota.place_mask() | used.min(mask(quota))
}

#[inline]
fn mask(quota: &Quota) -> u64 {
    (1 << (quota.use_bits - 1)) - 1
}

/// The use that counts in window `number`: the word's own, or what an earlier window overran and the windows
/// between have not absorbed.
#[inline]
pub(crate) fn used_in(quota: &Quota, word: u64, number: u64) -> u64 {
    let (held, used) = unpack(quota, word);
    if held >= number || used == 0 { used } else { carried(quota, word, number - held) }
}

#[cold]
fn carried(quota: &Quota, word: u64, windows: u64) -> u64 {
    let used = if word & forgiven(quota) == 0 { unpack(quota, word).1 } else { 0 };
    used.saturating_sub(quota.limit.saturating_mul(windows))
}

#[inline]
pub(crate) fn charge(quota: &Quota, word: u64, amount: u64, window: Window) -> Step {
    let number = u64::from(window.number);
    if unpack(quota, word).0 > number {
        return Step::Behind;
    }
    let used = used_in(quota, word, number);
    if used <= quota.limit && amount <= quota.limit - used {
        Step::Admit(pack(quota, word, number, used + amount))
    } else {
        Step::Refuse
    }
}

/// Whether `amount` fits into what is left besides `withheld` tokens, or nothing is used of the window; it is at most the
/// limit.
pub(crate) fn spares(quota: &Quota, used: u64, amount: u64, withheld: u64) -> bool {
    used <= room_beside(quota, amount, withheld)
}

/// The use beside which `amount` is admitted without `withheld` tokens.
fn room_beside(quota: &Quota, amount: u64, withheld: u64) -> u64 {
    let rest = quota.limit.saturating_sub(withheld);
    rest - amount.min(rest)
}

/// Why [`charge`] refused, or [`spares`] did; `at` turns unix time into limiter time.
pub(crate) fn refusal(
    quota: &Quota,
    calendar: &Calendar,
    word: u64,
    (amount, withheld): (u64, u64),
    window: Window,
    at: impl Fn(i64) -> u64,
) -> Refusal {
    let used = used_in(quota, word, u64::from(window.number));
    let left = quota.limit.saturating_sub(used).saturating_sub(withheld);
    if amount > quota.limit {
        return Refusal { wait: Wait::Never, left };
    }
    // Each window absorbs one limit of what was overrun, and the next all of it where that was allowed.
    let used = if word & forgiven(quota) == 0 { used } else { used.min(quota.limit) };
    let over = used.saturating_sub(room_beside(quota, amount, withheld));
    let windows = over.div_ceil(quota.limit.max(1));
    let mut end = window.end;
    for _ in 1..windows.min(MOST_WINDOWS) {
        end = calendar.window_at(end).end;
    }
    Refusal { wait: Wait::At(at(end)), left }
}

/// A wait is followed through at most this many windows; beyond, a retry is told the next refusal.
const MOST_WINDOWS: u64 = 1_000;

/// Gives `amount` back to the window that was charged; answers the word, the same if that window is over.
pub(crate) fn refund(quota: &Quota, word: u64, charged: u64, amount: u64) -> u64 {
    let (held, used) = unpack(quota, word);
    if held == charged {
        pack(quota, word, held, used.saturating_sub(amount)) | word & forgiven(quota)
    } else {
        word
    }
}

/// Records what was settled beyond the reservation, whatever the limit.
pub(crate) fn overage(quota: &Quota, word: u64, extra: u64, window: Window) -> u64 {
    let (held, _) = unpack(quota, word);
    let number = u64::from(window.number).max(held);
    let flag = if number == held { word & forgiven(quota) } else { 0 };
    pack(quota, word, number, used_in(quota, word, number).saturating_add(extra)) | flag
}

/// Charges `amount` whatever the limit; what is beyond counts in this window, and in no other.
pub(crate) fn force(quota: &Quota, word: u64, amount: u64, window: Window) -> u64 {
    let number = u64::from(window.number).max(unpack(quota, word).0);
    pack(quota, word, number, used_in(quota, word, number).saturating_add(amount)) | forgiven(quota)
}

/// The same word where what is beyond `limit` was allowed: it counts in this window, and in no other.
pub(crate) fn allowed(quota: &Quota, word: u64, limit: u64) -> u64 {
    if unpack(quota, word).1 > limit { word | forgiven(quota) } else { word }
}

/// The word of a bucket of `old` as one of `new`, in the same windows: those of the calendar at `place`.
///
/// What another policy allowed in a window counts in that window, and in no other.
pub(crate) fn carry_over(old: &Quota, new: &Quota, word: u64, place: u8) -> u64 {
    let (number, used) = unpack(old, word);
    let allowed = used <= old.limit || word & forgiven(old) != 0;
    let flag = if allowed && used > new.limit { forgiven(new) } else { 0 };
    in_place(new, pack(new, 0, number, used) | flag, place)
}

/// The word that counts `used` in `window` of the quota's own calendar.
pub(crate) fn restate(quota: &Quota, used: u64, window: Window) -> u64 {
    in_place(quota, pack(quota, 0, u64::from(window.number), used), quota.calendar)
}

/// The word of a bucket that is in `window` at the least: what it had carried over until then is used there.
pub(crate) fn not_before(quota: &Quota, word: u64, window: Window) -> u64 {
    let number = u64::from(window.number);
    if number <= unpack(quota, word).0 {
        word
    } else {
        pack(quota, word, number, used_in(quota, word, number))
    }
}

/// A word that owes as much as either of two: in the later window, or where zones differ, what may be either.
pub(crate) fn greater(quota: &Quota, one: u64, other: u64) -> u64 {
    let later = one.max(other);
    if one == 0 || other == 0 || place(quota, one) == place(quota, other) {
        return later;
    }
    pack(quota, later, unpack(quota, later).0, unpack(quota, one).1.max(unpack(quota, other).1))
}
