//! The oracle is the definition: the highest number that the local clock has shown up to an instant, from
//! the calendar library's own civil times. Between two clock changes the local clock only goes forward, so
//! the instants to look at are the one in question and the last before each change of the days before it.

use jiff::{Timestamp, ToSpan, civil, tz::TimeZone};
use proptest::prelude::*;

use super::*;

const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Africa/Monrovia",
    "Antarctica/Troll",
];

fn calendar(period: Period, zone: &str) -> Calendar {
    Calendar::new(period, zone, Weekday::Monday).expect("the tests carry the zone database")
}

/// Unix nanoseconds of a civil time in a zone, the earlier one where it occurs twice.
fn at(zone: &str, time: &str) -> i64 {
    let time: civil::DateTime = time.parse().expect("a civil time");
    let zone = TimeZone::get(zone).expect("a zone");
    nanos(zone.to_timestamp(time).expect("in range"))
}

fn nanos(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).expect("in range")
}

/// What the local clock shows at one instant, as a window number.
fn shown(period: Period, zone: &TimeZone, time: Timestamp) -> i64 {
    let local = zone.to_datetime(time);
    let days = i64::from((local.date() - civil::date(1970, 1, 1)).get_days());
    let offset = i64::from(zone.to_offset(time).seconds());
    match period {
        Period::Minute => (time.as_second() + offset.rem_euclid(60)).div_euclid(60),
        Period::Hour => (time.as_second() + offset.rem_euclid(3600)).div_euclid(3600),
        Period::Day => days,
        Period::Week => {
            let into = i64::from(local.date().weekday().to_monday_zero_offset());
            (days - into + 3) / 7
        }
        Period::Month => (i64::from(local.year()) - 1970) * 12 + i64::from(local.month()) - 1,
    }
}

fn expected(period: Period, zone: &TimeZone, unix: i64) -> i64 {
    let time = Timestamp::from_nanosecond(i128::from(unix)).expect("in range");
    let back = time - (24 * 40).hours();
    let changes = zone
        .preceding(time + 1.nanosecond())
        .take_while(|change| change.timestamp() > back.max(Timestamp::UNIX_EPOCH));
    let before = changes.map(|change| shown(period, zone, change.timestamp() - 1.nanosecond()));
    before.chain([shown(period, zone, time)]).max().expect("one at least")
}

fn assert_window(calendar: &Calendar, zone: &TimeZone, unix: i64) {
    let window = calendar.window_at(unix);
    let period = calendar.period;
    let number = i64::from(window.number);
    let context = || format!("{} of {} at {unix}: {window:?}", period, calendar.zone);
    assert!(window.start <= unix && unix < window.end, "{}", context());
    assert_eq!(expected(period, zone, unix), number, "{}", context());
    assert_eq!(expected(period, zone, window.start), number, "start, {}", context());
    assert_eq!(expected(period, zone, window.end - 1), number, "end, {}", context());
    assert_eq!(calendar.start_of(window.number), window.start, "start of, {}", context());
    assert!(expected(period, zone, window.end) > number, "next, {}", context());
    let next = calendar.window_at(window.end);
    assert_eq!(next.start, window.end, "{}", context());
    assert!(next.number > window.number, "{}", context());
    let previous = calendar.window_at(window.start - 1);
    assert_eq!(previous.end, window.start, "{}", context());
    assert!(previous.number < window.number, "{}", context());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// At any instant of a century and more.
    #[test]
    fn agrees_with_civil_time(
        period in proptest::sample::select(Period::ALL.to_vec()),
        zone in proptest::sample::select(ZONES.to_vec()),
        unix in 40 * DAY * NANOS_PER_SECOND..(END - 40 * DAY) * NANOS_PER_SECOND,
    ) {
        assert_window(&calendar(period, zone), &TimeZone::get(zone).unwrap(), unix);
    }
}

/// Around every clock change of every zone above, where all the mistakes are.
#[test]
fn agrees_with_civil_time_around_clock_changes() {
    let mut changes = 0;
    for zone in ZONES {
        let found = TimeZone::get(zone).unwrap();
        let times: Vec<i64> = offsets(&found).map(|(from, _)| from).filter(|from| *from > 40 * DAY).collect();
        for period in Period::ALL {
            let calendar = calendar(period, zone);
            for from in times.iter().filter(|from| **from < END - 40 * DAY) {
                changes += 1;
                for aside in [-DAY, -HOUR, -1, 0, 1, HOUR / 2, HOUR, DAY] {
                    assert_window(&calendar, &found, (from + aside) * NANOS_PER_SECOND);
                }
            }
        }
    }
    assert!(changes > 5_000, "only {changes} clock changes were looked at");
}

/// Walks a calendar from its first window to its last.
fn walk(calendar: &Calendar) -> Vec<Window> {
    let mut windows = vec![calendar.window_at(i64::MIN)];
    while let Some(last) = windows.last().copied().filter(|last| last.end != i64::MAX) {
        let next = calendar.window_at(last.end);
        assert_eq!(last.end, next.start, "no gap and no overlap");
        assert!(next.number > last.number, "{last:?} then {next:?}");
        assert_eq!(calendar.window_at(last.end - 1), last);
        windows.push(next);
    }
    windows
}

#[test]
fn windows_tile_time() {
    for zone in ZONES {
        for (period, at_least) in [(Period::Day, 49_600), (Period::Week, 7_090), (Period::Month, 1_633)] {
            let windows = walk(&calendar(period, zone));
            assert!(windows.len() >= at_least, "{period} of {zone}: {}", windows.len());
            assert_eq!(windows[0].number, 0);
        }
    }
}

#[test]
fn lengths_stay_within_what_is_promised() {
    let from = at("UTC", "2030-01-01T00:00");
    let mut zones = 0;
    for zone in jiff::tz::db().available() {
        let Ok(found) = TimeZone::get(zone.as_str()) else { continue };
        let Ok(hours) = Calendar::new(Period::Hour, zone.as_str(), Weekday::Monday) else { continue };
        zones += 1;
        for (change, _) in offsets(&found).filter(|(change, _)| change * NANOS_PER_SECOND > from) {
            for aside in [-1, 0, 1, HOUR] {
                assert_length(hours.window_at((change + aside) * NANOS_PER_SECOND), Period::Hour);
            }
        }
        for period in [Period::Day, Period::Week, Period::Month] {
            let windows = walk(&calendar(period, zone.as_str()));
            let late = windows.iter().filter(|window| window.start > from && window.end != i64::MAX);
            late.for_each(|window| assert_length(*window, period));
        }
    }
    assert!(zones > 300, "only {zones} zones were looked at");
}

fn assert_length(window: Window, period: Period) {
    let length = (window.end - window.start).cast_unsigned();
    assert!((period.shortest()..=period.longest()).contains(&length), "{period}: {window:?}");
}

#[test]
fn days_of_clock_changes() {
    let calendar = calendar(Period::Day, "Europe/Berlin");
    let hours = |time| {
        let window = calendar.window_at(at("Europe/Berlin", time));
        (window.end - window.start) / NANOS_PER_SECOND / HOUR
    };
    assert_eq!(hours("2026-03-28T12:00"), 24);
    assert_eq!(hours("2026-03-29T12:00"), 23);
    assert_eq!(hours("2026-10-25T12:00"), 25);
    assert_eq!(hours("2026-10-26T12:00"), 24);
}

#[test]
fn a_day_without_midnight_starts_at_its_first_instant() {
    let zone = "America/Sao_Paulo";
    let calendar = calendar(Period::Day, zone);
    // Clocks went from 00:00 to 01:00.
    let window = calendar.window_at(at(zone, "2018-11-04T12:00"));
    assert_eq!(window.start, at(zone, "2018-11-04T01:00"));
    assert_eq!(window.end - window.start, 23 * HOUR * NANOS_PER_SECOND);
}

#[test]
fn a_midnight_that_comes_twice_starts_one_day() {
    let zone = "America/Sao_Paulo";
    let calendar = calendar(Period::Day, zone);
    // Clocks went back from 00:00 of the 18th to 23:00 of the 17th: that midnight was not reached.
    let window = calendar.window_at(at(zone, "2018-02-17T23:30"));
    assert_eq!(window.end, at(zone, "2018-02-18T00:00"));
    assert_eq!(window.end - window.start, 25 * HOUR * NANOS_PER_SECOND);
}

#[test]
fn a_day_that_a_zone_left_out_has_no_number() {
    let zone = "Pacific/Apia";
    let calendar = calendar(Period::Day, zone);
    let before = calendar.window_at(at(zone, "2011-12-29T12:00"));
    let after = calendar.window_at(at(zone, "2011-12-31T12:00"));
    assert_eq!(before.end, after.start);
    assert_eq!(after.number, before.number + 2);
    assert_eq!(after.end - after.start, DAY * NANOS_PER_SECOND);
}

#[test]
fn leap_days_and_ends_of_months() {
    let calendar = calendar(Period::Month, "UTC");
    let days = |time| {
        let window = calendar.window_at(at("UTC", time));
        (window.end - window.start) / NANOS_PER_SECOND / DAY
    };
    assert_eq!(days("2024-02-29T23:59:59.999999999"), 29);
    assert_eq!(days("2025-02-28T12:00"), 28);
    assert_eq!(days("2100-02-28T12:00"), 28);
    assert_eq!(days("2026-04-30T23:59:59"), 30);
    assert_eq!(days("2026-12-31T23:59:59"), 31);
    let number = |time| calendar.window_at(at("UTC", time)).number;
    assert_eq!(number("1970-01-01T00:00"), 0);
    assert_eq!(number("2024-02-29T23:59:59.999999999") + 1, number("2024-03-01T00:00"));
    assert_eq!(number("2026-02-01T00:00"), 56 * 12 + 1);
}

#[test]
fn weeks_start_on_monday() {
    let zone = "America/New_York";
    let window = calendar(Period::Week, zone).window_at(at(zone, "2026-11-23T00:00"));
    assert_eq!(window.start, at(zone, "2026-11-23T00:00"));
    assert_eq!(window.end, at(zone, "2026-11-30T00:00"));
}

#[test]
fn a_week_starts_on_the_day_that_is_said() {
    let zone = "Europe/Berlin";
    let start = |week_start| {
        let calendar = Calendar::new(Period::Week, zone, week_start).unwrap();
        for window in walk(&calendar).iter().skip(1).filter(|window| window.end != i64::MAX) {
            assert_eq!(calendar.start_of(window.number), window.start);
        }
        calendar.window_at(at(zone, "2026-11-25T12:00")).start
    };
    // 2026-11-25 is a Wednesday; clocks changed a month before.
    for (week_start, day) in [
        (Weekday::Wednesday, "2026-11-25"),
        (Weekday::Tuesday, "2026-11-24"),
        (Weekday::Monday, "2026-11-23"),
        (Weekday::Sunday, "2026-11-22"),
        (Weekday::Saturday, "2026-11-21"),
        (Weekday::Friday, "2026-11-20"),
        (Weekday::Thursday, "2026-11-19"),
    ] {
        assert_eq!(start(week_start), at(zone, &format!("{day}T00:00")), "{week_start}");
    }
}

#[test]
fn hours_follow_offsets_of_half_an_hour() {
    let zone = "Asia/Kolkata";
    let window = calendar(Period::Hour, zone).window_at(at(zone, "2026-07-01T10:59"));
    assert_eq!(window.start, at(zone, "2026-07-01T10:00"));
}

#[test]
fn time_outside_the_table_belongs_to_its_ends() {
    for period in Period::ALL {
        for zone in ["UTC", "America/New_York", "Asia/Kathmandu"] {
            let calendar = calendar(period, zone);
            let first = calendar.window_at(0);
            assert_eq!(first.number, 0, "{period} of {zone}");
            assert_eq!(calendar.window_at(i64::MIN), first);
            let last = calendar.window_at(END * NANOS_PER_SECOND);
            assert_eq!(last.end, i64::MAX);
            assert!(last.start <= END * NANOS_PER_SECOND);
            assert_eq!(calendar.window_at(i64::MAX), last);
        }
    }
}

#[test]
fn unknown_zones_are_named() {
    for zone in ["Mars/Olympus", "", "Etc/Unknown", "../../etc/passwd"] {
        let error = Calendar::new(Period::Day, zone, Weekday::Monday).unwrap_err().to_string();
        assert!(error.contains(&format!("{zone:?}")) && error.contains("Europe/Berlin"), "{error}");
    }
    let bare = CalendarError { zone: "Europe/Berlin".to_owned(), no_database: true };
    assert!(bare.to_string().contains("bundled-zones"), "{bare}");
}

#[test]
fn names_of_periods() {
    for period in Period::ALL {
        assert_eq!(Period::from_name(period.name()), Some(period));
        assert_eq!(format!("{period:>8}").trim(), period.name());
        assert_eq!(serde_json::to_string(&period).unwrap(), format!("\"{period}\""));
        assert!(period.shortest() <= period.longest());
    }
    assert_eq!(Period::from_name("Day"), None);
    assert_eq!(Period::from_name("fortnight"), None);
}

/// What the documentation of a policy's `zones` says.
#[test]
fn a_table_takes_at_most_64_kib() {
    for zone in ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"] {
        for period in Period::ALL {
            let calendar = Calendar::new(period, zone, Weekday::Monday).unwrap();
            let bytes = size_of_val(&*calendar.segments) + size_of_val(&*calendar.index);
            assert!(bytes <= 64 << 10, "{zone} by {period}: {bytes}");
        }
    }
}
