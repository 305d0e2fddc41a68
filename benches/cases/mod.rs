//! What is measured, each case once, for every bench target.
//!
//! A case builds what it needs and answers a [`Run`]: so many decisions, and how long they took. That is what both
//! criterion (`iter_custom`) and the table of ratios ask for, so that the two measure the same machine code.
//!
//! Fixtures are leaked: a bench process is short, and a `'static` reference costs a loop nothing.
#![allow(dead_code, reason = "each bench target uses a part of it")]
#![allow(clippy::disallowed_types, reason = "real threads are what is measured; loom is not at work here")]

pub mod bounds;
pub mod exchange;
pub mod full;
pub mod governor;
pub mod group;
pub mod hot;
pub mod many;
pub mod observed;
pub mod pairs;
pub mod reloaded;
pub mod tail;
pub mod threads;

use std::{
    fmt::Write,
    hint::black_box,
    time::{Duration, Instant},
};

use tollgate::{Caller, Cost, Limiter, Nanos, Plan};

/// Does so many decisions, makes sure of the answers, and says how long it took.
pub type Run = Box<dyn FnMut(u64) -> Duration>;

/// Where the time of a decision comes from.
pub const GIVEN: bool = true;
pub const READ: bool = false;

/// Whether everything runs once, to see that it runs: then small fixtures do.
pub fn tiny() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// `full`, or a number for [`tiny`].
pub fn scaled(full: u64, tiny_one: u64) -> u64 {
    if tiny() { tiny_one } else { full }
}

/// What a bench keeps until the process ends.
pub fn kept<T>(fixture: T) -> &'static T {
    Box::leak(Box::new(fixture))
}

/// `decide` in a loop; it answers whether the decision was the one that the case is about.
pub fn timed(mut decide: impl FnMut() -> bool + 'static) -> Run {
    Box::new(move |count| {
        let start = Instant::now();
        let mut answered = 0;
        for _ in 0..count {
            answered += u64::from(decide());
        }
        let elapsed = start.elapsed();
        assert_eq!(answered, count, "decisions that the case is not about");
        elapsed
    })
}

/// One decision, by a clock that was read before or by the limiter's own.
#[inline]
pub fn admits<const TIME: bool>(limiter: &Limiter, caller: &impl Caller, cost: &Cost, now: Nanos) -> bool {
    if TIME == GIVEN {
        limiter.check_at(black_box(caller), cost, now).is_ok()
    } else {
        limiter.check(black_box(caller), cost).is_ok()
    }
}

pub const METERS: [&str; 3] = ["requests", "input_tokens", "output_tokens"];
const LEVELS: [&str; 3] = ["account", "organization", "total"];

/// A policy with one rate for each of the first `meters` meters at each of the three levels of each tier. Tiers named
/// `spent*` have three requests a week in all, the others more a second than any loop spends.
pub fn plan(meters: usize, tiers: &[&str], accounts: u64, organizations: u64) -> Plan {
    plan_of(meters, tiers, (accounts, organizations), "")
}

/// The same with `more` of a policy.
pub fn plan_of(meters: usize, tiers: &[&str], (accounts, organizations): (u64, u64), more: &str) -> Plan {
    let meters = &METERS[..meters];
    let mut text = format!(
        "version = 1\nmeters = {meters:?}\nmemory = \"2GiB\"\n\
         capacity = {{ accounts = {accounts}, organizations = {organizations} }}\n"
    );
    for tier in tiers {
        writeln!(text, "\n[tiers.{tier}]").expect("a String takes all");
        for (level, size) in LEVELS.iter().zip(1..) {
            let rule = if tier.starts_with("spent") {
                format!("{{ rate = \"{size}/week\", burst = {size} }}")
            } else {
                // A parent has more than its children, or theirs would never bind and be refused.
                format!("{{ rate = \"{0}G/s\", burst = \"{0}G\" }}", size + 3)
            };
            for meter in meters {
                writeln!(text, "{level}.{meter} = {rule}").expect("a String takes all");
            }
        }
    }
    text.push_str(more);
    Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A cost of one on each of the first `meters` meters.
pub fn cost(limiter: &Limiter, meters: usize) -> Cost {
    METERS[..meters]
        .iter()
        .fold(Cost::FREE, |cost, name| cost.and(limiter.meter(name).expect("a meter of the policy"), 1))
}

/// A tier of the policy.
pub fn tier(limiter: &Limiter, name: &str) -> tollgate::Tier {
    limiter.tier(name).expect("a tier of the policy")
}

/// A limiter whose tables are the same on every run.
pub fn limiter(plan: Plan) -> Limiter {
    Limiter::builder(plan).secret([1; 16]).build().expect("memory for the tables")
}

/// Random numbers, the same on every run (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Below `count`.
    pub fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(count)) >> 64) as u64
    }

    /// From 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The value below which `share` of `values` lies.
pub fn quantile(values: &mut [u32], share: f64) -> f64 {
    let place = ((values.len() as f64 * share) as usize).min(values.len() - 1);
    let (_, value, _) = values.select_nth_unstable(place);
    f64::from(*value)
}
