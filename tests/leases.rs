//! Leases on a tier's total and on an organization, by real threads: what they let through is exact, they come into use, and a
//! lone caller never sees them.
#![cfg(feature = "toml")]
#![allow(clippy::disallowed_types, reason = "these count what real threads did; loom is not at work here")]

use std::{
    sync::{
        Barrier, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tollgate::{Cost, Identity, Level, Limiter, ManualClock, Meter, Override, Plan, RuleState, Signal, Whom};

const THREADS: u64 = 4;
/// How long threads may fail to meet, on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(60);
/// A limiter of which everybody shares a rule at a level.
struct World {
    level: Level,
    limiter: Limiter,
    clock: ManualClock,
    tokens: Meter,
}

fn policy(level: Level, rule: &str, more: &str) -> Plan {
    let rules = match level {
        Level::Tier => format!("total.tokens = {rule}"),
        _ => format!("organization.tokens = {rule}\ntotal = \"unlimited\""),
    };
    let text = format!(
        "version = 1\nmeters = [\"tokens\", \"calls\"]\ncapacity = {{ accounts = 100, organizations = 100, spare_rules = 2 }}\n\
         [tiers.one]\n{rules}\n{more}\n[tiers.two]\n{rules}\n{more}\n"
    );
    Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

impl World {
    fn new(level: Level, rule: &str) -> World {
        let clock = ManualClock::new();
        let limiter = Limiter::builder(policy(level, rule, "")).clock(clock.clone()).secret([7; 16]);
        let limiter = limiter.build().expect("built");
        let tokens = limiter.meter("tokens").expect("meter");
        World { level, limiter, clock, tokens }
    }

    /// An account that shares the rule with all others.
    fn caller(&self, account: u64) -> Identity {
        self.caller_in("one", account)
    }

    fn caller_in(&self, tier: &str, account: u64) -> Identity {
        let identity = self.limiter.identity(self.limiter.tier(tier).expect("tier"), account);
        match self.level {
            Level::Tier => identity,
            _ => identity.in_organization(self.limiter.organization("acme")),
        }
    }

    fn check(&self, caller: &Identity, amount: u64) -> bool {
        self.limiter.check(caller, &Cost::of(self.tokens, amount)).is_ok()
    }

    /// What every rule that is shared says was used.
    fn used(&self) -> Vec<u64> {
        let rules = self.limiter.explain(&self.caller(0)).rules;
        let is_shared = |rule: &&RuleState| rule.level == self.level && rule.meter.as_str() == "tokens";
        rules.iter().filter(is_shared).map(|rule| rule.used).collect()
    }

    fn taken(&self) -> u64 {
        self.limiter.statistics().leases_taken
    }
}

/// Whether a `round` sees enough before long. One test at a time, so that threads meet.
fn in_some_round(round: impl Fn() -> bool) -> bool {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = Instant::now();
    std::iter::from_fn(|| (begin.elapsed() < PATIENCE).then(&round)).any(|has_seen| has_seen)
}

/// Runs `round` for each level that is leased, on a world of that rule, until threads have met there: it answers whether it
/// has seen enough.
fn until_they_meet(rule: &str, round: impl Fn(&World) -> bool) {
    for level in [Level::Tier, Level::Organization] {
        let met = in_some_round(|| {
            let world = World::new(level, rule);
            round(&world) && world.taken() > 10
        });
        assert!(met, "threads never met at the {level:?}");
    }
}

/// Runs `work` on each thread with its number, all from one moment on.
fn on_threads(work: impl Fn(u64) + Sync) {
    let barrier = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (work, barrier) = (&work, &barrier);
            scope.spawn(move || {
                barrier.wait();
                work(thread);
            });
        }
    });
}

/// Makes sure of all that was admitted of a token a nanosecond, and says how much that was.
fn never_over(log: Mutex<Vec<(u64, u64)>>, burst: u64) -> u64 {
    let mut log = log.into_inner().expect("no thread panics");
    log.sort_unstable();
    // A bucket of the same rate and burst, a nanosecond ahead, admits them all.
    let mut claimed = 0;
    for (at, amount) in &log {
        claimed = claimed.max(*at) + amount;
        assert!(claimed <= at + 1 + burst, "{} over at {at}", claimed - at - 1 - burst);
    }
    log.iter().map(|(_, amount)| amount).sum()
}

/// Threads spend a budget from leases: all of it is admitted, to the token, and no more.
#[test]
fn a_shared_limit_is_spent_to_the_token() {
    const LIMIT: u64 = 1_000_000;
    until_they_meet(&format!("{{ budget = {LIMIT} }}"), |world| {
        let spent = AtomicU64::new(0);
        on_threads(|thread| {
            let caller = world.caller(thread);
            let mut mine = 0;
            for amount in (1..=3).cycle() {
                match world.check(&caller, amount) {
                    true => mine += amount,
                    false if amount == 1 => break,
                    false => {}
                }
            }
            spent.fetch_add(mine, Ordering::Relaxed);
        });
        assert_eq!(spent.into_inner(), LIMIT);
        assert_eq!(world.used(), [LIMIT]);
        true
    });
}

/// What is told of a shared limit, to a customer or a checkpoint, is what was spent of it: what threads hold of it on lease
/// is not. That is so for who asks to explain, and for who looks ahead.
#[test]
fn what_is_leased_is_not_used() {
    until_they_meet("[{ quota = \"1_000_000_000/month\" }, { budget = 2_000_000_000 }]", |world| {
        let (limiter, tokens) = (&world.limiter, world.tokens);
        let (counted, done) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (counted, done) = (&counted, &done);
                scope.spawn(move || {
                    let caller = world.caller(thread);
                    for _ in 0..20_000 {
                        assert!(world.check(&caller, 1), "there is enough");
                        counted.fetch_add(1, Ordering::AcqRel);
                    }
                    done.fetch_add(1, Ordering::Release);
                });
            }
            let someone = world.caller(0);
            let whom = match world.level {
                Level::Tier => Whom::Tier(someone.tier()),
                _ => Whom::Organization(&someone),
            };
            while done.load(Ordering::Acquire) < THREADS {
                let least = counted.load(Ordering::Acquire);
                let mut used: Vec<u64> =
                    limiter.usage(whom, tokens, None).iter().map(|rule| rule.used).collect();
                used.extend(world.used());
                // Each thread may have one more than it has counted.
                let most = counted.load(Ordering::Acquire) + THREADS;
                assert!(
                    used.iter().all(|used| (least..=most).contains(used)),
                    "{used:?}, not in {least}..={most}"
                );
                let left = Cost::of(tokens, 1_000_000_000 - THREADS * 20_000);
                assert!(limiter.peek(&someone, &left).is_ok());
            }
        });
        assert!(world.used().iter().all(|used| *used == THREADS * 20_000));
        true
    });
}

/// A rate over every interval of a log of all admissions, while leases are taken, served, evaporate and are recalled.
#[test]
fn a_leased_rate_is_never_over() {
    /// One token a nanosecond.
    const BURST: u64 = 100_000;
    until_they_meet(&format!("{{ rate = \"1 per 1ns\", burst = {BURST} }}"), |world| {
        let log = Mutex::new(Vec::new());
        on_threads(|thread| {
            let caller = world.caller(thread);
            let mut mine = Vec::new();
            for call in 0..30_000_u64 {
                // In turn more than the rate, and less.
                world.clock.advance_nanos(if call / 5_000 % 2 == 0 { 2 } else { 20 });
                let amount = 1 + (call * 7 + thread) % 16;
                if let Ok(receipt) = world.limiter.check(&caller, &Cost::of(world.tokens, amount)) {
                    mine.push((receipt.at(), amount));
                }
            }
            log.lock().expect("no thread panics").append(&mut mine);
        });
        let admitted = never_over(log, BURST);
        assert!(admitted > BURST, "{admitted}");
        world.limiter.statistics().leases_recalled > 0
    });
}

/// A large organization, and its tier, while an operator reloads, makes exceptions and lifts them, while accounts come with
/// another tier, are forgotten, and reserve: what was admitted is what was counted, to the token.
#[test]
fn leases_outlive_whatever_is_done_to_their_line() {
    let limits = "[{ budget = 2_000_000_000 }, { quota = \"1_000_000_000/month\" }]";
    until_they_meet(limits, |world| {
        let (limiter, tokens) = (&world.limiter, world.tokens);
        let (spent, done) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (spent, done) = (&spent, &done);
                scope.spawn(move || {
                    // Only an organization may be in several tiers.
                    let other = if world.level == Level::Tier { "one" } else { "two" };
                    let callers = [world.caller_in("one", thread), world.caller_in(other, thread + 10)];
                    let mut mine = 0;
                    for call in 0..20_000_u64 {
                        let caller = &callers[usize::from(call / 1_000 % 4 == 3)];
                        match call % 50 {
                            0 => {
                                let permit = limiter.reserve(caller, &Cost::of(tokens, 20)).expect("enough");
                                permit.settle(&Cost::of(tokens, 5));
                                mine += 5;
                            }
                            25 if call % 1_000 == 25 => {
                                limiter.forget(caller);
                            }
                            _ => {
                                assert!(world.check(caller, 1), "there is enough");
                                mine += 1;
                            }
                        }
                    }
                    spent.fetch_add(mine, Ordering::Relaxed);
                    done.fetch_add(1, Ordering::Release);
                });
            }
            let someone = world.caller(0);
            for turn in 0_u64.. {
                if done.load(Ordering::Acquire) == THREADS {
                    break;
                }
                let whom = match world.level {
                    Level::Tier => Whom::Tier(someone.tier()),
                    _ => Whom::Organization(&someone),
                };
                match turn % 4 {
                    0 => {
                        // In turn beside the rules of the line, and among them.
                        let level =
                            ["account", if world.level == Level::Tier { "total" } else { "organization" }];
                        let level = level[turn as usize / 4 % 2];
                        let more = format!("{level}.calls = {{ budget = {} }}", turn + 1_000);
                        limiter.reload(policy(world.level, limits, &more)).expect("the same rules");
                    }
                    1 => {
                        let granted = Override::new(Duration::from_secs(60), "a test").factor(32);
                        limiter.set_override(whom, granted).expect("there is room");
                    }
                    2 => {
                        limiter.lift_override(whom);
                    }
                    _ => {
                        limiter.maintain();
                    }
                }
                world.clock.advance_nanos(3_000_000);
            }
        });
        // Those whose tier came last are told by its rules.
        let spent = spent.into_inner();
        assert_eq!(world.used(), [spent, spent]);
        true
    });
}

/// While threads draw on what is leased of an organization's rate, it is tightened and released, granted an override and
/// lost it, reloaded, and moved between tiers and zones: what was admitted over any interval keeps the bound. So it does where
/// accounts have a quota besides, so that leases are asked along the longer way.
#[test]
fn a_leased_organization_is_never_over_whatever_is_done_to_it() {
    const BURST: u64 = 100_000;
    const TURNS: u64 = 24;
    for account in ["", "account.tokens = { quota = \"1_000_000_000/minute\" }\n"] {
        let plan = |calls: u64| {
            let tier = format!(
                "organization.tokens = {{ rate = \"1 per 1ns\", burst = {BURST} }}\n{account}\
                 total = \"unlimited\"\naccount.calls = {{ quota = \"{calls}/day\" }}\n"
            );
            let text = format!(
                "version = 1\nmeters = [\"tokens\", \"calls\"]\nzones = [\"Asia/Tokyo\"]\n\
                 capacity = {{ accounts = 100, organizations = 100 }}\n\
                 [evidence]\nsignals.abuse = {{ weight = 6, cap = 12, half_life = \"1h\" }}\n\
                 [tiers.one]\n{tier}[tiers.two]\n{tier}"
            );
            Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
        };
        let met = in_some_round(|| {
            let clock = ManualClock::at_unix(1_767_571_200_000_000_000);
            let limiter =
                Limiter::builder(plan(9)).clock(clock.clone()).secret([7; 16]).build().expect("built");
            let tokens = limiter.meter("tokens").expect("meter");
            let (acme, tokyo) = (limiter.organization("acme"), limiter.zone("Asia/Tokyo").expect("a zone"));
            let caller = |tier: &str, number: u64, moved: bool| {
                let acme = if moved { acme.in_zone(tokyo) } else { acme };
                limiter.identity(limiter.tier(tier).expect("tier"), number).in_organization(acme)
            };
            let log = Mutex::new(Vec::new());
            let (calls, turn) = (AtomicU64::new(0), AtomicU64::new(0));
            let mut tightened = 0;
            std::thread::scope(|scope| {
                for thread in 0..THREADS {
                    let (log, calls, turn) = (&log, &calls, &turn);
                    let (limiter, clock, caller) = (&limiter, &clock, &caller);
                    scope.spawn(move || {
                        let mut mine = Vec::new();
                        for call in 0.. {
                            let turn = turn.load(Ordering::Acquire);
                            if turn == TURNS {
                                break;
                            }
                            // All come from one tier and zone for a while, then from others.
                            let moves = turn / 6;
                            let tier = ["one", "two"][moves as usize % 2];
                            let caller = caller(tier, thread, moves / 2 % 2 == 1);
                            clock.advance_nanos(if call / 1_000 % 2 == 0 { 2 } else { 20 });
                            let amount = 1 + (call * 7 + thread) % 16;
                            if let Ok(receipt) = limiter.check(&caller, &Cost::of(tokens, amount)) {
                                mine.push((receipt.at(), amount));
                            }
                            calls.fetch_add(1, Ordering::Relaxed);
                        }
                        log.lock().expect("no thread panics").append(&mut mine);
                    });
                }
                let someone = caller("one", 50, false);
                let whom = Whom::Organization(&someone);
                for now in 0..TURNS {
                    turn.store(now, Ordering::Release);
                    // They draw on it meanwhile.
                    let enough = calls.load(Ordering::Relaxed) + 20_000;
                    while calls.load(Ordering::Relaxed) < enough {
                        std::thread::yield_now();
                    }
                    let maintain = || {
                        clock.advance_nanos(60_000_000_000);
                        limiter.maintain();
                    };
                    match now % 6 {
                        1 => {
                            limiter.reload(plan(now + 9)).expect("the same rules");
                        }
                        2 => {
                            let granted = Override::new(Duration::from_secs(60), "a test").factor(32);
                            limiter.set_override(whom, granted).expect("there is room");
                        }
                        3 => {
                            limiter.lift_override(whom);
                        }
                        4 => {
                            let report = Signal { subject: whom, kind: "abuse", source: "desk", weight: 9 };
                            limiter.signal(report).expect("there is room");
                            (0..3).for_each(|_| maintain());
                            let rules = limiter.explain(&someone).rules;
                            let own = rules.iter().find(|rule| rule.level == Level::Organization);
                            tightened += u64::from(own.expect("a rule").factor_sixteenths > 16);
                        }
                        5 => {
                            limiter.pardon(whom, Duration::ZERO);
                            maintain();
                        }
                        _ => {}
                    }
                }
                turn.store(TURNS, Ordering::Release);
            });
            let admitted = never_over(log, BURST);
            assert!(admitted > BURST, "{admitted}");
            let seen = limiter.statistics();
            let moved = seen.tier_moves > 0 && (seen.zone_moves > 0 || account.is_empty());
            moved && tightened > 0 && seen.leases_taken > 10 && seen.leases_recalled > 2
        });
        assert!(met, "threads never met");
    }
}

/// Nothing is leased of a quota that follows the zones of organizations: threads that meet on it spend it to the token, and
/// take turns. Of the same quota where there are no zones, they lease.
#[test]
fn a_quota_that_follows_zones_is_not_leased() {
    for zones in ["", "zones = [\"Asia/Tokyo\"]\n"] {
        let met = in_some_round(|| {
            let text = format!(
                "version = 1\nmeters = [\"tokens\"]\n{zones}capacity = {{ accounts = 100, organizations = 10 }}\n\
                 [tiers.one]\norganization.tokens = {{ quota = \"40_000/day\" }}\ntotal = \"unlimited\"\n"
            );
            let plan = Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            let clock = ManualClock::at_unix(1_767_571_200_000_000_000);
            let limiter = Limiter::builder(plan).clock(clock).secret([7; 16]).build().expect("built");
            let tokens = limiter.meter("tokens").expect("meter");
            let admitted = AtomicU64::new(0);
            on_threads(|thread| {
                let acme = limiter.organization("acme");
                // One of two is in a zone of its own, which is the organization's from then on.
                let zone = limiter.zone("Asia/Tokyo").filter(|_| thread % 2 == 1);
                let acme = zone.map_or(acme, |zone| acme.in_zone(zone));
                let caller =
                    limiter.identity(limiter.tier("one").expect("tier"), thread).in_organization(acme);
                let spends = || limiter.check(&caller, &Cost::of(tokens, 1)).is_ok();
                let mine = (0..20_000).filter(|_| spends()).count();
                admitted.fetch_add(mine as u64, Ordering::Relaxed);
            });
            assert_eq!(admitted.into_inner(), 40_000);
            let taken = limiter.statistics().leases_taken;
            assert!(zones.is_empty() || taken == 0, "{taken}");
            taken > 10 || !zones.is_empty()
        });
        assert!(met, "threads never met");
    }
}

/// One caller that hops between threads finds every limit exact: the whole burst, no lease.
#[test]
fn a_lone_caller_never_sees_leases() {
    const BURST: u64 = 64;
    for level in [Level::Tier, Level::Organization] {
        let world = World::new(level, &format!("{{ rate = \"1/s\", burst = {BURST} }}"));
        let caller = world.caller(7);
        for _ in 0..10 {
            for call in 0..=BURST {
                let check = || world.check(&caller, 1);
                let admitted = std::thread::scope(|scope| scope.spawn(check).join().expect("no panic"));
                assert_eq!(admitted, call < BURST);
            }
            world.clock.advance_nanos((BURST + 1) * 1_000_000_000);
        }
        assert_eq!(world.taken(), 0);
    }
}

/// A flood that is refused does not make a line hot, and what was leased before it comes back once.
#[test]
fn what_is_leased_comes_back_before_a_refusal() {
    for level in [Level::Tier, Level::Organization] {
        let world = World::new(level, "{ budget = 1_000 }");
        assert!(world.check(&world.caller(7), 1_000), "all of it");
        on_threads(|thread| {
            let caller = world.caller(thread);
            assert!((0..10_000).all(|_| !world.check(&caller, 1)));
        });
        assert_eq!(world.taken(), 0);
    }
}

/// More organizations than can have leases, each with two callers, and each hot in turn: what each was admitted is what is
/// counted of it.
#[test]
fn leases_go_from_organization_to_organization() {
    const ORGANIZATIONS: u64 = 40;
    let met = in_some_round(|| {
        let world = World::new(Level::Organization, "{ budget = 1_000_000_000 }");
        let member = |organization: u64, thread: u64| {
            let identity = world.caller(organization * 100 + thread);
            identity.in_organization(world.limiter.organization(organization))
        };
        on_threads(|thread| {
            for call in 0..20_000 {
                let caller = member(call / 250 % ORGANIZATIONS, thread);
                assert!(world.check(&caller, 1), "there is enough");
                if call % 250 == 0 {
                    world.clock.advance_nanos(1_000_000);
                }
            }
        });
        for organization in 0..ORGANIZATIONS {
            let rules = world.limiter.explain(&member(organization, 0)).rules;
            let own = rules.iter().find(|rule| rule.level == Level::Organization).expect("a rule");
            assert_eq!(own.used, THREADS * 20_000 / ORGANIZATIONS);
        }
        world.taken() > ORGANIZATIONS
    });
    assert!(met, "threads never met");
}
