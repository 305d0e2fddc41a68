//! `Nanos` and the clocks.
//!
//! Two times are kept apart. *Limiter time* is monotonic and starts at 0 when the clock is made; every rate
//! is decided by it. *Wall time* is what calendars are about; the limiter takes it as an offset to limiter time
//! ([`Anchor`]), when it is built and at `maintain`, so that a clock step on the host cannot grant a quota window twice.
#![expect(
    clippy::disallowed_types,
    reason = "the manual clock stands outside the models, and steps wall time either way"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// An instant of a limiter's clock, in nanoseconds since the clock's origin.
///
/// Only a limiter makes one ([`Limiter::now`](crate::Limiter::now)), so a decision cannot be dated by
/// arithmetic of the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(u64);

impl Nanos {
    /// The last instant: 2^60 ns, 36 years and a half after the clock's origin. A clock that runs further
    /// stays here: rate buckets then no longer refill, which errs on the safe side.
    pub const MAX: Nanos = Nanos(1 << 60);

    pub(crate) const fn new(nanos: u64) -> Nanos {
        if nanos > Nanos::MAX.0 { Nanos::MAX } else { Nanos(nanos) }
    }

    /// Nanoseconds since the clock's origin.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// What turns limiter time into unix time.
///
/// Unix time never goes back: where the wall clock was stepped back it stands still at `held` until the clock has caught
/// up, so that a calendar window which was entered is not left for an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// Unix time at limiter time 0.
    pub(crate) origin: i64,
    /// Unix time that has been reached.
    pub(crate) held: i64,
}

impl Anchor {
    pub(crate) const fn new(origin: i64) -> Anchor {
        Anchor { origin, held: i64::MIN }
    }

    /// Unix time at an instant of limiter time.
    #[inline]
    pub(crate) fn unix(self, now: u64) -> i64 {
        self.unix_unheld(now).max(self.held)
    }

    /// The same where nothing is held.
    #[inline]
    pub(crate) fn unix_unheld(self, now: u64) -> i64 {
        self.origin.saturating_add_unsigned(now)
    }

    /// The first instant of limiter time at which it is `unix`, where nothing is held.
    pub(crate) fn limiter_time(self, unix: i64) -> u64 {
        u64::try_from(unix.saturating_sub(self.origin)).unwrap_or(0)
    }
}

/// A source of limiter time and wall time.
///
/// Implementations must be monotonic across threads: an answer is never less than one that happened before
/// it. A clock that goes back makes a limiter stricter, never laxer.
pub trait Clock: Send + Sync + 'static {
    /// Nanoseconds since the clock's own fixed origin.
    fn elapsed(&self) -> u64;

    /// Nanoseconds since 1970-01-01T00:00:00Z by the wall clock, negative before it.
    fn unix(&self) -> i64;
}

/// The machine's monotonic clock, and the operating system's wall clock for calendars.
///
/// Where the processor has an invariant time-stamp counter, that is read, scaled to nanoseconds by a calibration
/// against the operating system's clock; elsewhere the operating system's clock itself.
#[derive(Clone, Debug)]
pub struct SystemClock {
    clock: quanta::Clock,
    origin: u64,
}

impl SystemClock {
    /// A clock that starts at 0 now. The first one of a process calibrates the counter, which takes up to 200 ms.
    pub fn new() -> SystemClock {
        let clock = quanta::Clock::new();
        let origin = clock.raw();
        SystemClock { clock, origin }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    #[inline]
    fn elapsed(&self) -> u64 {
        self.clock.delta_as_nanos(self.origin, self.clock.raw())
    }

    fn unix(&self) -> i64 {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        }
    }
}

/// A clock that moves only when it is told to: for tests, simulations and replay. Clones share one time.
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// clock.advance(Duration::from_secs(3));
/// assert_eq!(clock.elapsed(), 3_000_000_000);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    shared: Arc<ManualTime>,
}

#[derive(Debug, Default)]
struct ManualTime {
    elapsed: AtomicU64,
    /// Wall time at limiter time 0.
    unix_at_origin: AtomicI64,
}

impl ManualClock {
    /// A clock at limiter time 0 and at 1970-01-01T00:00:00Z.
    pub fn new() -> ManualClock {
        ManualClock::default()
    }

    /// A clock at limiter time 0 whose wall clock shows `unix` nanoseconds since 1970-01-01T00:00:00Z.
    pub fn at_unix(unix: i64) -> ManualClock {
        let clock = ManualClock::new();
        clock.step_wall(unix);
        clock
    }

    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        self.advance_nanos(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Moves both times forward by `nanos`; stays at the end of time rather than wrap.
    pub fn advance_nanos(&self, nanos: u64) {
        // The closure always answers `Some`, so there is no failure to report.
        let _ = self
            .shared
            .elapsed
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |elapsed| Some(elapsed.saturating_add(nanos)));
    }

    /// Moves limiter time forward to `elapsed` nanoseconds after the origin; does nothing if it is past that.
    pub fn advance_to(&self, elapsed: u64) {
        self.shared.elapsed.fetch_max(elapsed, Ordering::AcqRel);
    }

    /// Steps the wall clock alone by `nanos`, either way, as an operator or a time server would.
    pub fn step_wall(&self, nanos: i64) {
        let _ = self
            .shared
            .unix_at_origin
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |unix| Some(unix.saturating_add(nanos)));
    }
}

impl Clock for ManualClock {
    #[inline]
    fn elapsed(&self) -> u64 {
        self.shared.elapsed.load(Ordering::Acquire)
    }

    fn unix(&self) -> i64 {
        let elapsed = i64::try_from(self.elapsed()).unwrap_or(i64::MAX);
        self.shared.unix_at_origin.load(Ordering::Acquire).saturating_add(elapsed)
    }
}
