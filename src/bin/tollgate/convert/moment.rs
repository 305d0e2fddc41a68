//! Times as logs write them.

use jiff::{Timestamp, civil, fmt::strtime, tz::TimeZone};

const SECOND_MS: i64 = 1_000;
const DAY_MS: i64 = 86_400 * SECOND_MS;
const WEEK_MS: i64 = 7 * DAY_MS;
/// 1970-01-01 was a Thursday.
const FIRST_MONDAY_MS: i64 = 4 * DAY_MS;

/// `text` in milliseconds of Unix time: RFC 3339, the common log format's, or a number of seconds, milliseconds,
/// microseconds or nanoseconds, told apart by its size. A time without a zone is taken to be UTC.
pub(super) fn unix_ms(text: &str) -> Result<i64, String> {
    let number = || {
        let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
        let ms = match number.abs() {
            size if size < 1e11 => number * 1e3,
            size if size < 1e14 => number,
            size if size < 1e17 => number / 1e3,
            _ => number / 1e6,
        };
        Some(ms.round() as i64)
    };
    let timestamp = || text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
    let common = || {
        let broken = strtime::parse("%d/%b/%Y:%H:%M:%S %z", text).ok()?;
        Some(broken.to_timestamp().ok()?.as_millisecond())
    };
    let civil = || {
        let time: civil::DateTime = text.parse().ok()?;
        Some(TimeZone::UTC.to_timestamp(time).ok()?.as_millisecond())
    };
    number().or_else(timestamp).or_else(common).or_else(civil).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        format!(
            "{shown:?} is not a time, such as 2026-01-05T09:00:00Z, 05/Jan/2026:09:00:00 +0000 or 1767603600.25"
        )
    })
}

/// The Monday, at midnight UTC, that `unix_ms` is of the week of.
pub(super) fn monday(unix_ms: i64) -> i64 {
    unix_ms - (unix_ms - FIRST_MONDAY_MS).rem_euclid(WEEK_MS)
}

/// A moment for people.
pub(super) fn said(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms).map_or_else(|_| unix_ms.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_moment_in_every_form() {
        for text in [
            "2026-01-05T09:00:00Z",
            "2026-01-05T10:00:00+01:00",
            "2026-01-05 09:00:00",
            "05/Jan/2026:04:00:00 -0500",
            "1767603600",
            "1767603600000",
            "1767603600000000",
            "1767603600000000000",
        ] {
            assert_eq!(unix_ms(text), Ok(1_767_603_600_000), "{text}");
        }
        assert_eq!(unix_ms("1767603600.25"), Ok(1_767_603_600_250));
        assert_eq!(unix_ms("2026-01-05T09:00:00.123456Z"), Ok(1_767_603_600_123));
        for text in ["", "yesterday", "NaN", "1e999", "31/Feb/2026:00:00:00 +0000"] {
            assert!(unix_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn weeks_begin_on_monday() {
        let monday_ms = unix_ms("2026-01-05T00:00:00Z").unwrap();
        for text in ["2026-01-05T00:00:00Z", "2026-01-07T12:00:00Z", "2026-01-11T23:59:59Z"] {
            assert_eq!(monday(unix_ms(text).unwrap()), monday_ms, "{text}");
        }
        assert!(monday(-1) < 0);
    }
}
