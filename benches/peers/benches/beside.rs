//! One decision of other limiters, beside ours and governor's, in one run:
//! `cargo bench --manifest-path benches/peers/Cargo.toml`.
//!
//! None of them answers our question, which is about an account, its organization and its tier at once. Each is asked
//! the part of it that it does answer, and ours is asked the whole in the same group; the comments say what is missing.
#![expect(clippy::disallowed_types, reason = "a limiter for one thread needs a lock to be shared")]

#[path = "../../cases/mod.rs"]
mod cases;

use std::{
    collections::HashMap,
    hint::black_box,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use cases::{
    GIVEN, READ, Run, governor,
    group::{Case, measure},
    hot::{self, ACCOUNT, ORGANIZATION},
    timed,
};
use criterion::{Criterion, criterion_group, criterion_main};
use limitador::limit::{Context, Expression, Limit, Namespace};
use throttlecrab::AdaptiveStore;

/// One bucket without a key: a process that limits itself. No peer here has levels, keys or a settlement; ours looks
/// at three lines and charges them together.
const WITHOUT_A_KEY: &[Case] = &[
    ("tollgate subject, 3 levels, time given", hot::subject::<1, 1, GIVEN>),
    ("tollgate subject, 3 levels", hot::subject::<1, 1, READ>),
    ("governor, 1 level", governor::direct),
    ("ratelimit, 1 level", ratelimit_admits),
    ("leaky-bucket, 1 level, tokens at hand", leaky_admits),
];

/// One hot key, as a string.
const BY_KEY: &[Case] = &[
    ("tollgate identity kept, 3 levels", hot::identity::<1, 1, READ>),
    ("tollgate identity from strings, 3 levels", hot::strings::<1, 1, READ>),
    ("governor, 1 level", governor::keyed),
    ("governor, 3 levels in sequence", governor::three),
    ("throttlecrab, 1 level", crab::<1>),
    ("throttlecrab, 3 levels in sequence", crab::<3>),
    ("pingora-limits, 1 level, estimate", pingora::<1>),
    ("pingora-limits, 3 levels, estimates", pingora::<3>),
    ("limitador, 3 limits in memory", limitador_builds),
    ("limitador, 3 limits in memory, context kept", limitador_keeps),
];

/// Refused: ours at the tier, after the account and the organization have said yes; the peers by their only bucket.
const REFUSED: &[Case] = &[
    ("tollgate subject, 3 levels, at the tier, time given", hot::denied::<1, GIVEN>),
    ("tollgate subject, 3 levels, at the tier", hot::denied::<1, READ>),
    ("governor, 1 level", governor::direct_denied),
    ("ratelimit, 1 level", ratelimit_denies),
    ("leaky-bucket, 1 level", leaky_denies),
    ("throttlecrab, 1 level, without a lock", crab_denies),
    ("limitador, 3 limits in memory, the last spent, context kept", limitador_denies),
];

/// As much a second as no loop spends.
const PLENTY: u32 = 1_000_000_000;
const HOUR: Duration = Duration::from_secs(3_600);
/// The keys of the three levels.
const KEYS: [&str; 3] = [ACCOUNT, ORGANIZATION, "business"];

/// A token bucket in one word of tokens and one of time.
fn ratelimit_admits() -> Run {
    let limiter = ratelimit::Ratelimiter::builder(PLENTY.into())
        .max_tokens(PLENTY.into())
        .initial_available(PLENTY.into())
        .build()
        .expect("a valid rate");
    timed(move || black_box(&limiter).try_wait().is_ok())
}

fn ratelimit_denies() -> Run {
    // It starts with nothing.
    let limiter = ratelimit::Ratelimiter::builder(1).period(HOUR).build().expect("a valid rate");
    timed(move || black_box(&limiter).try_wait().is_err())
}

/// Made for waiting in turn, in tasks; `try_acquire` is its one question that does not wait. The tokens that it starts
/// with outlast the bench, so that this is its short way: one word, no clock.
fn leaky_admits() -> Run {
    let limiter = leaky_bucket::RateLimiter::builder()
        .initial(usize::MAX >> 2)
        .max(usize::MAX >> 2)
        .refill(PLENTY as usize)
        .interval(Duration::from_secs(1))
        .build();
    timed(move || black_box(&limiter).try_acquire(1))
}

/// Its long way: a mutex, and the clock.
fn leaky_denies() -> Run {
    let limiter = leaky_bucket::RateLimiter::builder().initial(0).interval(HOUR).build();
    timed(move || !black_box(&limiter).try_acquire(1))
}

/// GCRA, the same arithmetic as governor's, over a map that one thread owns: shared by several it needs the lock
/// around it, taken here by one thread alone, which is the least that it can cost. Three levels are three questions in
/// sequence, and what the first was charged stays charged when the last refuses.
fn crab<const LEVELS: usize>() -> Run {
    let shared = Mutex::new(throttlecrab::RateLimiter::new(AdaptiveStore::new()));
    let ask = move |key: &&str| {
        let mut limiter = shared.lock().expect("nobody panics under it");
        let answer = limiter.rate_limit(key, PLENTY.into(), PLENTY.into(), 1, 1, SystemTime::now());
        answer.expect("valid numbers").0
    };
    timed(move || black_box(KEYS).iter().take(LEVELS).all(&ask))
}

fn crab_denies() -> Run {
    let mut limiter = throttlecrab::RateLimiter::new(AdaptiveStore::new());
    // A burst of 1 would be forgotten at once: an entry is kept for as long as it takes to refill all but one.
    let mut ask = move || {
        let answer = limiter.rate_limit(black_box(ACCOUNT), 2, 1, 3_600, 1, SystemTime::now());
        answer.expect("valid numbers").0
    };
    assert!(ask() && ask());
    timed(move || !ask())
}

/// An estimate, and no limit: it counts events of the present interval in a sketch of fixed size, never too few, and
/// with hash collisions too many. Comparing the count with a limit is left to the caller, after it is counted.
fn pingora<const LEVELS: usize>() -> Run {
    let rate = pingora_limits::rate::Rate::new(Duration::from_secs(1));
    timed(move || black_box(KEYS).iter().take(LEVELS).all(|key| rate.observe(key, 1) > 0))
}

/// Several limits in one question, all or nothing, as ours; fixed windows, though, of whole seconds, which let two
/// windows' worth through around an edge. Conditions are expressions, evaluated for each request.
struct Limitador {
    limiter: limitador::RateLimiter,
    namespace: Namespace,
    request: HashMap<String, String>,
}

impl Limitador {
    fn new(most: [u64; 3]) -> Limitador {
        let limiter = limitador::RateLimiter::new(10_000);
        let variables = ["account", "organization", "tier"];
        for (variable, most) in variables.into_iter().zip(most) {
            let expression = Expression::parse(variable).expect("a variable");
            limiter.add_limit(Limit::new("api", most, HOUR.as_secs(), [], [expression]));
        }
        let request = variables.into_iter().zip(KEYS).map(|(name, key)| (name.to_owned(), key.to_owned()));
        Limitador { limiter, namespace: Namespace::from("api"), request: request.collect() }
    }

    fn admits(&self, context: &Context<'_>) -> bool {
        let answer = self.limiter.check_rate_limited_and_update(&self.namespace, context, 1);
        !answer.expect("in memory").limited
    }
}

/// The context is built from a map for each request, as a server has to.
fn limitador_builds() -> Run {
    let limitador = Limitador::new([u64::MAX >> 1; 3]);
    timed(move || limitador.admits(&Context::from(black_box(&limitador.request).clone())))
}

fn limitador_keeps() -> Run {
    let limitador = Limitador::new([u64::MAX >> 1; 3]);
    let context = Context::from(limitador.request.clone());
    timed(move || limitador.admits(black_box(&context)))
}

fn limitador_denies() -> Run {
    let limitador = Limitador::new([u64::MAX >> 1, u64::MAX >> 1, 1]);
    let context = Context::from(limitador.request.clone());
    assert!(limitador.admits(&context));
    timed(move || !limitador.admits(black_box(&context)))
}

fn beside(criterion: &mut Criterion) {
    measure(criterion, &[("without a key", WITHOUT_A_KEY), ("by key", BY_KEY), ("refused", REFUSED)]);
}

criterion_group!(benches, beside);
criterion_main!(benches);
