//! Quotas through the calendar, by a limiter whose clock is told what to show.
//!
//! - month ends, 29 February, both clock changes in three zones and in one whose rules changed, a day that was left out:
//!   a spent quota opens at the window's end, to the nanosecond, and that is what its denial says;
//! - weeks start on the day that the policy says;
//! - the wall clock is stepped an hour or a day either way, and again: each window is granted once and whole, whenever it
//!   is entered; a step beyond a day is refused, reported, and followed when an operator says so;
//! - without `maintain`, a step changes nothing.
#![cfg(feature = "toml")]

use std::collections::BTreeSet;

use jiff::{Timestamp, civil, tz::TimeZone};
use tollgate::{Cost, Identity, Limiter, ManualClock, Plan, WallClock};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// Unix nanoseconds of a civil time in a zone, the earlier one where it occurs twice.
fn at(zone: &str, time: &str) -> i64 {
    let time: civil::DateTime = time.parse().expect("a civil time");
    let zone = TimeZone::get(zone).expect("a zone");
    i64::try_from(zone.to_timestamp(time).expect("in range").as_nanosecond()).expect("in range")
}

struct World {
    limiter: Limiter,
    clock: ManualClock,
    caller: Identity,
    one: Cost,
}

impl World {
    fn new(head: &str, quota: &str, unix: i64) -> World {
        let text = format!(
            "version = 1\n{head}\nmeters = [\"requests\"]\ncapacity = {{ accounts = 10, organizations = 10 }}\n\
             [tiers.one]\ntotal = \"unlimited\"\naccount.requests = {{ quota = \"{quota}\" }}\n"
        );
        let clock = ManualClock::at_unix(unix);
        let plan = Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("room");
        let caller = limiter.identity(limiter.tier("one").expect("a tier"), 7_u64);
        let one = Cost::of(limiter.meter("requests").expect("a meter"), 1);
        World { limiter, clock, caller, one }
    }

    fn spend(&self) -> bool {
        self.limiter.check(&self.caller, &self.one).is_ok()
    }

    fn spend_all(&self) -> u64 {
        (0..).take_while(|_| self.spend()).count() as u64
    }
}

/// Zone, period, a time inside the window, and the civil time at which it ends.
const WINDOWS: &[(&str, &str, &str, &str)] = &[
    // Month ends, and 29 February.
    ("UTC", "month", "2026-01-31T23:00", "2026-02-01T00:00"),
    ("UTC", "month", "2026-02-28T23:59:59", "2026-03-01T00:00"),
    ("UTC", "month", "2028-02-28T23:59:59", "2028-03-01T00:00"),
    ("UTC", "month", "2028-02-29T12:00", "2028-03-01T00:00"),
    ("UTC", "month", "2026-12-31T23:59:59", "2027-01-01T00:00"),
    ("Asia/Tokyo", "month", "2026-04-30T12:00", "2026-05-01T00:00"),
    ("UTC", "day", "2028-02-28T12:00", "2028-02-29T00:00"),
    ("UTC", "day", "2028-02-29T12:00", "2028-03-01T00:00"),
    ("UTC", "day", "2100-02-28T12:00", "2100-03-01T00:00"),
    // Clocks go forward, and back.
    ("Europe/Berlin", "day", "2026-03-29T00:30", "2026-03-30T00:00"),
    ("Europe/Berlin", "day", "2026-10-25T00:30", "2026-10-26T00:00"),
    ("Europe/Berlin", "hour", "2026-03-29T01:30", "2026-03-29T03:00"),
    ("Europe/Berlin", "week", "2026-10-20T12:00", "2026-10-26T00:00"),
    ("Europe/Berlin", "month", "2026-03-15T12:00", "2026-04-01T00:00"),
    ("America/New_York", "day", "2026-03-08T01:00", "2026-03-09T00:00"),
    ("America/New_York", "day", "2026-11-01T01:00", "2026-11-02T00:00"),
    ("America/New_York", "month", "2026-11-01T00:00", "2026-12-01T00:00"),
    ("Australia/Lord_Howe", "day", "2026-04-05T00:30", "2026-04-06T00:00"),
    ("Australia/Lord_Howe", "day", "2026-10-04T00:30", "2026-10-05T00:00"),
    // Rules that changed: no summer time since 2019, days that began at one o'clock before.
    ("America/Sao_Paulo", "day", "2018-11-03T12:00", "2018-11-04T01:00"),
    ("America/Sao_Paulo", "day", "2018-11-04T12:00", "2018-11-05T00:00"),
    ("America/Sao_Paulo", "day", "2026-11-01T12:00", "2026-11-02T00:00"),
    ("Europe/Istanbul", "day", "2016-10-30T12:00", "2016-10-31T00:00"),
    // A day that a zone left out.
    ("Pacific/Apia", "day", "2011-12-29T12:00", "2011-12-31T00:00"),
];

#[test]
fn a_spent_quota_opens_with_its_next_window() {
    for &(zone, period, inside, end) in WINDOWS {
        let (from, end) = (at(zone, inside), at(zone, end));
        let world = World::new(&format!("zone = \"{zone}\""), &format!("3/{period}"), from);
        let context = format!("{period} of {zone} from {inside}");
        assert_eq!(world.spend_all(), 3, "{context}");
        let denial = world.limiter.check(&world.caller, &world.one).unwrap_err();
        let wait = denial.retry_after().expect("a matter of time");
        assert_eq!(wait.as_nanos() as i64, end - from, "{context}");
        world.clock.advance_nanos((end - from - 1).cast_unsigned());
        assert!(!world.spend(), "{context}");
        world.clock.advance_nanos(1);
        assert_eq!(world.spend_all(), 3, "{context}");
    }
}

#[test]
fn weeks_start_on_the_day_that_is_said() {
    for (head, end) in [
        ("", "2026-11-30T00:00"),
        ("week_start = \"sunday\"", "2026-11-29T00:00"),
        ("week_start = \"thursday\"", "2026-11-26T00:00"),
    ] {
        // A Wednesday.
        let from = at("UTC", "2026-11-25T12:00");
        let world = World::new(head, "3/week", from);
        assert_eq!(world.spend_all(), 3);
        let denial = world.limiter.check(&world.caller, &world.one).unwrap_err();
        assert_eq!(denial.retry_after().unwrap().as_nanos() as i64, at("UTC", end) - from, "{head}");
    }
}

/// The civil day, or hour, that the wall clock shows.
fn shown(zone: &TimeZone, unix: i64, period: &str) -> String {
    let time = zone.to_datetime(Timestamp::from_nanosecond(unix.into()).expect("in range"));
    if period == "day" { time.date().to_string() } else { format!("{} {}", time.date(), time.hour()) }
}

/// Six days of requests every ten minutes, and maintenance as often; the wall clock is stepped twice. What was admitted is
/// one quota for each window that was entered: not more, and not less.
#[test]
fn a_window_is_granted_once_however_the_wall_clock_is_stepped() {
    use tollgate::Clock;
    let mut runs = 0;
    for name in ["UTC", "Europe/Berlin", "America/New_York"] {
        let zone = TimeZone::get(name).expect("a zone");
        for period in ["day", "hour"] {
            for first in [-DAY, -HOUR, HOUR, DAY] {
                for second in [-DAY, -HOUR, 0, HOUR, DAY] {
                    // Noon, and shortly before and after midnight.
                    for hour in ["12:00", "23:35", "00:25"] {
                        let from = at(name, &format!("2026-07-10T{hour}"));
                        let world = World::new(&format!("zone = \"{name}\""), &format!("2/{period}"), from);
                        let (mut entered, mut admitted) = (BTreeSet::new(), 0);
                        for turn in 0..6 * 144 {
                            match turn {
                                150 => world.clock.step_wall(first),
                                450 => world.clock.step_wall(second),
                                _ => {}
                            }
                            world.limiter.maintain();
                            entered.insert(shown(&zone, world.clock.unix(), period));
                            admitted += u64::from(world.spend()) + u64::from(world.spend());
                            // A third is one too many in any case.
                            assert!(!world.spend());
                            world.clock.advance_nanos((600 * SECOND).cast_unsigned());
                        }
                        let context = format!("{period} of {name}, {first} then {second} from {hour}");
                        // All windows that were passed over by a step forward were shown by no clock.
                        assert_eq!(admitted, 2 * entered.len() as u64, "{context}");
                        let steps = world.limiter.statistics().wall_steps;
                        assert_eq!(steps, 1 + u64::from(second != 0), "{context}");
                        runs += 1;
                    }
                }
            }
        }
    }
    assert_eq!(runs, 3 * 2 * 4 * 5 * 3);
}

#[test]
fn a_step_beyond_a_day_is_refused_until_it_is_trusted() {
    let world = World::new("", "5/day", at("UTC", "2026-07-10T12:00"));
    assert_eq!(world.limiter.maintain().wall_clock, WallClock::Steady);
    assert_eq!(world.spend_all(), 5);
    world.clock.step_wall(40 * DAY);
    assert_eq!(world.limiter.maintain().wall_clock, WallClock::Refused(40 * DAY));
    assert!(!world.spend());
    assert_eq!(world.limiter.statistics().refused_wall_steps, 1);
    assert_eq!(world.limiter.trust_wall_clock(), WallClock::Stepped(40 * DAY));
    assert_eq!(world.spend_all(), 5);
    // It was wrong after all: nothing is granted again before that day has passed.
    world.clock.step_wall(-40 * DAY);
    assert_eq!(world.limiter.maintain().wall_clock, WallClock::Stepped(-40 * DAY));
    world.clock.advance_nanos((39 * DAY).cast_unsigned());
    assert!(!world.spend());
    let denial = world.limiter.check(&world.caller, &world.one).unwrap_err();
    assert_eq!(denial.retry_after().unwrap().as_nanos() as i64, DAY + 12 * HOUR);
    world.clock.advance_nanos((DAY + 12 * HOUR).cast_unsigned());
    assert_eq!(world.spend_all(), 5);
}

#[test]
fn without_maintenance_a_step_changes_nothing() {
    let world = World::new("", "5/day", at("UTC", "2026-07-10T12:00"));
    assert_eq!(world.spend_all(), 5);
    world.clock.step_wall(DAY);
    assert!(!world.spend());
    world.clock.advance_nanos((12 * HOUR).cast_unsigned());
    assert_eq!(world.spend_all(), 5);
}
