//! When a decision is taken, and which calendar windows a quota's bucket is in then.
//!
//! # Zones
//!
//! A quota that follows the zone of its caller's organization is in one calendar at a time, which its word tells; so it can
//! be read by whoever does not know the caller. Invariant: *windows that are entered one after another do not overlap*, whatever
//! zones requests come with. A window that was entered goes on to its end, whoever asks. After that, the window of another
//! zone in which it ended counts as the same one: what was used is used there, too, and the bucket is fresh with the next. So
//! two zones that take turns have no more than one, and who changes zone waits for at most one window.

use std::sync::Arc;

use super::quota;
use crate::{
    calendar::{Calendar, Window},
    policy::plan::{Follows, Limit, Quota},
    time::{Anchor, Nanos},
};

/// When a decision is taken: limiter time, and what turns it into calendar time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) now: u64,
    pub(crate) anchor: Anchor,
    pub(crate) calendars: &'a [Arc<Calendar>],
    pub(crate) follows: Follows,
}

/// A quota's bucket, seen by a caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entered<'a> {
    /// In windows of the calendar.
    pub(crate) word: u64,
    pub(crate) calendar: &'a Calendar,
    /// The one that is now.
    pub(crate) window: Window,
}

impl<'a> Moment<'a> {
    /// Of nobody who asks.
    pub(crate) const fn new(now: u64, anchor: Anchor, calendars: &'a [Arc<Calendar>]) -> Moment<'a> {
        Moment { now, anchor, calendars, follows: Follows::Bucket }
    }

    /// The same, of a caller.
    #[inline]
    pub(crate) fn following(self, follows: Follows) -> Moment<'a> {
        Moment { follows, ..self }
    }

    #[inline]
    pub(crate) fn unix(&self) -> i64 {
        self.anchor.unix(self.now)
    }

    /// Limiter time of an instant of unix time.
    pub(super) fn limiter_time(&self, unix: i64) -> u64 {
        self.anchor.limiter_time(unix)
    }

    fn calendar(&self, place: u8) -> Option<&'a Calendar> {
        self.calendars.get(usize::from(place)).map(|calendar| &**calendar)
    }

    /// The window of a calendar that is now.
    #[inline]
    pub(super) fn window(&self, calendar: u8) -> Option<(&'a Calendar, Window)> {
        let calendar = self.calendar(calendar)?;
        Some((calendar, calendar.window_at(self.unix())))
    }

    /// The bucket of a quota that holds `word`, in the windows that a charge counts in.
    #[inline]
    pub(super) fn enter(&self, quota: &Quota, word: u64) -> Option<Entered<'a>> {
        if quota.calendars == 0 {
            let (calendar, window) = self.window(quota.calendar)?;
            return Some(Entered { word, calendar, window });
        }
        self.enter_a_zone(quota, word, true)
    }

    /// The same as far as a caller will find it who waits for what is used to pass: in its own windows, from the one on in
    /// which one of another zone ends.
    pub(super) fn foresee(&self, quota: &Quota, word: u64) -> Option<Entered<'a>> {
        if quota.calendars == 0 { self.enter(quota, word) } else { self.enter_a_zone(quota, word, false) }
    }

    /// The window that the bucket of a quota is in which holds `word`, or would be in if it were charged.
    pub(crate) fn window_of(&self, quota: &Quota, word: u64) -> Option<Window> {
        self.enter(quota, word).map(|entered| entered.window)
    }

    /// `goes_on`: a window of another zone does until it ends.
    #[inline(never)]
    fn enter_a_zone(&self, quota: &Quota, word: u64, goes_on: bool) -> Option<Entered<'a>> {
        let (held, unix) = (quota::place(quota, word), self.unix());
        let own = match self.follows {
            Follows::Bucket => held.unwrap_or(quota.calendar),
            Follows::Tier => quota.calendar,
            Follows::Zone(calendars) => {
                let of_period = calendars.get(quota.period as usize).copied().flatten();
                // One that has come since is not told apart by the words of a tier which is gone.
                of_period.filter(|place| *place < quota.calendars).unwrap_or(quota.calendar)
            }
        };
        let calendar = self.calendar(own)?;
        let entered = |word, unix| Entered { word, calendar, window: calendar.window_at(unix) };
        match held {
            Some(held) if held == own => Some(entered(word, unix)),
            None => Some(entered(quota::in_place(quota, word, own), unix)),
            Some(held) => {
                let other = self.calendar(held)?;
                let end = other.start_of(quota::number(quota, word).saturating_add(1));
                if goes_on && unix < end {
                    return Some(Entered { word, calendar: other, window: other.window_at(unix) });
                }
                // The window in which the other one ended.
                let last = end.saturating_sub(1);
                let into = calendar.window_at(last).number;
                Some(entered(quota::moved(quota, word, into, own), unix.max(last)))
            }
        }
    }

    /// Whether nobody who asks, in whatever zone, finds any use of the bucket of a quota that holds `word`.
    pub(super) fn is_over(&self, quota: &Quota, word: u64) -> bool {
        let bucket = self.following(Follows::Bucket);
        let Some(Entered { word, calendar, window }) = bucket.enter(quota, word) else { return true };
        let is_used = quota::used_in(quota, word, u64::from(window.number)) != 0;
        if quota.calendars == 0 || quota::unpack(quota, word).1 == 0 {
            return !is_used;
        }
        // In another zone, its window counts as one that may only just have begun when it ended.
        let end = calendar.start_of(quota::number(quota, word).saturating_add(1));
        !is_used && self.unix() >= end.saturating_add_unsigned(quota.period.longest())
    }

    /// The same with `now` moved to the start of the window that `word` is in, for a request that is behind it.
    pub(crate) fn caught_up_with(mut self, limit: &Limit, word: u64) -> Self {
        let before = self.now;
        if let Limit::Quota(quota) = limit
            && let Some(calendar) = self.calendar(quota::place(quota, word).unwrap_or(quota.calendar))
        {
            self.now = self.limiter_time(calendar.start_of(quota::number(quota, word)));
        }
        // Later in any case, so that catching up comes to an end.
        self.now = Nanos::new(self.now.max(before.saturating_add(1))).as_u64();
        self
    }
}
