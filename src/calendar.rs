//! Zones to window numbers.

/// The length of a quota's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// From each full minute.
    Minute,
    /// From each full hour of local time.
    Hour,
    /// From local midnight.
    Day,
    /// From local midnight of Monday.
    Week,
    /// From local midnight of the first.
    Month,
}

/// One calendar window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Grows by at least one from window to window.
    pub(crate) number: u32,
    /// Unix time of its first nanosecond.
    pub(crate) start: i64,
    /// Unix time of the next window's first nanosecond.
    pub(crate) end: i64,
}

/// The windows of one period in one zone.
#[derive(Debug)]
pub(crate) struct Calendar {}

impl Calendar {
    pub(crate) fn new(period: Period, zone: &str) -> Result<Calendar, CalendarError> {
        let _ = (period, zone);
        Ok(Calendar {})
    }

    pub(crate) fn window_at(&self, unix: i64) -> Window {
        let _ = self;
        Window { number: 0, start: unix, end: i64::MAX }
    }
}

/// An unknown zone.
#[derive(Debug)]
pub(crate) struct CalendarError {}

impl std::fmt::Display for CalendarError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("unknown zone")
    }
}
