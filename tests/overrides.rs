//! What differs from the policy, and what only watches.
//!
//! - a rule in shadow refuses never, is charged always and counts what it would have refused; a limiter without it decides
//!   the same; it bounds nothing, and hides nothing;
//! - a soft threshold is told from the first request beyond it, at every level and for every kind, and not before;
//! - overrides of account, organization and tier: other numbers, a factor, exemption; each ends by itself, with and without
//!   `maintain`, survives a reload, goes when the account is forgotten, and touches nobody else; permits settle by it; what one
//!   number allowed in a window is not held against its subject by the next; a limit of 0 admits nothing;
//! - liveness: outside of what an override changes, the policy still refuses.
#![cfg(feature = "toml")]

use std::time::Duration;

use proptest::prelude::*;
use tollgate::{Caller, Cost, Identity, Level, Limiter, ManualClock, Override, OverrideError, Plan, Whom};

const SECOND: u64 = 1_000_000_000;
const HOUR: Duration = Duration::from_secs(3_600);

struct World {
    limiter: Limiter,
    clock: ManualClock,
}

impl World {
    fn new(tiers: &str) -> World {
        let clock = ManualClock::at_unix(1_772_236_800 * SECOND as i64);
        let limiter =
            Limiter::builder(plan(tiers)).clock(clock.clone()).secret([7; 16]).build().expect("room");
        World { limiter, clock }
    }

    fn account(&self, id: u64) -> Identity {
        let tier = self.limiter.tier("one").expect("a tier");
        self.limiter.identity(tier, id).in_organization(self.limiter.organization("acme"))
    }

    fn cost(&self, amount: u64) -> Cost {
        Cost::of(self.limiter.meter("requests").expect("a meter"), amount)
    }

    fn admits(&self, caller: &Identity, amount: u64) -> bool {
        self.limiter.check(caller, &self.cost(amount)).is_ok()
    }

    /// How many ones in a row.
    fn drain(&self, caller: &Identity) -> u64 {
        (0..10_000).take_while(|_| self.admits(caller, 1)).count() as u64
    }

    fn used(&self, caller: &Identity) -> Vec<u64> {
        let rules = self.limiter.explain(caller).rules;
        rules.iter().filter(|rule| rule.limit.is_some()).map(|rule| rule.used).collect()
    }
}

fn plan(tiers: &str) -> Plan {
    let text = format!(
        "version = 1\nmeters = [\"requests\"]\ncapacity = {{ accounts = 100, organizations = 100 }}\n{tiers}"
    );
    Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn a_rule_in_shadow_counts_and_refuses_nobody() {
    let world = World::new(
        "[tiers.one]\naccount.requests = [{ rate = \"1/s\", burst = 10 }, { quota = \"5/day\", shadow = true }]\n\
         organization.requests = { rate = \"1/min\", burst = 3, max_debt = 2, shadow = true }\n\
         total.requests = [{ quota = \"1000/day\" }, { in_flight = 1, shadow = true }]\n",
    );
    let caller = world.account(1);
    let told: Vec<_> = (0..10)
        .map(|_| world.limiter.check(&caller, &world.cost(1)).expect("only watched").would_deny())
        .collect();
    // The organization's after three, the account's after five, which is earlier on the path.
    let expected = [None, None, None, Some(Level::Organization), Some(Level::Organization)];
    assert_eq!(told[..5], expected);
    assert_eq!(told[5..], [Some(Level::Account); 5]);
    assert!(!world.admits(&caller, 1), "the account's own rate does refuse");
    // All of it is charged; a rate as far as it may run ahead.
    assert_eq!(world.used(&caller), [10, 10, 5, 10, 0]);
    let permits =
        [world.limiter.reserve(&caller, &world.cost(1)), world.limiter.reserve(&caller, &world.cost(1))];
    assert!(permits.iter().all(Result::is_err));
    let count =
        |level| world.limiter.shadows().iter().find(|shadow| shadow.level == level).unwrap().would_deny;
    assert_eq!((count(Level::Account), count(Level::Organization), count(Level::Tier)), (5, 7, 0));
    world.clock.advance_nanos(10 * SECOND);
    let permits =
        [world.limiter.reserve(&caller, &world.cost(1)), world.limiter.reserve(&caller, &world.cost(1))];
    assert!(permits.iter().all(Result::is_ok));
    assert_eq!(count(Level::Tier), 1);
    drop(permits);
    assert_eq!(world.used(&caller)[4], 0);
    // What a quota in shadow overran is not carried into the next day.
    world.clock.advance_nanos(86_400 * SECOND);
    assert_eq!(world.limiter.check(&caller, &world.cost(1)).unwrap().would_deny(), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Beside a limiter that lacks the rule, every decision is the same.
    #[test]
    fn a_rule_in_shadow_decides_nothing(acts in prop::collection::vec((0..4_000_000_000_u64, 1..9_u64, 0..3_u64), 1..80)) {
        let real = "{ rate = \"2/s\", burst = 8 }, { quota = \"100/hour\" }";
        let watching = World::new(&format!(
            "[tiers.one]\naccount.requests = [{real}, {{ rate = \"1/s\", burst = 4, shadow = true, name = \"tried\" }}, {{ in_flight = 3, shadow = true }}]\n\
             total.requests = [{{ quota = \"9000/day\" }}, {{ quota = \"7/minute\", shadow = true }}]\n"
        ));
        let plain = World::new(&format!(
            "[tiers.one]\naccount.requests = [{real}]\ntotal.requests = {{ quota = \"9000/day\" }}\n"
        ));
        let (mut would_deny, mut refused) = (0, 0);
        let (mut open, mut open_plain) = (Vec::new(), Vec::new());
        for (wait, amount, kind) in acts {
            for world in [&watching, &plain] {
                world.clock.advance_nanos(wait);
            }
            let (caller, other) = (watching.account(1), plain.account(1));
            match kind {
                0 => {
                    let mine = watching.limiter.reserve(&caller, &watching.cost(amount));
                    let theirs = plain.limiter.reserve(&other, &plain.cost(amount));
                    prop_assert_eq!(mine.is_ok(), theirs.is_ok());
                    open.extend(mine);
                    open_plain.extend(theirs);
                }
                1 if !open.is_empty() => {
                    let less = watching.cost(amount / 2);
                    open.pop().unwrap().settle(&less);
                    open_plain.pop().unwrap().settle(&less);
                }
                _ => {
                    let mine = watching.limiter.check(&caller, &watching.cost(amount));
                    let theirs = plain.limiter.check(&other, &plain.cost(amount));
                    would_deny += u64::from(mine.is_ok_and(|receipt| receipt.would_deny().is_some()));
                    refused += u64::from(theirs.is_err());
                    prop_assert_eq!(mine.is_ok(), theirs.is_ok());
                    if let (Err(mine), Err(theirs)) = (mine, theirs) {
                        prop_assert_eq!((mine.rule(), mine.retry()), (theirs.rule(), theirs.retry()));
                    }
                }
            }
        }
        let counted: u64 = watching.limiter.shadows().iter().map(|shadow| shadow.would_deny).sum();
        prop_assert!(counted >= would_deny, "{} {} {}", counted, would_deny, refused);
    }
}

#[test]
fn a_soft_threshold_is_told_from_there_on() {
    for (account, organization, total, level) in [
        ("{ rate = \"1/day\", burst = 10, soft = 0.8 }", "\"9/s\"", "\"99/s\"", Level::Account),
        ("{ quota = \"10/day\", soft = \"80%\" }", "\"99/s\"", "\"999/s\"", Level::Account),
        ("{ budget = 10, soft = 0.8 }", "\"99/s\"", "\"999/s\"", Level::Account),
        ("\"99/s\"", "{ quota = \"10/day\", soft = 0.8 }", "\"999/s\"", Level::Organization),
        ("\"99/s\"", "\"99/s\"", "{ quota = \"10/day\", soft = 0.8 }", Level::Tier),
    ] {
        let text = format!(
            "[tiers.one]\naccount.requests = {account}\norganization.requests = {organization}\ntotal.requests = {total}\n"
        );
        // Some of these limits make others pointless, which is not the point here.
        let text =
            text.replace("account.requests = \"99/s\"", "").replace("organization.requests = \"99/s\"", "");
        let world = World::new(&text);
        let caller = world.account(1);
        let told: Vec<_> = (0..9)
            .map(|_| {
                let asked = world.limiter.peek(&caller, &world.cost(1)).map(|receipt| receipt.soft());
                let done = world.limiter.check(&caller, &world.cost(1)).map(|receipt| receipt.soft());
                assert_eq!(asked, done);
                done.ok().flatten()
            })
            .collect();
        assert_eq!(told[..8], [None; 8], "{text}");
        assert_eq!(told[8], Some(level), "{text}");
    }
}

/// A rate told nothing of a request that took a full bucket beyond its threshold at once.
#[test]
fn one_large_request_passes_a_soft_threshold() {
    for rule in [
        "{ rate = \"1/day\", burst = 10, soft = 0.8 }",
        "{ quota = \"10/day\", soft = 0.8 }",
        "{ budget = 10, soft = 0.8 }",
        "{ in_flight = 10, soft = 0.8 }",
    ] {
        let tiers = format!("[tiers.one]\ntotal = \"unlimited\"\naccount.requests = {rule}\n");
        for (amount, told) in [(8, None), (9, Some(Level::Account)), (10, Some(Level::Account))] {
            let world = World::new(&tiers);
            let caller = world.account(1);
            assert_eq!(world.limiter.peek(&caller, &world.cost(amount)).unwrap().soft(), told, "{rule}");
            let permit = world.limiter.reserve(&caller, &world.cost(amount)).unwrap();
            assert_eq!(permit.receipt().soft(), told, "{rule}");
            drop(permit);
            // Once more, where it has a line.
            assert_eq!(world.limiter.check(&caller, &world.cost(amount)).unwrap().soft(), told, "{rule}");
        }
    }
}

const RULES: &str = "[tiers.one]\n\
    account.requests = [{ rate = \"10/s\", burst = 20 }, { quota = \"100/day\" }, { in_flight = 5 }]\n\
    organization.requests = [{ quota = \"300/day\" }, { in_flight = 50 }]\n\
    total.requests = { quota = \"1000/day\" }\n";

#[test]
fn an_account_gets_other_numbers_for_a_while() {
    for by_maintain in [false, true] {
        let world = World::new(RULES);
        let (caller, other) = (world.account(1), world.account(2));
        assert_eq!(world.drain(&caller), 20);
        let over =
            Override::new(HOUR, "a campaign").limit("requests", "rate", 50).limit("requests", "in_flight", 2);
        world.limiter.set_override(Whom::Account(&caller), over).unwrap();
        let explained = world.limiter.explain(&caller);
        assert_eq!(
            (explained.overrides[0].reason.as_str(), explained.overrides[0].level),
            ("a campaign", Level::Account)
        );
        assert_eq!(explained.rules[0].limit, Some(50));
        assert_eq!(world.drain(&caller), 30);
        assert_eq!(world.drain(&other), 20, "nobody else");
        assert!(world.limiter.explain(&other).overrides.is_empty());
        // A reload keeps it.
        world.limiter.reload(plan(&RULES.replace("\"1000/day\"", "\"2000/day\""))).unwrap();
        world.clock.advance_nanos(5 * SECOND);
        let held: Vec<_> = (0..3).map(|_| world.limiter.reserve(&caller, &world.cost(1)).ok()).collect();
        assert_eq!(held.iter().flatten().count(), 2);
        let large = world.limiter.reserve(&caller, &world.cost(45));
        assert!(large.is_err());
        drop(held);
        world.clock.advance(HOUR);
        if by_maintain {
            world.limiter.maintain();
        }
        assert_eq!(world.limiter.explain(&caller).rules[0].limit, Some(20));
        assert_eq!(world.drain(&caller), 20);
        assert!(world.limiter.explain(&caller).overrides.is_empty());
    }
}

#[test]
fn permits_settle_by_the_numbers_that_they_were_charged_by() {
    let world = World::new(RULES);
    let caller = world.account(1);
    world
        .limiter
        .set_override(
            Whom::Account(&caller),
            Override::new(HOUR, "x").limit("requests", "rate", 60).limit("requests", "in_flight", 90),
        )
        .unwrap();
    let permit = world.limiter.reserve(&caller, &world.cost(60)).unwrap();
    assert_eq!(world.used(&caller), [60, 60, 60, 60, 50, 60]);
    permit.settle(&world.cost(25));
    assert_eq!(world.used(&caller), [25, 25, 0, 25, 0, 25]);
}

/// A rate's settled overage was measured by the policy's burst, whatever the override's was.
#[test]
fn overage_goes_by_the_burst_that_was_charged() {
    for (burst, cut, owed) in [(100, 0, 90), (2, 83, 7)] {
        let world = World::new(
            "[tiers.one]\ntotal = \"unlimited\"\naccount.requests = { rate = \"1/min\", burst = 50, max_debt = 5 }\n",
        );
        let caller = world.account(1);
        let over = Override::new(HOUR, "x").limit("requests", "rate", burst);
        world.limiter.set_override(Whom::Account(&caller), over).unwrap();
        let requests = world.limiter.meter("requests").unwrap();
        let settled = world.limiter.reserve(&caller, &world.cost(2)).unwrap().settle(&world.cost(90));
        assert_eq!((settled.cut(requests), world.used(&caller)), (cut, vec![owed]), "{burst}");
    }
}

/// An estimate was clamped to what there is of a limit of 0, so that a reservation of nothing was admitted.
#[test]
fn a_limit_of_nothing_admits_nothing() {
    for rule in ["day", "in_flight", "budget"] {
        let world = World::new(
            "[tiers.one]\ntotal = \"unlimited\"\n\
             account.requests = [{ quota = \"9/day\" }, { in_flight = 5 }, { budget = 1000 }]\n",
        );
        let caller = world.account(1);
        let none = Override::new(HOUR, "suspended").limit("requests", rule, 0);
        world.limiter.set_override(Whom::Account(&caller), none).unwrap();
        for amount in [1, 7] {
            assert!(world.limiter.check(&caller, &world.cost(amount)).is_err(), "{rule}");
            let denial = world.limiter.reserve(&caller, &world.cost(amount)).expect_err(rule);
            assert_eq!((denial.rule().as_str(), denial.retry_after()), (rule, None));
        }
        let explained = world.limiter.explain(&caller).rules;
        let of_rule = explained.iter().find(|known| known.rule.as_str() == rule).expect("the rule");
        assert_eq!((of_rule.limit, of_rule.clamped_to, of_rule.left), (Some(0), None, Some(0)));
        world.clock.advance(HOUR);
        assert!(world.limiter.reserve(&caller, &world.cost(7)).is_ok(), "{rule}");
    }
}

/// What an override had allowed of a day's quota was carried into the days after as overrun, once it had ended: with 300 of 10
/// for a month. And what the policy had, into those of an override with less.
#[test]
fn what_was_allowed_in_one_window_counts_in_no_other() {
    const DAY: Duration = Duration::from_secs(86_400);
    let rules = "[tiers.one]\ntotal.requests = { quota = \"5000/day\" }\n\
        account.requests = { quota = \"10/day\" }\norganization.requests = { quota = \"40/day\" }\n";
    for level in [Level::Account, Level::Organization, Level::Tier] {
        let world = World::new(rules);
        let callers: Vec<_> =
            (0..if level == Level::Account { 1 } else { 6 }).map(|id| world.account(id)).collect();
        let caller = callers[0];
        let (whom, plain, more, less) = match level {
            Level::Account => (Whom::Account(&caller), 10, 30, 2),
            Level::Organization => (Whom::Organization(&caller), 40, 60, 5),
            _ => (Whom::Tier(caller.tier()), 40, 40, 15),
        };
        let drain = || callers.iter().map(|caller| world.drain(caller)).sum::<u64>();
        let set = |limit, lasting| {
            let over = Override::new(lasting, "x").limit("requests", "day", limit);
            world.limiter.set_override(whom, over).unwrap();
        };
        // More, which ends within the day, or is taken back, or replaced by less.
        set(more, HOUR);
        assert_eq!(drain(), more, "{level:?}");
        world.clock.advance(HOUR);
        assert_eq!(drain(), 0);
        world.clock.advance(DAY);
        assert_eq!(drain(), plain);
        // Less than is used already, for some days.
        set(less, 3 * DAY);
        assert_eq!(drain(), 0);
        for _ in 0..2 {
            world.clock.advance(DAY);
            assert_eq!(drain(), less);
        }
        world.clock.advance(DAY);
        assert_eq!(drain(), plain);
        // What is overrun by a settlement is carried as ever.
        world.clock.advance(DAY);
        let permit = world.limiter.reserve(&caller, &world.cost(1)).unwrap();
        permit.settle(&world.cost(15));
        world.clock.advance(DAY);
        assert_eq!(world.drain(&caller), 5);
    }
}

#[test]
fn a_factor_and_an_exemption() {
    let world = World::new(RULES);
    let (half, double, free) = (world.account(1), world.account(2), world.account(3));
    world.limiter.set_override(Whom::Account(&half), Override::new(HOUR, "trusted").factor(8)).unwrap();
    world.limiter.set_override(Whom::Account(&double), Override::new(HOUR, "watched").factor(32)).unwrap();
    world.limiter.set_override(Whom::Account(&free), Override::new(HOUR, "ours").exempt()).unwrap();
    assert!(world.admits(&half, 1));
    // What would be admitted now: no more than a burst at once, whatever it costs.
    assert_eq!(world.limiter.explain(&half).rules[0].left, Some(20));
    assert_eq!((world.drain(&half), world.drain(&double)), (39, 10));
    assert!(world.limiter.check(&double, &world.cost(1)).unwrap_err().factor_sixteenths() == 32);
    // Its own rules never refuse, and count; its organization's do.
    assert_eq!(world.drain(&free), 250);
    assert_eq!(world.used(&free)[1], 250);
    assert_eq!(world.limiter.check(&free, &world.cost(1)).unwrap_err().level(), Level::Organization);
    assert!(world.limiter.lift_override(Whom::Account(&free)));
    assert!(!world.limiter.lift_override(Whom::Account(&free)));
    assert_eq!(world.limiter.check(&free, &world.cost(1)).unwrap_err().rule().as_str(), "day");
    assert!(world.limiter.forget(&half));
    assert!(world.limiter.explain(&half).overrides.is_empty());
    // The organization's quota is used up by now.
    world.clock.advance_nanos(86_400 * SECOND);
    assert_eq!(world.drain(&half), 20);
}

#[test]
fn an_organization_and_a_tier() {
    let world = World::new(RULES);
    let caller = world.account(1);
    world
        .limiter
        .set_override(Whom::Organization(&caller), Override::new(HOUR, "cut").limit("requests", "day", 15))
        .unwrap();
    assert_eq!(world.drain(&caller), 15);
    assert_eq!(world.limiter.check(&caller, &world.cost(1)).unwrap_err().level(), Level::Organization);
    world.limiter.lift_override(Whom::Organization(&caller));
    assert_eq!(world.drain(&caller), 5);
    let tier = world.limiter.tier("one").unwrap();
    world
        .limiter
        .set_override(Whom::Tier(tier), Override::new(HOUR, "incident").limit("requests", "day", 30))
        .unwrap();
    let other = world.account(9);
    assert_eq!(world.drain(&other), 10);
    assert_eq!(world.limiter.check(&other, &world.cost(1)).unwrap_err().level(), Level::Tier);
    world.clock.advance(HOUR);
    assert_eq!(world.drain(&other), 20);
    let kept = world.limiter.subject(&world.account(10));
    assert!(world.limiter.check(&kept.with(&tollgate::Attributes::NONE), &world.cost(1)).is_ok());
}

#[test]
fn what_there_is_not_is_refused() {
    let world = World::new(RULES);
    let caller = world.account(1);
    let set = |over: Override| world.limiter.set_override(Whom::Account(&caller), over).unwrap_err();
    let new = || Override::new(HOUR, "x");
    assert_eq!(
        set(new().limit("requests", "month", 5)),
        OverrideError::Rule("requests".to_owned(), "month".to_owned())
    );
    assert_eq!(
        set(new().limit("tokens", "day", 5)),
        OverrideError::Rule("tokens".to_owned(), "day".to_owned())
    );
    assert!(matches!(set(new().limit("requests", "rate", 0)), OverrideError::Rule(..)));
    assert!(matches!(set(new().limit("requests", "rate", u64::MAX)), OverrideError::Rule(..)));
    assert!(matches!(set(new().limit("requests", "day", u64::MAX)), OverrideError::Rule(..)));
    assert_eq!(set(new().factor(0)), OverrideError::Factor(0));
    let alone = world.limiter.identity(caller.tier(), 5_u64);
    let error = world.limiter.set_override(Whom::Organization(&alone), new().exempt()).unwrap_err();
    assert_eq!(error, OverrideError::Unknown);
    assert!(!error.to_string().is_empty());
    // As many accounts as there is place for, and each keeps its own.
    let made = (0..2_000).filter(|id| {
        world.limiter.set_override(Whom::Account(&world.account(1_000 + id)), new().factor(17)).is_ok()
    });
    let made = made.count();
    assert!((100..=1_024).contains(&made), "{made}");
    assert_eq!(world.drain(&caller), 20);
}
