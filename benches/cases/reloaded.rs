//! Traffic beside a thread that puts another policy into force a hundred times a second, and calls `maintain` ten times.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use tollgate::{Limiter, Plan};

use super::{READ, admits, cost, kept, pairs::Pair, scaled, tail::Measure, tier};

/// Between two reloads.
const PAUSE: Duration = Duration::from_millis(10);
/// Decisions of a sample: some twenty reloads long.
const DECISIONS: u64 = 6_000_000;

/// One of three policies that take turns: two that come back, and one that is always another.
fn policy(turn: u64) -> Plan {
    let more = if turn % 3 == 2 { 10 + turn } else { turn % 3 };
    let rule = |level: &str, size: u64| {
        format!("{level}.requests = {{ rate = \"{0}M/s\", burst = \"{0}M\" }}\n", size * 1_000 + more)
    };
    let text = format!(
        "version = 1\nmeters = [\"requests\"]\ncapacity = {{ accounts = 10_000, organizations = 1_000 }}\n\
         [tiers.business]\n{}{}{}",
        rule("account", 1),
        rule("organization", 2),
        rule("total", 3)
    );
    Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Nanoseconds of a decision with and without reloads, a pair a run.
pub fn beside_reloads() -> Measure {
    let limiter: &'static Limiter = kept(super::limiter(policy(0)));
    let cost = cost(limiter, 1);
    let caller =
        limiter.identity(tier(limiter, "business"), 17_u64).in_organization(limiter.organization(4_u64));
    let (subject, now) = (limiter.subject(&caller), limiter.now());
    let count = scaled(DECISIONS, 1_000);
    let decide = move || {
        let begin = Instant::now();
        for _ in 0..count {
            // No request fails for a reload.
            assert!(admits::<READ>(limiter, &subject, &cost, now));
        }
        begin.elapsed()
    };
    let (mut turn, mut number) = (0, 0);
    decide();
    Box::new(move || {
        let pair = Pair::measure(number, |reloaded| {
            if !reloaded {
                return decide();
            }
            let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
            let (first, begin) = (turn, Instant::now());
            let taken = thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        turn += 1;
                        limiter.reload(black_box(policy(turn))).expect("there is always a place");
                        if turn.is_multiple_of(10) {
                            limiter.maintain();
                        }
                        begun.store(true, Ordering::Relaxed);
                        let next = PAUSE * u32::try_from(turn - first).expect("few");
                        thread::sleep(next.saturating_sub(begin.elapsed()));
                    }
                });
                while !begun.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                let taken = decide();
                done.store(true, Ordering::Relaxed);
                taken
            });
            // Or it shows nothing: 90 in a second at least, begun ones included.
            assert!(
                (turn - first) as f64 >= taken.as_secs_f64() * 90.0,
                "{} reloads in {taken:?}",
                turn - first
            );
            taken
        });
        number += 1;
        let each = |taken: Duration| taken.as_nanos() as f64 / count as f64;
        (each(pair.with), each(pair.without))
    })
}
