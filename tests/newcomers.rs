//! Those who come by an older clock than others did before them.
//!
//! - an account whose line went to another, once by a later clock it owed nothing, comes back by an earlier one: it has no more
//!   than it would if it had stayed;
//! - liveness: by the later clock it has all.
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
