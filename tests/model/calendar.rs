//! Calendar windows of UTC, and of clocks that are ahead of it by so many nanoseconds, counted the long way.

/// The length of a quota's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Minute,
    Hour,
    Day,
    Week,
    Month,
}

/// One window; numbers grow by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub number: u32,
    /// Unix nanoseconds of its first instant.
    pub start: i64,
    /// Unix nanoseconds of the next window's first instant.
    pub end: i64,
}

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The window that `unix`, in nanoseconds since 1970 and not before it, falls into.
pub fn window_at(period: Period, unix: i64) -> Window {
    let even = |length: i64, offset: i64| {
        let number = (unix + offset).div_euclid(length);
        let start = number * length - offset;
        Window {
            number: u32::try_from(number).expect("an instant after 1970"),
            start,
            end: start.saturating_add(length),
        }
    };
    match period {
        Period::Minute => even(60 * SECOND, 0),
        Period::Hour => even(3_600 * SECOND, 0),
        Period::Day => even(DAY, 0),
        // 1970-01-01 was a Thursday: the Monday before it was three days earlier.
        Period::Week => even(7 * DAY, 3 * DAY),
        Period::Month => month_at(unix),
    }
}

/// The window of a clock that is `ahead` of UTC.
pub fn window_ahead(period: Period, unix: i64, ahead: i64) -> Window {
    let Window { number, start, end } = window_at(period, unix + ahead);
    Window { number, start: start - ahead, end: end - ahead }
}

fn month_at(unix: i64) -> Window {
    let (mut start, mut number) = (0, 0);
    for year in 1970.. {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let february = if leap { 29 } else { 28 };
        for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            let end = i64::saturating_add(start, days * DAY);
            if unix < end || end == i64::MAX {
                return Window { number, start, end };
            }
            (start, number) = (end, number + 1);
        }
    }
    unreachable!("years go on")
}
