//! Quotas through the calendar, by a limiter whose clock is told what to show.
//!
//! - month ends, 29 February, both clock changes in three zones and in one whose rules changed, a day that was left out:
//!   a spent quota opens at the window's end, to the nanosecond, and that is what its denial says;
//! - weeks start on the day that the policy says;
//! - the wall clock is stepped an hour or a day either way, and again: each window is granted once and whole, whenever it
//!   is entered; a step beyond a day is refused, reported, and followed when an operator says so;
//! - without `maintain`, a step changes nothing;
//! - what a tier has in a zone of its own follows that, but not its total; use goes along where an organization comes to another
//!   zone, or a policy comes back that did not know it; a restart knows which day was whose;
//! - what was overrun is carried into the next day by those who were parked meanwhile, too.
#![cfg(feature = "toml")]

use std::collections::BTreeSet;

use jiff::{Timestamp, civil, tz::TimeZone};
use tollgate::{Cost, Identity, Limiter, ManualClock, MemoryStore, Plan, WallClock};

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

/// A tier of two zones in one policy: everything of the second is by its own but the total.
const ZONES: &str = r#"
    version = 1
    zone = "Europe/Berlin"
    meters = ["requests"]
    capacity = { accounts = 10, organizations = 10 }
    [tiers.berlin]
    account.requests = { quota = "3/day" }
    organization.requests = { quota = "5/day" }
    total.requests = { quota = "9/day" }
    [tiers.other]
    zone = "ZONE"
    account.requests = { quota = "3/day" }
    organization.requests = { quota = "5/day" }
    total.requests = { quota = "9/day" }
"#;

fn of_zone(zone: &str, unix: i64) -> World {
    let clock = ManualClock::at_unix(unix);
    let plan = Plan::from_toml(&ZONES.replace("ZONE", zone)).unwrap_or_else(|error| panic!("{error}"));
    let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("room");
    let organization = limiter.organization("acme");
    let caller =
        limiter.identity(limiter.tier("other").expect("a tier"), 7_u64).in_organization(organization);
    let one = Cost::of(limiter.meter("requests").expect("a meter"), 1);
    World { limiter, clock, caller, one }
}

/// Zone, a time inside a day of its own, and the civil time at which that ends: both clock changes, and days that the
/// policy's zone has other edges in.
const OWN_DAYS: &[(&str, &str, &str)] = &[
    ("Asia/Tokyo", "2026-04-30T12:00", "2026-05-01T00:00"),
    ("America/New_York", "2026-03-08T01:00", "2026-03-09T00:00"),
    ("America/New_York", "2026-11-01T01:00", "2026-11-02T00:00"),
    ("Australia/Lord_Howe", "2026-10-04T00:30", "2026-10-05T00:00"),
    ("Pacific/Apia", "2011-12-29T12:00", "2011-12-31T00:00"),
    ("Europe/Berlin", "2026-10-25T00:30", "2026-10-26T00:00"),
];

#[test]
fn a_tier_has_a_zone_of_its_own_and_its_total_the_policys() {
    for &(zone, inside, end) in OWN_DAYS {
        let (from, end) = (at(zone, inside), at(zone, end));
        let world = of_zone(zone, from);
        let World { limiter, clock, one, caller } = &world;
        let context = format!("a day of {zone} from {inside}");
        assert_eq!(world.spend_all(), 3, "{context}");
        let denial = limiter.check(caller, one).unwrap_err();
        assert_eq!(denial.retry_after().unwrap().as_nanos() as i64, end - from, "{context}");
        let states = limiter.explain(caller).rules;
        assert_eq!(states[0].full_in, Some((end - from).cast_unsigned()), "{context}");
        assert_eq!(states[1].full_in, Some((end - from).cast_unsigned()), "{context}");
        clock.advance_nanos((end - from - 1).cast_unsigned());
        assert!(!world.spend(), "{context}");
        clock.advance_nanos(1);
        assert_eq!(world.spend_all(), 3, "{context}");
    }
    // The total's day is Berlin's, which ends seven hours after that of Tokyo while summer lasts.
    let world = of_zone("Asia/Tokyo", at("Asia/Tokyo", "2026-05-01T23:00"));
    let World { limiter, clock, one, .. } = &world;
    let tier = limiter.tier("other").unwrap();
    let callers: Vec<Identity> = (0..4).map(|id| limiter.identity(tier, id)).collect();
    for (caller, count) in callers.iter().zip([3, 3, 3]) {
        (0..count).for_each(|_| assert!(limiter.check(caller, one).is_ok()));
    }
    clock.advance_nanos(HOUR.cast_unsigned());
    let denial = limiter.check(&callers[0], one).unwrap_err();
    assert_eq!(denial.retry_after().unwrap().as_nanos() as i64, 7 * HOUR);
    assert_eq!(limiter.peek(&callers[0], one).unwrap_err().retry_after(), denial.retry_after());
}

/// An organization that is given another zone, by another tier or by a policy, takes what it has used into the day that it is
/// in there; a permit from before, which was charged to another day, gives nothing back.
#[test]
fn use_goes_along_into_another_zone() {
    let from = at("Europe/Berlin", "2026-05-01T20:00");
    for (zone, end) in [("Asia/Tokyo", "2026-05-03T00:00"), ("America/New_York", "2026-05-02T00:00")] {
        for by_reload in [false, true] {
            let world = of_zone(if by_reload { "Europe/Berlin" } else { zone }, from);
            let World { limiter, clock, one, caller: other } = &world;
            let berlin = limiter.identity(limiter.tier("berlin").unwrap(), 7_u64);
            let before =
                if by_reload { *other } else { berlin.in_organization(limiter.organization("acme")) };
            let requests = limiter.meter("requests").unwrap();
            let permit = limiter.reserve(&before, &Cost::of(requests, 1)).unwrap();
            assert!(limiter.check(&before, one).is_ok());
            if by_reload {
                limiter.reload(Plan::from_toml(&ZONES.replace("ZONE", zone)).unwrap()).unwrap();
            }
            assert!(world.spend(), "the line is under the other zone from here on");
            let context = format!("{zone}, by reload: {by_reload}");
            let wait = || {
                limiter.check(other, one).map_err(|denial| denial.retry_after().unwrap().as_nanos() as i64)
            };
            assert_eq!(wait().unwrap_err(), at(zone, end) - from, "{context}");
            permit.settle(&Cost::FREE);
            let used: Vec<u64> = limiter.explain(other).rules.iter().map(|state| state.used).collect();
            assert_eq!(used[..2], [3, 3], "{context}");
            clock.advance_nanos((at(zone, end) - from).cast_unsigned());
            assert_eq!(world.spend_all(), 3, "{context}");
        }
    }
}

#[test]
fn a_zone_of_a_tier_is_checked_and_told() {
    let plan = Plan::from_toml(&ZONES.replace("ZONE", "Asia/Tokyo")).unwrap();
    assert!(plan.describe().to_string().contains("quotas follow Asia/Tokyo, but those of the total"));
    let error = Plan::from_toml(&ZONES.replace("ZONE", "Asia/Tokio")).unwrap_err().to_string();
    assert!(error.contains("tiers.other.zone") && error.contains("Asia/Tokio"), "{error}");
    // Days of two zones lie across each other: one that is larger than the total's can bind, and three times that cannot.
    let larger = |limit: u64| {
        ZONES.replace("ZONE", "Asia/Tokyo").replacen("{ quota = \"5/day\" }", "{ budget = 99 }", 2).replace(
            "requests = { quota = \"3/day\" }\n    organization",
            &format!("requests = {{ quota = \"{limit}/day\" }}\n    organization"),
        )
    };
    assert!(Plan::from_toml(&larger(3)).is_ok());
    let error = Plan::from_toml(&larger(10)).unwrap_err().to_string();
    assert!(error.contains("tiers.berlin.account") && !error.contains("tiers.other"), "{error}");
    assert!(Plan::from_toml(&larger(28)).unwrap_err().to_string().contains("tiers.other.account"));
}

/// Midnight of the policy's zone lies between checkpoint and restart, and the day of the tier's does not end there.
#[test]
fn a_restart_keeps_the_days_of_a_zone() {
    let from = at("Europe/Berlin", "2026-05-01T23:50");
    for (later, used) in [(20 * 60 * SECOND, 3), (18 * HOUR, 0)] {
        let plan = || Plan::from_toml(&ZONES.replace("ZONE", "Asia/Tokyo")).unwrap();
        let store = MemoryStore::new();
        let built = |unix, store| {
            let builder = Limiter::builder(plan()).clock(ManualClock::at_unix(unix));
            builder.store(store, std::time::Duration::from_secs(10)).build().expect("room")
        };
        let caller = |limiter: &Limiter| {
            limiter
                .identity(limiter.tier("other").unwrap(), 7_u64)
                .in_organization(limiter.organization(1_u64))
        };
        let limiter = built(from, store.clone());
        limiter.check(&caller(&limiter), &Cost::of(limiter.meter("requests").unwrap(), 3)).unwrap();
        limiter.checkpoint().expect("written");
        let next = built(from + later, store.copy());
        let rules = next.explain(&caller(&next)).rules;
        // That of the total is Berlin's, where it is another day in any case.
        let told: Vec<u64> = rules.iter().map(|state| state.used).collect();
        assert_eq!(told, [used, used, 0], "{later}");
    }
}

/// A policy that comes back is in force as it was, and did not know the zone that has come since.
#[test]
fn use_in_a_zone_that_came_and_went_is_kept() {
    let world = of_zone("Europe/Berlin", at("Europe/Berlin", "2026-05-01T20:00"));
    let World { limiter, caller, .. } = &world;
    for zone in ["Asia/Tokyo", "Europe/Berlin"] {
        limiter.reload(Plan::from_toml(&ZONES.replace("ZONE", zone)).unwrap()).unwrap();
        if zone == "Asia/Tokyo" {
            assert_eq!(world.spend_all(), 3);
        }
        let used: Vec<u64> = limiter.explain(caller).rules.iter().map(|state| state.used).collect();
        assert_eq!(used, [3, 3, 3], "{zone}");
        assert!(!world.spend());
    }
}

/// Who comes back to a line in a window that others have left theirs in is given no fresh one.
#[test]
fn what_was_overrun_is_carried_through_the_parked() {
    let text = "version = 1\nmeters = [\"requests\"]\n\
                capacity = { accounts = 10, organizations = 10, parked_accounts = 2_000 }\n\
                [tiers.one]\ntotal = \"unlimited\"\naccount.requests = { quota = \"3/day\" }\n";
    let clock = ManualClock::at_unix(at("UTC", "2026-07-10T12:00"));
    let plan = Plan::from_toml(text).unwrap();
    let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("room");
    let (tier, requests) = (limiter.tier("one").unwrap(), limiter.meter("requests").unwrap());
    let (caller, one) = (limiter.identity(tier, 7_u64), Cost::of(requests, 1));
    limiter.reserve(&caller, &one).unwrap().settle(&Cost::of(requests, 7));
    for (day, left) in [(0, 0), (1, 0), (2, 2), (3, 3)] {
        (0..300).for_each(|id| {
            assert!(limiter.check(&limiter.identity(tier, 1_000 * day + 100 + id), &one).is_ok())
        });
        assert!(limiter.statistics().parked_accounts > 200, "the account too");
        assert_eq!((0..).take_while(|_| limiter.check(&caller, &one).is_ok()).count(), left, "day {day}");
        clock.advance_nanos(DAY.cast_unsigned());
    }
}
