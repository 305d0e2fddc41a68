//! Whole policies under reload: arbitrary pairs of them and back, with arbitrary traffic.
//!
//! - nothing is minted, nothing forgiven, and nothing refused that a reload should leave (see `succession/mod.rs`): of
//!   several tiers, three levels, all kinds of rules on two meters, with rules and tiers that only one of the policies has,
//!   rules in shadow, overrides, forgotten accounts, and permits that are open meanwhile;
//! - liveness: all of it happens in numbers, and rates are used up to their bound.
#![cfg(feature = "toml")]

mod succession;

use std::cell::RefCell;

use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestError, TestRunner},
};
use succession::Outcome;
use tollgate::{Cost, Identity, Limiter, ManualClock, Plan};

const CASES: u32 = if cfg!(debug_assertions) { 200 } else { 2_000 };

#[test]
fn pairs_of_policies_and_back_mint_nothing_and_forgive_nothing() {
    let config = Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(11),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let sum = RefCell::new(Outcome::default());
    TestRunner::new(config)
        .run(&prop::collection::vec(any::<u8>(), 200..1_200), |bytes| {
            sum.borrow_mut().add(succession::run(&bytes));
            Ok(())
        })
        .unwrap_or_else(|error| match error {
            TestError::Fail(reason, bytes) => panic!("{reason}\nof {bytes:x?}"),
            other => panic!("{other}"),
        });
    let outcome = sum.into_inner();
    println!("{outcome:?}");
    let cases = u64::from(CASES);
    let Outcome { skipped, admitted, refused, reloads, renamed, round_trips, settled_later, .. } = outcome;
    assert!(skipped * 5 < cases, "{outcome:?}");
    assert!(admitted > 5 * cases && refused > 5 * cases, "{outcome:?}");
    assert!(reloads > 2 * cases && renamed > cases / 10 && round_trips > cases / 2, "{outcome:?}");
    assert!(
        settled_later > cases && outcome.dropped > cases / 2 && outcome.forgotten > cases / 4,
        "{outcome:?}"
    );
    assert_eq!(outcome.fullest, 100, "{outcome:?}");
}

fn plan(tiers: &str) -> Plan {
    let head = "version = 1\nmeters = [\"requests\"]\n\
        capacity = { accounts = 100, organizations = 100, spare_rules = 4, spare_tiers = 2 }\n";
    Plan::from_toml(&format!("{head}{tiers}")).expect("a policy")
}

fn used(limiter: &Limiter, caller: &Identity, rule: &str) -> u64 {
    let rules = limiter.explain(caller).rules;
    rules.iter().find(|state| state.rule.as_str() == rule).expect("a rule").used
}

/// A plan that comes back was taken for an earlier one if both were of the same policy and had as many tiers and meters. What
/// is kept of a tier that the policy lacks may differ, though: the rules that it had last. Here the plan without the tier
/// `two` came back with the rules of `two` from before the budget came, lines of the tier were brought over to those, and
/// what they had spent was lost, though no policy with `two` in it ever dropped the rule.
#[test]
fn a_tier_that_goes_and_comes_twice_keeps_what_was_spent() {
    let one = "[tiers.one]\ntotal = \"unlimited\"\naccount.requests = { quota = \"10/day\" }\n";
    let two = "[tiers.two]\ntotal = \"unlimited\"\naccount.requests = ";
    let before = || plan(&format!("{one}{two}{{ quota = \"20/day\" }}\n"));
    let without = || plan(one);
    let with_budget = || plan(&format!("{one}{two}[{{ quota = \"20/day\" }}, {{ budget = 40 }}]\n"));
    let limiter = Limiter::builder(before()).clock(ManualClock::at_unix(0)).build().expect("room");
    let caller = limiter.identity(limiter.tier("two").expect("a tier"), 1_u64);
    limiter.reload(without()).unwrap();
    limiter.reload(with_budget()).unwrap();
    limiter.check(&caller, &Cost::of(limiter.meter("requests").unwrap(), 5)).unwrap();
    assert_eq!(used(&limiter, &caller, "budget"), 5);
    limiter.reload(without()).unwrap();
    while limiter.maintain().behind {}
    limiter.reload(with_budget()).unwrap();
    assert_eq!(used(&limiter, &caller, "budget"), 5);
}

/// A permit from before its line was brought under other rules was settled by rule name alone. That the rule had been gone in
/// between, and had come again fresh, without the permit's charge, was not told: the permit gave back what others had spent
/// since, and freed what others held. Rules now know when they came.
#[test]
fn a_permit_gives_nothing_back_to_a_rule_that_has_come_again() {
    let tier = "[tiers.one]\ntotal = \"unlimited\"\naccount.requests = ";
    let rate = "{ rate = \"1/s\", burst = 18 }";
    let with = || plan(&format!("{tier}[{rate}, {{ budget = 20 }}, {{ in_flight = 19 }}]\n"));
    let without = || plan(&format!("{tier}{rate}\n"));
    let limiter = Limiter::builder(with()).clock(ManualClock::at_unix(0)).build().expect("room");
    let caller = limiter.identity(limiter.tier("one").expect("a tier"), 1_u64);
    let cost = |amount| Cost::of(limiter.meter("requests").unwrap(), amount);
    let early = limiter.reserve(&caller, &cost(8)).unwrap();
    for plan in [without(), with()] {
        limiter.reload(plan).unwrap();
        while limiter.maintain().behind {}
    }
    let late = limiter.reserve(&caller, &cost(10)).unwrap();
    early.settle(&Cost::FREE);
    assert_eq!((used(&limiter, &caller, "budget"), used(&limiter, &caller, "in_flight")), (10, 10));
    drop(late);
}

/// Whether anybody came to a line while the policy lacked the rule makes no difference, and what is in flight comes back where
/// it was charged alone.
#[test]
fn a_rule_that_has_come_again_is_fresh_for_whoever_slept() {
    let tier = "[tiers.one]\ntotal = \"unlimited\"\naccount.requests = ";
    let rate = "{ rate = \"1/s\", burst = 18 }";
    for more in ["", ", { quota = \"15/day\" }"] {
        let with = |more| plan(&format!("{tier}[{rate}, {{ budget = 20 }}, {{ in_flight = 19 }}{more}]\n"));
        let limiter = Limiter::builder(with("")).clock(ManualClock::at_unix(0)).build().expect("room");
        let caller = limiter.identity(limiter.tier("one").expect("a tier"), 1_u64);
        let cost = |amount| Cost::of(limiter.meter("requests").unwrap(), amount);
        let now = || (used(&limiter, &caller, "budget"), used(&limiter, &caller, "in_flight"));
        let (early, never) =
            (limiter.reserve(&caller, &cost(8)).unwrap(), limiter.reserve(&caller, &cost(1)).unwrap());
        limiter.reload(plan(&format!("{tier}{rate}\n"))).unwrap();
        limiter.reload(with(more)).unwrap();
        assert_eq!(now(), (0, 0));
        early.settle(&cost(9));
        assert_eq!(now(), (0, 0));
        let late = limiter.reserve(&caller, &cost(3)).unwrap();
        never.settle(&Cost::FREE);
        assert_eq!(now(), (3, 3));
        late.settle(&cost(2));
        assert_eq!(now(), (2, 0));
    }
}

/// An account that goes to a tier without a rule and back finds that fresh, too. A permit from before gives nothing back to it,
/// unless every tier has had the rule all the time; what is in flight it lets go in any case.
#[test]
fn a_permit_of_an_account_that_went_through_another_tier() {
    let tiers = |two: &str| {
        let one =
            "[tiers.one]\ntotal = \"unlimited\"\naccount.requests = [{ budget = 20 }, { in_flight = 19 }]\n";
        plan(&format!("{one}[tiers.two]\ntotal = \"unlimited\"\naccount.requests = {two}\n"))
    };
    for (two, budget) in
        [("{ rate = \"1/s\", burst = 18 }", 10), ("[{ budget = 30 }, { in_flight = 30 }]", 11)]
    {
        let limiter = Limiter::builder(tiers(two)).clock(ManualClock::at_unix(0)).build().expect("room");
        let [one, two] =
            ["one", "two"].map(|tier| limiter.identity(limiter.tier(tier).expect("a tier"), 1_u64));
        let cost = |amount| Cost::of(limiter.meter("requests").unwrap(), amount);
        let early = limiter.reserve(&one, &cost(8)).unwrap();
        limiter.check(&two, &cost(1)).unwrap();
        let late = limiter.reserve(&one, &cost(10)).unwrap();
        early.settle(&Cost::FREE);
        assert_eq!(used(&limiter, &one, "budget"), budget);
        late.settle(&Cost::FREE);
        assert_eq!((used(&limiter, &one, "budget"), used(&limiter, &one, "in_flight")), (budget - 10, 0));
    }
}
