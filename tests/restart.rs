//! What a restart keeps, under another clock and another policy.
//!
//! - quotas, budgets, debts of rates, parked accounts, totals, overrides and the key of fingerprints are as they were; what was
//!   in flight is let go; in a crowd too, where no line is left for all;
//! - a table of restarts: at once, later, 40 days later, with a clock that was set back, in another zone, under policies that
//!   lost or gained tiers, meters and rules, or made them larger and smaller;
//! - what may have been renamed, and another key, are refused; who was forgotten does not come back;
//! - what is written between two checkpoints is what has changed;
//! - usage: by rule and window, exported and at the top, with names and fingerprints.
#![cfg(feature = "toml")]

use std::time::Duration;

use tollgate::{
    Checkpointing, Cost, Identity, KeptId, Level, Limiter, ManualClock, MemoryStore, Override, Period, Plan,
    Usage, Whom,
};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
/// 2026-02-28T00:00:00Z.
const START: i64 = 1_772_236_800 * SECOND as i64;
const INTERVAL: Duration = Duration::from_secs(10);

const HEAD: &str = "version = 1\nmeters = [\"requests\", \"tokens\"]\n\
    capacity = { accounts = 1000, organizations = 100 }\n";

const RULES: &str = r#"
    [tiers.free]
    account.requests = [{ rate = "10/min", burst = 100 }, { quota = "1000/day" }, { quota = "9000/month" }, { in_flight = 500 }]
    account.tokens = { budget = 100_000 }
    organization.requests = { quota = "3000/day" }
    total.requests = { rate = "100/min", burst = 2000 }
    total.tokens = { quota = "1M/month" }
    [tiers.paid]
    account.requests = [{ rate = "20/min", burst = 200 }, { quota = "5000/day" }]
    total = "unlimited"
"#;

fn plan(text: &str) -> Plan {
    Plan::from_toml(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn with_head(tiers: &str) -> Plan {
    plan(&format!("{HEAD}{tiers}"))
}

struct World {
    limiter: Limiter,
    clock: ManualClock,
    store: MemoryStore,
}

impl World {
    fn new(plan: Plan) -> World {
        let clock = ManualClock::at_unix(START + 12 * 3600 * SECOND as i64);
        World::of(plan, clock, MemoryStore::new()).expect("room")
    }

    fn of(plan: Plan, clock: ManualClock, store: MemoryStore) -> Result<World, tollgate::BuildError> {
        let builder = Limiter::builder(plan).clock(clock.clone());
        let limiter = builder.store(store.clone(), INTERVAL).build()?;
        Ok(World { limiter, clock, store })
    }

    /// A process that starts `later` nanoseconds after, by a wall clock, and finds what the store has now.
    fn restarted(&self, plan: Plan, later: i64) -> Result<World, tollgate::BuildError> {
        let clock = ManualClock::at_unix(tollgate::Clock::unix(&self.clock) + later);
        World::of(plan, clock, self.store.copy())
    }

    fn account(&self, tier: &str, id: u64) -> Identity {
        self.limiter.identity(self.limiter.tier(tier).expect("a tier"), id)
    }

    fn cost(&self, requests: u64, tokens: u64) -> Cost {
        let meter = |name| self.limiter.meter(name).expect("a meter");
        Cost::of(meter("requests"), requests).and(meter("tokens"), tokens)
    }

    /// What is used of a rule, as `level/meter/rule`.
    fn used(&self, caller: &Identity, rule: &str) -> u64 {
        let rules = self.limiter.explain(caller).rules;
        let named = |state: &tollgate::RuleState| format!("{}/{}/{}", state.level, state.meter, state.rule);
        let found = rules.iter().find(|state| named(state) == rule);
        found.unwrap_or_else(|| panic!("{rule} in {rules:?}")).used
    }
}

/// A limiter in which account 17 of `acme` has spent 90 requests and 700 tokens, and that was kept.
fn spent() -> World {
    let world = World::new(with_head(RULES));
    let caller = world.account("free", 17).in_organization(world.limiter.organization("acme"));
    assert!(world.limiter.check(&caller, &world.cost(90, 700)).is_ok());
    world.limiter.checkpoint().expect("a store in memory");
    world
}

#[test]
fn a_restart_keeps_what_was_counted() {
    let world = spent();
    let held = world.account("free", 18);
    let permit = world.limiter.reserve(&held, &world.cost(5, 60)).expect("admitted");
    let text = world.limiter.identity(world.limiter.tier("free").expect("a tier"), "a name");
    assert!(world.limiter.check(&text, &world.cost(1, 1)).is_ok());
    let appeal = Override::new(Duration::from_secs(3600), "appeal").limit("requests", "day", 4000).factor(8);
    world.limiter.set_override(Whom::Account(&held), appeal).expect("room");
    world.limiter.checkpoint().expect("a store in memory");
    std::mem::forget(permit);

    let after = world.restarted(with_head(RULES), 0).expect("restored");
    let restored = after.limiter.checkpoint_status().and_then(|status| status.restored).expect("something");
    assert_eq!((restored.lines, restored.unplaced, restored.dropped, restored.overrides), (4, 0, 0, 1));
    // Under the key of then, the same texts are the same subjects.
    let caller = after.account("free", 17).in_organization(after.limiter.organization("acme"));
    for (rule, used) in [
        ("account/requests/rate", 90),
        ("account/requests/day", 90),
        ("account/requests/month", 90),
        ("account/tokens/budget", 700),
        ("account/requests/in_flight", 0),
        ("organization/requests/day", 90),
        ("tier/requests/rate", 96),
        ("tier/tokens/month", 761),
    ] {
        assert_eq!(after.used(&caller, rule), used, "{rule}");
    }
    let text = after.limiter.identity(after.limiter.tier("free").expect("a tier"), "a name");
    assert_eq!(after.used(&text, "account/tokens/budget"), 1);
    // What was in flight is let go; what it had reserved of the rest stays charged.
    let held = after.account("free", 18);
    assert_eq!(after.used(&held, "account/requests/in_flight"), 0);
    assert_eq!(after.used(&held, "account/requests/day"), 5);
    let explained = after.limiter.explain(&held);
    assert_eq!(explained.overrides[0].reason, "appeal");
    assert_eq!(explained.overrides[0].ends_in, 3600 * SECOND);
    let day = explained.rules.iter().find(|rule| rule.rule.as_str() == "day").expect("the rule");
    assert_eq!(day.limit, Some(4000));
    // And once more, from what the second has written.
    after.limiter.checkpoint().expect("a store in memory");
    let third = after.restarted(with_head(RULES), 0).expect("restored");
    assert_eq!(third.used(&third.account("free", 17), "account/requests/month"), 90);
    assert_eq!(third.limiter.explain(&third.account("free", 18)).overrides.len(), 1);
}

/// What account 17 has used after a restart: of its rate, its day, its month, its budget; of its organization's day and its
/// tier's month. `None` where there is no such rule.
type Row = (&'static str, i64, String, [Option<u64>; 6]);

const HOUR: i64 = 3600 * SECOND as i64;

#[test]
fn restarts_by_table() {
    let zone = |zone: &str| format!("zone = \"{zone}\"\n{HEAD}{RULES}");
    let rules = |from: &str, to: &str| {
        assert!(RULES.contains(from), "{from}");
        format!("{HEAD}{}", RULES.replace(from, to))
    };
    let whole = format!("{HEAD}{RULES}");
    let [rate, day, month, budget] = [Some(90), Some(90), Some(90), Some(700)];
    let (company, total) = (Some(90), Some(700));
    let table: Vec<Row> = vec![
        ("at once", 0, whole.clone(), [rate, day, month, budget, company, total]),
        // Ten requests a minute come back, short by a tick, so that what is owed rounds up.
        ("5 minutes later", HOUR / 12, whole.clone(), [Some(41), day, month, budget, company, total]),
        // The next day is in the next month: 2026 is no leap year.
        ("the next day", 12 * HOUR, whole.clone(), [Some(0), Some(0), Some(0), budget, Some(0), Some(0)]),
        (
            "40 days later",
            40 * 24 * HOUR,
            whole.clone(),
            [Some(0), Some(0), Some(0), budget, Some(0), Some(0)],
        ),
        // Nothing has come back, and no window is granted again.
        ("a clock an hour behind", -HOUR, whole.clone(), [rate, day, month, budget, company, total]),
        ("a clock 40 days behind", -40 * 24 * HOUR, whole, [rate, day, month, budget, company, total]),
        // What counts in the window of then counts in today's.
        ("another zone", 0, zone("Asia/Tokyo"), [rate, day, month, budget, company, total]),
        (
            "another zone, its next day",
            4 * HOUR,
            zone("Asia/Tokyo"),
            [Some(0), day, month, budget, company, total],
        ),
        (
            "a smaller budget",
            0,
            rules("budget = 100_000", "budget = 600"),
            [rate, day, month, budget, company, total],
        ),
        (
            "a larger burst",
            0,
            rules("burst = 100 }", "burst = 500 }"),
            [rate, day, month, budget, company, total],
        ),
        (
            "a rule less",
            0,
            rules("{ quota = \"9000/month\" }, ", ""),
            [rate, day, None, budget, company, total],
        ),
        (
            "a rule more",
            0,
            rules("{ in_flight = 500 }]", "{ in_flight = 500 }, { quota = \"500/hour\" }]"),
            [rate, day, month, budget, company, total],
        ),
        (
            "a quota that became a budget",
            0,
            rules("{ quota = \"9000/month\" }", "{ name = \"month\", budget = 9000 }")
                .replace("version = 1", "version = 1\nfresh = true"),
            [rate, day, Some(0), budget, company, total],
        ),
        (
            "a tier more",
            0,
            format!(
                "{HEAD}{RULES}\n[tiers.new]\ntotal = \"unlimited\"\naccount.requests = {{ quota = \"5/day\" }}\n"
            ),
            [rate, day, month, budget, company, total],
        ),
    ];
    for (what, later, policy, used) in table {
        let world = spent();
        let after = world.restarted(plan(&policy), later).unwrap_or_else(|error| panic!("{what}: {error}"));
        let caller = after.account("free", 17).in_organization(after.limiter.organization("acme"));
        let rules = [
            "account/requests/rate",
            "account/requests/day",
            "account/requests/month",
            "account/tokens/budget",
            "organization/requests/day",
            "tier/tokens/month",
        ];
        for (rule, used) in rules.into_iter().zip(used) {
            if let Some(used) = used {
                assert_eq!(after.used(&caller, rule), used, "{what}: {rule}");
            }
        }
        // It goes on, and the next restart finds that too, within what is written in between.
        assert!(
            after.limiter.check(&caller, &after.cost(1, 1)).is_ok() != (what == "a smaller budget"),
            "{what}"
        );
        after.limiter.checkpoint().expect("a store in memory");
        let third = after.restarted(plan(&policy), 0).unwrap_or_else(|error| panic!("{what}: {error}"));
        let expected = 701 - u64::from(what == "a smaller budget");
        assert_eq!(third.used(&third.account("free", 17), "account/tokens/budget"), expected, "{what}");
    }
}

/// A clock that was set back holds windows until it has caught up, and then they go on.
#[test]
fn a_clock_that_was_set_back_catches_up() {
    let world = spent();
    let after = world.restarted(with_head(RULES), -HOUR).expect("restored");
    let behind = after.limiter.checkpoint_status().and_then(|status| status.restored).expect("something");
    assert_eq!(behind.clock_behind, 3600 * SECOND);
    let caller = after.account("free", 17);
    after.clock.advance(Duration::from_secs(12 * 3600));
    after.limiter.maintain();
    assert_eq!(after.used(&caller, "account/requests/day"), 90, "an hour is still to go");
    after.clock.advance(Duration::from_secs(3600));
    assert_eq!(after.used(&caller, "account/requests/day"), 0);
    assert_eq!(after.used(&caller, "account/tokens/budget"), 700);
}

/// An account of a tier that the policy lost comes with another: what it owes goes along.
#[test]
fn a_tier_that_is_gone_keeps_its_debts() {
    const PAID: &str = r#"
        [tiers.paid]
        account.requests = [{ rate = "20/min", burst = 200 }, { quota = "5000/day" }]
        account.tokens = { budget = 100_000 }
        total = "unlimited"
    "#;
    let world = spent();
    let after = world.restarted(with_head(PAID), 0).expect("restored");
    assert!(after.limiter.tier("free").is_none());
    // Once more, before anybody came: it is still known.
    after.limiter.checkpoint().expect("a store in memory");
    let third = after.restarted(with_head(PAID), 0).expect("restored");
    for world in [&after, &third] {
        let caller = world.account("paid", 17);
        assert!(world.limiter.check(&caller, &world.cost(1, 1)).is_ok());
        assert_eq!(world.used(&caller, "account/requests/day"), 91);
        assert_eq!(world.used(&caller, "account/requests/rate"), 91);
        assert_eq!(world.used(&caller, "account/tokens/budget"), 701);
    }
    // A tier under which nothing is owed leaves nothing behind.
    let fourth = third.restarted(with_head(RULES), 0).expect("restored");
    assert_eq!(fourth.used(&fourth.account("free", 17), "account/requests/month"), 90);
}

#[test]
fn what_may_be_renamed_is_refused() {
    let world = spent();
    let cases = [
        (
            RULES.replace("tiers.free", "tiers.basic"),
            "tiers: the tier `free` is gone and `basic` has come since",
        ),
        (
            RULES.replace("{ quota = \"1000/day\" }", "{ name = \"daily\", quota = \"1000/day\" }"),
            "tiers.free.account: the rule `requests/day (quota)` is gone and `requests/daily (quota)` has come since",
        ),
    ];
    for (rules, message) in cases {
        let error = world.restarted(with_head(&rules), 0).map(|_| ()).expect_err("refused");
        let checkpoint = error.checkpoint().expect("the checkpoint's");
        assert!(checkpoint.is_policy());
        assert!(error.to_string().contains(message), "{error}");
        let fresh = plan(&format!("fresh = true\n{HEAD}{rules}"));
        assert!(world.restarted(fresh, 0).is_ok());
    }
    let error = Limiter::builder(with_head(RULES))
        .secret([1; 16])
        .store(world.store.copy(), INTERVAL)
        .build()
        .expect_err("another key");
    assert!(error.to_string().contains("kept under another secret"), "{error}");
}

#[test]
fn who_was_forgotten_does_not_come_back() {
    let world = spent();
    assert!(world.limiter.forget(&world.account("free", 17)));
    world.limiter.checkpoint().expect("a store in memory");
    let after = world.restarted(with_head(RULES), 0).expect("restored");
    assert_eq!(after.used(&after.account("free", 17), "account/tokens/budget"), 0);
    assert_eq!(after.used(&after.account("free", 17), "tier/tokens/month"), 700, "that of the tier stays");
}

/// More accounts than there are places: those without one are charged where all such are.
#[test]
fn smaller_tables_fail_closed() {
    let world = World::new(with_head(RULES));
    for id in 0..1000 {
        assert!(world.limiter.check(&world.account("paid", id), &world.cost(100, 0)).is_ok());
    }
    world.limiter.checkpoint().expect("a store in memory");
    let small = HEAD.replace("accounts = 1000", "accounts = 10, parked_accounts = 10");
    let after = world.restarted(plan(&format!("{small}{RULES}")), 0).expect("restored");
    let restored = after.limiter.checkpoint_status().and_then(|status| status.restored).expect("something");
    assert!(restored.unplaced > 500, "{restored:?}");
    for id in 0..1000 {
        let used = after.used(&after.account("paid", id), "account/requests/day");
        assert!(used >= 100, "account {id}: {used}");
    }
}

#[test]
fn what_is_written_is_what_has_changed() {
    let head = HEAD.replace("accounts = 1000", "accounts = 20_000");
    let world = World::new(plan(&format!("{head}{RULES}")));
    for id in 0..10_000 {
        assert!(world.limiter.check(&world.account("paid", id), &world.cost(1, 0)).is_ok());
    }
    world.limiter.checkpoint().expect("a store in memory");
    let written = || world.limiter.checkpoint_status().expect("a store").written;
    let full = written();
    for id in (0..10_000).step_by(100) {
        assert!(world.limiter.check(&world.account("paid", id), &world.cost(1, 0)).is_ok());
    }
    world.limiter.checkpoint().expect("a store in memory");
    let part = written() - full;
    assert!(part * 20 < full, "{part} of {full}");
    world.limiter.checkpoint().expect("a store in memory");
    assert_eq!(written(), full + part, "nothing has changed");
    // What was written again and again is not kept for ever.
    for _ in 0..30 {
        for id in 0..10_000 {
            assert!(world.limiter.check(&world.account("paid", id), &world.cost(1, 0)).is_ok());
        }
        world.clock.advance(Duration::from_secs(60));
        world.limiter.checkpoint().expect("a store in memory");
    }
    assert!((world.store.bytes() as u64) < 4 * full, "{} of {full}", world.store.bytes());
    let after = world.restarted(plan(&format!("{head}{RULES}")), 0).expect("restored");
    assert_eq!(after.used(&after.account("paid", 100), "account/requests/day"), 32);
    assert_eq!(after.used(&after.account("paid", 101), "account/requests/day"), 31);
}

/// Half an interval after one began the next is due; `maintain` says while one wants more calls.
#[test]
fn maintain_writes_when_it_is_due() {
    let world = World::new(with_head(RULES));
    assert!(world.limiter.check(&world.account("free", 1), &world.cost(1, 1)).is_ok());
    let done = |world: &World| {
        for _ in 0..100 {
            let maintenance = world.limiter.maintain();
            if maintenance.checkpoint != Checkpointing::Writing {
                return maintenance.checkpoint;
            }
        }
        panic!("it has no end");
    };
    assert_eq!(done(&world), Checkpointing::Done);
    assert_eq!(done(&world), Checkpointing::Waiting);
    world.clock.advance(INTERVAL / 2);
    assert_eq!(done(&world), Checkpointing::Done);
    let status = world.limiter.checkpoint_status().expect("a store");
    assert_eq!((status.completed, status.age, status.failure), (2, Some(0), None));
    let plain = Limiter::builder(with_head(RULES)).build().expect("room");
    assert_eq!(plain.maintain().checkpoint, Checkpointing::Off);
    assert!(plain.checkpoint_status().is_none());
    plain.checkpoint().expect("nothing to do");
}

#[test]
fn usage_is_told_by_rule_and_window() {
    let world = spent();
    let limiter = &world.limiter;
    let (requests, tokens) = (limiter.meter("requests").expect("it"), limiter.meter("tokens").expect("it"));
    let caller = world.account("free", 17).in_organization(limiter.organization("acme"));
    let text = limiter.identity(limiter.tier("paid").expect("a tier"), "some name");
    assert!(limiter.check(&text, &world.cost(7, 0)).is_ok());

    let day = limiter.usage(Whom::Account(&caller), requests, Some(Period::Day));
    assert_eq!(day.len(), 1);
    assert_eq!((day[0].used, day[0].limit, day[0].kind), (90, Some(1000), "quota"));
    assert_eq!((day[0].from, day[0].to), (Some(START), Some(START + DAY as i64)));
    let all: Vec<(String, u64)> = limiter
        .usage(Whom::Account(&caller), requests, None)
        .iter()
        .map(|one| (one.rule.to_string(), one.used))
        .collect();
    assert_eq!(all, [("day".to_owned(), 90), ("month".to_owned(), 90)]);
    assert_eq!(limiter.usage(Whom::Account(&caller), tokens, None)[0].kind, "budget");
    assert_eq!(limiter.usage(Whom::Organization(&caller), requests, None)[0].used, 90);
    assert_eq!(limiter.usage(Whom::Tier(caller.tier()), tokens, None)[0].used, 700);
    assert!(limiter.usage(Whom::Account(&world.account("free", 99)), requests, None).is_empty());

    let check = |usage: &[Usage]| {
        let of = |level, id: Option<KeptId>| usage.iter().find(|one| one.level == level && one.id == id);
        let integer = of(Level::Account, Some(KeptId::Integer(17))).expect("as it is");
        assert_eq!((integer.tier.as_str(), integer.counted[0].used), ("free", 90));
        let print = Some(KeptId::Fingerprint(limiter.fingerprint("some name")));
        assert_eq!(of(Level::Account, print).expect("by fingerprint").tier.as_str(), "paid");
        let acme = usage.iter().find(|one| one.name.as_deref() == Some("acme")).expect("by name");
        assert_eq!((acme.level, acme.counted[0].used), (Level::Organization, 90));
        let total = usage.iter().find(|one| one.level == Level::Tier && one.tier.as_str() == "free");
        assert_eq!(total.expect("the total").counted[0].used, 700);
    };
    check(&limiter.export().collect::<Vec<_>>());
    let top = limiter.top(1, requests);
    assert_eq!((top.len(), top[0].id), (1, Some(KeptId::Integer(17))));
    assert_eq!(limiter.top(usize::MAX, requests).len(), 2);
    assert!(limiter.top(0, requests).is_empty());
    // No rule has such windows; nobody is in no organization.
    assert!(limiter.usage(Whom::Account(&caller), requests, Some(Period::Week)).is_empty());
    assert!(limiter.usage(Whom::Organization(&text), requests, None).is_empty());
    let json = serde_json::to_value(&top[0]).expect("it is plain data");
    assert_eq!(json["id"]["integer"], 17);
    assert_eq!(json["counted"][0]["rule"], "day");

    // The same from what was kept.
    limiter.checkpoint().expect("a store in memory");
    check(&Usage::read_all(&mut world.store.copy()).expect("whole"));
}

/// Parked accounts are kept, and told about.
#[test]
fn parked_accounts_are_kept() {
    let head = HEAD.replace("accounts = 1000", "accounts = 20, parked_accounts = 1000");
    let policy = format!(
        "{head}[tiers.free]\ntotal = \"unlimited\"\naccount.requests = {{ quota = \"1000/month\" }}\n"
    );
    let world = World::new(plan(&policy));
    for id in 0..500 {
        assert!(world.limiter.check(&world.account("free", id), &world.cost(3, 0)).is_ok());
    }
    assert!(world.limiter.statistics().parked_accounts > 400);
    assert_eq!(world.limiter.export().count(), 501);
    let requests = world.limiter.meter("requests").expect("it");
    assert_eq!(world.limiter.usage(Whom::Account(&world.account("free", 3)), requests, None)[0].used, 3);
    world.limiter.checkpoint().expect("a store in memory");
    let after = world.restarted(plan(&policy), 0).expect("restored");
    for id in 0..500 {
        assert_eq!(after.used(&after.account("free", id), "account/requests/month"), 3, "{id}");
    }
}

/// One line and its like, and much room for the parked.
fn crowded() -> String {
    let head = HEAD.replace("accounts = 1000", "accounts = 1, parked_accounts = 1000");
    format!(
        "{head}[tiers.free]\ntotal = \"unlimited\"\naccount.tokens = {{ budget = 100 }}\n\
         account.requests = [{{ rate = \"1/min\", burst = 100 }}, {{ quota = \"1000/month\" }}]\n"
    )
}

/// Where accounts that owe had taken all lines, those that had been parked were given none, and what they had spent was
/// forgotten of a budget, and of a quota counted to all.
#[test]
fn who_was_parked_is_parked_again_where_no_line_is_left() {
    let world = World::new(plan(&crowded()));
    assert!(world.limiter.check(&world.account("free", 0), &world.cost(1, 60)).is_ok());
    world.clock.advance(Duration::from_secs(3600));
    let mut id = 0;
    while world.limiter.statistics().overflowed == 0 {
        id += 1;
        assert!(world.limiter.check(&world.account("free", id), &world.cost(100, id)).is_ok());
    }
    assert_eq!(world.limiter.statistics().parked_accounts, 1);
    world.limiter.checkpoint().expect("a store in memory");
    let after = world.restarted(plan(&crowded()), 0).expect("restored");
    let restored = after.limiter.checkpoint_status().and_then(|status| status.restored).expect("something");
    assert_eq!(restored.unplaced, 0, "{restored:?}");
    let first = after.account("free", 0);
    let used = |of, rule| after.used(&after.account("free", of), rule);
    assert_eq!((used(0, "account/tokens/budget"), used(0, "account/requests/month")), (60, 1));
    for other in 1..id {
        assert_eq!(used(other, "account/tokens/budget"), other);
    }
    // It has its line when others need theirs no longer.
    after.clock.advance(Duration::from_secs(7200));
    assert!(after.limiter.check(&first, &after.cost(0, 41)).is_err());
    assert!(after.limiter.check(&first, &after.cost(1, 40)).is_ok());
}

/// Whom an override is about, and nothing else, lost its line to those who were restored after it, and the override with it.
#[test]
fn an_override_finds_its_subject_in_a_crowd() {
    let world = World::new(plan(&crowded()));
    let none = Override::new(Duration::from_secs(90_000), "suspended").limit("requests", "month", 0);
    let suspended = world.account("free", 0);
    world.limiter.set_override(Whom::Account(&suspended), none).expect("room");
    for id in 1..200 {
        assert!(world.limiter.check(&world.account("free", id), &world.cost(1, 1)).is_ok());
        world.clock.advance(Duration::from_secs(60));
    }
    world.limiter.checkpoint().expect("a store in memory");
    let after = world.restarted(plan(&crowded()), 0).expect("restored");
    assert_eq!(after.limiter.overrides().len(), 1);
    let denial = after.limiter.check(&suspended, &after.cost(1, 0)).expect_err("suspended");
    assert_eq!(denial.rule().as_str(), "month");
    for id in 1..200 {
        assert!(after.limiter.check(&after.account("free", id), &after.cost(1, 1)).is_ok());
        after.clock.advance(Duration::from_secs(60));
    }
    assert!(after.limiter.check(&suspended, &after.cost(1, 0)).is_err());
    // It ends when it would have.
    after.clock.advance(Duration::from_secs(90_000));
    assert!(after.limiter.check(&suspended, &after.cost(1, 0)).is_ok());
    // One that was lifted, or has ended meanwhile, holds no line.
    world.limiter.lift_override(Whom::Account(&suspended));
    world.limiter.checkpoint().expect("a store in memory");
    let after = world.restarted(plan(&crowded()), 0).expect("restored");
    assert!(after.limiter.check(&suspended, &after.cost(1, 0)).is_ok());
}

/// Those at the top are told once each, the largest first, and no fewer than there are, whoever moves and spends meanwhile.
#[test]
fn the_top_is_in_order_whoever_moves_meanwhile() {
    let head = HEAD.replace("accounts = 1000", "accounts = 500, parked_accounts = 5000");
    let policy = format!(
        "{head}[tiers.free]\ntotal = \"unlimited\"\naccount.requests = {{ budget = 1_000_000_000 }}\n"
    );
    let world = World::new(plan(&policy));
    let requests = world.limiter.meter("requests").expect("it");
    for id in 0..3_000 {
        assert!(world.limiter.check(&world.account("free", id), &world.cost(1 + id % 50, 0)).is_ok());
    }
    std::thread::scope(|scope| {
        let limiter = &world.limiter;
        let tops = scope.spawn(|| (0..50).map(|_| limiter.top(1_000, requests)).collect::<Vec<_>>());
        let mut random = 1_u64;
        while !tops.is_finished() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let _ = limiter.check(&world.account("free", (random >> 33) % 3_000), &world.cost(7, 0));
        }
        for top in tops.join().expect("no panic") {
            let ids: std::collections::BTreeSet<_> = top.iter().map(|usage| usage.id).collect();
            assert_eq!((top.len(), ids.len()), (1_000, 1_000));
            assert!(top.iter().map(|usage| usage.counted[0].used).is_sorted_by(|one, next| one >= next));
        }
    });
}

#[test]
fn a_uuid_is_told_as_text() {
    let id = KeptId::Uuid(0x0191_e4a6_7c31_7f00_8000_0000_0000_0001);
    let json = serde_json::to_value(id).expect("any format has texts");
    assert_eq!(json, serde_json::json!({ "uuid": "0191e4a67c317f008000000000000001" }));
}

/// A checkpoint ends while accounts go to and fro between large tables without a pause.
#[test]
fn a_checkpoint_ends_whoever_moves_meanwhile() {
    let head = HEAD.replace("accounts = 1000", "accounts = 2000, parked_accounts = 1_500_000");
    let policy =
        format!("{head}[tiers.free]\ntotal = \"unlimited\"\naccount.requests = {{ budget = 1_000_000 }}\n");
    let world = World::new(plan(&policy));
    let (one, mut random, mut moving) = (world.cost(1, 0), 1_u64, Vec::new());
    for id in 0..20_000 {
        assert!(world.limiter.check(&world.account("free", id), &one).is_ok());
    }
    std::thread::scope(|scope| {
        let limiter = &world.limiter;
        for _ in 0..3 {
            let begun = std::time::Instant::now();
            let checkpoint = scope.spawn(|| limiter.checkpoint());
            while !checkpoint.is_finished() && begun.elapsed() < Duration::from_secs(20) {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let _ = limiter.check(&world.account("free", (random >> 33) % 20_000), &one);
            }
            moving.push(checkpoint.is_finished());
            checkpoint.join().expect("no panic").expect("a store in memory");
        }
    });
    assert!(world.limiter.statistics().parked_accounts > 10_000, "none moved");
    assert_eq!(moving, [true; 3], "it ended only when nobody moved any more");
}

/// A block as version 1 of the format has it, written when that was released: it stays readable, and is what is written.
#[test]
fn version_1_stays_readable() {
    const FIXTURE: &[u8] = include_bytes!("fixtures/checkpoint-1.block");
    let clock = ManualClock::at_unix(START + 12 * 3600 * SECOND as i64);
    let store = MemoryStore::new();
    let builder = Limiter::builder(with_head(RULES)).clock(clock.clone()).secret([7; 16]);
    let limiter = builder.store(store.clone(), INTERVAL).build().expect("room");
    let world = World { limiter, clock, store };
    let caller = world.account("free", 17).in_organization(world.limiter.organization("acme"));
    assert!(world.limiter.check(&caller, &world.cost(90, 700)).is_ok());
    let text = world.limiter.identity(caller.tier(), "a name");
    assert!(world.limiter.check(&text, &world.cost(3, 0)).is_ok());
    let appeal = Override::new(Duration::from_secs(3600), "appeal").limit("requests", "day", 4000).factor(8);
    world.limiter.set_override(Whom::Account(&text), appeal).expect("room");
    world.limiter.forget(&world.account("paid", 5));
    world.limiter.checkpoint().expect("a store in memory");
    let mut store = world.store.copy();
    let written = tollgate::Store::read(&mut store, 0).expect("memory").expect("the only block");
    if std::env::var_os("TOLLGATE_WRITE_FIXTURE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/checkpoint-1.block");
        std::fs::write(path, &written).expect("it is ours");
    }
    let block = tollgate::Block::decode(FIXTURE).expect("version 1 is read");
    assert_eq!(block.encode(), FIXTURE);
    assert_eq!(tollgate::Block::decode(&written).expect("just written"), block);

    let mut kept = MemoryStore::new();
    tollgate::Store::write(&mut kept, 0, FIXTURE, &[]).expect("memory");
    let after = World::of(with_head(RULES), world.clock.clone(), kept).expect("restored");
    assert_eq!(after.used(&after.account("free", 17), "account/tokens/budget"), 700);
    let text = after.limiter.identity(caller.tier(), "a name");
    assert_eq!(after.limiter.explain(&text).overrides[0].reason, "appeal");
}
