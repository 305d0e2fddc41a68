//! A flood of accounts that nobody has seen before, a hundred times what the tables hold.
//!
//! - memory stays within a tenth of what it is when the tables are full;
//! - accounts that owe something when the flood begins are not forgotten: what they spent stays spent;
//! - accounts that are known keep at least 99% of their admissions through it;
//! - every account has a line of its own until the tables hold 98% of what the policy says, and until 75% of that is of those
//!   who owe where the tables were full before;
//! - the flood never gets more than its tier's total, and gets some (a limiter that denies everything fails).
//!
//! Ten million ids in release builds, fewer in debug builds; `TOLLGATE_FLOOD` sets another number.
#![cfg(feature = "toml")]

use tollgate::{Clock, Cost, Id, Identity, Limiter, ManualClock, Plan, Tier};

const SECOND: u64 = 1_000_000_000;
const CAPACITY: u64 = 100_000;
const KNOWN: u64 = 1_000;
const DEFAULT_IDS: u64 = if cfg!(debug_assertions) { 400_000 } else { 10_000_000 };
/// A newcomer comes every 6 us: ten million in a minute.
const PAUSE: u64 = 6_000;

/// Rates for those who are known and for the flood, budgets as what is never forgiven. The flood's accounts owe
/// for six seconds what each request costs, in which a million more come.
const POLICY: &str = r#"
version = 1
meters = ["requests", "credits"]
memory = "512MiB"
capacity = { accounts = 100_000, organizations = 10 }

[tiers.known]
total = "unlimited"
[tiers.known.account]
requests = { rate = "1/s", burst = 5 }
credits = { budget = 10 }

[tiers.flood.account]
requests = { rate = "10/min", burst = 10 }
[tiers.flood.total]
requests = { rate = "30k/s", burst = 200_000 }
"#;

/// Bytes that this process has in memory; `None` where the system does not say.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

/// Scrambles a counter into ids that never repeat (splitmix64 is a permutation).
fn scrambled(number: u64) -> u64 {
    let mut id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    id ^ (id >> 31)
}

struct Flood {
    limiter: Limiter,
    clock: ManualClock,
    tier: Tier,
    requests: Cost,
    next: u64,
    admitted: u64,
    overflowed: u64,
}

impl Flood {
    fn new() -> Flood {
        let clock = ManualClock::new();
        let plan = Plan::from_toml(POLICY).unwrap_or_else(|error| panic!("{error}"));
        let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("built");
        let requests = Cost::of(limiter.meter("requests").expect("the meter"), 1);
        let tier = limiter.tier("flood").expect("the tier");
        Flood { limiter, clock, tier, requests, next: 0, admitted: 0, overflowed: 0 }
    }

    /// One request of an account that was never seen.
    fn newcomer(&mut self) {
        self.clock.advance_nanos(PAUSE);
        self.next += 1;
        let id = scrambled(self.next);
        let who = self.limiter.identity(self.tier, Id::Uuid(u128::from(id) << 64 | u128::from(self.next)));
        if let Ok(receipt) = self.limiter.check(&who, &self.requests) {
            self.admitted += 1;
            self.overflowed += u64::from(receipt.overflow());
        }
    }
}

#[test]
fn a_flood_of_new_accounts() {
    let ids = match std::env::var("TOLLGATE_FLOOD") {
        Ok(number) => number.parse().expect("TOLLGATE_FLOOD is a number of ids"),
        Err(_) => DEFAULT_IDS,
    };
    let mut flood = Flood::new();
    let (limiter, request) = (flood.limiter.clone(), flood.requests);
    let credits = limiter.meter("credits").expect("the meter");
    let known_tier = limiter.tier("known").expect("the tier");
    let known: Vec<Identity> = (0..KNOWN).map(|account| limiter.identity(known_tier, account)).collect();
    for who in &known {
        limiter.check(who, &Cost::of(credits, 7)).expect("7 of 10");
    }
    // Every account has a line of its own until the tables are full.
    while limiter.statistics().accounts * 100 < CAPACITY * 98 && flood.overflowed == 0 {
        (0..100).for_each(|_| flood.newcomer());
    }
    let first_overflow = (flood.overflowed > 0).then(|| limiter.statistics());
    // Till they are.
    for _ in 0..2 * CAPACITY {
        flood.newcomer();
    }
    let full = limiter.statistics();
    let resident_when_full = resident();

    // The flood; each known account asks once a second, which is its rate.
    let (mut asked, mut answered, mut next_round) = (0_u64, 0_u64, limiter.now().as_u64());
    while flood.next < ids {
        flood.newcomer();
        if limiter.now().as_u64() >= next_round {
            next_round += SECOND;
            for who in &known {
                asked += 1;
                answered += u64::from(limiter.check(who, &request).is_ok());
            }
        }
    }
    let passed = u128::from(limiter.now().as_u64());
    let after = limiter.statistics();

    match (resident_when_full, resident()) {
        (Some(before), Some(after)) => {
            println!("resident: {before} bytes when full, {after} after {} ids", flood.next);
            assert!(after * 10 <= before * 11, "{before} bytes when full, {after} after the flood");
        }
        _ => println!("NOT MEASURED: this system has no /proc/self/statm"),
    }
    println!("{full:?}\n{after:?}");
    println!(
        "{} of {} newcomers admitted, {} of them on the overflow line ({:.2}%)",
        flood.admitted,
        flood.next,
        flood.overflowed,
        100.0 * flood.overflowed as f64 / flood.admitted as f64,
    );
    assert_eq!(after.bytes, full.bytes);
    assert!(after.accounts <= full.bytes / 64, "{after:?}");

    // Known accounts are served, and what they spent stays spent.
    assert!(asked >= KNOWN && answered * 100 >= asked * 99, "{answered} of {asked}");
    for who in &known {
        let denial = limiter.check(who, &Cost::of(credits, 4)).expect_err("3 are left");
        assert_eq!(denial.left(), 3);
        limiter.check(who, &Cost::of(credits, 3)).expect("3 are left");
    }

    if let Some(statistics) = first_overflow {
        panic!("newcomers share a line before 98% of {CAPACITY} accounts have one: {statistics:?}");
    }

    // The tier's total holds, and the flood gets some of it.
    let total = 200_000 + 30_000 * (passed + 1) / u128::from(SECOND);
    let admitted = u128::from(flood.admitted);
    assert!(admitted <= total, "{admitted} of {total}");
    assert!(flood.admitted >= CAPACITY, "{admitted} of {total}");
    assert!(after.overflowed > 0 || flood.next < 4 * CAPACITY, "the tables were never full: {after:?}");
    assert!(flood.admitted < flood.next, "the flood was never refused");
}

/// Once every line is taken, by accounts that owe nothing any more, those who owe take their places: as many as three quarters
/// of the capacity before the first of them shares a line. (Where newcomers look through the one of their groups before the
/// other, it is 69%.)
#[test]
fn debtors_take_the_places_of_the_idle() {
    let mut flood = Flood::new();
    (0..2 * CAPACITY).for_each(|_| flood.newcomer());
    flood.clock.advance_nanos(60 * SECOND);
    (flood.admitted, flood.overflowed) = (0, 0);
    let pause = flood.clock.clone();
    while flood.overflowed == 0 && flood.admitted < CAPACITY {
        flood.newcomer();
    }
    assert!(pause.elapsed() < 62 * SECOND, "some of them owe nothing any more");
    println!("the first overflow after {} of {CAPACITY}", flood.admitted);
    assert!(flood.admitted * 4 >= CAPACITY * 3, "{} of {CAPACITY}", flood.admitted);
}
