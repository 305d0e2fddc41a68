//! Nothing on the request path allocates: check, reserve, settle, drop, peek, denial and its wait, an account's
//! first sight, a full table.
//!
//! The counting allocator is this binary's alone. Liveness: it does count (an explanation allocates), and the calls
//! that are measured do admit and refuse.
#![cfg(feature = "toml")]

use std::time::Duration;

use allocation_counter::measure;
use tollgate::{Cost, Limiter, ManualClock, Meter, Plan};

const POLICY: &str = r#"
version = 1
meters = ["requests", "tokens"]
memory = "64MiB"
anonymous = "one"
capacity = { accounts = 1_000, organizations = 100 }

[tiers.one.account]
requests = [{ rate = "10/min", burst = 5 }, { quota = "200/day" }, { in_flight = 100 }]
tokens = { rate = "20k/min", max_debt = 10 }
[tiers.one.organization]
requests = { budget = 1_000_000 }
[tiers.one.total]
requests = { rate = "100k/s" }
tokens = { quota = "100M/day" }
"#;

struct Case {
    limiter: Limiter,
    clock: ManualClock,
    requests: Meter,
    tokens: Meter,
}

impl Case {
    fn new() -> Case {
        let clock = ManualClock::new();
        let plan = Plan::from_toml(POLICY).unwrap_or_else(|error| panic!("{error}"));
        let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("built");
        let requests = limiter.meter("requests").expect("the meter");
        let tokens = limiter.meter("tokens").expect("the meter");
        Case { limiter, clock, requests, tokens }
    }
}

/// Allocations and frees of `work` on this thread.
fn allocations(work: impl FnOnce()) -> (u64, i64) {
    let info = measure(work);
    (info.count_total, info.count_current)
}

#[test]
fn the_allocator_counts() {
    let case = Case::new();
    let who = case.limiter.identity(case.limiter.tier("one").expect("the tier"), 1);
    assert!(allocations(|| drop(case.limiter.explain(&who))).0 > 0);
}

#[test]
fn the_request_path_allocates_nothing() {
    let Case { limiter, clock, requests, tokens } = Case::new();
    let tier = limiter.tier("one").expect("the tier");
    let (mut admitted, mut refused, mut clipped, mut cut) = (0, 0, 0, 0);
    let counted = allocations(|| {
        for round in 0..50_u64 {
            clock.advance(Duration::from_secs(1));
            for number in 0..100 {
                let organization = limiter.organization(number % 10);
                // Seen for the first time in the first round, and now and then in the later ones.
                let who = limiter.identity(tier, number + round / 10 * 50).in_organization(organization);
                let cost = Cost::of(requests, 1).and(tokens, 100);
                let peeked = limiter.peek(&who, &cost);
                assert_eq!(limiter.check(&who, &cost), peeked);
                match peeked {
                    Ok(_) => admitted += 1,
                    Err(denial) => {
                        assert!(denial.retry_after().is_some() && !denial.is_never());
                        refused += 1;
                    }
                }
                let subject = limiter.subject(&who);
                if let Ok(permit) = limiter.reserve(&subject, &cost) {
                    let actual = [0, 50, 100, 40_000][(number % 4) as usize];
                    let now = limiter.now();
                    let settlement =
                        permit.detach().settle_at(&Cost::of(requests, 1).and(tokens, actual), now);
                    cut += settlement.cut(tokens);
                }
                if let Ok(permit) = limiter.reserve_at(&who, &Cost::of(tokens, 100), limiter.now()) {
                    clock.advance(Duration::from_millis(1));
                    let settlement = permit.settle(&Cost::FREE);
                    clipped += settlement.clipped(tokens);
                }
                drop(limiter.reserve(&who, &Cost::of(requests, 1)));
                assert!(limiter.check_at(&who, &Cost::of(requests, 6), limiter.now()).is_err());
            }
        }
    });
    assert!(
        admitted > 100 && refused > 100 && clipped > 0 && cut > 0,
        "{admitted} {refused} {clipped} {cut}"
    );
    assert_eq!(counted, (0, 0));
}

/// A thread keeps the book of one limiter at a time: going from one to another must not make a new copy each time.
#[test]
fn two_limiters_in_turn_allocate_nothing() {
    let cases = [Case::new(), Case::new()];
    let counted = allocations(|| {
        for number in 0..100_u64 {
            for Case { limiter, requests, .. } in &cases {
                let who = limiter.identity(limiter.tier("one").expect("the tier"), number);
                assert!(limiter.check(&who, &Cost::of(*requests, 1)).is_ok());
            }
        }
    });
    assert_eq!(counted, (0, 0));
}

#[test]
fn text_ids_and_a_full_table_allocate_nothing() {
    let Case { limiter, requests, .. } = Case::new();
    let tier = limiter.tier("one").expect("the tier");
    let names: Vec<String> = (0..20_000).map(|number| format!("account_{number}")).collect();
    let mut admitted = 0;
    // The name of an organization is kept once, for those who read usage.
    let _ = limiter.organization("o");
    let counted = allocations(|| {
        for name in &names {
            let who = limiter.identity(tier, name).in_organization(limiter.organization("o"));
            admitted += u64::from(limiter.check(&who, &Cost::of(requests, 1)).is_ok());
            let anonymous = limiter.anonymous(name).expect("a tier of anonymous callers");
            admitted += u64::from(limiter.check(&anonymous, &Cost::of(requests, 1)).is_ok());
        }
    });
    assert!(admitted >= 500 && limiter.statistics().overflowed > 0, "{admitted}");
    assert_eq!(counted, (0, 0));
}
