//! What evidence may do to lines, and what it may not:
//!
//! - a member of a cohort is charged there as well, brings along what it has spent, keeps its floor, and is free again
//!   when it leaves; a subject that has lost its slot is let be;
//! - tightened and released with no admitted request between, every word is as it was, bit for bit; with traffic, the
//!   tightened limiter admits nothing that an untouched one, fed the same admitted requests, would refuse, and both are
//!   alike once the bucket has been full; quotas are as they are (100,000 random schedules).

use std::time::Duration;

use proptest::{prelude::*, test_runner::Config};

use super::*;
use crate::{
    decision::{Denial, Level},
    evidence::Member,
    id::Identity,
    meter::Cost,
    time::ManualClock,
};

const DAY: u64 = 86_400_000_000_000;
/// 2026-01-05, a Monday.
const MONDAY: i64 = 1_767_571_200_000_000_000;

const POLICY: &str = r#"
    version = 1
    meters = ["requests"]
    capacity = { accounts = 4096, organizations = 100 }

    [tiers.free]
    account.requests = [{ rate = "1/s", burst = 60 }, { quota = "50/day" }, { quota = "90/week" }]
    total = "unlimited"
    cohort.requests = { quota = "20/day" }
    floor.requests = "3/week"

    [evidence]
    attributes = ["payment"]
    signals.classifier = { weight = 6 }
"#;

struct World {
    limiter: Limiter,
    clock: ManualClock,
    one: Cost,
}

impl World {
    fn new(policy: &str) -> World {
        let clock = ManualClock::at_unix(MONDAY);
        let plan = Plan::from_toml(policy).unwrap();
        let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().unwrap();
        let one = Cost::of(limiter.meter("requests").unwrap(), 1);
        World { limiter, clock, one }
    }

    fn account(&self, id: u64) -> Identity {
        self.limiter.identity(self.limiter.tier("free").unwrap(), id)
    }

    fn spend(&self, caller: &Identity) -> Result<(), Denial> {
        self.limiter.check(caller, &self.one).map(|_| ())
    }

    /// How many of `tries` are admitted.
    fn admitted(&self, caller: &Identity, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(self.spend(caller).is_ok())).sum()
    }

    fn member(&self, caller: &Identity) -> Member {
        self.limiter.subject(caller);
        let (slot, head) = self.limiter.shared.lines.accounts.find(&caller.account).unwrap();
        Member { slot, generation: head.generation() }
    }

    fn apply(&self, change: Change) {
        let shared = &self.limiter.shared;
        let observer = shared.observer.as_ref().unwrap();
        let book = shared.books.copy();
        let moment = shared.moment(&book, self.limiter.now());
        observer.apply(&shared.lines, &book, &mut vec![change], &moment);
    }

    fn join(&self, caller: &Identity) {
        self.apply(Change::Join { account: self.member(caller), cohort: 1, until: 30 * DAY, kinds: 3 });
    }

    fn words(&self, caller: &Identity) -> Vec<u64> {
        let lines = &self.limiter.shared.lines;
        lines.accounts.line(self.member(caller).slot).unwrap().snapshot().words.to_vec()
    }
}

#[test]
fn members_share_what_the_cohort_has_and_keep_their_floor() {
    let world = World::new(POLICY);
    let accounts: Vec<Identity> = (0..10).map(|id| world.account(id)).collect();
    // One has spent 12 before it joins, and brings them along: 8 are left for all.
    assert_eq!(world.admitted(&accounts[0], 12), 12);
    accounts.iter().for_each(|account| world.join(account));
    // Who is under its floor is served, and takes nothing of the 20.
    assert_eq!(accounts[1..].iter().map(|account| world.admitted(account, 3)).sum::<u32>(), 27);
    assert_eq!(accounts.iter().map(|account| world.admitted(account, 5)).sum::<u32>(), 8);
    let denial = world.spend(&accounts[5]).unwrap_err();
    assert_eq!((denial.level(), denial.rule().as_str()), (Level::Cohort, "day"));
    assert_eq!(denial.retry_after().map(|wait| wait.as_secs()), Some(86_400));
    // The next day it is whole again, whatever was brought along.
    world.clock.advance_nanos(DAY);
    assert_eq!(accounts.iter().map(|account| world.admitted(account, 5)).sum::<u32>(), 20);
    // Who leaves is free; the others are not.
    world.apply(Change::Leave { account: world.member(&accounts[3]), cohort: 1 });
    assert!(world.spend(&accounts[3]).is_ok() && world.spend(&accounts[4]).is_err());
    world.apply(Change::Leave { account: world.member(&accounts[4]), cohort: 1 });
    world.apply(Change::Dissolved { cohort: 1 });
    world.join(&accounts[6]);
    assert!(world.spend(&accounts[6]).is_ok(), "a cohort begins with nothing but what its members bring");
}

#[test]
fn a_membership_ends_by_itself_and_a_slot_of_another_is_let_be() {
    let world = World::new(POLICY);
    let (member, other) = (world.account(1), world.account(2));
    let stale = Member { generation: world.member(&other).generation + 1, ..world.member(&other) };
    world.apply(Change::Join { account: stale, cohort: 1, until: DAY, kinds: 3 });
    world.apply(Change::Factor { account: stale, sixteenths: 64, until: DAY });
    assert_eq!(world.admitted(&other, 40), 40);
    world.apply(Change::Join { account: world.member(&member), cohort: 1, until: DAY / 2, kinds: 3 });
    assert_eq!(world.admitted(&member, 40), 23);
    world.clock.advance_nanos(DAY / 2 + 2_000_000);
    assert_eq!(world.admitted(&member, 40), 27, "what is left of its own 50");
}

#[test]
fn in_shadow_nothing_is_done_and_all_is_told() {
    let world = World::new(&POLICY.replace("[evidence]", "[evidence]\nshadow = true"));
    let account = world.account(1);
    world.join(&account);
    world.apply(Change::Factor { account: world.member(&account), sixteenths: 160, until: DAY });
    assert_eq!(world.admitted(&account, 50), 50);
    let evidence = world.limiter.statistics().evidence.unwrap();
    assert_eq!((evidence.joined, evidence.tightened), (1, 1));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Advance(u64),
    Request(u64),
    Tighten(u16, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..20_000_000_000_u64).prop_map(Step::Advance),
        6 => (1..30_u64).prop_map(Step::Request),
        2 => (16..=256_u16, 0..60_000_000_000_u64).prop_map(|(factor, span)| Step::Tighten(factor, span)),
    ];
    prop::collection::vec(step, 1..24)
}

#[test]
fn tightening_only_ever_takes() {
    let policy = POLICY.replace("50/day", "500/day").replace("90/week", "900/week");
    let (tightened, untouched) = (World::new(&policy), World::new(&policy));
    let requests = tightened.limiter.meter("requests").unwrap();
    let next = std::cell::Cell::new(0_u64);
    let config = Config { failure_persistence: None, max_shrink_iters: 2_000, ..Config::with_cases(100_000) };
    proptest!(config, |(schedule in steps())| {
        next.set(next.get() + 1);
        let caller = tightened.account(next.get());
        let before = tightened.words(&caller);
        let mut admitted_any = false;
        for step in schedule {
            match step {
                Step::Advance(nanos) => {
                    tightened.clock.advance_nanos(nanos);
                    untouched.clock.advance_nanos(nanos);
                }
                Step::Request(amount) => {
                    let cost = Cost::of(requests, amount);
                    let words = tightened.words(&caller);
                    if tightened.limiter.check(&caller, &cost).is_ok() {
                        admitted_any = true;
                        let other = untouched.limiter.check(&caller, &cost);
                        prop_assert!(other.is_ok(), "admitted though an untouched one refuses: {:?}", other);
                    } else {
                        prop_assert_eq!(words, tightened.words(&caller), "a refusal writes nothing");
                    }
                }
                Step::Tighten(sixteenths, span) => {
                    let until = tightened.limiter.now().as_u64() + span;
                    tightened.apply(Change::Factor { account: tightened.member(&caller), sixteenths, until });
                }
            }
        }
        if !admitted_any {
            prop_assert_eq!(&before, &tightened.words(&caller));
        }
        // Released, and full again, the two are alike: here and in whatever follows.
        tightened.apply(Change::Factor { account: tightened.member(&caller), sixteenths: 16, until: 0 });
        for world in [&tightened, &untouched] {
            // The longest debt: a request of 29, sixteen times, at one a second.
            world.clock.advance_nanos(29 * 16 * 1_000_000_000 + 60_000_000_000);
        }
        let left = |world: &World| {
            let rules = world.limiter.explain(&caller).rules;
            rules.into_iter().map(|rule| (rule.level, rule.rule, rule.left)).collect::<Vec<_>>()
        };
        prop_assert_eq!(left(&tightened), left(&untouched));
        let all = Cost::of(requests, 60);
        prop_assert_eq!(tightened.limiter.check(&caller, &all).is_ok(), untouched.limiter.check(&caller, &all).is_ok());
    });
}

/// Where nobody calls `maintain`, the tier that says so is closed, and no other; a call opens it again.
#[test]
fn a_tier_may_close_while_nobody_maintains() {
    let text = r#"
        version = 1
        meters = ["requests"]
        [tiers.open]
        account.requests = "1000/s"
        total.requests = "10k/s"
        [tiers.watched]
        on_stall = "deny"
        account.requests = "1000/s"
        total.requests = "10k/s"
    "#;
    let clock = ManualClock::new();
    let limiter = Limiter::builder(Plan::from_toml(text).unwrap()).clock(clock.clone()).build().unwrap();
    let requests = limiter.meter("requests").unwrap();
    let caller = |tier: &str| limiter.identity(limiter.tier(tier).unwrap(), 17);
    let ask = |tier: &str| limiter.check(&caller(tier), &Cost::of(requests, 1));
    clock.advance(Duration::from_secs(299));
    assert!(ask("open").is_ok() && ask("watched").is_ok());
    clock.advance(Duration::from_secs(2));
    assert!(ask("open").is_ok());
    let denial = ask("watched").unwrap_err();
    assert_eq!((denial.level(), denial.rule().as_str()), (Level::Tier, "stalled"));
    assert_eq!(denial.meter().as_str(), "requests");
    assert!(limiter.reserve(&caller("watched"), &Cost::of(requests, 1)).is_err());
    assert!(limiter.peek(&caller("watched"), &Cost::of(requests, 1)).is_err());
    limiter.maintain();
    assert!(ask("open").is_ok() && ask("watched").is_ok());
}
