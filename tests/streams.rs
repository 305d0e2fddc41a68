//! Permits that settle late: many streams at once, estimates far above what they take.
//!
//! - 200 clients whose requests reserve 4,000 output tokens each against 100,000 a minute, and settle to the lengths of
//!   real requests: refused ones come back at `retry_after` until all ran, in at most 1.1 times what the sum takes at the
//!   rate, and the longest stream; every quota's use is the sum, to the token; nothing stays in flight;
//! - the same with half of them dropped midway, under either `on_drop`;
//! - overlapping settlements under random schedules mint nothing: the interval bound, over each of them;
//! - an estimate above a limit waits for a full bucket, and takes all of it;
//! - an account that is forgotten, moves to another tier or another organization meanwhile;
//! - of more accounts with permits open than there is room to note: rates get nothing back, all else does, nothing is minted.
//!
//! The lengths are those of a trace, where `TOLLGATE_AZURE_TRACE` names one (`t_ms,account,...,output_tokens`, gzip),
//! and drawn ones in any case.
#![cfg(feature = "toml")]

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use tollgate::{Cost, Identity, Limiter, ManualClock, Meter, Permit, Plan, Retry};

const SECOND: u64 = 1_000_000_000;
/// Nanoseconds that a stream takes for a token.
const TOKEN: u64 = SECOND / 100;
const RESERVED: u64 = 4_000;
const CLIENTS: usize = 200;

const POLICY: &str = r#"
    version = 1
    meters = ["requests", "output_tokens"]
    capacity = { accounts = 1000, organizations = 100 }

    [tiers.paid]
    account.requests = { in_flight = 200 }
    account.output_tokens = [{ rate = "100k/min", burst = 100_000 }, { quota = "100M/day" }]
    organization.output_tokens = [{ quota = "200M/month" }, { in_flight = 1_000_000 }]
    total.requests = { in_flight = 500 }
    total.output_tokens = { quota = "300M/week" }
"#;

fn limiter(policy: &str) -> (Limiter, ManualClock) {
    let clock = ManualClock::at_unix(1_772_236_800_000_000_000);
    let plan = Plan::from_toml(policy).unwrap_or_else(|error| panic!("{error}\n{policy}"));
    (Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("room"), clock)
}

/// A generator of numbers that look random (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

struct Ran {
    requests: usize,
    /// Tokens that were settled.
    sum: u64,
    nanos: u64,
    longest: u64,
    refusals: u64,
}

/// Runs a request for each of `lengths`; every `dropped`th is dropped midway.
fn run(policy: &str, lengths: &[u64], dropped: usize) -> (Limiter, Identity, Ran) {
    let (limiter, clock) = limiter(policy);
    let meter = |name| limiter.meter(name).expect("a meter");
    let (requests, tokens) = (meter("requests"), meter("output_tokens"));
    let tier = limiter.tier("paid").expect("a tier");
    let caller = limiter.identity(tier, "acct").in_organization(limiter.organization("acme"));
    let estimate = Cost::of(requests, 1).and(tokens, RESERVED);
    let mut waiting: VecDeque<(usize, u64)> = lengths.iter().copied().enumerate().collect();
    // By time, then by client: what each is to do next.
    let mut agenda: BinaryHeap<Reverse<(u64, usize)>> =
        (0..CLIENTS).map(|client| Reverse((0, client))).collect();
    let mut at_work: Vec<Option<(usize, u64)>> = vec![None; CLIENTS];
    let mut streams: Vec<Option<Permit<'static>>> = (0..CLIENTS).map(|_| None).collect();
    let mut ran = Ran { requests: 0, sum: 0, nanos: 0, longest: 0, refusals: 0 };
    while let Some(Reverse((now, client))) = agenda.pop() {
        clock.advance_to(now);
        if let Some(permit) = streams[client].take() {
            let (number, length) = at_work[client].take().expect("work");
            ran.requests += 1;
            if dropped > 0 && number % dropped == 0 {
                drop(permit);
            } else {
                let settlement = permit.settle(&Cost::of(requests, 1).and(tokens, length));
                assert_eq!(settlement.cut(tokens), 0);
                ran.sum += length;
            }
            ran.nanos = now;
        }
        let work = at_work[client].take().or_else(|| waiting.pop_front());
        let Some((number, length)) = work else { continue };
        at_work[client] = work;
        match limiter.reserve(&caller, &estimate) {
            Ok(permit) => {
                streams[client] = Some(permit.detach());
                let midway = dropped > 0 && number % dropped == 0;
                let takes = if midway { length / 2 } else { length } * TOKEN;
                ran.longest = ran.longest.max(takes);
                agenda.push(Reverse((now + takes, client)));
            }
            Err(denial) => {
                ran.refusals += 1;
                let Retry::After(wait) = denial.retry() else { panic!("{denial}") };
                agenda.push(Reverse((now + wait.as_nanos() as u64, client)));
            }
        }
    }
    (limiter, caller, ran)
}

fn used(limiter: &Limiter, caller: &Identity, kind: &str) -> Vec<u64> {
    let rules = limiter.explain(caller).rules;
    rules.iter().filter(|rule| rule.kind == kind).map(|rule| rule.used).collect()
}

fn check_streams(name: &str, lengths: &[u64]) {
    let (limiter, caller, ran) = run(POLICY, lengths, 0);
    let at_the_rate = u128::from(ran.sum) * 60 * u128::from(SECOND) / 100_000;
    let most = at_the_rate * 11 / 10 + u128::from(ran.longest);
    println!(
        "{name}: {} requests, {} tokens, {:.1} s of {:.1} s at the rate and a stream of {:.1} s; {} refusals",
        ran.requests,
        ran.sum,
        ran.nanos as f64 / 1e9,
        at_the_rate as f64 / 1e9,
        ran.longest as f64 / 1e9,
        ran.refusals
    );
    assert_eq!(ran.requests, lengths.len());
    assert!(ran.refusals > 0, "{name}: nobody had to wait");
    assert!(u128::from(ran.nanos) <= most, "{name}: {} ns of {most}", ran.nanos);
    assert_eq!(used(&limiter, &caller, "quota"), [ran.sum; 3], "{name}");
    assert_eq!(used(&limiter, &caller, "in_flight"), [0; 3], "{name}");

    // Half of them are dropped: all of it comes back, or none.
    let (limiter, caller, ran) = run(POLICY, lengths, 2);
    assert_eq!(ran.requests, lengths.len());
    assert_eq!(used(&limiter, &caller, "quota"), [ran.sum; 3], "{name}, dropped");
    assert_eq!(used(&limiter, &caller, "in_flight"), [0; 3], "{name}, dropped");

    let few = &lengths[..lengths.len().min(400)];
    let charged = POLICY.replace("version = 1", "version = 1\non_drop = \"charge\"");
    let (limiter, caller, ran) = run(&charged, few, 2);
    let dropped = few.len().div_ceil(2) as u64;
    assert_eq!(used(&limiter, &caller, "quota"), [ran.sum + dropped * RESERVED; 3], "{name}, charged");
    assert_eq!(used(&limiter, &caller, "in_flight"), [0; 3], "{name}, charged");
}

#[test]
fn streams_of_drawn_lengths() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    // Mostly short, some long: from 10 to 1,000, of which the half is under 60.
    let lengths: Vec<u64> =
        (0..4_000).map(|_| 10 + 1_000 / (1 + random.below(20)) - random.below(10)).collect();
    check_streams("drawn", &lengths);
}

/// Lengths of the trace that the environment names. What reads gzip comes with the command.
#[cfg(feature = "cli")]
#[test]
fn streams_of_a_trace() {
    let Some(path) = std::env::var_os("TOLLGATE_AZURE_TRACE") else {
        println!(
            "SKIPPED: no trace; name one in TOLLGATE_AZURE_TRACE, such as AzureLLMInferenceTrace_conv in this crate's columns"
        );
        return;
    };
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(file), &mut text).expect("gzip");
    let mut lines = text.lines();
    let column = lines.next().and_then(|head| head.split(',').position(|name| name == "output_tokens"));
    let column = column.expect("a column `output_tokens`");
    let lengths: Vec<u64> = lines
        .map(|line| line.split(',').nth(column).and_then(|cell| cell.parse().ok()).expect("a number"))
        .collect();
    assert!(lengths.len() > 1_000, "{} rows", lengths.len());
    check_streams("trace", &lengths);
}

const SCHEDULES: u64 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };

/// Overlapping reservations of one rate, settled to less in any order, among requests that spend at once, in a bucket that
/// idles or never does: over every interval the costs, counted as settled at their admission, stay within the bound.
#[test]
fn overlapping_settlements_never_mint() {
    const BURST: u64 = 10;
    let policy = "version = 1\nmeters = [\"requests\"]\ncapacity = { accounts = 10, organizations = 10 }\n\
        [tiers.one]\ntotal = \"unlimited\"\naccount.requests = { rate = \"1 per 10ns\", burst = 10, max_debt = 0 }\n";
    let (limiter, clock) = limiter(policy);
    let requests = limiter.meter("requests").expect("a meter");
    let caller = limiter.identity(limiter.tier("one").expect("a tier"), 7_u64);
    let mut random = Random(7);
    let (mut admitted, mut given_back, mut clipped, mut full) = (0_u64, 0_u64, 0_u64, 0_u64);
    for _ in 0..SCHEDULES {
        // Whatever was before is over.
        clock.advance_nanos(10 * BURST + 20);
        let mut log: Vec<(u64, u64)> = Vec::new();
        let mut open: Vec<(usize, u64, Permit<'_>)> = Vec::new();
        let (pace, spending) = ([4, 25, 80][random.below(3) as usize], random.below(3));
        for _ in 0..4 + random.below(16) {
            clock.advance_nanos(random.below(3) * random.below(pace));
            if !open.is_empty() && random.below(2) == 0 {
                let (entry, reserved, permit) = open.swap_remove(random.below(open.len() as u64) as usize);
                let actual = random.below(reserved + 1);
                let lost = permit.settle(&Cost::of(requests, actual)).clipped(requests);
                log[entry].1 = actual;
                given_back += reserved - actual - lost;
                clipped += lost;
            } else if random.below(4) < spending {
                let amount = 1 + random.below(3);
                if limiter.check(&caller, &Cost::of(requests, amount)).is_ok() {
                    log.push((limiter.now().as_u64(), amount));
                }
            } else {
                let amount = 1 + random.below(6);
                if let Ok(permit) = limiter.reserve(&caller, &Cost::of(requests, amount)) {
                    open.push((log.len(), amount, permit));
                    log.push((limiter.now().as_u64(), amount));
                }
            }
        }
        // What is dropped gives all back.
        for (entry, _, permit) in open.drain(..) {
            log[entry].1 = 0;
            drop(permit);
        }
        for first in 0..log.len() {
            let mut sum = 0;
            for (at, amount) in &log[first..] {
                sum += amount;
                let length = at - log[first].0 + 1;
                assert!(sum.saturating_sub(BURST) * 10 <= length, "{sum} in {length} ns: {log:?}");
                full += u64::from(sum >= BURST);
            }
            admitted += log[first].1;
        }
    }
    println!("{SCHEDULES} schedules: {admitted} admitted, {given_back} given back, {clipped} clipped");
    // Liveness: much was admitted and given back, and the burst was reached.
    assert!(admitted > 3 * SCHEDULES && given_back > SCHEDULES && clipped > 0 && full > SCHEDULES / 10);
}

struct World {
    limiter: Limiter,
    clock: ManualClock,
    tokens: Meter,
}

impl World {
    fn new(rules: &str) -> World {
        let policy = format!(
            "version = 1\nmeters = [\"requests\", \"tokens\"]\ncapacity = {{ accounts = 100, organizations = 10 }}\n{rules}"
        );
        let (limiter, clock) = limiter(&policy);
        let tokens = limiter.meter("tokens").expect("a meter");
        World { limiter, clock, tokens }
    }

    fn account(&self, tier: &str, id: u64) -> Identity {
        self.limiter.identity(self.limiter.tier(tier).expect("a tier"), id)
    }

    fn used(&self, caller: &Identity) -> Vec<u64> {
        let rules = self.limiter.explain(caller).rules;
        rules.iter().filter(|rule| rule.limit.is_some()).map(|rule| rule.used).collect()
    }
}

#[test]
fn an_estimate_above_a_limit_waits_for_a_full_bucket() {
    let world = World::new(
        "[tiers.one]\ntotal = \"unlimited\"\naccount.tokens = [{ rate = \"100/s\", burst = 100, max_debt = 500 }, { quota = \"1000/day\" }, { in_flight = 150 }]\n\
         [tiers.spent]\ntotal = \"unlimited\"\naccount.tokens = { budget = 1000 }",
    );
    let World { limiter, clock, tokens, .. } = &world;
    let (caller, large) = (world.account("one", 1), Cost::of(*tokens, 4_000));
    let rules = limiter.explain(&caller).rules;
    assert_eq!(rules.iter().filter_map(|rule| rule.clamped_to).collect::<Vec<_>>(), [100, 1_000, 150]);
    // What is spent at once is no estimate.
    assert!(limiter.check(&caller, &large).unwrap_err().is_never());
    let permit = limiter.reserve(&caller, &large).unwrap();
    assert_eq!(world.used(&caller), [100, 1_000, 150]);
    let settlement = permit.settle(&Cost::of(*tokens, 130));
    assert_eq!((settlement.clipped(*tokens), settlement.cut(*tokens)), (0, 0));
    // 30 more than the bucket held, and 870 less than the quota.
    assert_eq!(world.used(&caller), [130, 130, 0]);
    // The rate alone would do after 1.3 seconds; the quota is not whole before tomorrow.
    let wait = limiter.reserve(&caller, &large).unwrap_err().retry_after().unwrap();
    assert!(wait.as_secs() > 3_600, "{wait:?}");
    clock.advance_nanos(wait.as_nanos() as u64 - 1);
    assert!(limiter.reserve(&caller, &large).is_err());
    clock.advance_nanos(1);
    let permit = limiter.reserve(&caller, &large).unwrap();
    assert_eq!(permit.reserved().amount(*tokens), 4_000);
    permit.settle(&Cost::of(*tokens, 10));
    assert_eq!(world.used(&caller), [10, 10, 0]);
    // A budget never fills again.
    assert!(limiter.reserve(&world.account("spent", 2), &large).unwrap_err().is_never());
}

const TWO_TIERS: &str = r#"
    [tiers.free]
    total = "unlimited"
    account.tokens = [{ rate = "100/s", burst = 1000 }, { quota = "5000/day" }, { in_flight = 900 }]
    organization.tokens = { quota = "9000/day" }
    [tiers.paid]
    total = "unlimited"
    account.tokens = [{ rate = "500/s", burst = 5000 }, { quota = "50_000/day" }, { in_flight = 2000 }]
    organization.tokens = { quota = "90_000/day" }
"#;

#[test]
fn a_forgotten_account_starts_anew_and_its_permits_settle_elsewhere_only() {
    let world = World::new(TWO_TIERS);
    let World { limiter, tokens, .. } = &world;
    let caller = world.account("free", 1).in_organization(limiter.organization("acme"));
    let permit = limiter.reserve(&caller, &Cost::of(*tokens, 800)).unwrap();
    assert_eq!(world.used(&caller), [800, 800, 800, 800]);
    assert!(limiter.forget(&caller));
    assert!(!limiter.forget(&caller));
    assert_eq!(world.used(&caller), [0, 0, 0, 800]);
    let again = limiter.reserve(&caller, &Cost::of(*tokens, 700)).unwrap();
    assert_eq!(world.used(&caller), [700, 700, 700, 1_500]);
    assert!(permit.settle(&Cost::of(*tokens, 100)).stale());
    assert_eq!(world.used(&caller), [700, 700, 700, 800]);
    assert_eq!(limiter.statistics().stale_settles, 1);
    assert!(!again.settle(&Cost::of(*tokens, 200)).stale());
    assert_eq!(world.used(&caller), [200, 200, 0, 300]);
    assert!(!limiter.forget(&world.account("free", 99)));
}

#[test]
fn an_account_that_moves_takes_its_permits_along_and_flapping_is_counted() {
    let world = World::new(TWO_TIERS);
    let World { limiter, tokens, .. } = &world;
    let (acme, umbrella) = (limiter.organization("acme"), limiter.organization("umbrella"));
    let before = world.account("free", 1).in_organization(acme);
    let after = world.account("paid", 1).in_organization(umbrella);
    let permit = limiter.reserve(&before, &Cost::of(*tokens, 800)).unwrap();
    limiter.check(&after, &Cost::of(*tokens, 50)).unwrap();
    assert_eq!(world.used(&after), [850, 850, 800, 50]);
    assert_eq!((limiter.statistics().tier_moves, limiter.statistics().tier_flaps), (1, 0));
    // Its old organization gets back what was charged there; its new one was never charged for it. A rate gives back
    // nothing of what was charged under other rules.
    permit.settle(&Cost::of(*tokens, 300));
    assert_eq!(world.used(&after), [850, 350, 0, 50]);
    let of_acme = world.account("free", 2).in_organization(acme);
    assert_eq!(world.used(&of_acme), [0, 0, 0, 300]);
    for _ in 0..5 {
        limiter.check(&before.in_organization(umbrella), &Cost::of(*tokens, 1)).unwrap();
        limiter.check(&after, &Cost::of(*tokens, 1)).unwrap();
    }
    // Account and organization each ten times; back to a tier just left, all of the account's, and all but the first of
    // the organization's.
    let statistics = limiter.statistics();
    assert_eq!((statistics.tier_moves, statistics.tier_flaps), (21, 19));
}

#[test]
fn permits_that_hold_of_no_rate_need_no_room() {
    const ACCOUNTS: u64 = 20_000;
    let (limiter, _clock) = limiter(
        "version = 1\nmeters = [\"requests\", \"tokens\"]\n\
        capacity = { accounts = 20_000, organizations = 10 }\n[tiers.free]\ntotal = \"unlimited\"\n\
        account.requests = { in_flight = 9 }\naccount.tokens = { rate = \"3 per 1h\", burst = 100 }\n",
    );
    let tier = limiter.tier("free").expect("it");
    let [requests, tokens] = ["requests", "tokens"].map(|name| limiter.meter(name).expect("it"));
    let open = |id: u64, cost: &Cost| limiter.reserve(&limiter.identity(tier, id), cost).expect("admitted");
    let held: Vec<Permit> = (0..ACCOUNTS).map(|id| open(id, &Cost::of(requests, 1))).collect();
    assert_eq!(limiter.statistics().unnoted_permits, 0);
    let both = open(0, &Cost::of(requests, 1).and(tokens, 10));
    assert_eq!(both.settle(&Cost::default()).clipped(tokens), 0);
    drop(held);
    for id in 0..ACCOUNTS {
        let caller = limiter.identity(tier, id);
        assert!(limiter.explain(&caller).rules.iter().all(|rule| rule.used == 0), "{id}");
    }
}

#[test]
fn of_more_accounts_than_there_is_room_to_note_rates_get_nothing_back() {
    const ACCOUNTS: u64 = 20_000;
    let (limiter, _clock) = limiter(
        "version = 1\nmeters = [\"tokens\"]\ncapacity = { accounts = 20_000, organizations = 10 }\n\
        [tiers.free]\ntotal = \"unlimited\"\n\
        account.tokens = [{ rate = \"3 per 1h\", burst = 100 }, { quota = \"150/day\" }, { in_flight = 90 }]\n",
    );
    let (tier, tokens) = (limiter.tier("free").expect("it"), limiter.meter("tokens").expect("it"));
    let account = |id: u64| limiter.identity(tier, id);
    let (ten, none) = (Cost::of(tokens, 10), Cost::default());
    let open = |id| limiter.reserve(&account(id), &ten).expect("admitted");
    let all_used = |id| ["rate", "quota", "in_flight"].map(|kind| used(&limiter, &account(id), kind)[0]);

    let mut permits: Vec<Option<Permit>> = (0..ACCOUNTS).map(|id| Some(open(id))).collect();
    let unnoted = limiter.statistics().unnoted_permits;
    // There is room for an eighth of the slots, a sixteenth more than accounts.
    assert!((17_000..18_000).contains(&unnoted), "{unnoted}");
    let mut settle = |id: u64| permits[id as usize].take().expect("open").settle(&none).clipped(tokens);
    // All but one.
    let clipped: Vec<u64> = (1..ACCOUNTS).map(&mut settle).collect();
    assert_eq!(clipped.iter().filter(|clipped| **clipped == 10).count() as u64, unnoted);
    assert_eq!(clipped.iter().sum::<u64>(), unnoted * 10);
    for (id, clipped) in (1..ACCOUNTS).zip(&clipped) {
        assert_eq!(all_used(id), [*clipped, 0, 0], "{id}");
    }
    // There is room again: also for who has one of each kind, in whichever order they end.
    let lost = (1..ACCOUNTS).find(|id| clipped[*id as usize - 1] == 10).expect("one");
    for first in [true, false] {
        let before = all_used(lost)[0];
        let mut crowd: Vec<Permit> = (0..ACCOUNTS).filter(|id| *id != lost).map(open).collect();
        let of_none = open(lost);
        assert!(limiter.statistics().unnoted_permits > unnoted);
        crowd.clear();
        let of_one = open(lost);
        let [clipped_of_none, clipped_of_one] = if first {
            [of_none, of_one].map(|permit| permit.settle(&none).clipped(tokens))
        } else {
            let of_one = of_one.settle(&none).clipped(tokens);
            [of_none.settle(&none).clipped(tokens), of_one]
        };
        assert_eq!([clipped_of_none, clipped_of_one], [10, 0]);
        assert_eq!(all_used(lost), [before + 10, 0, 0]);
    }
}
