//! Those who come by an older clock than others did before them, or after a turn where they had no line.
//!
//! - an account whose line went to another, once by a later clock it owed nothing, comes back by an earlier one: it has no more
//!   than it would if it had stayed;
//! - one that was parked, and spent on the overflow line meanwhile, leaves that with what that owes of its rates;
//! - liveness: by the later clock it has all, and in time.
#![cfg(feature = "toml")]

use tollgate::{Cost, Limiter, ManualClock, Plan};

const SECOND: u64 = 1_000_000_000;

/// Replaced lines were forgotten whole. Who came back by a clock from before that found a full bucket and an unused window: with
/// 10 and 1 a second, 20 in five seconds.
#[test]
fn an_older_clock_finds_no_fresh_start() {
    for rule in ["{ rate = \"1/s\", burst = 10 }", "{ quota = \"10/minute\" }"] {
        let text = format!(
            "version = 1\nmeters = [\"requests\"]\n\
             capacity = {{ accounts = 1, organizations = 1, parked_accounts = 0 }}\n\
             [tiers.one]\ntotal = \"unlimited\"\naccount.requests = {rule}\n"
        );
        let clock = ManualClock::at_unix(0);
        let plan = Plan::from_toml(&text).unwrap();
        let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("room");
        let account = |id: u64| limiter.identity(limiter.tier("one").expect("a tier"), id);
        let cost = |amount| Cost::of(limiter.meter("requests").unwrap(), amount);
        limiter.check(&account(0), &cost(10)).unwrap();
        clock.advance_nanos(5 * SECOND);
        let old = limiter.now();
        clock.advance_nanos(60 * SECOND);
        for id in 1..200 {
            // Each owes nothing when the next comes.
            clock.advance_nanos(60 * SECOND);
            limiter.check(&account(id), &cost(1)).unwrap();
        }
        assert!(limiter.statistics().accounts < 100, "lines were used again");
        // Or there would be no line for who comes by the older clock, by which they owe.
        for id in 1..200 {
            limiter.forget(&account(id));
        }
        // Of a rate that was full by the later clock; of a window that it is in by that.
        let by = [Some(old), None].map(|now| match now {
            Some(old) => limiter.check_at(&account(0), &cost(10), old).is_ok(),
            None => limiter.check(&account(0), &cost(10)).is_ok(),
        });
        assert_eq!(by, [rule.contains("quota"), rule.contains("rate")], "{rule}");
    }
}

/// Who came from the parked after a turn on the overflow line had full rates: with 10 and 1 a minute, 20 within one.
#[test]
fn who_leaves_the_overflow_line_for_its_own_again_starts_empty() {
    let text = "version = 1\nmeters = [\"requests\"]\ncapacity = { accounts = 1, parked_accounts = 1 }\n\
        [tiers.one]\ntotal = \"unlimited\"\n\
        account.requests = [{ rate = \"1/min\", burst = 10 }, { quota = \"500/day\" }]\n";
    let clock = ManualClock::at_unix(0);
    let plan = Plan::from_toml(text).unwrap();
    let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("room");
    let account = |id: u64| limiter.identity(limiter.tier("one").expect("a tier"), id);
    let cost = Cost::of(limiter.meter("requests").unwrap(), 1);
    let drain = || (0..100).take_while(|_| limiter.check(&account(0), &cost).is_ok()).count();
    limiter.check(&account(0), &cost).unwrap();
    clock.advance_nanos(600 * SECOND);
    // Idle but for its quota, it is parked; those who have its place and all others keep them.
    let mut open = Vec::new();
    while limiter.statistics().overflowed == 0 {
        let id = 1 + open.len() as u64;
        open.push(limiter.reserve(&account(id), &cost).unwrap());
    }
    open.pop();
    assert_eq!(limiter.statistics().parked_accounts, 1);
    let on_overflow = drain();
    assert!((9..=10).contains(&on_overflow), "{on_overflow}");
    let overflowed = limiter.statistics().overflowed;
    clock.advance_nanos(60 * SECOND);
    drop(open);
    assert_eq!(drain(), 1, "what came back within a minute");
    assert_eq!((limiter.statistics().overflowed, limiter.statistics().parked_accounts), (overflowed, 0));
    // Nothing is forgotten of the day, and all of the rate comes back.
    clock.advance_nanos(600 * SECOND);
    assert_eq!(drain(), 10);
}
