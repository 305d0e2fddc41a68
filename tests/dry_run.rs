//! A second policy beside the one in force.
//!
//! - what limits are tighter or looser shows in the counts, by tier and by rule;
//! - answers, and what is left of every rule, are the same with a dry run as without, over any traffic;
//! - the policy in force, tried beside itself from the start, agrees on every request, permits that settle included;
//! - what a reload would refuse is refused; a reload ends it.
#![cfg(feature = "toml")]

use proptest::prelude::*;
use tollgate::{Cost, Identity, Level, Limiter, ManualClock, Permit, Plan};

fn text(rate: u64, quota: u64, flight: u64) -> Plan {
    let text = format!(
        "version = 1\nmeters = [\"requests\", \"tokens\"]\ncapacity = {{ accounts = 100, organizations = 10 }}\n\
         [tiers.one]\ntotal.tokens = {{ rate = \"{rate}/s\", burst = 60 }}\n\
         account.tokens = [{{ rate = \"{rate}/s\", burst = 20, max_debt = 10 }}, {{ quota = \"{quota}/day\" }}]\n\
         account.requests = {{ in_flight = {flight} }}\norganization.tokens = {{ quota = \"{quota}/hour\" }}\n\
         [tiers.two]\ntotal = \"unlimited\"\naccount.tokens = {{ budget = {quota} }}"
    );
    Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

struct World {
    limiter: Limiter,
    clock: ManualClock,
    callers: Vec<Identity>,
}

impl World {
    fn new() -> World {
        let clock = ManualClock::at_unix(1_772_236_800_000_000_000);
        let limiter =
            Limiter::builder(text(10, 200, 3)).clock(clock.clone()).secret([7; 16]).build().unwrap();
        let tier = |name| limiter.tier(name).unwrap();
        let acme = limiter.organization("acme");
        let callers = vec![
            limiter.identity(tier("one"), 1),
            limiter.identity(tier("one"), 2).in_organization(acme),
            limiter.identity(tier("two"), 3).in_organization(acme),
        ];
        World { limiter, clock, callers }
    }

    fn cost(&self, tokens: u64) -> Cost {
        let meter = |name| self.limiter.meter(name).unwrap();
        Cost::of(meter("requests"), 1).and(meter("tokens"), tokens)
    }
}

#[test]
fn differences_are_counted_by_tier_and_rule() {
    let world = World::new();
    let World { limiter, clock, callers } = &world;
    assert_eq!(limiter.dry_run_so_far(), None);
    limiter.dry_run(text(10, 15, 3)).unwrap();
    // Two are let through by both, the rest by the wider quota alone.
    for _ in 0..5 {
        limiter.check(&callers[0], &world.cost(6)).unwrap();
        clock.advance_nanos(1_000_000_000);
    }
    limiter.reserve(&callers[0], &world.cost(6)).unwrap().settle(&world.cost(1));
    let report = limiter.dry_run_so_far().unwrap();
    assert!(report.bytes > 0);
    let one = &report.tiers[0];
    assert_eq!((one.tier.as_str(), one.agreed, one.would_deny, one.would_admit), ("one", 2, 4, 0));
    assert_eq!(one.rules.len(), 1);
    assert_eq!((one.rules[0].level, one.rules[0].meter.as_str()), (Level::Account, "tokens"));
    assert_eq!((one.rules[0].rule.as_str(), one.rules[0].would_deny), ("day", 4));
    assert_eq!((report.tiers[1].agreed, report.tiers[1].would_deny), (0, 0));
    // One that is wider.
    limiter.dry_run(text(10, 30_000, 3)).unwrap();
    for _ in 0..4 {
        let _ = limiter.check(&callers[2], &world.cost(90));
    }
    let report = limiter.end_dry_run().unwrap();
    assert_eq!((report.tiers[1].agreed, report.tiers[1].would_admit), (2, 2));
    assert_eq!(limiter.end_dry_run(), None);
    limiter.check(&callers[0], &world.cost(1)).unwrap();
}

#[test]
fn a_reload_ends_it_and_what_that_refuses_is_refused() {
    let world = World::new();
    let renamed = "version = 1\nmeters = [\"requests\", \"words\"]\n\
        capacity = { accounts = 100, organizations = 10 }\n[tiers.three]\ntotal = \"unlimited\"\n";
    let error = world.limiter.dry_run(Plan::from_toml(renamed).unwrap()).unwrap_err();
    assert!(!error.is_busy() && error.to_string().contains("gone"), "{error}");
    assert_eq!(world.limiter.dry_run_so_far(), None);
    world.limiter.dry_run(text(20, 20, 20)).unwrap();
    world.limiter.maintain();
    world.limiter.reload(text(20, 20, 20)).unwrap();
    assert_eq!(world.limiter.dry_run_so_far(), None);
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Advance(u64),
    Check(usize, u64),
    Reserve(usize, u64),
    Settle(usize, u64),
    Drop(usize),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        (0..700_000_000_u64).prop_map(Operation::Advance),
        (0..3_usize, 1..9_u64).prop_map(|(caller, tokens)| Operation::Check(caller, tokens)),
        (0..3_usize, 1..30_u64).prop_map(|(caller, tokens)| Operation::Reserve(caller, tokens)),
        (0..8_usize, 0..30_u64).prop_map(|(permit, tokens)| Operation::Settle(permit, tokens)),
        (0..8_usize).prop_map(Operation::Drop),
    ];
    prop::collection::vec(operation, 1..120)
}

/// Every answer, and what is left at the end.
fn run(world: &World, operations: &[Operation]) -> Vec<String> {
    let World { limiter, clock, callers } = world;
    let mut said = Vec::new();
    let mut open: Vec<Permit<'static>> = Vec::new();
    for operation in operations {
        match *operation {
            Operation::Advance(nanos) => clock.advance_nanos(nanos),
            Operation::Check(caller, tokens) => {
                said.push(format!("{:?}", limiter.check(&callers[caller], &world.cost(tokens))));
            }
            Operation::Reserve(caller, tokens) => {
                match limiter.reserve(&callers[caller], &world.cost(tokens)) {
                    Ok(permit) => open.push(permit.detach()),
                    Err(denial) => said.push(format!("{denial:?}")),
                }
            }
            Operation::Settle(permit, tokens) if !open.is_empty() => {
                let permit = open.swap_remove(permit % open.len());
                said.push(format!("{:?}", permit.settle(&world.cost(tokens))));
            }
            Operation::Drop(permit) if !open.is_empty() => drop(open.swap_remove(permit % open.len())),
            Operation::Settle(..) | Operation::Drop(_) => {}
        }
    }
    drop(open);
    said.extend(callers.iter().map(|caller| format!("{:?}", limiter.explain(caller))));
    said
}

proptest! {
    #[test]
    fn answers_are_the_same_and_the_same_policy_agrees(operations in operations(), quota in 20..300_u64) {
        let plain = run(&World::new(), &operations);
        let world = World::new();
        world.limiter.dry_run(text(10, 200, 3)).unwrap();
        prop_assert_eq!(&run(&world, &operations), &plain);
        let report = world.limiter.end_dry_run().unwrap();
        let differ = |report: &tollgate::DryRun| {
            report.tiers.iter().map(|tier| tier.would_deny + tier.would_admit).sum::<u64>()
        };
        prop_assert_eq!(differ(&report), 0, "{:?}", report);
        let world = World::new();
        world.limiter.dry_run(text(7, quota, 2)).unwrap();
        prop_assert_eq!(&run(&world, &operations), &plain);
    }
}
