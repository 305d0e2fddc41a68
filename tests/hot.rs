//! Large organizations by more threads than a small machine has stripes, by clocks that were read late, while an operator does
//! to them whatever can be done: what was admitted keeps every bound, and what is told to be used is what was admitted, also
//! after a restart.
#![cfg(feature = "toml")]
#![allow(clippy::disallowed_types, reason = "these count what real threads did; loom is not at work here")]

use std::{
    collections::HashMap,
    sync::{Barrier, Mutex},
    time::{Duration, Instant},
};

use tollgate::{
    Cost, Identity, Level, Limiter, ManualClock, MemoryStore, Override, Permit, Plan, Signal, Whom,
};

const THREADS: u64 = 10;
/// More than can have leases.
const ORGANIZATIONS: u64 = 24;
const BURST: u64 = 20_000;
const WINDOW: u64 = 4_000_000;
const MINUTE: u64 = 60_000_000_000;
const ROUND: Duration = Duration::from_millis(500);
/// All rounds together, and how long threads may fail to meet.
const TIME: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
/// The beginning of a minute.
const START: i64 = 1_767_571_200_000_000_000;

/// A token a nanosecond; rules beside it come, go and change places.
fn plan(turn: u64) -> Plan {
    let rules = [
        format!("{{ rate = \"1 per 1ns\", burst = {BURST} }}"),
        "{ budget = 1_000_000_000_000 }".to_owned(),
        format!("{{ quota = \"{WINDOW}/minute\" }}"),
    ];
    let order = [[0, 1, 2], [2, 0, 1], [1, 2, 0]][turn as usize % 3];
    let rules: Vec<_> = order.iter().map(|rule| rules[*rule].clone()).collect();
    let more = ["", "organization.calls = { budget = 70 }\n", "total.calls = { budget = 90 }\n"];
    let more = more[turn as usize / 3 % 3];
    let tier = format!(
        "organization.tokens = [{}]\n{more}total.tokens = [{{ rate = \"1 per 1ns\", burst = {} }}, {{ budget = 1_000_000_000_000 }}]\n",
        rules.join(", "),
        4 * BURST,
    );
    let text = format!(
        "version = 1\nmeters = [\"tokens\", \"calls\"]\n\
         capacity = {{ accounts = 1000, organizations = 100, spare_rules = 4 }}\n\
         [evidence]\nsignals.abuse = {{ weight = 6, cap = 12, half_life = \"1h\" }}\n\
         [tiers.one]\n{tier}[tiers.two]\n{tier}"
    );
    Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What was admitted: of which organization, in which tier, when, how much.
type Log = Vec<(u64, usize, u64, u64)>;

fn never_over(what: &str, log: impl Iterator<Item = (u64, u64)>, burst: u64) {
    let mut log: Vec<_> = log.collect();
    log.sort_unstable();
    let mut claimed = 0;
    for (at, amount) in log {
        claimed = claimed.max(at) + amount;
        assert!(claimed <= at + 1 + burst, "{what}: {} over at {at}", claimed - at - 1 - burst);
    }
}

struct World {
    limiter: Limiter,
    clock: ManualClock,
}

impl World {
    fn caller(&self, organization: u64, tier: usize, number: u64) -> Identity {
        let tier = self.limiter.tier(["one", "two"][tier]).expect("tier");
        let identity = self.limiter.identity(tier, organization * 16 + number);
        identity.in_organization(self.limiter.organization(organization))
    }
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 3
}

fn work(world: &World, thread: u64, seed: u64, until: Instant, log: &mut Log) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ thread.wrapping_mul(0xd134_2543_de82_ef95) | 1;
    let limiter = world.limiter.clone();
    let tokens = limiter.meter("tokens").expect("meter");
    let mut open: Vec<(Permit<'static>, u64, usize)> = Vec::new();
    let mut late = limiter.now();
    let (mut tiers, mut hot) = ([0; ORGANIZATIONS as usize], 0);
    for call in 0_u64.. {
        if call % 256 == 0 && Instant::now() > until {
            break;
        }
        if call % 2048 == 0 {
            hot = random(&mut state) % ORGANIZATIONS;
        }
        let of = match random(&mut state) % 16 {
            0..10 => 0,
            10..14 => hot,
            _ => random(&mut state) % ORGANIZATIONS,
        };
        let dice = random(&mut state) % 1_000;
        if dice == 0 {
            tiers[of as usize] ^= 1;
        }
        let tier = tiers[of as usize];
        let caller = world.caller(of, tier, thread);
        let amount = 1 + random(&mut state) % if dice.is_multiple_of(50) { 2_000 } else { 30 };
        let cost = Cost::of(tokens, amount);
        // In turn less than the rate, and more.
        world.clock.advance_nanos(random(&mut state) % [40, 6, 60, 20][call as usize / 2_048 % 4]);
        if dice.is_multiple_of(4) {
            late = limiter.now();
        }
        match dice % 20 {
            0..3 => {
                if let Ok(permit) = limiter.reserve(&caller, &cost) {
                    let at = permit.receipt().at();
                    open.push((permit.detach(), amount, log.len()));
                    log.push((of, tier, at, amount));
                }
            }
            3..6 => {
                let most = if open.is_empty() { 0 } else { random(&mut state) as usize % open.len() };
                if !open.is_empty() {
                    let (permit, reserved, entry) = open.swap_remove(most);
                    let used = random(&mut state) % (reserved + 1);
                    permit.settle(&Cost::of(tokens, used));
                    log[entry].3 = used;
                }
            }
            6..9 => {
                if let Ok(receipt) = limiter.check_at(&caller, &cost, late) {
                    log.push((of, tier, receipt.at(), amount));
                }
            }
            9 if dice > 995 => {
                limiter.forget(&caller);
            }
            _ => {
                if let Ok(receipt) = limiter.check(&caller, &cost) {
                    log.push((of, tier, receipt.at(), amount));
                }
            }
        }
    }
    for (permit, reserved, entry) in open {
        let used = random(&mut state) % (reserved + 1);
        permit.settle(&Cost::of(tokens, used));
        log[entry].3 = used;
    }
}

/// What can be done to an organization.
fn operate(world: &World, seed: u64, until: Instant) {
    let limiter = &world.limiter;
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_micros(random(&mut state) % 3_000));
        let of = [0, random(&mut state) % ORGANIZATIONS][random(&mut state) as usize % 2];
        let someone = world.caller(of, 0, 15);
        let whom = match random(&mut state) % 8 {
            0 => Whom::Tier(someone.tier()),
            _ => Whom::Organization(&someone),
        };
        match random(&mut state) % 10 {
            0 => {
                limiter.reload(plan(random(&mut state) % 9)).expect("the same rules");
            }
            1 => {
                let granted = Override::new(Duration::from_millis(1 + random(&mut state) % 50), "a test");
                let granted = granted.factor(17 + (random(&mut state) % 40) as u16);
                let _ = limiter.set_override(whom, granted);
            }
            2 | 3 => {
                limiter.lift_override(whom);
            }
            4 => {
                let _ = limiter.signal(Signal { subject: whom, kind: "abuse", source: "desk", weight: 9 });
            }
            5 => {
                limiter.pardon(whom, Duration::ZERO);
            }
            6 => {
                world.clock.advance_nanos(MINUTE);
                limiter.maintain();
            }
            7 => {
                limiter.checkpoint().expect("kept in memory");
                limiter.export();
                limiter.top(5, limiter.meter("tokens").expect("meter"));
            }
            8 => {
                let explained = limiter.explain(&someone);
                assert!(explained.rules.iter().all(|rule| rule.used < 1 << 50), "{explained:?}");
            }
            _ => world.clock.advance_nanos(random(&mut state) % 2_000_000),
        }
    }
}

/// Answers how many leases were taken.
fn round(seed: u64, lasting: Duration) -> u64 {
    let clock = ManualClock::at_unix(START);
    let store = MemoryStore::new();
    let build = |clock: &ManualClock, store: MemoryStore| {
        let builder = Limiter::builder(plan(seed)).clock(clock.clone()).secret([7; 16]);
        builder.store(store, Duration::from_millis(1)).build().expect("built")
    };
    let world = World { limiter: build(&clock, store.clone()), clock };
    let until = Instant::now() + lasting;
    let (all, barrier) = (Mutex::new(Log::new()), Barrier::new(THREADS as usize));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (world, all, barrier) = (&world, &all, &barrier);
            scope.spawn(move || {
                let mut log = Log::new();
                barrier.wait();
                work(world, thread, seed, until, &mut log);
                all.lock().expect("no thread panics").append(&mut log);
            });
        }
        operate(&world, seed, until);
    });
    let log = all.into_inner().expect("no thread panics");
    world.limiter.checkpoint().expect("kept in memory");
    let clock = ManualClock::at_unix(tollgate::Clock::unix(&world.clock));
    let restarted = build(&clock, store.copy());
    for of in 0..ORGANIZATIONS {
        let own = || log.iter().filter(|entry| entry.0 == of);
        never_over(&format!("organization {of}"), own().map(|entry| (entry.2, entry.3)), BURST);
        let mut windows = HashMap::new();
        own().for_each(|entry| *windows.entry(entry.2 / MINUTE).or_insert(0) += entry.3);
        assert!(windows.values().all(|used| *used <= WINDOW), "{of}: {windows:?}");
        let admitted: u64 = own().map(|entry| entry.3).sum();
        let window = world.limiter.now().as_u64() / MINUTE;
        for limiter in [&world.limiter, &restarted] {
            let told = limiter.explain(&world.caller(of, 0, 0)).rules;
            let told = |what: &str| {
                let own = told.iter().filter(|rule| rule.level == Level::Organization);
                own.filter(|rule| rule.kind == what).map(|rule| rule.used).collect::<Vec<_>>()
            };
            assert_eq!(told("budget").first(), Some(&admitted), "organization {of}");
            assert_eq!(told("quota").first(), Some(windows.get(&window).unwrap_or(&0)), "organization {of}");
        }
    }
    for tier in 0..2 {
        let own = || log.iter().filter(|entry| entry.1 == tier);
        never_over(&format!("tier {tier}"), own().map(|entry| (entry.2, entry.3)), 4 * BURST);
        let admitted: u64 = own().map(|entry| entry.3).sum();
        let told = world.limiter.explain(&world.caller(0, tier, 0)).rules;
        let own = told.iter().filter(|rule| rule.level == Level::Tier);
        let told: Vec<_> = own.filter(|rule| rule.used == admitted).collect();
        assert_eq!(told.len(), 1, "tier {tier}: {admitted}, {told:?}");
    }
    world.limiter.statistics().leases_taken
}

#[test]
fn hot_organizations_keep_every_bound() {
    let begin = Instant::now();
    let mut taken = 0;
    for seed in 1.. {
        taken += round(seed, ROUND);
        if begin.elapsed() > TIME && taken > 100 {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "threads never met");
    }
}
