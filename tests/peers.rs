//! Mistakes that other limiters make or made, each as a test of ours with their numbers.
//!
//! Each test's header tells the mechanism. None runs the peer: the point is that ours does not do it.
#![cfg(feature = "toml")]

use std::time::Duration;

use tollgate::{Cost, Identity, Level, Limiter, ManualClock, Meter, Plan, Retry};

const SECOND: u64 = 1_000_000_000;

struct Case {
    limiter: Limiter,
    clock: ManualClock,
    requests: Meter,
}

impl Case {
    /// A limiter by the levels' text of the tier `one`.
    fn new(levels: &str) -> Case {
        Case::with_capacity("accounts = 64, organizations = 64", levels)
    }

    fn with_capacity(capacity: &str, levels: &str) -> Case {
        let text = format!(
            "version = 1\nmeters = [\"requests\"]\nmemory = \"64MiB\"\ncapacity = {{ {capacity} }}\n{levels}"
        );
        let plan = Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let clock = ManualClock::new();
        let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("built");
        let requests = limiter.meter("requests").expect("the meter");
        Case { limiter, clock, requests }
    }

    /// A limiter with one rule for each account.
    fn account(rule: &str) -> Case {
        Case::new(&format!("[tiers.one]\ntotal = \"unlimited\"\n[tiers.one.account]\nrequests = {rule}\n"))
    }

    fn who(&self, account: u64) -> Identity {
        self.limiter.identity(self.limiter.tier("one").expect("the tier"), account)
    }

    fn cost(&self, requests: u64) -> Cost {
        Cost::of(self.requests, requests)
    }

    fn takes(&self, who: &Identity, requests: u64) -> bool {
        self.limiter.check(who, &self.cost(requests)).is_ok()
    }

    /// How many single requests are admitted now, out of many.
    fn drain(&self, who: &Identity) -> u64 {
        (0..1_000).take_while(|_| self.takes(who, 1)).count() as u64
    }
}

/// governor 0.10.4, `gcra.rs`: `additional_weight = t * (n - 1)` wraps in release builds. With a cell every 2^33 ns
/// and a burst of 10, `check_n(2^31 + 1)` weighs 2^33 x 2^31 = 2^64, which is 0: two billion cells pass as one.
#[test]
fn a_weight_that_overflows_is_not_admitted() {
    let case = Case::account("{ rate = \"1 per 8589934592ns\", burst = 10 }");
    let who = case.who(1);
    let wraps = (0..64).flat_map(|bits| [(1_u64 << bits) + 1, u64::MAX >> bits, (u64::MAX >> bits) - 1]);
    for weight in wraps.filter(|weight| *weight > 10).chain([(1 << 31) + 1, u32::MAX.into(), u64::MAX - 9]) {
        let denial = case.limiter.check(&who, &case.cost(weight)).expect_err("far over the burst");
        assert_eq!((denial.retry(), denial.left()), (Retry::Never, 10), "{weight}");
        // As an estimate, it takes all that there is, and no more.
        let permit = case.limiter.reserve(&who, &case.cost(weight)).expect("a full bucket");
        assert_eq!(
            case.limiter.check(&who, &case.cost(1)).expect_err("nothing is left").left(),
            0,
            "{weight}"
        );
        drop(permit);
    }
    // And none of it was charged.
    assert_eq!(case.drain(&who), 10);
}

/// The same in sums: a quota, a budget or a count in flight that adds before it compares lets u64::MAX through.
#[test]
fn a_sum_that_overflows_is_not_admitted() {
    for rule in ["{ quota = \"10/day\" }", "{ budget = 10 }", "{ in_flight = 10 }"] {
        let case = Case::account(rule);
        let who = case.who(1);
        let held = case.limiter.reserve(&who, &case.cost(5)).expect("half of it");
        for weight in [6, 11, 1 << 48, 1 << 63, u64::MAX - 4, u64::MAX] {
            assert!(!case.takes(&who, weight), "{weight} of {rule}");
        }
        assert!(case.takes(&who, 5), "{rule}");
        drop(held);
    }
}

/// throttlecrab 0.4.40, `rate_limiter.rs`: a stored arrival time is raised to `now - tolerance` only, and admission
/// adds the tolerance again. At 10 a second with a burst of 10, a key that was used before and then idles passes
/// 2 x (10 - 1) = 18 at once.
#[test]
fn idling_mints_nothing() {
    let case = Case::account("{ rate = \"10/s\", burst = 10 }");
    let who = case.who(1);
    assert_eq!(case.drain(&who), 10);
    // A nanosecond more than it takes: supply is short of exact by less.
    for idle in [SECOND + 1, 3_600 * SECOND, 10 * 365 * 86_400 * SECOND] {
        case.clock.advance_nanos(idle);
        assert_eq!(case.drain(&who), 10, "after {idle} ns");
    }
}

/// ratelimit 2.0.0, `refill`: new tokens are rounded down to a millionth, and the whole time since the last refill
/// is counted as used. At 1 an hour a millionth takes 3.6 ms: polled every 7.199 ms it gets one for two, and the
/// token comes after two hours.
#[test]
fn polling_starves_nobody() {
    let case = Case::account("{ rate = \"1/hour\", burst = 1 }");
    let who = case.who(1);
    assert_eq!(case.drain(&who), 1);
    let (hour, pause) = (3_600 * SECOND, 7_199_000);
    for _ in 1..=hour / pause {
        case.clock.advance_nanos(pause);
        assert!(!case.takes(&who, 1), "early, at {:?}", case.limiter.now());
    }
    // A nanosecond more than an hour at most: supply is short of exact by less.
    case.clock.advance_to(hour + 1);
    assert!(case.takes(&who, 1));
}

/// Limiters asked one after the other, which is what keyed limiters leave their users to do (governor, leaky-bucket,
/// tower layers): a request that the last one refuses has been charged to those before it. At 100 a minute for the
/// account and 1 for everybody, 100 refused requests leave the account nothing.
#[test]
fn a_late_denial_charges_nothing() {
    let case = Case::new(
        "[tiers.one.account]\nrequests = [{ rate = \"100/min\", burst = 100 }, { quota = \"150/day\" }]\n\
         [tiers.one.organization]\nrequests = [{ budget = 1000 }, { in_flight = 7 }]\n\
         [tiers.one.total]\nrequests = { rate = \"101/min\", burst = 200 }\n",
    );
    let organization = case.limiter.organization("o");
    let (who, others) = (case.who(1).in_organization(organization), [case.who(2), case.who(3)]);
    assert!(others.iter().all(|other| case.takes(other, 100)));
    let before = case.limiter.explain(&who);
    for _ in 0..100 {
        let denial = case.limiter.check(&who, &case.cost(1)).expect_err("the tier has none left");
        assert_eq!(denial.level(), Level::Tier);
        assert!(case.limiter.reserve(&who, &case.cost(1)).is_err());
    }
    assert_eq!(case.limiter.explain(&who), before);
    case.clock.advance(Duration::from_secs(61));
    assert!(case.takes(&who, 1));
    let after = case.limiter.explain(&who);
    let used: Vec<_> = after.rules.iter().map(|rule| (rule.level, rule.kind, rule.used)).collect();
    assert!(used.contains(&(Level::Account, "quota", 1)), "{used:?}");
    assert!(used.contains(&(Level::Organization, "budget", 1)), "{used:?}");
}

/// limitador (Kuadrant/limitador#466): with a cache of 0 bytes, or one that is full, counters are thrown away and
/// their limits are not enforced. Here newcomers share one line when every place is taken by somebody who owes.
#[test]
fn a_full_table_does_not_fail_open() {
    let case = Case::with_capacity(
        "accounts = 64, organizations = 64",
        "[tiers.one]\ntotal = \"unlimited\"\n[tiers.one.account]\nrequests = { rate = \"1/day\", burst = 5 }\n",
    );
    let accounts = 5_000;
    let admitted: u64 = (0..accounts).map(|account| case.drain(&case.who(account))).sum();
    let statistics = case.limiter.statistics();
    assert!(statistics.accounts >= 48 && statistics.accounts < accounts / 4, "{statistics:?}");
    assert!(admitted >= 5 * 48, "{admitted} admitted");
    assert!(admitted <= 5 * (statistics.accounts + 1), "{admitted} admitted, {statistics:?}");
    assert!(statistics.overflowed > 0, "{statistics:?}");
    // Those who have a place keep what they owe, and are let in again when they owe nothing.
    case.clock.advance(Duration::from_secs(5 * 86_400 + 1));
    assert_eq!(case.drain(&case.who(0)), 5);
    assert_eq!(case.drain(&case.who(accounts - 1)), 5, "a newcomer finds an idle place");
}

/// tower_governor (benwis/tower-governor#65): waits are truncated to whole seconds, so that at 5 a second every
/// refusal says `Retry-After: 0`, and all come back at once.
#[test]
fn a_wait_is_never_zero() {
    let case = Case::account("{ rate = \"5/s\", burst = 1 }");
    let who = case.who(1);
    assert!(case.takes(&who, 1));
    let denial = case.limiter.check(&who, &case.cost(1)).expect_err("empty");
    let wait = denial.retry_after().expect("a matter of time");
    assert!(wait >= Duration::from_millis(200) && wait <= Duration::from_nanos(200_000_001), "{wait:?}");
    let mut seen = wait;
    while !case.takes(&who, 1) {
        let wait = case.limiter.check(&who, &case.cost(1)).expect_err("too early").retry_after();
        seen = wait.expect("a matter of time");
        assert!(seen > Duration::ZERO);
        // Halfway there, again and again, to the last nanosecond.
        case.clock.advance((seen / 2).max(Duration::from_nanos(1)));
    }
    assert_eq!(seen, Duration::from_nanos(1));
}

/// limitador 0.14.0, `atomic_expiring_value.rs`: a window is reset by whoever finds it expired by a clock read
/// before, in two steps, so that a slow request resets a window that others have begun to fill. Here windows only go
/// forward: a request with a clock of the old window is decided in the new one.
#[test]
fn a_stale_clock_does_not_open_a_window_twice() {
    let case = Case::account("{ quota = \"10/minute\" }");
    let who = case.who(1);
    case.clock.advance_to(60 * SECOND - 1);
    let stale = case.limiter.now();
    assert!(case.takes(&who, 1));
    case.clock.advance_nanos(1);
    assert_eq!(case.drain(&who), 10);
    for _ in 0..20 {
        assert!(case.limiter.check_at(&who, &case.cost(1), stale).is_err());
        assert!(case.limiter.reserve_at(&who, &case.cost(1), stale).is_err());
    }
    assert_eq!(case.drain(&who), 0);
    // In a window with room the request is admitted, and dated by the window that it was charged in.
    case.clock.advance_to(120 * SECOND);
    assert!(case.takes(&who, 1));
    let receipt = case.limiter.check_at(&who, &case.cost(1), stale).expect("room");
    assert_eq!(receipt.at(), 120 * SECOND);
    assert_eq!(case.drain(&who), 8);
}

/// Every fixed window: 10 at its end and 10 at the next one's beginning are 20 in an instant. A quota is a contract
/// and does that too; a rate beside it is what bounds the boundary.
#[test]
fn a_rate_beside_a_quota_bounds_the_boundary() {
    let case = Case::account("[{ quota = \"10/minute\" }, { rate = \"10/min\", burst = 10 }]");
    let who = case.who(1);
    case.clock.advance_to(60 * SECOND - 1);
    let before = case.drain(&who);
    case.clock.advance_nanos(2);
    assert_eq!((before, case.drain(&who)), (10, 0));
    case.clock.advance(Duration::from_secs(61));
    assert_eq!(case.drain(&who), 10);
}
