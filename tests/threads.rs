//! Real threads on one bucket, for every kind of rule at every level, with a clock that moves under them.
//!
//! Eight threads hammer one account, one organization or one tier, each with accounts of its own below it. Each
//! thread moves the shared clock a little, asks, and logs the instant and the cost of every admission. Then:
//!
//! - over the whole log, a rate admits at most burst + rate x length in any interval, a quota its limit in each
//!   window, a budget its limit, and what is in flight never exceeds its own;
//! - calls did overlap, in numbers: otherwise nothing was shown and the test fails;
//! - at least 99% of the bound was delivered, since far more is asked for than is supplied.
#![cfg(feature = "toml")]
#![allow(clippy::disallowed_types, reason = "these count what real threads did; loom is not at work here")]

use std::sync::{
    Barrier, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use tollgate::{Cost, Identity, Level, Limiter, ManualClock, Meter, Plan};

const THREADS: u64 = 8;
const SECOND: u64 = 1_000_000_000;
/// Calls of one thread.
const CALLS: u64 = if cfg!(debug_assertions) { 20_000 } else { 150_000 };

/// One test at a time: with more threads about than these, each may run its calls in one turn, and meet nobody.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Account,
    Organization,
    Tier,
}

const LEVELS: [At; 3] = [At::Account, At::Organization, At::Tier];

struct Shared {
    limiter: Limiter,
    clock: ManualClock,
    tokens: Meter,
    callers: Vec<Identity>,
    /// Calls under way, and how many began while another was.
    inside: AtomicU64,
    overlapped: AtomicU64,
}

impl Shared {
    /// A limiter with `rule` at one level, and for each thread a caller who is charged to it.
    fn new(at: At, rule: &str) -> Shared {
        let rule = format!("tokens = {rule}");
        let (account, organization, total) = match at {
            At::Account => (rule.as_str(), "", ""),
            At::Organization => ("", rule.as_str(), ""),
            At::Tier => ("", "", rule.as_str()),
        };
        let level = |name: &str, rule: &str| match (name, rule) {
            ("total", "") => "[tiers.one]\ntotal = \"unlimited\"\n".to_owned(),
            (_, "") => String::new(),
            _ => format!("[tiers.one.{name}]\n{rule}\n"),
        };
        let text = format!(
            "version = 1\nmeters = [\"tokens\"]\nmemory = \"64MiB\"\n\
             capacity = {{ accounts = 1_000, organizations = 100 }}\n{}{}{}",
            level("total", total),
            level("account", account),
            level("organization", organization),
        );
        let plan = Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let clock = ManualClock::new();
        let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("built");
        let tokens = limiter.meter("tokens").expect("the meter");
        let tier = limiter.tier("one").expect("the tier");
        let organization = limiter.organization("everyone");
        let callers = (0..THREADS)
            .map(|thread| {
                let account = if at == At::Account { 0 } else { thread };
                let caller = limiter.identity(tier, account);
                if at == At::Organization { caller.in_organization(organization) } else { caller }
            })
            .collect();
        let (inside, overlapped) = (AtomicU64::new(0), AtomicU64::new(0));
        Shared { limiter, clock, tokens, callers, inside, overlapped }
    }

    fn cost(&self, tokens: u64) -> Cost {
        Cost::of(self.tokens, tokens)
    }

    /// Does `call`, and counts whether another thread was in one.
    fn counted<T>(&self, call: impl FnOnce() -> T) -> T {
        if self.inside.fetch_add(1, Ordering::AcqRel) > 0 {
            self.overlapped.fetch_add(1, Ordering::Relaxed);
        }
        let result = call();
        self.inside.fetch_sub(1, Ordering::AcqRel);
        result
    }

    /// Runs `work` on every thread, each with its own caller and random numbers, and joins what they answer.
    fn run<T: Send>(&self, work: impl Fn(&Identity, &mut Random) -> Vec<T> + Sync) -> Vec<T> {
        let barrier = Barrier::new(self.callers.len());
        std::thread::scope(|scope| {
            let threads: Vec<_> = (1..)
                .zip(&self.callers)
                .map(|(seed, caller)| {
                    let (barrier, work) = (&barrier, &work);
                    scope.spawn(move || {
                        barrier.wait();
                        work(caller, &mut Random(seed))
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no thread panics")).collect()
        })
    }

    /// Whether calls met often enough to have shown something.
    fn has_collided(&self) -> bool {
        self.overlapped.load(Ordering::Relaxed) > 20
    }
}

/// Runs of a test at each level until its calls met: on a busy machine, one thread may be through before the next begins.
const RUNS: u32 = 50;

/// Does `once` at each level, until it answers that calls met.
fn until_collided(once: impl Fn(At) -> bool) {
    for at in LEVELS {
        assert!((0..RUNS).any(|_| once(at)), "{at:?}: hardly a call overlapped: nothing was shown");
    }
}

/// Xorshift: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        for _ in 0..2 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
        }
        (self.0 >> 11) % end
    }
}

/// One admission.
#[derive(Clone, Copy, Debug)]
struct Admission {
    at: u64,
    tokens: u64,
}

/// In any interval at most `burst` and `tokens` every `period` nanoseconds: for every end of an interval, the
/// beginning that makes it worst is the one with the least admitted before it, less what the rate gave.
fn assert_rate(log: &mut [Admission], (tokens, period, burst): (u64, u64, u64)) {
    log.sort_by_key(|admission| admission.at);
    let [tokens, period, burst] = [tokens, period, burst].map(i128::from);
    let (mut sum, mut least) = (0_i128, i128::MAX);
    for admission in log.iter() {
        let at = i128::from(admission.at);
        least = least.min(sum * period - tokens * at);
        sum += i128::from(admission.tokens);
        // Lengths are counted in begun nanoseconds.
        let most = sum * period - tokens * (at + 1) - least;
        assert!(most <= burst * period, "over by {} / {period} at {admission:?}", most - burst * period);
    }
}

fn sum(log: &[Admission]) -> u64 {
    log.iter().map(|admission| admission.tokens).sum()
}

#[test]
fn a_rate_is_never_over() {
    let _alone = alone();
    // A token every 3 ns and 1/7; a call asks for 3 tokens or so and moves the clock by 4 ns or so.
    let rate = (7, 22, 1_000);
    until_collided(|at| {
        let shared = Shared::new(at, "{ rate = \"7 per 22ns\", burst = 1000 }");
        let mut log = shared.run(|caller, random| {
            let mut log = Vec::new();
            for _ in 0..CALLS {
                shared.clock.advance_nanos(random.below(8));
                let tokens = 1 + random.below(5);
                let answer = shared.counted(|| shared.limiter.check(caller, &shared.cost(tokens)));
                if let Ok(receipt) = answer {
                    log.push(Admission { at: receipt.at(), tokens });
                }
            }
            log
        });
        assert_rate(&mut log, rate);
        let bound = 1_000 + u128::from(shared.limiter.now().as_u64()) * 7 / 22;
        let delivered = u128::from(sum(&log));
        assert!(delivered * 100 >= bound * 99, "{at:?}: {delivered} of {bound}");
        shared.has_collided()
    });
}

#[test]
fn a_rate_with_reservations_is_never_over() {
    let _alone = alone();
    let rate = (7, 22, 1_000);
    until_collided(|at| {
        let shared = Shared::new(at, "{ rate = \"7 per 22ns\", burst = 1000 }");
        let clipped = AtomicU64::new(0);
        let mut log = shared.run(|caller, random| {
            let mut log = Vec::new();
            let mut permits = Vec::new();
            for _ in 0..CALLS {
                shared.clock.advance_nanos(random.below(5));
                let tokens = 2 + random.below(5);
                let answer = shared.counted(|| shared.limiter.reserve(caller, &shared.cost(tokens)));
                permits.extend(answer.ok().map(|permit| (permit, tokens)));
                // The oldest of a few is settled; most need less than they reserved.
                if permits.len() > 3 {
                    let (permit, tokens) = permits.swap_remove(0);
                    let (at, actual) = (permit.receipt().at(), tokens - random.below(tokens));
                    let settlement = shared.counted(|| permit.settle(&shared.cost(actual)));
                    clipped.fetch_add(settlement.clipped(shared.tokens), Ordering::Relaxed);
                    log.push(Admission { at, tokens: actual });
                }
            }
            log.extend(permits.into_iter().map(|(permit, tokens)| {
                let at = permit.receipt().at();
                permit.settle(&shared.cost(tokens));
                Admission { at, tokens }
            }));
            log
        });
        assert_rate(&mut log, rate);
        // What was clipped is lost, and counted; the rest arrives.
        let bound = 1_000 + u128::from(shared.limiter.now().as_u64()) * 7 / 22;
        let delivered = u128::from(sum(&log) + clipped.load(Ordering::Relaxed));
        assert!(delivered * 100 >= bound * 99, "{at:?}: {delivered} of {bound}, {clipped:?} clipped");
        shared.has_collided()
    });
}

#[test]
fn a_quota_gives_its_limit_in_each_window() {
    let _alone = alone();
    // Forty minutes, more or less, and twice what their quotas give.
    let minutes = 40;
    let step = 2 * minutes * 60 * SECOND / (THREADS * CALLS);
    let limit = THREADS * CALLS / minutes / 2;
    until_collided(|at| {
        let shared = Shared::new(at, &format!("{{ quota = \"{limit}/minute\" }}"));
        let log = shared.run(|caller, random| {
            let mut log = Vec::new();
            for call in 0..CALLS {
                shared.clock.advance_nanos(random.below(step));
                // Some clocks are read long before they are used.
                let now = shared.limiter.now();
                if call % 7 == 0 {
                    std::thread::yield_now();
                }
                let answer = shared.counted(|| shared.limiter.check_at(caller, &shared.cost(1), now));
                if let Ok(receipt) = answer {
                    assert!(receipt.at() >= now.as_u64());
                    log.push(Admission { at: receipt.at(), tokens: 1 });
                }
            }
            log
        });
        let windows = shared.limiter.now().as_u64() / (60 * SECOND);
        assert!(windows > 10, "{windows}");
        let mut admitted = vec![0; windows as usize + 1];
        for admission in &log {
            admitted[(admission.at / (60 * SECOND)) as usize] += 1;
        }
        assert!(admitted.iter().all(|admitted| *admitted <= limit), "{at:?}: {limit} {admitted:?}");
        let delivered: u64 = admitted[..windows as usize].iter().sum();
        assert!(delivered * 100 >= limit * windows * 99, "{at:?}: {delivered} of {} ", limit * windows);
        shared.has_collided()
    });
}

#[test]
fn a_budget_is_spent_once() {
    let _alone = alone();
    let limit = THREADS * CALLS / 2;
    until_collided(|at| {
        let shared = Shared::new(at, &format!("{{ budget = {limit} }}"));
        let log = shared.run(|caller, random| {
            let mut log = Vec::new();
            for _ in 0..CALLS {
                shared.clock.advance_nanos(random.below(8));
                let tokens = 1 + random.below(3);
                let permit = shared.counted(|| shared.limiter.reserve(caller, &shared.cost(tokens)));
                if let Ok(permit) = permit {
                    let (at, actual) = (permit.receipt().at(), random.below(tokens + 1));
                    shared.counted(|| permit.settle(&shared.cost(actual)));
                    log.push(Admission { at, tokens: actual });
                }
            }
            log
        });
        let mut delivered = sum(&log);
        assert!(delivered <= limit, "{at:?}: {delivered} of {limit}");
        // To the last token: what was settled as less is there for others.
        while shared.limiter.check(&shared.callers[0], &shared.cost(1)).is_ok() {
            delivered += 1;
        }
        assert_eq!(delivered, limit, "{at:?}");
        shared.has_collided()
    });
}

#[test]
fn flight_is_never_over() {
    let _alone = alone();
    const LIMIT: u64 = 20;
    until_collided(|at| {
        let shared = Shared::new(at, &format!("{{ in_flight = {LIMIT} }}"));
        // Raised after a reservation, lowered before its end: never above what is truly held.
        let held = AtomicI64::new(0);
        let refused = AtomicU64::new(0);
        let highest = shared.run(|caller, random| {
            let mut permits = Vec::new();
            let mut highest = 0;
            for _ in 0..CALLS {
                shared.clock.advance_nanos(random.below(8));
                let tokens = 1 + random.below(4);
                match shared.counted(|| shared.limiter.reserve(caller, &shared.cost(tokens))) {
                    Ok(permit) => {
                        let tokens = tokens as i64;
                        let now_held = held.fetch_add(tokens, Ordering::AcqRel) + tokens;
                        assert!(now_held <= LIMIT as i64, "{now_held} of {LIMIT} in flight");
                        highest = highest.max(now_held);
                        permits.push((permit, tokens));
                    }
                    Err(_) => {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
                if random.below(5) < 2 && !permits.is_empty() {
                    let index = random.below(permits.len() as u64) as usize;
                    let (permit, tokens) = permits.swap_remove(index);
                    held.fetch_sub(tokens, Ordering::AcqRel);
                    shared.counted(|| match random.below(3) {
                        0 => drop(permit),
                        1 => drop(permit.settle(&Cost::FREE)),
                        _ => drop(permit.detach().settle(&shared.cost(100))),
                    });
                }
            }
            for (permit, tokens) in permits {
                held.fetch_sub(tokens, Ordering::AcqRel);
                drop(permit);
            }
            vec![highest]
        });
        assert_eq!(highest.iter().max(), Some(&(LIMIT as i64)), "{at:?}: never full");
        assert!(refused.load(Ordering::Relaxed) > CALLS / 10, "{at:?}: {refused:?} refused");
        // All of it is free again, and no more.
        let all = shared.limiter.reserve(&shared.callers[0], &shared.cost(LIMIT)).expect("all is free");
        assert!(shared.limiter.reserve(&shared.callers[1], &shared.cost(1)).is_err());
        drop(all);
        shared.has_collided()
    });
}

/// Half of what eight threads ask for is refused at the tier, often after the look had found room there: afterwards the
/// accounts, their organizations and the tier have counted the same to the token. (With levels charged one by one, or
/// rolled back by halves, the sums differ.)
#[test]
fn levels_agree_when_the_tier_refuses_half() {
    let _alone = alone();
    let asked = THREADS * CALLS;
    let text = format!(
        "version = 1\nmeters = [\"tokens\"]\ncapacity = {{ accounts = 100, organizations = 100 }}\n\
         [tiers.one]\naccount.tokens = {{ budget = {0} }}\norganization.tokens = {{ budget = {0} }}\n\
         total.tokens = [{{ rate = \"1 per 8ns\", burst = 64 }}, {{ budget = {0} }}]\n",
        asked
    );
    let plan = Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
    let clock = ManualClock::new();
    let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("built");
    let (one, tokens) = (limiter.tier("one").expect("tier"), limiter.meter("tokens").expect("meter"));
    let callers: Vec<Identity> = (0..THREADS)
        .map(|thread| limiter.identity(one, thread).in_organization(limiter.organization(thread / 2)))
        .collect();
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for caller in &callers {
            scope.spawn(|| {
                let cost = Cost::of(tokens, 1);
                let mine = (0..CALLS).filter(|_| {
                    // Half a token for each call, from all threads together.
                    clock.advance_nanos(4);
                    limiter.check(caller, &cost).is_ok()
                });
                admitted.fetch_add(mine.count() as u64, Ordering::Relaxed);
            });
        }
    });
    let admitted = admitted.into_inner();
    let used = |caller: &Identity, level: Level| {
        let rules = limiter.explain(caller).rules;
        rules.iter().find(|rule| rule.level == level && rule.kind == "budget").expect("a budget").used
    };
    let of_accounts: u64 = callers.iter().map(|caller| used(caller, Level::Account)).sum();
    let of_organizations: u64 =
        callers.iter().step_by(2).map(|caller| used(caller, Level::Organization)).sum();
    let of_tier = used(&callers[0], Level::Tier);
    assert_eq!([of_accounts, of_organizations, of_tier], [admitted; 3]);
    let refused = asked - admitted;
    assert!(refused * 5 > asked * 2 && admitted * 5 > asked * 2, "{admitted} of {asked}");
}
