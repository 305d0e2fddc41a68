//! `governor` as oracle, where the two mean the same: one level, one meter, weights within the burst, nothing
//! near the 2^64 ns at which governor's arithmetic wraps.
//!
//! Both are the generic cell rate algorithm. Governor counts in nanoseconds, one cell every whole number `t` of
//! them: it admits `n` iff `tat + n t <= now + burst t`. Tollgate counts in ticks of 2^-f token. So:
//!
//! - where `t` is a power of two, ticks are nanoseconds' even parts: every decision and every wait is the same;
//! - for any other `t`, supply is short of exact by under two ticks, that is half a nanosecond at most: the two
//!   differ only in a request at the very nanosecond at which its last token becomes whole. Governor admits it;
//!   Tollgate tells it to come back one nanosecond later, admits it then, and owes the same from there on. It never
//!   admits what governor refuses, and a wait is governor's or one nanosecond longer;
//! - more than the burst is `InsufficientCapacity` there and *never* here.
//!
//! Liveness: admissions, refusals and boundary cases are counted, and each must be substantial.
#![cfg(feature = "toml")]

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, FakeRelativeClock},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};
use tollgate::{Cost, Limiter, ManualClock, Plan};

/// One nanosecond.
const NANO: Duration = Duration::from_nanos(1);

#[derive(Debug, Default)]
struct Tally {
    admitted: u64,
    refused: u64,
    insufficient: u64,
    at_the_boundary: u64,
}

/// Runs `requests` (eighths of an interval to wait, further nanoseconds to wait, weight) through both.
fn compare(interval: u64, burst: u32, requests: &[(u16, i8, u32)], tally: &mut Tally) {
    let text = format!(
        "version = 1\nmeters = [\"cells\"]\nmemory = \"16MiB\"\n\
         capacity = {{ accounts = 64, organizations = 1 }}\n[tiers.one]\ntotal = \"unlimited\"\n\
         [tiers.one.account]\ncells = {{ rate = \"1 per {interval}ns\", burst = {burst} }}\n"
    );
    let plan = Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let ours_clock = ManualClock::new();
    let limiter = Limiter::builder(plan).clock(ours_clock.clone()).secret([7; 16]).build().expect("built");
    let who = limiter.identity(limiter.tier("one").expect("the tier"), 1);
    let cells = limiter.meter("cells").expect("the meter");

    let burst = NonZeroU32::new(burst).expect("a burst");
    let quota = Quota::with_period(Duration::from_nanos(interval)).expect("an interval").allow_burst(burst);
    let theirs_clock = FakeRelativeClock::default();
    let theirs = RateLimiter::direct_with_clock(quota, theirs_clock.clone());
    let advance = |nanos: u64| {
        ours_clock.advance_nanos(nanos);
        theirs_clock.advance(Duration::from_nanos(nanos));
    };

    // Answers the wait, where that is what both answered.
    let mut ask = |weight: u32| {
        let ours = limiter.check(&who, &Cost::of(cells, weight.into()));
        let context = || format!("{weight} at {:?} with {interval} and {burst}: {ours:?}", limiter.now());
        match theirs.check_n(NonZeroU32::new(weight).expect("a weight")) {
            Err(_) => {
                assert!(ours.is_err_and(|denial| denial.is_never()), "{}", context());
                tally.insufficient += 1;
            }
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(theirs_clock.now());
                let own = ours.expect_err(&context()).retry_after().expect("a matter of time");
                let late = if interval.is_power_of_two() { Duration::ZERO } else { NANO };
                assert!(own == wait || own == wait + late, "{wait:?}: {}", context());
                tally.refused += 1;
                return Some(wait);
            }
            Ok(Ok(())) => {
                if let Err(denial) = ours {
                    assert!(!interval.is_power_of_two(), "{}", context());
                    assert_eq!(denial.retry_after(), Some(NANO), "{}", context());
                    advance(1);
                    assert!(limiter.check(&who, &Cost::of(cells, weight.into())).is_ok(), "{}", context());
                    tally.at_the_boundary += 1;
                }
                tally.admitted += 1;
            }
        }
        None
    };
    for &(eighths, further, weight) in requests {
        let pause = interval * u64::from(eighths) / 8;
        advance(pause.saturating_add_signed(further.into()));
        // Waited for, a request comes at the very nanosecond at which the two can differ.
        if let Some(wait) = ask(weight).filter(|_| further >= 0) {
            advance(u64::try_from(wait.as_nanos()).expect("a short wait"));
            ask(weight);
        }
    }
}

fn requests() -> impl Strategy<Value = Vec<(u16, i8, u32)>> {
    let weights = prop_oneof![4 => Just(1), 8 => 1..20_u32, 1 => 1..2_000_u32];
    prop::collection::vec((0..40_u16, -2..3_i8, weights), 200)
}

fn run_all(intervals: impl Strategy<Value = u64>) -> Tally {
    let config =
        Config { cases: 300, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let tally = std::cell::RefCell::new(Tally::default());
    runner
        .run(&(intervals, 1..60_u32, requests()), |(interval, burst, requests)| {
            compare(interval, burst, &requests, &mut tally.borrow_mut());
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    tally.into_inner()
}

#[test]
fn a_power_of_two_of_nanoseconds_decides_the_same() {
    let tally = run_all((0..40_u32).prop_map(|exponent| 1 << exponent));
    assert!(tally.admitted > 10_000 && tally.refused > 10_000 && tally.insufficient > 1_000, "{tally:?}");
    assert_eq!(tally.at_the_boundary, 0);
}

#[test]
fn any_interval_decides_the_same_but_for_one_nanosecond() {
    let intervals = prop_oneof![Just(1_000_000_000), Just(100_000_000), 1..1_000_u64, 1..60_000_000_000_u64];
    let tally = run_all(intervals);
    assert!(tally.admitted > 10_000 && tally.refused > 10_000 && tally.insufficient > 1_000, "{tally:?}");
    assert!(tally.at_the_boundary > 100 && tally.at_the_boundary < tally.admitted / 2, "{tally:?}");
}
