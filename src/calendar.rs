//! Zones to window numbers.
//!
//! The calendar library is asked once, when a [`Calendar`] is made; from then on a window is looked up in a
//! table, by integer arithmetic alone, because every request with a quota on its path asks for one.
//!
//! # Invariants
//!
//! The number of a window is the highest that the zone's local clock has reached so far, counted in whole
//! periods from local 1970-01-01T00:00. Three things follow, and nothing else about zones matters here:
//!
//! - Windows tile time: each starts where the one before it ends, and numbers grow from window to window.
//! - Where clocks jump over a boundary, the new window starts with the jump: a day without a midnight starts
//!   at its first instant, and a day that a zone leaves out has no window and no number.
//! - Where clocks go back over a boundary, the window that had started goes on, so that no quota is granted
//!   twice.
//!
//! Numbers depend on zone and period alone, never on when the table was made: a window number that was kept
//! means the same window after a restart.

use std::{fmt, iter};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// Unix seconds at which tables end: 2^32, in February 2106.
const END: i64 = 1 << 32;
const FIRST_YEAR: i64 = 1970;
/// The year after that of [`END`], so that the month which is open then has an end.
const LAST_YEAR: i64 = 2107;
/// The index has an entry for each 2^51 ns, 26 days: shorter than any month, so that few segments share one.
const INDEX_SHIFT: u32 = 51;

/// The length of a quota's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// From each full minute.
    Minute,
    /// From each full hour of local time.
    Hour,
    /// From local midnight.
    Day,
    /// From local midnight of the first day of the week: Monday, where the policy does not say.
    Week,
    /// From local midnight of the first.
    Month,
}

impl Period {
    /// All periods, shortest first.
    pub const ALL: [Period; 5] = [Period::Minute, Period::Hour, Period::Day, Period::Week, Period::Month];

    /// The period that a policy calls `name`.
    pub fn from_name(name: &str) -> Option<Period> {
        Period::ALL.into_iter().find(|period| period.name() == name)
    }

    /// What a policy calls it: `minute`, `hour`, `day`, `week`, `month`.
    pub const fn name(self) -> &'static str {
        match self {
            Period::Minute => "minute",
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        }
    }

    /// Nanoseconds of the shortest window that today's rules of any zone make, clock changes included.
    pub(crate) const fn shortest(self) -> u64 {
        let seconds = match self {
            Period::Minute => MINUTE,
            // Lord Howe Island changes its clocks by half an hour, Troll by two hours.
            Period::Hour => HOUR - HOUR / 2,
            Period::Day => DAY - 2 * HOUR,
            Period::Week => WEEK - 2 * HOUR,
            Period::Month => 28 * DAY - 2 * HOUR,
        };
        (seconds * NANOS_PER_SECOND).cast_unsigned()
    }

    /// Nanoseconds of the longest window that today's rules of any zone make, clock changes included.
    pub(crate) const fn longest(self) -> u64 {
        let seconds = match self {
            Period::Minute => MINUTE,
            Period::Hour => HOUR + HOUR / 2,
            Period::Day => DAY + 2 * HOUR,
            Period::Week => WEEK + 2 * HOUR,
            Period::Month => 31 * DAY + 2 * HOUR,
        };
        (seconds * NANOS_PER_SECOND).cast_unsigned()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// The day that a week starts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weekday {
    /// As ISO 8601 has it; the default.
    #[default]
    Monday,
    #[expect(missing_docs, reason = "the name says it")]
    Tuesday,
    #[expect(missing_docs, reason = "the name says it")]
    Wednesday,
    #[expect(missing_docs, reason = "the name says it")]
    Thursday,
    #[expect(missing_docs, reason = "the name says it")]
    Friday,
    #[expect(missing_docs, reason = "the name says it")]
    Saturday,
    #[expect(missing_docs, reason = "the name says it")]
    Sunday,
}

impl Weekday {
    /// Days from the start of the week that holds 1970-01-01, a Thursday, to that day.
    const fn days_to_epoch(self) -> i64 {
        (Weekday::Thursday as i64 - self as i64).rem_euclid(7)
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(out)
    }
}

/// One calendar window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Grows by at least one from window to window.
    pub(crate) number: u32,
    /// Unix time of its first nanosecond.
    pub(crate) start: i64,
    /// Unix time of the next window's first nanosecond; `i64::MAX` for the last one.
    pub(crate) end: i64,
}

/// The windows of one period in one zone, from 1970 to 2106.
pub(crate) struct Calendar {
    period: Period,
    zone: String,
    week_start: Weekday,
    /// Never empty. Sorted by start; each is a whole number of windows long.
    segments: Box<[Segment]>,
    /// For each 2^[`INDEX_SHIFT`] ns from 1970 on: the segment that its first nanosecond belongs to.
    index: Box<[u32]>,
}

/// Windows of one length, one after another, up to the start of the next segment.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Unix nanoseconds.
    start: i64,
    /// Nanoseconds, at least 1.
    length: u64,
    /// floor(2^64 / length): a multiplication in place of a division.
    reciprocal: u64,
    /// The number of its first window.
    first: u32,
}

impl Calendar {
    /// The windows of `period` in the IANA zone `zone`. `UTC` needs no zone database.
    pub(crate) fn new(period: Period, zone: &str, week_start: Weekday) -> Result<Calendar, CalendarError> {
        let found = find_zone(zone)?;
        let segments = Tabulation::of(Ruler::new(period, week_start), &found).segments;
        let index = index_of(&segments);
        let zone = zone.to_owned();
        Ok(Calendar { period, zone, week_start, segments: segments.into_boxed_slice(), index })
    }

    /// Whether numbers mean the same windows in both.
    pub(crate) fn numbers_like(&self, other: &Calendar) -> bool {
        self.period == other.period
            && self.zone == other.zone
            && (self.period != Period::Week || self.week_start == other.week_start)
    }

    /// What its windows are: period, zone, and the day that weeks start on.
    pub(crate) fn windows(&self) -> (Period, &str, Weekday) {
        (self.period, &self.zone, self.week_start)
    }

    /// Unix time of the first nanosecond of window `number`, or of the first window after it that there is.
    pub(crate) fn start_of(&self, number: u32) -> i64 {
        let after = self.segments.partition_point(|segment| segment.first <= number);
        let next = self.segments.get(after);
        let Some(segment) = after.checked_sub(1).and_then(|at| self.segments.get(at)) else {
            return next.map_or(i64::MIN, |next| next.start);
        };
        let into = u64::from(number - segment.first).saturating_mul(segment.length);
        let start = segment.start.saturating_add_unsigned(into);
        next.map_or(start, |next| start.min(next.start))
    }

    /// The window that `unix` (nanoseconds) belongs to: `unix` is before its end, and not before its start
    /// but for times ahead of the first window, which belong to that one. Time beyond the table belongs to
    /// the last window.
    #[inline]
    pub(crate) fn window_at(&self, unix: i64) -> Window {
        // In bounds: neither slice is empty, and the index holds positions in the segments.
        let slot = (unix.max(0) >> INDEX_SHIFT) as usize;
        let mut at = self.index[slot.min(self.index.len() - 1)] as usize;
        while self.segments.get(at + 1).is_some_and(|next| next.start <= unix) {
            at += 1;
        }
        let last = at + 1 == self.segments.len();
        self.segments[at].window_at(unix, last)
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Calendar")
            .field("period", &self.period)
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

impl Segment {
    #[inline]
    fn window_at(&self, unix: i64, last: bool) -> Window {
        // Wrapping does not occur: only the first segment starts before 1970, by days, and only the last,
        // which starts in 2106, reaches the end of `i64`.
        let into = unix.max(self.start).wrapping_sub(self.start).cast_unsigned();
        // The reciprocal is short of 2^64 / length by less than one, so the product is short of the quotient
        // by less than one as well, and its floor by at most one.
        let mut windows = ((u128::from(into) * u128::from(self.reciprocal)) >> 64) as u64;
        if into - windows * self.length >= self.length {
            windows += 1;
        }
        let start = self.start.wrapping_add((windows * self.length).cast_signed());
        Window {
            number: self.first.wrapping_add(windows as u32),
            start,
            end: if last { i64::MAX } else { start.wrapping_add(self.length.cast_signed()) },
        }
    }
}

/// Local time's boundaries in one period: the side of the arithmetic that knows no zone.
struct Ruler {
    period: Period,
    week_start: Weekday,
    /// Local seconds at which months start, from January 1970 on; empty for other periods.
    months: Vec<i64>,
}

impl Ruler {
    fn new(period: Period, week_start: Weekday) -> Ruler {
        let months = if period == Period::Month { month_starts() } else { Vec::new() };
        Ruler { period, week_start, months }
    }

    /// The length in seconds that windows have unless clocks change; none for months.
    fn regular(&self) -> Option<i64> {
        match self.period {
            Period::Minute => Some(MINUTE),
            Period::Hour => Some(HOUR),
            Period::Day => Some(DAY),
            Period::Week => Some(WEEK),
            Period::Month => None,
        }
    }

    /// Seconds to add to unix time for a time that boundaries are regular in. Minutes and hours follow only
    /// the part of the offset that moves their boundaries.
    fn shift(&self, offset: i64) -> i64 {
        match self.period {
            Period::Minute => offset.rem_euclid(MINUTE),
            Period::Hour => offset.rem_euclid(HOUR),
            Period::Day | Period::Month => offset,
            Period::Week => offset + self.week_start.days_to_epoch() * DAY,
        }
    }

    /// The number of the window that shifted time `seconds` is in; -1 before the first.
    fn number_at(&self, seconds: i64) -> i64 {
        match self.regular() {
            Some(length) => seconds.div_euclid(length),
            None => self.months.partition_point(|start| *start <= seconds) as i64 - 1,
        }
    }

    /// The shifted time in seconds at which window `number` starts.
    fn start_of(&self, number: i64) -> i64 {
        match self.regular() {
            Some(length) => number * length,
            // The table covers every month up to its end; beyond it nothing starts.
            None => {
                usize::try_from(number).ok().and_then(|at| self.months.get(at)).copied().unwrap_or(2 * END)
            }
        }
    }
}

/// Builds the table of one calendar, from the first window to the last.
struct Tabulation {
    segments: Vec<Segment>,
}

impl Tabulation {
    fn of(ruler: Ruler, zone: &TimeZone) -> Tabulation {
        let mut table = Tabulation { segments: Vec::new() };
        let regimes: Vec<(i64, i64)> = offsets(zone).collect();
        // The open window: its number and its start in unix seconds.
        let mut number = 0;
        let mut start = regimes.first().map_or(0, |(_, offset)| -ruler.shift(*offset));
        for (at, (from, offset)) in regimes.iter().enumerate() {
            let until = regimes.get(at + 1).map_or(END, |(next, _)| *next);
            let shift = ruler.shift(*offset);
            let reached = ruler.number_at(from + shift);
            if reached > number && *from > start {
                table.push(number, start, from - start, 1);
                (number, start) = (reached, *from);
            }
            loop {
                let length = ruler.start_of(number + 1) - shift - start;
                // A boundary that falls on the change itself is the next regime's to judge: if clocks go
                // back there, it was not reached.
                if start + length >= until {
                    break;
                }
                let count = if ruler.regular() == Some(length) { (until - start - 1) / length } else { 1 };
                table.push(number, start, length, count);
                number += count;
                start += length * count;
            }
        }
        // Whatever is open at the end stays open, to the last nanosecond.
        table.push(number, start, i64::MAX / NANOS_PER_SECOND - start + 1, 1);
        table
    }

    /// Adds `count` windows of `length` seconds, the first being `number` at `start`.
    fn push(&mut self, number: i64, start: i64, length: i64, count: i64) {
        debug_assert!(length > 0 && count > 0, "windows are not empty");
        let start = start * NANOS_PER_SECOND;
        let length = (length * NANOS_PER_SECOND).cast_unsigned().max(1);
        if let Some(previous) = self.segments.last() {
            let windows = (start - previous.start).cast_unsigned() / previous.length;
            if previous.length == length && i64::from(previous.first) + windows.cast_signed() == number {
                return;
            }
        }
        // 2^32 s are fewer than 2^32 windows of any period.
        let first = u32::try_from(number).unwrap_or(u32::MAX);
        let reciprocal = u64::try_from((1_u128 << 64) / u128::from(length)).unwrap_or(u64::MAX);
        self.segments.push(Segment { start, length, reciprocal, first });
    }
}

/// Each stretch of time in which the zone keeps one offset: unix seconds of its start, and the offset in
/// seconds. Changes of a zone's abbreviation alone make stretches too; they change no number.
fn offsets(zone: &TimeZone) -> impl Iterator<Item = (i64, i64)> + '_ {
    let epoch = Timestamp::UNIX_EPOCH;
    let first = (0, i64::from(zone.to_offset(epoch).seconds()));
    let changes = zone
        .following(epoch)
        .map(|change| (change.timestamp().as_second(), i64::from(change.offset().seconds())))
        .take_while(|(from, _)| *from < END);
    iter::once(first).chain(changes)
}

fn month_starts() -> Vec<i64> {
    let mut starts = Vec::new();
    let mut days = 0;
    for year in FIRST_YEAR..=LAST_YEAR {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let february = if leap { 29 } else { 28 };
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            starts.push(days * DAY);
            days += length;
        }
    }
    starts
}

fn index_of(segments: &[Segment]) -> Box<[u32]> {
    let last = segments.last().map_or(0, |segment| segment.start);
    // The first slot starts with the first segment, which may reach back before 1970.
    let slots = 1..=(last >> INDEX_SHIFT);
    let later = slots.map(|slot| segments.partition_point(|segment| segment.start <= slot << INDEX_SHIFT));
    iter::once(1).chain(later).map(|after| u32::try_from(after.saturating_sub(1)).unwrap_or(0)).collect()
}

fn find_zone(name: &str) -> Result<TimeZone, CalendarError> {
    // Hosts without a database still have UTC.
    if name.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).ok().filter(|zone| !zone.is_unknown()).ok_or_else(|| CalendarError {
        zone: name.to_owned(),
        no_database: jiff::tz::db().is_definitively_empty(),
    })
}

/// An unknown zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CalendarError {
    zone: String,
    no_database: bool,
}

impl fmt::Display for CalendarError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "unknown time zone {:?}: ", self.zone)?;
        if self.no_database {
            out.write_str(
                "this host has no time zone database, which leaves \"UTC\"; with the feature \
                 `bundled-zones` the database is carried in the binary",
            )
        } else {
            out.write_str("an IANA name such as \"Europe/Berlin\" or \"UTC\" would do")
        }
    }
}

impl std::error::Error for CalendarError {}
