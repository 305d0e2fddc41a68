//! Leases on a tier's total, by real threads: what they let through is exact, they come into use, and a lone caller
//! never sees them.
#![cfg(feature = "toml")]
#![allow(clippy::disallowed_types, reason = "these count what real threads did; loom is not at work here")]

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use tollgate::{Cost, Limiter, ManualClock, Plan, Whom};

const THREADS: u64 = 4;
/// Rounds in which threads may fail to meet, on a machine that has other work.
const ROUNDS: usize = 50;

fn limiter(total: &str) -> (Limiter, ManualClock) {
    let text = format!(
        "version = 1\nmeters = [\"tokens\"]\ncapacity = {{ accounts = 100, organizations = 100 }}\n\
         [tiers.one]\ntotal.tokens = {total}\n"
    );
    let plan = Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
    let clock = ManualClock::new();
    (Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("built"), clock)
}

/// Runs `work` on each thread with its number.
fn on_threads(work: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let work = &work;
            scope.spawn(move || work(thread));
        }
    });
}

/// Threads spend a budget from leases: all of it is admitted, to the token, and no more.
#[test]
fn a_total_is_spent_to_the_token() {
    const LIMIT: u64 = 1_000_000;
    let mut taken = 0;
    for _ in 0..ROUNDS {
        let (limiter, _) = limiter(&format!("{{ budget = {LIMIT} }}"));
        let (one, tokens) = (limiter.tier("one").expect("tier"), limiter.meter("tokens").expect("meter"));
        let spent = AtomicU64::new(0);
        on_threads(|thread| {
            let caller = limiter.identity(one, thread);
            let mut mine = 0;
            for amount in (1..=3).cycle() {
                match limiter.check(&caller, &Cost::of(tokens, amount)) {
                    Ok(_) => mine += amount,
                    Err(_) if amount == 1 => break,
                    Err(_) => {}
                }
            }
            spent.fetch_add(mine, Ordering::Relaxed);
        });
        assert_eq!(spent.into_inner(), LIMIT);
        let rules = limiter.explain(&limiter.identity(one, 0)).rules;
        let total = rules.last().expect("a total");
        assert_eq!((total.used, total.left), (LIMIT, Some(0)));
        taken += limiter.statistics().leases_taken;
        if taken > 10 {
            return;
        }
    }
    panic!("threads never met: {taken} leases were taken");
}

/// What is told of a total, to a customer or a checkpoint, is what was spent of it: what threads hold of it on lease is not.
#[test]
fn what_is_leased_is_not_used() {
    let mut taken = 0;
    for _ in 0..ROUNDS {
        let (limiter, _) = limiter("[{ quota = \"1_000_000_000/month\" }, { budget = 2_000_000_000 }]");
        let (one, tokens) = (limiter.tier("one").expect("tier"), limiter.meter("tokens").expect("meter"));
        let (counted, done) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (limiter, counted, done) = (&limiter, &counted, &done);
                scope.spawn(move || {
                    let caller = limiter.identity(one, thread);
                    for _ in 0..20_000 {
                        limiter.check(&caller, &Cost::of(tokens, 1)).expect("there is enough");
                        counted.fetch_add(1, Ordering::AcqRel);
                    }
                    done.fetch_add(1, Ordering::Release);
                });
            }
            while done.load(Ordering::Acquire) < THREADS {
                let least = counted.load(Ordering::Acquire);
                let used = limiter.usage(Whom::Tier(one), tokens, None);
                // Each thread may have one more than it has counted.
                let most = counted.load(Ordering::Acquire) + THREADS;
                for rule in used {
                    assert!((least..=most).contains(&rule.used), "{rule:?}, not in {least}..={most}");
                }
            }
        });
        taken += limiter.statistics().leases_taken;
        if taken > 10 {
            return;
        }
    }
    panic!("threads never met: {taken} leases were taken");
}

/// A rate over every interval of a log of all admissions, while leases are taken, served, evaporate and are recalled.
#[test]
fn a_leased_rate_is_never_over() {
    /// One token a nanosecond.
    const BURST: u64 = 100_000;
    let mut taken = 0;
    for _ in 0..ROUNDS {
        let (limiter, clock) = limiter(&format!("{{ rate = \"1 per 1ns\", burst = {BURST} }}"));
        let (one, tokens) = (limiter.tier("one").expect("tier"), limiter.meter("tokens").expect("meter"));
        let log = Mutex::new(Vec::new());
        on_threads(|thread| {
            let caller = limiter.identity(one, thread);
            let mut mine = Vec::new();
            for call in 0..30_000_u64 {
                // In turn more than the rate, and less.
                clock.advance_nanos(if call / 5_000 % 2 == 0 { 2 } else { 20 });
                let amount = 1 + (call * 7 + thread) % 16;
                if let Ok(receipt) = limiter.check(&caller, &Cost::of(tokens, amount)) {
                    mine.push((receipt.at(), amount));
                }
            }
            log.lock().expect("no thread panics").append(&mut mine);
        });
        let mut log = log.into_inner().expect("no thread panics");
        log.sort_unstable();
        // A bucket of the same rate and burst, a nanosecond ahead, admits them all.
        let mut claimed = 0;
        for (at, amount) in &log {
            claimed = claimed.max(*at) + amount;
            assert!(claimed <= at + 1 + BURST, "{} over at {at}", claimed - at - 1 - BURST);
        }
        let admitted: u64 = log.iter().map(|(_, amount)| amount).sum();
        assert!(admitted > BURST, "{admitted}");
        taken += limiter.statistics().leases_taken;
        if taken > 10 && limiter.statistics().leases_recalled > 0 {
            return;
        }
    }
    panic!("threads never met: {taken} leases were taken");
}

/// One caller that hops between threads finds every total exact: the whole burst, no lease.
#[test]
fn a_lone_caller_never_sees_leases() {
    const BURST: u64 = 64;
    let (limiter, clock) = limiter(&format!("{{ rate = \"1/s\", burst = {BURST} }}"));
    let (one, tokens) = (limiter.tier("one").expect("tier"), limiter.meter("tokens").expect("meter"));
    let caller = limiter.identity(one, 7_u64);
    for _ in 0..10 {
        for call in 0..=BURST {
            let check = || limiter.check(&caller, &Cost::of(tokens, 1)).is_ok();
            let admitted = std::thread::scope(|scope| scope.spawn(check).join().expect("no panic"));
            assert_eq!(admitted, call < BURST);
        }
        clock.advance_nanos((BURST + 1) * 1_000_000_000);
    }
    assert_eq!(limiter.statistics().leases_taken, 0);
}

/// A flood that is refused does not make a total hot, and what was leased before it comes back once.
#[test]
fn what_is_leased_comes_back_before_a_refusal() {
    let (limiter, _) = limiter("{ budget = 1_000 }");
    let (one, tokens) = (limiter.tier("one").expect("tier"), limiter.meter("tokens").expect("meter"));
    let caller = limiter.identity(one, 7_u64);
    limiter.check(&caller, &Cost::of(tokens, 1_000)).expect("all of it");
    on_threads(|thread| {
        let caller = limiter.identity(one, thread);
        for _ in 0..10_000 {
            assert!(limiter.check(&caller, &Cost::of(tokens, 1)).is_err());
        }
    });
    assert_eq!(limiter.statistics().leases_taken, 0);
}
