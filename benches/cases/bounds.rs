//! What is not a time: the rate delivered, and the memory taken.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use tollgate::{Cost, Limiter, Plan};

use super::{limiter, scaled, tail::Measure, tier};

/// 20 ms of the rate: while the system has both threads wait for a processor, no supply is lost.
const BURST: u64 = 20_000;
const RATE: u64 = 1_000_000;

/// Tokens that two threads get out of a tier of a million a second, asking far more often, beside burst and supply.
/// Each alone may have nearly all of it, so that it matters little which of them the system lets run.
pub fn saturated() -> Measure {
    Box::new(|| {
        let plan = Plan::from_toml(&format!(
            "version = 1\nmeters = [\"requests\"]\ncapacity = {{ accounts = 1_000, organizations = 100 }}\n\
             [tiers.one]\n\
             account.requests = {{ rate = \"990k/s\", burst = 19_800 }}\n\
             organization.requests = {{ rate = \"995k/s\", burst = 19_900 }}\n\
             total.requests = {{ rate = \"{RATE}/s\", burst = {BURST} }}\n"
        ));
        let limiter = limiter(plan.unwrap_or_else(|error| panic!("{error}")));
        let one = Cost::of(limiter.meter("requests").expect("the meter"), 1);
        let span = Duration::from_millis(scaled(1_000, 5));
        let barrier = Barrier::new(2);
        let ask = |thread: u64| {
            let organization = limiter.organization(thread);
            let who = limiter.identity(tier(&limiter, "one"), thread).in_organization(organization);
            let subject = limiter.subject(&who);
            barrier.wait();
            let end = Instant::now() + span;
            let mut admitted = 0;
            while Instant::now() < end {
                admitted += (0..64).filter(|_| limiter.check(&subject, &one).is_ok()).count();
            }
            admitted as u64
        };
        let begin = limiter.now();
        let admitted: u64 = thread::scope(|scope| {
            let threads = [0, 1].map(|thread| scope.spawn(move || ask(thread)));
            threads.map(|thread| thread.join().expect("no thread panics")).into_iter().sum()
        });
        // Both ends outside of all decisions: an upper bound of what they may get.
        let elapsed = limiter.now().as_u64() - begin.as_u64() + 1;
        (admitted as f64, BURST as f64 + RATE as f64 * elapsed as f64 / 1e9)
    })
}

/// Bytes of the tables for each account that has a line, where a million may; one number, held against itself.
pub fn memory(rule: &str) -> Measure {
    let accounts = scaled(1_000_000, 1_000);
    let text = format!(
        "version = 1\nmeters = [\"requests\", \"input_tokens\", \"output_tokens\"]\nmemory = \"2GiB\"\n\
         capacity = {{ accounts = {accounts}, organizations = 1{} }}\n\
         [tiers.one]\ntotal = \"unlimited\"\n\
         account = {{ requests = {rule}, input_tokens = {rule}, output_tokens = {rule} }}\n",
        // What would be remembered of those without a line is not counted, and needs no room here.
        if rule.contains("quota") { ", parked_accounts = 0" } else { "" },
    );
    let plan = Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let limiter = limiter(plan);
    let one = cost_of_all(&limiter);
    let tier = tier(&limiter, "one");
    // All of them owe, so that none makes room for another; the last few of a full table find their groups taken, and
    // what the tier's overflow line answers them is not asked about here.
    for id in 0..accounts {
        let _: Result<_, _> = limiter.check(&limiter.identity(tier, id), &one);
    }
    let held = limiter.statistics();
    assert!(held.accounts * 100 >= accounts * 98, "{held:?}");
    let each = held.bytes as f64 / held.accounts as f64;
    Box::new(move || (each, each))
}

fn cost_of_all(limiter: &Limiter) -> Cost {
    super::cost(limiter, super::METERS.len())
}
