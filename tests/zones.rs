//! Organizations in zones of their own.
//!
//! - its quotas and those of its accounts end with its own days, weeks, months and hours, through clock changes, and that is
//!   what denials, explanations, usage and exports say; the total's end with the policy's;
//! - however often an organization moves between zones, or two of its accounts come from different ones, and the wall clock is
//!   stepped, each decision, wait and use is that of a model which has one window after another and never two at a time;
//! - a reload that lacks a zone or has it again, a restart under another list of zones, a move between tiers, a full table, and a
//!   permit that is settled after the move grant nothing twice;
//! - all of that in any order: no window begins within another, and there is always a next one;
//! - what an earlier release kept is taken up.
#![cfg(feature = "toml")]

use std::time::Duration;

use jiff::{Timestamp, civil, tz::TimeZone};
use proptest::prelude::*;
use tollgate::{Cost, Identity, Level, Limiter, ManualClock, MemoryStore, Meter, Period, Plan, Usage, Whom};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;
const ZONES: [&str; 5] =
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Tokyo", "Pacific/Apia"];

/// Unix nanoseconds of a civil time in a zone, the earlier one where it occurs twice.
fn at(zone: &str, time: &str) -> i64 {
    let time: civil::DateTime = time.parse().expect("a civil time");
    unix_of(zone, time)
}

fn unix_of(zone: &str, time: civil::DateTime) -> i64 {
    let zone = TimeZone::get(zone).expect("a zone");
    i64::try_from(zone.to_timestamp(time).expect("in range").as_nanosecond()).expect("in range")
}

/// A policy by UTC whose organizations may be in zones.
fn policy(zones: &[&str], rules: &str) -> String {
    format!(
        "version = 1\nzones = {zones:?}\nmeters = [\"requests\"]\n\
         capacity = {{ accounts = 10, organizations = 10 }}\n{rules}"
    )
}

fn plan(text: &str) -> Plan {
    Plan::from_toml(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Three a window for the account, five for the organization, nine for all.
fn by(period: &str) -> String {
    format!(
        "[tiers.one]\naccount.requests = {{ quota = \"3/{period}\" }}\n\
         organization.requests = {{ quota = \"5/{period}\" }}\ntotal.requests = {{ quota = \"90/{period}\" }}\n"
    )
}

struct World {
    limiter: Limiter,
    clock: ManualClock,
    requests: Meter,
}

impl World {
    fn new(text: &str, unix: i64) -> World {
        World::with(text, unix, MemoryStore::new())
    }

    fn with(text: &str, unix: i64, store: MemoryStore) -> World {
        let clock = ManualClock::at_unix(unix);
        let builder = Limiter::builder(plan(text)).clock(clock.clone()).secret([7; 16]);
        let limiter = builder.store(store, Duration::from_secs(10)).build().expect("room");
        let requests = limiter.meter("requests").expect("a meter");
        World { limiter, clock, requests }
    }

    /// An account of one organization, in a zone of its own where that is named.
    fn caller(&self, account: u64, zone: &str) -> Identity {
        self.of_tier("one", account, zone)
    }

    fn of_tier(&self, tier: &str, account: u64, zone: &str) -> Identity {
        let limiter = &self.limiter;
        let acme = limiter.organization("acme");
        let acme = limiter.zone(zone).map_or(acme, |zone| acme.in_zone(zone));
        limiter.identity(limiter.tier(tier).expect("a tier"), account).in_organization(acme)
    }

    fn one(&self) -> Cost {
        Cost::of(self.requests, 1)
    }

    fn spend(&self, caller: &Identity) -> bool {
        self.limiter.check(caller, &self.one()).is_ok()
    }

    fn spend_all(&self, caller: &Identity) -> u64 {
        (0..).take_while(|_| self.spend(caller)).count() as u64
    }

    /// Nanoseconds after which a caller that is refused may come again.
    fn wait(&self, caller: &Identity) -> i64 {
        let denial = self.limiter.check(caller, &self.one()).expect_err("nothing is left");
        denial.retry_after().expect("a matter of time").as_nanos() as i64
    }

    fn pass(&self, nanos: i64) {
        self.clock.advance_nanos(nanos.cast_unsigned());
    }

    /// What is used of account and organization, as the caller is told.
    fn used(&self, caller: &Identity) -> [u64; 2] {
        let rules = self.limiter.explain(caller).rules;
        [Level::Account, Level::Organization]
            .map(|level| rules.iter().find(|rule| rule.level == level).expect("a rule").used)
    }
}

/// Zone, period, a time inside the window, and the civil time at which it ends.
const WINDOWS: &[(&str, &str, &str, &str)] = &[
    ("Europe/Berlin", "day", "2026-03-29T00:30", "2026-03-30T00:00"),
    ("Europe/Berlin", "day", "2026-10-25T00:30", "2026-10-26T00:00"),
    ("Europe/Berlin", "hour", "2026-03-29T01:30", "2026-03-29T03:00"),
    ("Europe/Berlin", "week", "2026-10-20T12:00", "2026-10-26T00:00"),
    ("Europe/Berlin", "month", "2028-02-29T12:00", "2028-03-01T00:00"),
    ("America/New_York", "day", "2026-03-08T01:00", "2026-03-09T00:00"),
    ("America/New_York", "day", "2026-11-01T01:00", "2026-11-02T00:00"),
    ("America/New_York", "month", "2026-11-01T00:00", "2026-12-01T00:00"),
    ("Australia/Lord_Howe", "day", "2026-04-05T00:30", "2026-04-06T00:00"),
    ("Australia/Lord_Howe", "day", "2026-10-04T00:30", "2026-10-05T00:00"),
    ("Asia/Tokyo", "minute", "2026-10-04T00:30:30", "2026-10-04T00:31"),
    ("Asia/Tokyo", "month", "2026-04-30T12:00", "2026-05-01T00:00"),
    ("Pacific/Apia", "day", "2011-12-29T12:00", "2011-12-31T00:00"),
];

#[test]
fn windows_are_those_of_the_organization() {
    for &(zone, period, inside, end) in WINDOWS {
        let (from, end) = (at(zone, inside), at(zone, end));
        let world = World::new(&policy(&ZONES, &by(period)), from);
        let (first, second) = (world.caller(1, zone), world.caller(2, zone));
        let context = format!("{period} of {zone} from {inside}");
        assert_eq!(world.spend_all(&first), 3, "{context}");
        assert_eq!(world.spend_all(&second), 2, "{context}");
        assert_eq!([world.wait(&first), world.wait(&second)], [end - from; 2], "{context}");
        let states = world.limiter.explain(&first).rules;
        assert_eq!(states[0].full_in, Some((end - from).cast_unsigned()), "{context}");
        assert_eq!(states[1].full_in, Some((end - from).cast_unsigned()), "{context}");
        // Whoever reads it without knowing the zone.
        let of_organization = |usage: Usage| usage.counted.first().and_then(|one| one.to);
        let mut exported = world.limiter.export().filter(|usage| usage.level == Level::Organization);
        assert_eq!(exported.next().and_then(of_organization), Some(end), "{context}");
        let length = Period::from_name(period);
        for whom in [Whom::Account(&first), Whom::Organization(&first)] {
            let told = world.limiter.usage(whom, world.requests, length);
            assert_eq!(told.first().and_then(|one| one.to), Some(end), "{context}");
        }
        world.pass(end - from - 1);
        assert!(!world.spend(&first) && !world.spend(&second), "{context}");
        world.pass(1);
        assert_eq!([world.spend_all(&first), world.spend_all(&second)], [3, 2], "{context}");
    }
}

#[test]
fn what_many_share_keeps_the_policys_windows() {
    let rules =
        "[tiers.one]\naccount.requests = { quota = \"3/day\" }\ntotal.requests = { quota = \"5/day\" }\n";
    let from = at("Asia/Tokyo", "2026-05-01T23:00");
    let world = World::new(&policy(&["Asia/Tokyo"], rules), from);
    assert_eq!(world.spend_all(&world.caller(1, "Asia/Tokyo")), 3);
    assert_eq!(world.spend_all(&world.caller(2, "Asia/Tokyo")), 2);
    world.pass(HOUR);
    // Another day for the account, and not for the total: that is UTC's, nine hours later.
    assert_eq!(world.wait(&world.caller(1, "Asia/Tokyo")), 9 * HOUR);
}

/// One window after another: each begins no earlier than the one before it ends.
#[derive(Clone, Copy, Debug, Default)]
struct Model {
    limit: u64,
    month: bool,
    /// The last window that was entered: when it ends, in which zone, and what was used.
    entered: Option<(i64, usize, u64)>,
}

impl Model {
    /// The end of the window of a zone that an instant is in, the long way.
    fn end(&self, zone: usize, unix: i64) -> i64 {
        let zone = TimeZone::get(ZONES[zone]).expect("a zone");
        let local = zone.to_datetime(Timestamp::from_nanosecond(unix.into()).expect("in range"));
        let next = if self.month {
            local.date().first_of_month().checked_add(jiff::Span::new().months(1))
        } else {
            local.date().tomorrow()
        };
        // Where there is no midnight, a day begins with the jump.
        let midnight = next.expect("in range").to_datetime(civil::Time::midnight());
        let start = zone.to_ambiguous_timestamp(midnight).later().expect("in range");
        i64::try_from(start.as_nanosecond()).expect("in range")
    }

    /// When the window ends that a charge counts in, and what was used in it.
    fn window(&self, zone: usize, unix: i64) -> (i64, usize, u64) {
        match self.entered {
            Some((end, of, used)) if unix < end => (end, of, used),
            // The window in which the last one ended is the same one.
            Some((end, of, used)) if of != zone && unix < self.end(zone, end - 1) => {
                (self.end(zone, end - 1), zone, used)
            }
            _ => (self.end(zone, unix), zone, 0),
        }
    }

    /// When the whole limit is there for a caller who waits.
    fn fresh(&self, zone: usize, unix: i64) -> i64 {
        match self.window(zone, unix) {
            (end, of, _) if of != zone => self.end(zone, end - 1),
            (end, ..) => end,
        }
    }

    fn admits(&self, zone: usize, unix: i64) -> bool {
        self.window(zone, unix).2 < self.limit
    }

    fn charge(&mut self, zone: usize, unix: i64) {
        let (end, of, used) = self.window(zone, unix);
        self.entered = Some((end, of, used + 1));
    }
}

/// A step of time in quarters of an hour, one of the wall clock alone, and who comes next, from where.
fn steps() -> impl Strategy<Value = Vec<(i64, i64, u64, usize)>> {
    let wait = prop_oneof![4 => 0..3_i64, 4 => 1..50_i64, 1 => 0..400_i64];
    let step = prop_oneof![30 => Just(0), 1 => Just(-DAY), 1 => Just(-HOUR), 1 => Just(HOUR), 1 => Just(DAY)];
    // Some are in one zone for long, some in another with each request.
    let zone = prop_oneof![Just(0_usize), Just(1), 0..ZONES.len()];
    prop::collection::vec((wait, step, 0..3_u64, zone), 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn moves_between_zones_grant_nothing_twice(
        steps in steps(),
        month in any::<bool>(),
        start in 0..5_usize,
    ) {
        // Clocks change within days in most of them.
        let from = ["2026-03-07T11:00", "2026-03-27T22:00", "2026-04-04T03:15", "2026-10-02T12:00", "2026-10-23T18:45"];
        let mut wall = at("UTC", from[start]);
        // Calendars stand still where it goes back.
        let mut unix = wall;
        let world = World::new(&policy(&ZONES, &by(if month { "month" } else { "day" })), wall);
        let mut accounts = [Model { limit: 3, month, ..Model::default() }; 3];
        let mut acme = Model { limit: 5, month, ..Model::default() };
        for (quarters, step, account, zone) in steps {
            world.pass(quarters * HOUR / 4);
            world.clock.step_wall(step);
            world.limiter.maintain();
            wall += quarters * HOUR / 4;
            unix = unix.max(wall);
            wall += step;
            unix = unix.max(wall);
            let (caller, own) = (world.caller(account, ZONES[zone]), &mut accounts[account as usize]);
            let used = [own.window(zone, unix).2, acme.window(zone, unix).2];
            prop_assert_eq!(world.used(&caller), used);
            let expected = own.admits(zone, unix) && acme.admits(zone, unix);
            if expected {
                prop_assert!(world.spend(&caller));
                own.charge(zone, unix);
                acme.charge(zone, unix);
            } else {
                let fresh = [*own, acme].map(|of| if of.admits(zone, unix) { unix } else { of.fresh(zone, unix) });
                prop_assert_eq!(world.wait(&caller), fresh[0].max(fresh[1]) - wall);
            }
        }
    }
}

/// Two accounts of one organization whose servers do not agree: all quota is spent as soon as it is there, for 60 days.
#[test]
fn who_flaps_has_one_window_at_a_time() {
    let from = at("UTC", "2026-03-01T00:00");
    let world = World::new(&policy(&ZONES, &by("day")), from);
    let mut admitted = 0;
    for turn in 0..60 * 48 {
        let zone = turn as usize / 48 % ZONES.len();
        let of_zone = [0, 1].map(|account| world.caller(2 * zone as u64 + account, ZONES[zone]));
        admitted += of_zone.iter().map(|caller| world.spend_all(caller)).sum::<u64>();
        world.pass(HOUR / 2);
    }
    // No more windows than days, and at least one in two of them.
    assert!((5 * 30..=5 * 61).contains(&admitted), "{admitted}");
    // Its own quota has moved again and again, those of the accounts have not.
    let moves = world.limiter.statistics().zone_moves;
    assert!((20..=61).contains(&moves), "{moves}");
}

#[test]
fn one_move_waits_for_one_window() {
    // Noon in New York; Berlin is six hours ahead.
    let from = at("America/New_York", "2026-06-10T12:00");
    let world = World::new(&policy(&ZONES, &by("day")), from);
    let [before, after] = ["America/New_York", "Europe/Berlin"].map(|zone| world.caller(1, zone));
    assert!(world.spend(&before) && world.spend(&after));
    assert_eq!(world.used(&after), [2, 2]);
    assert_eq!(world.limiter.statistics().zone_moves, 0);
    assert!(world.spend(&after));
    // Until the Berlin day ends in which that of New York does.
    assert_eq!(world.wait(&after), at("Europe/Berlin", "2026-06-12T00:00") - from);
    world.pass(at("America/New_York", "2026-06-11T00:00") - from);
    assert!(!world.spend(&after));
    world.pass(18 * HOUR - 1);
    assert!(!world.spend(&after));
    world.pass(1);
    assert_eq!(world.spend_all(&after), 3);
    assert_eq!(world.wait(&after), DAY);
    // Of account and organization.
    assert_eq!(world.limiter.statistics().zone_moves, 2);
}

#[test]
fn a_permit_is_settled_in_the_window_that_it_was_charged_to() {
    let from = at("America/New_York", "2026-06-10T20:00");
    let [york, berlin] = ["America/New_York", "Europe/Berlin"];
    // In the window, the organization has moved or not.
    let world = World::new(&policy(&ZONES, &by("day")), from);
    let permit = world.limiter.reserve(&world.caller(1, york), &Cost::of(world.requests, 3)).unwrap();
    assert!(!world.spend(&world.caller(1, berlin)));
    permit.settle(&world.one());
    assert_eq!(world.used(&world.caller(1, berlin)), [1, 1]);
    // After it, it is the window of the other zone in which it ended: for the account, which has not come since. Its
    // organization has, and is given nothing back.
    let permit = world.limiter.reserve(&world.caller(1, york), &Cost::of(world.requests, 2)).unwrap();
    world.pass(5 * HOUR);
    assert!(world.spend(&world.caller(2, berlin)));
    permit.settle(&Cost::FREE);
    assert_eq!(world.used(&world.caller(1, berlin)), [1, 4]);
    // What is used beyond counts where the caller is.
    let permit = world.limiter.reserve(&world.caller(3, berlin), &world.one()).unwrap();
    world.pass(DAY);
    permit.settle(&Cost::of(world.requests, 3));
    assert_eq!(world.used(&world.caller(3, berlin)), [2, 2]);
}

#[test]
fn a_policy_without_the_zone_grants_nothing_twice() {
    let from = at("Asia/Tokyo", "2026-06-10T23:00");
    let world = World::new(&policy(&ZONES, &by("day")), from);
    let caller = world.caller(1, "Asia/Tokyo");
    assert_eq!(world.spend_all(&caller), 3);
    // The day that it is in ends in an hour, that of UTC ten hours later.
    for zones in [&ZONES[..1], &[], &ZONES, &["Asia/Tokyo"], &[]] {
        world.limiter.reload(plan(&policy(zones, &by("day")))).unwrap();
        let is_there = zones.contains(&"Asia/Tokyo");
        assert_eq!(world.limiter.zone("Asia/Tokyo").is_some(), is_there);
        assert_eq!(world.used(&caller), [3, 3]);
        assert_eq!(world.wait(&caller), if is_there { HOUR } else { 10 * HOUR });
        world.limiter.maintain();
        assert_eq!(world.used(&caller), [3, 3]);
    }
    world.pass(10 * HOUR - 1);
    assert!(!world.spend(&caller));
    world.pass(1);
    assert_eq!(world.spend_all(&caller), 3);
    // Its handle counts again where the policy has it again: after the day of UTC that it has begun.
    world.limiter.reload(plan(&policy(&ZONES, &by("day")))).unwrap();
    assert_eq!(world.wait(&caller), at("Asia/Tokyo", "2026-06-13T00:00") - at("UTC", "2026-06-11T00:00"));
}

/// Another first day of weeks makes other windows of every zone.
#[test]
fn weeks_that_start_on_another_day_are_other_windows() {
    let from = at("Asia/Tokyo", "2026-06-10T12:00");
    let text = policy(&ZONES, &by("week"));
    let world = World::new(&text, from);
    let caller = world.caller(1, "Asia/Tokyo");
    assert_eq!(world.spend_all(&caller), 3);
    let from_sunday = text.replace("zones", "week_start = \"sunday\"\nzones");
    world.limiter.reload(plan(&from_sunday)).unwrap();
    assert_eq!(world.used(&caller), [3, 3]);
    // The week from Monday on ends on Monday the 15th, in the one from Sunday the 14th on.
    assert_eq!(world.wait(&caller), at("Asia/Tokyo", "2026-06-21T00:00") - from);
    world.pass(at("Asia/Tokyo", "2026-06-21T00:00") - from);
    assert_eq!(world.spend_all(&caller), 3);
}

/// A tier in another zone is no way to a second window, once words tell whose theirs are.
#[test]
fn tiers_of_two_zones_have_one_window_at_a_time() {
    let tiers = by("day") + &by("day").replace("[tiers.one]", "[tiers.two]\nzone = \"America/New_York\"");
    let from = at("UTC", "2026-06-10T00:30");
    let world = World::new(&policy(&["Asia/Tokyo"], &tiers), from);
    let [one, two, tokyo] =
        [world.of_tier("one", 1, ""), world.of_tier("two", 1, ""), world.of_tier("two", 1, "Asia/Tokyo")];
    let mut admitted = 0;
    for _ in 0..60 * 24 {
        admitted += [&one, &two, &tokyo].map(|caller| world.spend_all(caller)).iter().sum::<u64>();
        world.pass(HOUR);
    }
    assert!((3 * 30..=3 * 61).contains(&admitted), "{admitted}");
}

/// What happens to an account between two of its requests.
#[derive(Clone, Debug)]
enum Act {
    /// So many quarters of an hour.
    Pass(i64),
    /// The wall clock alone.
    Step(i64),
    /// It spends all that it can: from a zone, in one of two tiers that have windows of their own.
    Spend(usize, bool),
    /// Another list of zones, with and without another rule.
    Reload([bool; 5], bool),
    Restart,
    /// Others come, more than there are lines.
    Flood,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0..60_i64).prop_map(Act::Pass),
        2 => (0..400_i64).prop_map(Act::Pass),
        1 => prop_oneof![Just(-DAY), Just(-HOUR), Just(HOUR), Just(DAY)].prop_map(Act::Step),
        20 => (0..ZONES.len(), any::<bool>()).prop_map(|(zone, two)| Act::Spend(zone, two)),
        1 => (any::<[bool; 5]>(), any::<bool>()).prop_map(|(zones, more)| Act::Reload(zones, more)),
        1 => Just(Act::Restart),
        1 => Just(Act::Flood),
    ];
    prop::collection::vec(act, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    /// No three windows within the length of one, however zones, tiers, policies, processes and clocks change.
    #[test]
    fn whatever_changes_no_window_begins_within_another(acts in acts(), start in 0..3_usize) {
        let policy = |zones: [bool; 5], more| {
            // One stays, or words would not tell zones apart.
            let zones: Vec<_> = (0..5).filter(|zone| *zone == 3 || zones[*zone]).map(|zone| ZONES[zone]).collect();
            let more = if more { ", { in_flight = 2 }" } else { "" };
            let rules = format!("total = \"unlimited\"\naccount.requests = [{{ quota = \"3/day\" }}{more}]\n");
            let rules = format!("[tiers.one]\n{rules}[tiers.two]\nzone = \"America/New_York\"\n{rules}");
            self::policy(&zones, &rules).replace("accounts = 10,", "accounts = 40, parked_accounts = 9000, spare_rules = 2,")
        };
        // Clocks change soon; in Apia, a day is left out.
        let from = ["2026-03-07T11:00", "2026-10-23T18:45", "2011-12-28T03:15"][start];
        let (mut wall, mut store) = (at("UTC", from), MemoryStore::new());
        let mut world = World::with(&policy([true; 5], false), wall, store.clone());
        let (mut unix, mut others, mut spent) = (wall, 100, Vec::new());
        for act in acts {
            match act {
                Act::Pass(quarters) => {
                    world.pass(quarters * HOUR / 4);
                    wall += quarters * HOUR / 4;
                }
                Act::Step(step) => {
                    world.clock.step_wall(step);
                    wall += step;
                }
                // Busy where too many were before.
                Act::Reload(zones, more) => { let _ = world.limiter.reload(plan(&policy(zones, more))); }
                Act::Restart => {
                    world.limiter.checkpoint().expect("memory");
                    store = store.copy();
                    world = World::with(&policy([true; 5], false), wall, store.clone());
                }
                Act::Flood => for _ in 0..100 {
                    others += 1;
                    world.spend(&world.of_tier("one", others, ""));
                },
                Act::Spend(zone, two) => {
                    let tier = if two { "two" } else { "one" };
                    let all = world.spend_all(&world.of_tier(tier, 1, ZONES[zone]));
                    spent.extend((0..all).map(|_| unix));
                    let three = spent.len().checked_sub(7).map(|first| unix - spent[first]);
                    prop_assert!(all == 0 || three.is_none_or(|length| length >= 22 * HOUR), "{:?}", spent);
                }
            }
            world.limiter.maintain();
            unix = unix.max(wall);
        }
        // And there is a next one.
        world.pass(unix - wall + 4 * DAY);
        prop_assert_eq!(world.spend_all(&world.of_tier("one", 1, ZONES[0])), 3);
    }
}

/// A full table forgets nobody who could have a second window for it.
#[test]
fn who_is_parked_or_replaced_has_no_second_window() {
    let text = policy(&["Asia/Tokyo", "Europe/Berlin"], &by("day").replace("90/day", "9k/day"));
    let text = text
        .replace("{ accounts = 10,", "{ accounts = 64, parked_accounts = 512, parked_organizations = 512,");
    // An hour before midnight of Tokyo, eight before that of Berlin.
    let world = World::new(&text, at("Asia/Tokyo", "2026-06-10T23:00"));
    let alone = |account: u64, zone: &str| {
        let own = world.limiter.organization(account);
        let own = own.in_zone(world.limiter.zone(zone).expect("a zone"));
        world.limiter.identity(world.limiter.tier("one").unwrap(), account).in_organization(own)
    };
    for account in 0..200 {
        assert_eq!(world.spend_all(&alone(account, "Asia/Tokyo")), 3, "{account}");
    }
    world.pass(2 * HOUR);
    for account in 200..400 {
        world.spend_all(&alone(account, "Asia/Tokyo"));
    }
    for account in 0..200 {
        assert!(!world.spend(&alone(account, "Europe/Berlin")), "{account}");
    }
    world.pass(6 * HOUR - 1);
    assert!((0..200).all(|account| !world.spend(&alone(account, "Europe/Berlin"))));
    world.pass(1);
    assert!((0..200).all(|account| world.spend_all(&alone(account, "Europe/Berlin")) == 3));
}

#[test]
fn a_forgotten_account_is_in_no_zone() {
    let from = at("Asia/Tokyo", "2026-06-10T23:00");
    let world = World::new(&policy(&ZONES, &by("day")), from);
    assert_eq!(world.spend_all(&world.caller(1, "Asia/Tokyo")), 3);
    assert!(world.limiter.forget(&world.caller(1, "Asia/Tokyo")));
    let berlin = world.caller(1, "Europe/Berlin");
    // Its organization remembers.
    assert_eq!(world.used(&berlin), [0, 3]);
    assert_eq!(world.spend_all(&berlin), 2);
    world.pass(HOUR);
    assert_eq!(world.used(&berlin), [2, 5]);
}

/// Checkpointed under one list of zones, restored under another: what is used, and when the caller may come again.
#[test]
fn a_restart_finds_zones_by_name() {
    let [tokyo, midnight] = [at("Asia/Tokyo", "2026-06-10T22:00"), at("UTC", "2026-06-11T00:00")];
    let kept = |zones: &[&str]| {
        let store = MemoryStore::new();
        let world = World::with(&policy(zones, &by("day")), tokyo, store.clone());
        assert_eq!(world.spend_all(&world.caller(1, "Asia/Tokyo")), 3);
        world.limiter.checkpoint().expect("written");
        store
    };
    let all = kept(&ZONES);
    let ends = |world: &World| world.wait(&world.caller(1, "Asia/Tokyo"));
    let restored = |zones: &[&str], store: &MemoryStore, later: i64| {
        World::with(&policy(zones, &by("day")), tokyo + later, store.copy())
    };
    for zones in [&ZONES[..], &["Asia/Tokyo"], &["America/Lima", "Asia/Tokyo", "Asia/Dubai"]] {
        let world = restored(zones, &all, HOUR);
        assert_eq!(world.used(&world.caller(1, "Asia/Tokyo")), [3, 3], "{zones:?}");
        assert_eq!(ends(&world), HOUR, "{zones:?}");
        let world = restored(zones, &all, 2 * HOUR);
        assert_eq!(world.spend_all(&world.caller(1, "Asia/Tokyo")), 3, "{zones:?}");
        // For who has moved meanwhile, it is the same window until the day ends that it ended in.
        let world = restored(zones, &all, 3 * HOUR);
        assert_eq!(world.wait(&world.caller(1, "")), midnight - tokyo - 3 * HOUR, "{zones:?}");
    }
    for zones in [&[][..], &["Europe/Berlin"]] {
        // What is used in a window of a zone that there is no more counts in the present one of the tier's.
        let world = restored(zones, &all, HOUR);
        assert_eq!(world.used(&world.caller(1, "")), [3, 3], "{zones:?}");
        assert_eq!(ends(&world), midnight - tokyo - HOUR, "{zones:?}");
    }
    // From a policy without zones to one that has some, and the other way round once more.
    let none = kept(&[]);
    let world = restored(&ZONES, &none, HOUR);
    assert_eq!(world.used(&world.caller(1, "Asia/Tokyo")), [3, 3]);
    assert_eq!(ends(&world), at("Asia/Tokyo", "2026-06-12T00:00") - tokyo - HOUR);
    // What a checkpoint tells without a limiter.
    let told = Usage::read_all(&mut all.copy()).expect("whole");
    let of_account = told.iter().find(|usage| usage.level == Level::Account).expect("the account");
    assert_eq!((of_account.counted[0].used, of_account.counted[0].to), (3, Some(tokyo + 2 * HOUR)));
}

/// A block with words that tell their calendar, as it was first written: it stays readable, and is what is written.
#[test]
fn words_that_tell_their_calendar_stay_readable() {
    const FIXTURE: &[u8] = include_bytes!("fixtures/checkpoint-1-zones.block");
    let text = policy(&["Asia/Tokyo", "Europe/Berlin"], &by("day"));
    let (from, store) = (at("Asia/Tokyo", "2026-06-10T22:00"), MemoryStore::new());
    let world = World::with(&text, from, store.clone());
    let tokyo = world.caller(1, "Asia/Tokyo");
    assert_eq!(world.spend_all(&tokyo), 3);
    assert!(world.spend(&world.caller(2, "Europe/Berlin")));
    world.limiter.checkpoint().expect("a store in memory");
    let written = tollgate::Store::read(&mut store.copy(), 0).expect("memory").expect("the only block");
    if std::env::var_os("TOLLGATE_WRITE_FIXTURE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/checkpoint-1-zones.block");
        std::fs::write(path, &written).expect("it is ours");
    }
    let block = tollgate::Block::decode(FIXTURE).expect("read");
    assert_eq!(
        (block.encode(), tollgate::Block::decode(&written).expect("just written")),
        (FIXTURE.to_vec(), block)
    );
    let mut kept = MemoryStore::new();
    tollgate::Store::write(&mut kept, 0, FIXTURE, &[]).expect("memory");
    let after = World::with(&text, from + HOUR, kept);
    assert_eq!(after.used(&tokyo), [3, 4]);
    assert_eq!(after.used(&after.caller(2, "Europe/Berlin")), [1, 4]);
}

#[test]
fn a_dry_run_follows_zones() {
    let from = at("Asia/Tokyo", "2026-06-10T23:00");
    let world = World::new(&policy(&["Asia/Tokyo"], &by("day")), from);
    let beside = policy(&["Europe/Berlin", "Asia/Tokyo"], &by("day")).replace("3/day", "2/day");
    world.limiter.dry_run(plan(&beside)).unwrap();
    let caller = world.caller(1, "Asia/Tokyo");
    assert_eq!(world.spend_all(&caller), 3);
    world.pass(HOUR);
    assert_eq!(world.spend_all(&caller), 3);
    let told = world.limiter.end_dry_run().unwrap();
    assert_eq!(told.tiers[0].would_deny, 2);
}

#[test]
fn a_list_of_zones_is_checked_and_told() {
    let described = plan(&policy(&ZONES[..2], &by("day"))).describe().to_string();
    assert!(described.contains("zones       Europe/Berlin, America/New_York, which organizations may be in"));
    let error = |zones: &[&str], rules: &str| {
        Plan::from_toml(&policy(zones, rules)).expect_err("refused").to_string()
    };
    let message = error(&["Europe/Berlin", "Asia/Tokio", "Europe/Berlin"], &by("day"));
    assert!(message.contains("zones[1]") && message.contains("Asia/Tokio"), "{message}");
    assert!(message.contains("zones[2]: the zone `Europe/Berlin` is named twice"), "{message}");
    let rates = "[tiers.one]\ntotal = \"unlimited\"\naccount.requests = \"5/s\"\n";
    assert!(error(&ZONES, rates).contains("nothing follows a zone"));
    // Words have less room for the use where they tell calendars apart; totals have all of it.
    let large = |limit: u64| {
        let total = "total = \"unlimited\"";
        format!("[tiers.one]\n{total}\naccount.requests = {{ quota = \"{limit}/minute\" }}\n")
    };
    assert!(Plan::from_toml(&policy(&[], &large((1 << 36) - 1))).is_ok());
    let message = error(&ZONES, &large((1 << 36) - 1));
    let most = (1_u64 << 33) - 1;
    assert!(message.contains(&format!("beside the zones; at most {most} fits")), "{message}");
    assert!(Plan::from_toml(&policy(&ZONES, &large(most))).is_ok());
    // A plan of its own has room, but not with the zones that there were.
    let limiter = Limiter::builder(plan(&policy(&ZONES, &large(1 << 30)))).build().unwrap();
    let refused = limiter.reload(plan(&policy(&[], &large(1 << 35)))).unwrap_err().to_string();
    assert!(refused.contains("tiers.one.account") && refused.contains("too large"), "{refused}");
}
