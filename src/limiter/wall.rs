//! The wall clock, as calendars follow it.
//!
//! Invariant: the unix time that decisions see never goes back, and never runs ahead of what the wall clock has shown by
//! more than it was itself stepped back since. `maintain` compares the wall clock with what limiter time makes of it:
//!
//! - Where it was stepped *back*, unix time stands still until the clock has caught up. The windows of that hour or day were
//!   granted once, and are not granted again.
//! - Where it was stepped *forward*, by at most [`MOST_FORWARD`], unix time goes along: windows between are skipped, and
//!   none is granted twice, since a step back from there holds.
//! - A step forward beyond is refused and reported: a clock that shows another year would close all windows until then, and
//!   correcting it would hold them for as long.
//!
//! # Orderings
//!
//! Whoever steps back stores `held` before `origin` (`Release`); whoever reads loads `origin` (`Acquire`) before `held`, so
//! that the later origin is never seen without what holds it. Of an earlier origin and a later `held` nothing goes back.

use super::{Limiter, Shared};
use crate::{
    sync::{AtomicU64, Mutex, Ordering},
    time::{Anchor, Nanos},
};

/// Nanoseconds that a step forward may have: a day, and the hour that clocks are off by where a zone was mistaken.
const MOST_FORWARD: i64 = 25 * 3_600_000_000_000;
/// Nanoseconds from which a correction is told as a step; less is drift.
const LEAST_STEP: i64 = 1_000_000_000;

/// The anchor of calendar time, moved by one thread at a time.
#[derive(Debug)]
pub(super) struct Wall {
    origin: AtomicU64,
    held: AtomicU64,
    moves: Mutex<()>,
}

/// What [`Limiter::maintain`] found the wall clock to have done since it was last looked at, in nanoseconds; less than a
/// second is drift, and followed without a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WallClock {
    /// It went along with the limiter's.
    #[default]
    Steady,
    /// It was stepped by this much, and calendars follow: a step back (below 0) holds windows until the clock has caught up.
    Stepped(i64),
    /// It was stepped forward by this much, more than 25 hours, and calendars do not follow
    /// ([`Limiter::trust_wall_clock`]).
    Refused(i64),
}

impl Wall {
    pub(super) fn new(origin: i64) -> Wall {
        let Anchor { origin, held } = Anchor::new(origin);
        Wall {
            origin: AtomicU64::new(origin.cast_unsigned()),
            held: AtomicU64::new(held.cast_unsigned()),
            moves: Mutex::new(()),
        }
    }

    #[inline]
    pub(super) fn anchor(&self) -> Anchor {
        let origin = self.origin.load(Ordering::Acquire).cast_signed();
        Anchor { origin, held: self.held.load(Ordering::Relaxed).cast_signed() }
    }

    /// Lets unix time stand still at `unix` until the clock has caught up with it.
    pub(super) fn hold(&self, unix: i64) {
        self.held.store(self.anchor().held.max(unix).cast_unsigned(), Ordering::Relaxed);
    }

    /// Follows a wall clock that shows `unix` at `now`, forward by at most `most`.
    fn follow(&self, now: Nanos, unix: i64, most: i64) -> WallClock {
        let Some(_moves) = self.moves.try_lock() else { return WallClock::Steady };
        let anchor = self.anchor();
        let origin = unix.saturating_sub(now.as_u64().cast_signed());
        let step = origin.saturating_sub(anchor.origin);
        if step > most {
            return WallClock::Refused(step);
        }
        if step < 0 {
            let held = anchor.unix(now.as_u64()).max(anchor.held);
            self.held.store(held.cast_unsigned(), Ordering::Relaxed);
        }
        self.origin.store(origin.cast_unsigned(), Ordering::Release);
        if step.saturating_abs() < LEAST_STEP { WallClock::Steady } else { WallClock::Stepped(step) }
    }
}

impl Limiter {
    /// Lets calendars follow the wall clock however far it was stepped forward: for an operator who knows that it is right,
    /// after a [`WallClock::Refused`].
    pub fn trust_wall_clock(&self) -> WallClock {
        self.shared.follow_wall_clock(i64::MAX)
    }
}

impl Shared {
    /// Follows the wall clock as `maintain` does.
    pub(super) fn keep_wall_clock(&self) -> WallClock {
        self.follow_wall_clock(MOST_FORWARD)
    }

    fn follow_wall_clock(&self, most: i64) -> WallClock {
        // Read together, or what lies between would be taken for a step.
        let (now, unix) = (self.now(), self.clock.unix());
        let found = self.wall.follow(now, unix, most);
        let counter = match found {
            WallClock::Steady => return found,
            WallClock::Stepped(_) => &self.counters.wall_steps,
            WallClock::Refused(_) => &self.counters.refused_wall_steps,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }
}
