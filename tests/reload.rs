//! A policy that changes under traffic.
//!
//! - what was spent is kept by rule name, through any number of policies and back: debts of rates, use of quotas and budgets,
//!   what is in flight, of accounts, organizations, totals and parked accounts; whether a line is brought over by a request
//!   or by `maintain`;
//! - permits from before settle by rule name, wherever their lines are by then;
//! - rules, meters and tiers come and go, and handles keep their meaning; what may have been renamed is refused, and what
//!   does not fit says what would;
//! - a limiter that has many policies to remember is busy, and `maintain` helps;
//! - any pair of policies A -> B -> A with any traffic mints nothing, told by the interval bound of the componentwise larger
//!   one, and forgives nothing, told by what is owed right before and after; liveness: nearly all of the bound is reached;
//! - threads under a hundred reloads a second: no request fails for it, and the same bound holds.
#![cfg(feature = "toml")]
#![expect(clippy::disallowed_types, reason = "real threads, outside the models")]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use tollgate::{Cost, Identity, Level, Limiter, ManualClock, Plan, ReloadError};

const SECOND: u64 = 1_000_000_000;
const HEAD: &str = "version = 1\nmeters = [\"requests\", \"tokens\"]\n\
    capacity = { accounts = 1000, organizations = 100, spare_rules = 2, spare_tiers = 2 }\n";

fn plan(text: &str) -> Plan {
    Plan::from_toml(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn with_head(tiers: &str) -> Plan {
    plan(&format!("{HEAD}{tiers}"))
}

struct World {
    limiter: Limiter,
    clock: ManualClock,
}

impl World {
    fn new(plan: Plan) -> World {
        let clock = ManualClock::at_unix(1_772_236_800 * SECOND as i64);
        let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("room");
        World { limiter, clock }
    }

    fn account(&self, tier: &str, id: u64) -> Identity {
        self.limiter.identity(self.limiter.tier(tier).expect("a tier"), id)
    }

    fn cost(&self, requests: u64, tokens: u64) -> Cost {
        let meter = |name| self.limiter.meter(name).expect("a meter");
        Cost::of(meter("requests"), requests).and(meter("tokens"), tokens)
    }

    /// What is used of every rule that limits, as `level/meter/rule`.
    fn used(&self, caller: &Identity) -> Vec<(String, u64)> {
        let rules = self.limiter.explain(caller).rules;
        rules
            .iter()
            .filter(|rule| rule.limit.is_some())
            .map(|rule| (format!("{}/{}/{}", rule.level, rule.meter, rule.rule), rule.used))
            .collect()
    }

    fn used_of(&self, caller: &Identity, rule: &str) -> u64 {
        let used = self.used(caller);
        used.iter().find(|(name, _)| name == rule).unwrap_or_else(|| panic!("{rule} in {used:?}")).1
    }
}

const BEFORE: &str = r#"
    [tiers.free]
    account.requests = [{ rate = "10/s", burst = 100 }, { quota = "1000/day" }, { in_flight = 50 }]
    account.tokens = { budget = 100_000 }
    organization.requests = { rate = "20/s", burst = 200 }
    total.requests = { rate = "100/s", burst = 1000 }
    total.tokens = { quota = "1M/month" }
"#;

/// Other rates, a quota more, no budget, another order.
const AFTER: &str = r#"
    [tiers.free]
    account.requests = [{ in_flight = 60 }, { quota = "900/day" }, { rate = "7/s", burst = 70 }]
    account.tokens = { budget = 90_000 }
    organization.requests = [{ quota = "50_000/month" }, { rate = "30/s", burst = 150 }]
    organization.tokens = { quota = "800k/month" }
    total.requests = { rate = "120/s", burst = 900 }
    total.tokens = { quota = "2M/month" }
"#;

#[test]
fn what_was_spent_is_kept_by_name() {
    for by_maintain in [false, true] {
        let world = World::new(with_head(BEFORE));
        let World { limiter, clock } = &world;
        let caller = world.account("free", 1).in_organization(limiter.organization("acme"));
        let permit = limiter.reserve(&caller, &world.cost(40, 3_000)).unwrap();
        clock.advance_nanos(SECOND);
        let before = world.used(&caller);
        limiter.reload(with_head(AFTER)).unwrap();
        if by_maintain {
            assert!(!limiter.maintain().behind);
        }
        let after = world.used(&caller);
        for (rule, used) in &before {
            assert_eq!(
                after.iter().find(|(name, _)| name == rule).map(|(_, used)| used),
                Some(used),
                "{rule}"
            );
        }
        assert_eq!(after.len(), before.len() + 2);
        let owed = world.used_of(&caller, "account/requests/rate");
        limiter.check(&caller, &world.cost(1, 10)).unwrap();
        assert_eq!(world.used_of(&caller, "account/requests/rate"), owed + 1);
        assert_eq!(world.used_of(&caller, "organization/tokens/month"), 10);
        // The rest of 70, and no more.
        assert!(limiter.check(&caller, &world.cost(40, 0)).is_err());
        assert!(limiter.check(&caller, &world.cost(21, 0)).is_err(), "40 of 60 are in flight");
        let settlement = permit.settle(&world.cost(10, 1_000));
        assert!(!settlement.stale());
        assert_eq!(world.used_of(&caller, "account/requests/in_flight"), 0);
        assert_eq!(world.used_of(&caller, "account/requests/day"), 11);
        assert_eq!(world.used_of(&caller, "account/tokens/budget"), 1_010);
        assert_eq!(world.used_of(&caller, "tier/tokens/month"), 1_010);
        // And back again.
        limiter.reload(with_head(BEFORE)).unwrap();
        assert_eq!(world.used_of(&caller, "account/requests/day"), 11);
        assert_eq!(world.used_of(&caller, "account/tokens/budget"), 1_010);
        limiter.check(&caller, &world.cost(1, 10)).unwrap();
    }
}

/// A stream gives back what it did not use, however often the policy was changed elsewhere meanwhile; nothing to the rates of
/// a level whose rules were.
#[test]
fn permits_give_back_across_changes_elsewhere() {
    let policy = |organization: u32, other: u32, zone: &str| {
        with_head(&format!(
            "[tiers.free]\nzone = {zone:?}\n\
            account.tokens = [{{ rate = \"60/min\", burst = 1000 }}, {{ quota = \"9000/day\" }}, {{ in_flight = 5000 }}]\n\
            organization.tokens = {{ rate = \"60/min\", burst = {organization} }}\n\
            total.tokens = {{ rate = \"600/min\", burst = 100_000 }}\n\
            [tiers.paid]\ntotal.tokens = {{ rate = \"1/s\", burst = {other} }}\n"
        ))
    };
    for helped in [false, true] {
        let world = World::new(policy(2000, 10, "UTC"));
        let World { limiter, clock } = &world;
        let caller = world.account("free", 7).in_organization(limiter.organization("o"));
        let permit = limiter.reserve(&caller, &world.cost(0, 800)).expect("admitted");
        let bring_over = || while helped && limiter.maintain().behind {};
        for other in 11..30 {
            limiter.reload(policy(2000, other, "UTC")).expect("a policy");
            bring_over();
            clock.advance_nanos(SECOND / 100);
            // Between two plans or under each: what is open is known as it was.
            if other % 3 == 0 {
                assert!(limiter.check(&caller, &world.cost(0, 1)).is_ok());
            }
        }
        limiter.reload(policy(1999, 30, "UTC")).expect("a policy");
        bring_over();
        let settlement = permit.settle(&world.cost(0, 100));
        // Of the organization only if its line was brought over before.
        let clipped = if helped { 700 } else { 0 };
        assert_eq!(settlement.clipped(limiter.meter("tokens").expect("it")), clipped);
        let used = |rule| world.used_of(&caller, rule);
        assert_eq!(used("account/tokens/rate"), 106);
        assert_eq!(used("organization/tokens/rate"), 106 + clipped);
        assert_eq!(used("account/tokens/day"), 106);
        assert_eq!(used("account/tokens/in_flight"), 0);
        assert_eq!(used("tier/tokens/rate"), 105);
    }
}

/// What an earlier policy had allowed of a day was told to be waited for as if each day after had to make up for it, and the
/// day after admitted.
#[test]
fn what_was_allowed_before_is_over_with_its_window() {
    let with = |limit: u64| {
        with_head(&format!(
            "[tiers.one]\ntotal = \"unlimited\"\naccount.tokens = \"9/s\"\naccount.requests = {{ quota = \"{limit}/day\" }}\n"
        ))
    };
    let world = World::new(with(100));
    let caller = world.account("one", 1);
    let admits = |requests| world.limiter.check(&caller, &world.cost(requests, 0)).is_ok();
    assert!(admits(95));
    world.limiter.reload(with(10)).unwrap();
    let explained = world.limiter.explain(&caller).rules;
    let day = explained.iter().find(|rule| rule.rule.as_str() == "day").expect("the rule");
    let midnight = day.full_in.expect("a matter of time");
    assert!(midnight <= 86_400 * SECOND);
    for amount in [1, 10] {
        let denial = world.limiter.check(&caller, &world.cost(amount, 0)).unwrap_err();
        assert_eq!(denial.retry_after(), Some(Duration::from_nanos(midnight)));
    }
    world.clock.advance_nanos(midnight - 1);
    assert!(!admits(1));
    world.clock.advance_nanos(1);
    assert!(admits(10));
}

#[test]
fn parked_accounts_are_brought_over_too() {
    let head = "version = 1\nmeters = [\"requests\"]\n\
        capacity = { accounts = 64, organizations = 10, parked_accounts = 1000, spare_rules = 2 }\n";
    let world = World::new(plan(&format!(
        "{head}[tiers.free]\ntotal = \"unlimited\"\naccount.requests = [{{ rate = \"10/s\", burst = 10 }}, {{ quota = \"50/day\" }}]\n"
    )));
    let World { limiter, clock } = &world;
    let one = Cost::of(limiter.meter("requests").unwrap(), 3);
    for id in 0..500 {
        clock.advance_nanos(SECOND);
        limiter.check(&world.account("free", id), &one).unwrap();
    }
    assert!(limiter.statistics().parked_accounts > 300);
    for text in [
        "[{ budget = 500, name = \"ever\" }, { rate = \"20/s\", burst = 20 }, { quota = \"70/day\" }]",
        "[{ quota = \"60/day\" }, { rate = \"20/s\", burst = 20 }]",
    ] {
        limiter
            .reload(plan(&format!("{head}[tiers.free]\ntotal = \"unlimited\"\naccount.requests = {text}\n")))
            .unwrap();
        while limiter.maintain().behind {}
        for id in 0..500 {
            assert_eq!(world.used_of(&world.account("free", id), "account/requests/day"), 3, "{id}");
        }
    }
}

#[test]
fn tiers_and_meters_come_and_go() {
    let world = World::new(with_head(
        "[tiers.free]\ntotal = \"unlimited\"\naccount.requests = { quota = \"10/day\" }\n\
         [tiers.paid]\ntotal = \"unlimited\"\naccount.requests = { quota = \"20/day\" }\n",
    ));
    let World { limiter, .. } = &world;
    let (free, paid) = (world.account("free", 1), world.account("paid", 2));
    let cost = world.cost(4, 0);
    limiter.check(&free, &cost).unwrap();
    limiter.check(&paid, &cost).unwrap();
    // One tier goes; its accounts are refused, and what they owe is kept for when they come with another.
    let one = with_head("[tiers.paid]\ntotal = \"unlimited\"\naccount.requests = { quota = \"20/day\" }\n");
    limiter.reload(one).unwrap();
    assert!(limiter.tier("free").is_none());
    assert!(limiter.check(&free, &cost).unwrap_err().is_never());
    while limiter.maintain().behind {}
    assert!(limiter.check(&free, &cost).unwrap_err().is_never());
    limiter.check(&paid, &cost).unwrap();
    let moved = world.account("paid", 1);
    limiter.check(&moved, &cost).unwrap();
    assert_eq!(world.used_of(&moved, "account/requests/day"), 8);
    // Two come, and a meter; the old handle means the old tier again.
    let meters = HEAD.replace("\"requests\", \"tokens\"", "\"images\", \"tokens\", \"requests\"");
    limiter
        .reload(plan(&format!(
            "{meters}[tiers.free]\ntotal = \"unlimited\"\naccount.requests = {{ quota = \"10/day\" }}\n\
             [tiers.paid]\ntotal = \"unlimited\"\naccount.requests = {{ quota = \"20/day\" }}\n\
             [tiers.able]\ntotal = \"unlimited\"\naccount.images = {{ quota = \"5/day\" }}\n"
        )))
        .unwrap();
    assert_eq!(limiter.tier("paid"), Some(paid.tier()));
    assert_eq!(limiter.tier("free"), Some(free.tier()));
    let able = world.account("able", 3);
    let images = Cost::of(limiter.meter("images").unwrap(), 5);
    limiter.check(&able, &images).unwrap();
    assert!(limiter.check(&able, &images).is_err());
    limiter.check(&paid, &cost).unwrap();
    assert_eq!(world.used_of(&paid, "account/requests/day"), 12);
    // Its account has moved on with its use; what another of that tier used is still there.
    limiter.check(&free, &Cost::of(limiter.meter("requests").unwrap(), 2)).unwrap();
    assert_eq!(world.used_of(&free, "account/requests/day"), 10);
}

fn error(world: &World, text: &str) -> String {
    let error: ReloadError = world.limiter.reload(plan(text)).unwrap_err();
    assert!(!error.is_busy() && error.problems().count() > 0);
    error.to_string()
}

#[test]
fn what_may_have_been_renamed_is_refused() {
    let world = World::new(with_head(BEFORE));
    let renamed = BEFORE.replace("{ quota = \"1000/day\" }", "{ quota = \"1000/day\", name = \"daily\" }");
    let message = error(&world, &format!("{HEAD}{renamed}"));
    assert!(
        message.contains("`requests/day (quota)` is gone")
            && message.contains("`requests/daily (quota)` has come"),
        "{message}"
    );
    assert!(message.contains("tiers.free.account") && message.contains("fresh = true"), "{message}");
    let message = error(&world, &format!("{HEAD}{}", BEFORE.replace("tiers.free", "tiers.basic")));
    assert!(message.contains("the tier `free` is gone and `basic` has come"), "{message}");
    let meters = HEAD.replace("\"tokens\"", "\"output_tokens\"");
    let message = error(&world, &format!("{meters}{}", BEFORE.replace(".tokens", ".output_tokens")));
    assert!(message.contains("the meter `tokens` is gone and `output_tokens` has come"), "{message}");
    // What changes its kind has nothing in common with what it was.
    let kind = BEFORE.replace("{ budget = 100_000 }", "{ quota = \"100k/day\", name = \"budget\" }");
    assert!(error(&world, &format!("{HEAD}{kind}")).contains("tokens/budget"));
    // One that goes, or comes, alone is what it seems.
    world.limiter.reload(with_head(&BEFORE.replace(", { in_flight = 50 }", ""))).unwrap();
    world.limiter.reload(with_head(BEFORE)).unwrap();
    world.limiter.reload(plan(&format!("fresh = true\n{HEAD}{renamed}"))).unwrap();
}

#[test]
fn what_does_not_fit_says_what_would() {
    let world = World::new(with_head(BEFORE));
    let message = error(&world, &format!("{}{BEFORE}", HEAD.replace("accounts = 1000", "accounts = 2000")));
    assert!(message.contains("capacity.accounts") && message.contains("say 1000"), "{message}");
    let tier = |name: &str| format!("[tiers.{name}]\ntotal = \"unlimited\"\naccount.requests = \"1/s\"\n");
    let message = error(&world, &format!("{HEAD}{BEFORE}{}{}{}", tier("a"), tier("b"), tier("c")));
    assert!(message.contains("spare_tiers = 1") || message.contains("spare_tiers = 3"), "{message}");
    let many: Vec<String> = (0..6)
        .map(|n| format!("{{ rate = \"{}/s\", burst = {}, name = \"r{n}\" }}", 10 + n, 60 - n))
        .collect();
    let many = format!(
        "fresh = true\n{HEAD}[tiers.free]\ntotal = \"unlimited\"\naccount.requests = [{}]\n",
        many.join(", ")
    );
    let message = error(&world, &many);
    assert!(message.contains("rates at level account") && message.contains("spare_rules"), "{message}");
    world.limiter.check(&world.account("free", 1), &world.cost(1, 1)).unwrap();
}

#[test]
fn a_limiter_with_many_policies_to_remember_is_busy() {
    // More lines than one call brings over.
    let head = HEAD.replace("accounts = 1000", "accounts = 100_000");
    let rate = |burst: u64| {
        plan(&format!(
            "{head}[tiers.free]\ntotal = \"unlimited\"\naccount.requests = {{ rate = \"1/s\", burst = {burst} }}\n"
        ))
    };
    let world = World::new(rate(100));
    let World { limiter, .. } = &world;
    let (caller, one) = (world.account("free", 1), world.cost(1, 0));
    limiter.check(&caller, &one).unwrap();
    let mut accepted = 0;
    let busy = (101..200).find_map(|burst| match limiter.reload(rate(burst)) {
        Ok(()) => {
            accepted += 1;
            limiter.check(&caller, &one).unwrap();
            None
        }
        Err(error) => Some(error),
    });
    assert!(busy.is_some_and(|error| error.is_busy() && error.to_string().contains("maintain")));
    assert!(accepted >= 7, "{accepted}");
    // An earlier one that lines may still be under comes back without a place of its own.
    limiter.reload(rate(101 + accepted - 2)).unwrap();
    while limiter.maintain().behind {}
    limiter.reload(rate(1_000)).unwrap();
    limiter.check(&caller, &one).unwrap();
    assert_eq!(world.used_of(&caller, "account/requests/rate"), 2 + accepted);
}

/// One rule of each kind that time refills, with small numbers.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    tokens: u64,
    period: u64,
    burst: u64,
    quota: u64,
}

fn numbers() -> impl Strategy<Value = Numbers> {
    (1..50_u64, 1..200_u64, 1..60_u64, 20..400_u64).prop_map(|(tokens, period, burst, quota)| Numbers {
        tokens,
        period: period * 1_000,
        burst,
        quota,
    })
}

impl Numbers {
    fn plan(&self) -> Plan {
        let Numbers { tokens, period, burst, quota } = self;
        let rate = format!("{{ rate = \"{tokens} per {period}ns\", burst = {burst} }}");
        // On both levels, so that account and total are brought over.
        plan(&format!(
            "version = 1\nmeters = [\"requests\", \"tokens\"]\ncapacity = {{ accounts = 100, organizations = 10 }}\n\
             [tiers.one]\naccount.requests = {rate}\ntotal.requests = {rate}\naccount.tokens = {{ quota = \"{quota}/minute\" }}\n\
             total.tokens = {{ quota = \"{quota}/minute\" }}\n"
        ))
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Wait(u64),
    Check(u64),
    Reserve(u64),
    Settle(u64),
    /// To the other policy.
    Reload,
    Maintain,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => prop_oneof![0..100_u64, 0..20_000_u64, 0..2_000_000_u64].prop_map(Act::Wait),
        8 => (1..20_u64).prop_map(Act::Check),
        4 => (1..20_u64).prop_map(Act::Reserve),
        3 => (0..20_u64).prop_map(Act::Settle),
        3 => Just(Act::Reload),
        1 => Just(Act::Maintain),
    ];
    prop::collection::vec(act, 1..80)
}

const CASES: u32 = if cfg!(debug_assertions) { 1_500 } else { 20_000 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    /// A -> B -> A -> ... : nothing is minted, and nothing forgiven.
    #[test]
    fn policies_and_back_mint_nothing_and_forgive_nothing((a, b, acts) in (numbers(), numbers(), acts())) {
        let world = World::new(a.plan());
        let World { limiter, clock } = &world;
        let (caller, other) = (world.account("one", 1), world.account("one", 2));
        let mut log: Vec<(u64, u64)> = Vec::new();
        let (mut open, mut at_b) = (Vec::new(), false);
        for act in acts {
            match act {
                Act::Wait(nanos) => clock.advance_nanos(nanos),
                Act::Check(amount) => {
                    if limiter.check(&caller, &world.cost(amount, amount)).is_ok() {
                        log.push((limiter.now().as_u64(), amount));
                    }
                }
                Act::Reserve(amount) => {
                    // Clamped estimates are an exception of their own.
                    if amount <= a.burst.min(b.burst)
                        && let Ok(permit) = limiter.reserve(&caller, &world.cost(amount, amount))
                    {
                        open.push((log.len(), amount, permit));
                        log.push((limiter.now().as_u64(), amount));
                    }
                }
                Act::Settle(less) => {
                    if let Some((entry, amount, permit)) = open.pop() {
                        let actual: u64 = amount - less.min(amount);
                        permit.settle(&world.cost(actual, actual));
                        log[entry].1 = actual;
                    }
                }
                Act::Reload => {
                    let owed = |rule| world.used_of(&caller, rule);
                    let before = ["account/requests/rate", "tier/requests/rate", "account/tokens/minute", "tier/tokens/minute"].map(owed);
                    at_b = !at_b;
                    limiter.reload(if at_b { b.plan() } else { a.plan() }).unwrap();
                    let after = ["account/requests/rate", "tier/requests/rate", "account/tokens/minute", "tier/tokens/minute"].map(owed);
                    // A token more where a part of one is rounded up.
                    for (before, after) in before.iter().zip(&after) {
                        prop_assert!(before <= after && *after <= before + 1, "{:?} {:?}", before, after);
                    }
                }
                Act::Maintain => {
                    limiter.maintain();
                }
            }
        }
        for (entry, amount, permit) in open.drain(..) {
            log[entry].1 = amount;
            permit.settle(&world.cost(amount, amount));
        }
        // The larger of the two, each in its own: a token every nanosecond is the finest that is told apart here.
        let burst = a.burst.max(b.burst);
        let (tokens, period) = if a.tokens * b.period >= b.tokens * a.period { (a.tokens, a.period) } else { (b.tokens, b.period) };
        for first in 0..log.len() {
            let mut sum = 0;
            for (at, amount) in &log[first..] {
                sum += amount;
                let length = at - log[first].0 + 1;
                prop_assert!(sum.saturating_sub(burst) * period <= length * tokens, "{} in {} ns", sum, length);
            }
        }
        // What is used of the window is what was admitted in it, whatever policy was in force: a minute has not passed.
        if limiter.now().as_u64() < 60 * SECOND {
            let sum: u64 = log.iter().map(|(_, amount)| amount).sum();
            prop_assert_eq!(world.used_of(&caller, "account/tokens/minute"), sum);
        }
        // Liveness: when all is paid, a whole burst is there again.
        clock.advance_nanos(120 * SECOND);
        let least = if at_b { b } else { a };
        let whole = limiter.check(&other, &world.cost(least.burst, 1));
        prop_assert!(whole.is_ok(), "{:?} {:?}", whole, limiter.explain(&other));
    }
}

/// Real threads and a real clock, reloaded a hundred times a second between two policies and a third that always changes.
#[test]
fn threads_under_reloads() {
    let text = |rate: u64, burst: u64, quota: u64| {
        plan(&format!(
            "{HEAD}[tiers.one]\naccount.requests = [{{ rate = \"{rate}/s\", burst = {burst} }}, {{ in_flight = 100_000 }}]\n\
             account.tokens = {{ quota = \"{quota}/month\" }}\ntotal.requests = {{ rate = \"2M/s\", burst = 2_000_000 }}\n"
        ))
    };
    let limiter = Limiter::builder(text(100_000, 1_000, 1_000_000_000_000)).build().expect("room");
    let (requests, tokens) = (limiter.meter("requests").unwrap(), limiter.meter("tokens").unwrap());
    let shared = limiter.identity(limiter.tier("one").unwrap(), 1_u64);
    let over = AtomicBool::new(false);
    let began = Instant::now();
    let cost = Cost::of(requests, 1).and(tokens, 1);
    let (logs, reloads) = thread::scope(|scope| {
        let threads: Vec<_> = (0..2_u64)
            .map(|number| {
                let (limiter, over) = (&limiter, &over);
                scope.spawn(move || {
                    let own = limiter.identity(limiter.tier("one").unwrap(), 100 + number);
                    let (mut log, mut turn) = (Vec::new(), 0_u64);
                    while !over.load(Ordering::Relaxed) {
                        turn += 1;
                        match turn % 8 {
                            0 => drop(limiter.reserve(&own, &cost).map(|permit| permit.settle(&cost))),
                            1 => drop(limiter.check(&own, &cost)),
                            _ => match limiter.check(&shared, &cost) {
                                Ok(receipt) => log.push(receipt.at()),
                                Err(denial) => {
                                    // For want of tokens alone.
                                    assert_eq!(
                                        (denial.level(), denial.rule().as_str()),
                                        (Level::Account, "rate"),
                                        "{denial:?} {:?}",
                                        limiter.explain(&shared)
                                    );
                                    assert!(
                                        denial
                                            .retry_after()
                                            .is_some_and(|wait| wait < Duration::from_secs(1))
                                    );
                                }
                            },
                        }
                    }
                    log
                })
            })
            .collect();
        let mut reloads = 0_u64;
        // A hundred in a second, or as many as a busy machine lets through.
        while reloads < 300 && began.elapsed() < Duration::from_secs(30) {
            let next = match reloads % 3 {
                0 => text(90_000, 1_200, 1_000_000_000_000),
                1 => text(100_000, 1_000, 1_000_000_000_000),
                _ => text(80_000, 500 + reloads, 1_000_000_000_000 + reloads),
            };
            limiter.reload(next).unwrap();
            if reloads.is_multiple_of(10) {
                limiter.maintain();
            }
            reloads += 1;
            thread::sleep(Duration::from_millis(10).saturating_sub(Duration::from_micros(500)));
        }
        over.store(true, Ordering::Relaxed);
        let logs: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (logs, reloads)
    });
    let mut log = logs;
    log.sort_unstable();
    let span = log[log.len() - 1] - log[0];
    println!("{} admitted in {:.2} s under {reloads} reloads", log.len(), span as f64 / 1e9);
    assert_eq!(reloads, 300, "no more in half a minute");
    let burst = 1_200_u64.max(500 + reloads);
    // Of a log of ones, at any two instants: so many may lie between.
    let mut worst = i128::MIN;
    let mut least = i128::MAX;
    for (index, at) in log.iter().enumerate() {
        // Grows by one for each, and falls by the rate: the largest rise is what was admitted above the rate.
        let level = index as i128 * i128::from(SECOND) - i128::from(*at) * 100_000;
        least = least.min(level);
        worst = worst.max(level - least);
    }
    let most = (i128::from(burst) + 1) * i128::from(SECOND) + 100_000;
    assert!(worst <= most, "{worst} of {most}");
    // Liveness: a tenth of what the smallest rate brings between two reloads, as threads that wait for a processor miss much.
    assert!(log.len() as u64 > reloads * 80, "{} in {span} ns", log.len());
    while limiter.maintain().behind {}
    let used = limiter.explain(&shared).rules.iter().find(|rule| rule.kind == "quota").unwrap().used;
    assert_eq!(used, log.len() as u64);
    let held = limiter.explain(&shared).rules.iter().find(|rule| rule.kind == "in_flight").unwrap().used;
    assert_eq!(held, 0);
}
