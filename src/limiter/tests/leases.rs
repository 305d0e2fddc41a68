//! Leases on organizations against a model that has none, over any sequence of what callers, operators and evidence do, with
//! threads that meet at will: while one is between look and commit, another does something else.
//!
//! - Of a budget, every decision is that of a sum: nothing over, nothing lost, though there are more organizations that are
//!   hot than can have leases, and what is told to be used is what was admitted.
//! - Of a rate, whatever was admitted a bucket of the same rate and burst admits; and nearly all that such a bucket would.
//! - Of organizations whose callers meet nobody, each decision is the bucket's, whichever threads they come from.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, mpsc},
    thread,
};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use crate::{
    Cost, Identity, Level, Limiter, ManualClock, Override, Permit, Plan, Whom,
    bucket::Factor,
    path::{Home, meanwhile::meanwhile},
    policy::book::Book,
};

const THREADS: usize = 4;
/// More than can have leases.
const ORGANIZATIONS: u64 = 20;
/// Their callers meet nobody.
const LONE: std::ops::Range<u64> = 100..102;
const LIMIT: u64 = 200_000;
/// Of the rate's tokens, in nanoseconds.
const EACH: u64 = 1_000;

#[derive(Clone, Copy, Debug)]
enum Act {
    Check(u64, u8, u64),
    /// All that is told to be left, and so much more.
    Drain(u64, u64),
    /// Of which so much is used, so many operations later.
    Reserve(u64, u8, u64, (u64, usize)),
    Tighten(u64, u16),
    Override(u64),
    Lift(u64),
    Forget(u64),
    Reload(u64),
    Maintain,
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    /// In steps of the rate.
    wait: u64,
    thread: usize,
    act: Act,
    /// What another thread does between look and commit.
    meanwhile: Option<Act>,
}

fn amounts() -> impl Strategy<Value = u64> {
    prop_oneof![9 => 1..=4_u64, 1 => 1_000..LIMIT / 4]
}

fn acts(organization: impl Strategy<Value = u64> + Clone + 'static) -> impl Strategy<Value = Act> {
    let check = (organization.clone(), 0..2_u8, amounts())
        .prop_map(|(of, tier, amount)| Act::Check(of, tier, amount));
    let reserve = (organization.clone(), 0..2_u8, amounts(), any::<u64>(), 0..8_usize).prop_map(
        |(of, tier, amount, used, after)| Act::Reserve(of, tier, amount, (used % (amount + 1), after)),
    );
    prop_oneof![
        40 => check,
        4 => reserve,
        1 => (organization.clone(), 0..2_u64).prop_map(|(of, more)| Act::Drain(of, more)),
        1 => (organization.clone(), 16..64_u16).prop_map(|(of, factor)| Act::Tighten(of, factor)),
        1 => organization.clone().prop_map(Act::Override),
        2 => organization.clone().prop_map(Act::Lift),
        1 => organization.prop_map(Act::Forget),
        1 => (0..3_u64).prop_map(Act::Reload),
        1 => Just(Act::Maintain),
    ]
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    // Some are so often asked for that they are hot, and now and then so are many.
    let organization = prop_oneof![0..2_u64, 0..ORGANIZATIONS];
    let meets = (acts(organization.clone()), prop::option::weighted(0.8, acts(organization)));
    let lone = (LONE, amounts()).prop_map(|(of, amount)| (Act::Check(of, 0, amount), None));
    let act = prop_oneof![
        // Two of one organization, in the same tier, most often.
        6 => (0..ORGANIZATIONS, amounts(), amounts())
            .prop_map(|(of, one, other)| (Act::Check(of, 0, one), Some(Act::Check(of, 0, other)))),
        6 => (amounts(), amounts()).prop_map(|(one, other)| (Act::Check(0, 0, one), Some(Act::Check(0, 0, other)))),
        4 => meets,
        2 => lone,
    ];
    let wait = prop_oneof![20 => Just(0), 20 => 1..50_u64, 1 => 10_000..30_000_u64];
    let operation = (wait, 0..THREADS, act).prop_map(|(wait, thread, (act, meanwhile))| Operation {
        wait,
        thread,
        act,
        meanwhile,
    });
    prop::collection::vec(operation, 1..250)
}

/// What an act was answered.
enum Answer {
    Admitted {
        at: u64,
        amount: u64,
        permit: Option<Box<Permit<'static>>>,
    },
    Refused(u64),
    /// Nothing was asked for.
    Done,
}

type Work = Box<dyn FnOnce() + Send>;

/// Threads that do what they are given, one thing at a time.
struct Threads(Vec<mpsc::Sender<Work>>);

impl Threads {
    fn new() -> Arc<Threads> {
        let start = |_| {
            let (work, given) = mpsc::channel::<Work>();
            thread::spawn(move || given.into_iter().for_each(|work| work()));
            work
        };
        Arc::new(Threads((0..THREADS).map(start).collect()))
    }

    /// Waits for the answer.
    fn run<T: Send + 'static>(&self, thread: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answered) = mpsc::channel();
        self.0[thread % THREADS].send(Box::new(move || answer.send(work()).unwrap())).unwrap();
        answered.recv().unwrap()
    }
}

#[derive(Clone)]
struct World {
    limiter: Limiter,
    clock: ManualClock,
    rule: &'static str,
    threads: Arc<Threads>,
}

const COUNTED: &str = "{ budget = 200_000 }";
const RATED: &str = "{ rate = \"1 per 1us\", burst = 200_000 }";

fn plan(rule: &str, reloads: u64) -> Plan {
    let more = ["", "organization.calls = { budget = 9 }\n", "account.calls = { budget = 9 }\n"];
    let more = more[reloads as usize % more.len()];
    let tier = format!("organization.tokens = {rule}\ntotal.tokens = {{ budget = 1_000_000_000 }}\n{more}");
    let text = format!(
        "version = 1\nmeters = [\"tokens\", \"calls\"]\n\
         capacity = {{ accounts = 400, organizations = 200, spare_rules = 2 }}\n\
         [tiers.one]\n{tier}[tiers.two]\n{tier}"
    );
    Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

impl World {
    fn new(rule: &'static str, threads: &Arc<Threads>) -> World {
        let clock = ManualClock::new();
        let limiter = Limiter::builder(plan(rule, 0)).clock(clock.clone()).secret([7; 16]).build().unwrap();
        // Between two tokens of the rate, so that none is disputed.
        clock.advance_nanos(EACH / 2);
        World { limiter, clock, rule, threads: Arc::clone(threads) }
    }

    fn member(&self, organization: u64, tier: u8, number: u64) -> Identity {
        let tier = self.limiter.tier(["one", "two"][usize::from(tier)]).unwrap();
        let identity = self.limiter.identity(tier, organization * 2 + number);
        identity.in_organization(self.limiter.organization(organization))
    }

    /// By one of two members of the organization.
    fn act(&self, act: Act, number: u64) -> Answer {
        let limiter = &self.limiter;
        let cost = |amount| Cost::of(limiter.meter("tokens").unwrap(), amount);
        let check = |of, tier, amount| match limiter.check(&self.member(of, tier, number), &cost(amount)) {
            Ok(receipt) => Answer::Admitted { at: receipt.at(), amount, permit: None },
            Err(_) => Answer::Refused(amount),
        };
        match act {
            Act::Check(of, tier, amount) => check(of, tier, amount),
            Act::Drain(of, more) => check(of, 0, LIMIT.saturating_sub(self.used(of)) + more),
            Act::Reserve(of, tier, amount, _) => {
                match limiter.reserve(&self.member(of, tier, number), &cost(amount)) {
                    Ok(permit) => {
                        let at = permit.receipt().at();
                        Answer::Admitted { at, amount, permit: Some(Box::new(permit.detach())) }
                    }
                    Err(_) => Answer::Refused(amount),
                }
            }
            Act::Tighten(of, sixteenths) => {
                let shared = &limiter.shared;
                let key = self.member(of, 0, number).organization.unwrap();
                if let Some((slot, head)) = shared.lines.organizations.find(&key) {
                    let (book, now) = (shared.books.copy(), limiter.now());
                    let home = (Home::Organization(slot), head.generation());
                    let factor = (Factor::from_sixteenths(sixteenths), now.as_u64() + 5_000_000);
                    assert!(shared.lines.tighten(&book, home, factor, &shared.moment(&book, now)));
                }
                Answer::Done
            }
            Act::Override(of) => {
                let granted = Override::new(std::time::Duration::from_millis(20), "a test").factor(32);
                let _ = limiter.set_override(Whom::Organization(&self.member(of, 0, number)), granted);
                Answer::Done
            }
            Act::Lift(of) => {
                limiter.lift_override(Whom::Organization(&self.member(of, 0, number)));
                Answer::Done
            }
            Act::Forget(of) => {
                limiter.forget(&self.member(of, 0, number));
                Answer::Done
            }
            Act::Reload(reloads) => {
                limiter.reload(plan(self.rule, reloads)).unwrap();
                Answer::Done
            }
            Act::Maintain => {
                limiter.maintain();
                Answer::Done
            }
        }
    }

    /// Two members of an organization meet on its line: 4 are spent, and more is leased.
    fn make_hot(&self) {
        for number in [0, 1] {
            let inner = self.clone();
            self.threads.run(number, move || inner.act(Act::Check(0, 0, 1), number as u64));
        }
        let (inner, other) = (self.clone(), self.clone());
        self.threads.run(0, move || {
            meanwhile(move || {
                other.act(Act::Check(0, 0, 1), 1);
            });
            inner.act(Act::Check(0, 0, 1), 0);
        });
        assert!(self.limiter.statistics().leases_taken > 0);
    }

    /// What the organization's members are told that it has used.
    fn used(&self, organization: u64) -> u64 {
        // The tier that was asked for last does not matter: both have the rule.
        let rules = self.limiter.explain(&self.member(organization, 0, 0)).rules;
        rules.iter().find(|rule| rule.level == Level::Organization).unwrap().used
    }
}

/// What was admitted, and when, of one organization.
type Log = Vec<(u64, u64)>;

/// What a bucket of the rate has claimed, that admits all of a log: in nanoseconds from 0. `None` if it does not.
fn claimed(log: &Log) -> Option<u64> {
    // Rounding up to a nanosecond, as the guarantee has it.
    log.iter().try_fold(0, |claimed: u64, (at, amount)| {
        let claimed = claimed.max(*at) + amount * EACH;
        (claimed <= at + 1 + LIMIT * EACH).then_some(claimed)
    })
}

#[derive(Debug, Default)]
struct Seen {
    taken: u64,
    recalled: u64,
    refused: u64,
    /// Of rates that nobody made dearer or reserved of, what was refused though a bucket would not have.
    lost: u64,
    admitted: u64,
}

/// Runs the operations, and says what differs.
fn run(rule: &'static str, threads: &Arc<Threads>, operations: &[Operation]) -> Result<Seen, TestCaseError> {
    let world = World::new(rule, threads);
    let counted = rule == COUNTED;
    let mut logs: HashMap<u64, Log> = HashMap::new();
    let mut open: Vec<(usize, u64, usize, u64, Permit<'static>)> = Vec::new();
    let (mut seen, mut dear) = (Seen::default(), HashSet::new());
    for (index, operation) in operations.iter().enumerate() {
        world.clock.advance_nanos(operation.wait * EACH);
        for place in (0..open.len()).rev() {
            if open[place].0 <= index {
                let (_, of, entry, used, permit) = open.swap_remove(place);
                permit.settle(&Cost::of(world.limiter.meter("tokens").unwrap(), used));
                logs.get_mut(&of).unwrap()[entry].1 = used;
            }
        }
        let (answer, met) = mpsc::channel();
        let (operation, inner) = (*operation, world.clone());
        let outer = world.threads.run(operation.thread, move || {
            let other = inner.clone();
            meanwhile(move || {
                if let Some(act) = operation.meanwhile {
                    let (thread, threads) = (operation.thread + 1, Arc::clone(&other.threads));
                    answer.send((act, threads.run(thread, move || other.act(act, 1)))).unwrap();
                }
            });
            let answer = inner.act(operation.act, 0);
            // What did not happen does not happen later.
            meanwhile(|| {});
            answer
        });
        // Whoever came between was first.
        let first = met.try_recv().ok();
        for (act, answer) in first.into_iter().chain([(operation.act, outer)]) {
            let (of, after) = match act {
                Act::Check(of, ..) | Act::Drain(of, _) => (of, None),
                Act::Reserve(of, _, _, after) => {
                    // What comes back of a rate may be clipped.
                    dear.insert(of);
                    (of, Some(after))
                }
                Act::Tighten(of, _) | Act::Override(of) => {
                    dear.insert(of);
                    continue;
                }
                Act::Lift(_) | Act::Forget(_) | Act::Reload(_) | Act::Maintain => continue,
            };
            let (Answer::Admitted { amount, .. } | Answer::Refused(amount)) = answer else { continue };
            let log = logs.entry(of).or_default();
            let now = world.limiter.now().as_u64();
            let fits = if counted {
                log.iter().map(|(_, amount)| amount).sum::<u64>() + amount <= LIMIT
            } else {
                claimed(log).unwrap().max(now) + amount * EACH <= now + LIMIT * EACH
            };
            match answer {
                Answer::Admitted { at, permit, .. } => {
                    if counted || LONE.contains(&of) {
                        prop_assert!(fits, "{act:?} was admitted");
                    }
                    log.push((at, amount));
                    if let (Some(permit), Some((used, after))) = (permit, after) {
                        open.push((index + after, of, log.len() - 1, used, *permit));
                    }
                    seen.admitted += amount;
                }
                Answer::Refused(_) => {
                    if counted || LONE.contains(&of) {
                        prop_assert!(!fits, "{act:?} was refused");
                    }
                    seen.refused += 1;
                    seen.lost += if fits && !dear.contains(&of) { amount } else { 0 };
                }
                Answer::Done => {}
            }
        }
    }
    for (_, of, entry, used, permit) in open {
        permit.settle(&Cost::of(world.limiter.meter("tokens").unwrap(), used));
        logs.get_mut(&of).unwrap()[entry].1 = used;
    }
    for (of, log) in &logs {
        let admitted: u64 = log.iter().map(|(_, amount)| amount).sum();
        if counted {
            prop_assert_eq!(world.used(*of), admitted, "of {}", of);
        } else {
            prop_assert!(claimed(log).is_some(), "of {}: {:?}", of, log);
        }
    }
    let statistics = world.limiter.statistics();
    (seen.taken, seen.recalled) = (statistics.leases_taken, statistics.leases_recalled);
    Ok(seen)
}

#[test]
fn budgets_are_spent_to_the_token_whoever_meets() {
    every_sequence(COUNTED);
}

#[test]
fn rates_are_never_over_whoever_meets() {
    every_sequence(RATED);
}

fn every_sequence(rule: &'static str) {
    let threads = Threads::new();
    proptest!(ProptestConfig::with_cases(200), |(operations in operations())| {
        run(rule, &threads, &operations)?;
    });
}

/// The sequences above take leases, have them taken back, and run into the limits; and of a rate, what leases lose is little.
#[test]
fn the_sequences_have_leases() {
    let threads = Threads::new();
    for rule in [COUNTED, RATED] {
        let mut runner = TestRunner::deterministic();
        let mut all = Seen::default();
        for _ in 0..100 {
            let operations = operations().new_tree(&mut runner).unwrap().current();
            let seen = run(rule, &threads, &operations).unwrap();
            all.taken += seen.taken;
            all.recalled += seen.recalled;
            all.refused += seen.refused;
            all.lost += seen.lost;
            all.admitted += seen.admitted;
        }
        assert!(all.taken > 2_000 && all.recalled > 200 && all.refused > 150, "{rule}: {all:?}");
        assert!(all.lost * 25 <= all.admitted, "{rule}: {all:?}");
    }
}

/// An organization that has leases, and owes so little that it would be let go or parked, keeps its line while others look for
/// one: what its callers were served is told of it before and after.
#[test]
fn whoever_has_leases_keeps_its_line() {
    let threads = Threads::new();
    let world = World::new(COUNTED, &threads);
    let spend = |thread, account| {
        let inner = world.clone();
        threads.run(thread, move || inner.act(Act::Check(0, 0, 1), account))
    };
    world.make_hot();
    for turn in 1..=10 {
        spend(turn, 0);
        assert!(world.limiter.statistics().leases_taken > 0);
        for newcomer in 1..1_000 {
            let tier = world.limiter.tier("one").unwrap();
            let of = world.limiter.organization(newcomer * 1_000 + turn as u64);
            let caller = world.limiter.identity(tier, newcomer).in_organization(of);
            let _ = world.limiter.check(&caller, &Cost::of(world.limiter.meter("tokens").unwrap(), 1));
        }
        assert_eq!(world.used(0), 4 + turn as u64);
    }
}

/// Evidence that comes while an operator makes an exception for somebody else costs an organization nothing of its budget: what
/// is leased of it comes back before it is tightened.
#[test]
fn what_is_leased_comes_back_before_its_organization_is_tightened() {
    let threads = Threads::new();
    let world = World::new(COUNTED, &threads);
    world.make_hot();
    let shared = &world.limiter.shared;
    let (slot, head) = shared.lines.organizations.find(&world.member(0, 0, 0).organization.unwrap()).unwrap();
    assert!(head.may_be_leased());
    let tighten = |book: &Book| {
        let factor = (Factor::from_sixteenths(32), world.limiter.now().as_u64() + 5_000_000);
        let home = (Home::Organization(slot), head.generation());
        shared.lines.tighten(book, home, factor, &shared.moment(book, world.limiter.now()))
    };
    let before = shared.books.copy();
    world.act(Act::Override(1), 0);
    assert!(!tighten(&before), "nothing is done by a book that is not the latest");
    assert!(tighten(&shared.books.copy()));
    assert_eq!(shared.lines.organizations.line(slot).unwrap().snapshot().words[0], 4);
    assert_ne!(head.standing(world.limiter.now().as_u64()).factor, Factor::ONE);
}

/// Whoever read its clock while a rate was spent is refused, whatever has come back and is leased since.
#[test]
fn a_late_clock_finds_no_more_on_a_lease_than_there_was() {
    let threads = Threads::new();
    let world = World::new(RATED, &threads);
    assert!(matches!(world.act(Act::Check(0, 0, LIMIT), 0), Answer::Admitted { .. }));
    let late = world.limiter.now();
    world.clock.advance_nanos(LIMIT / 4 * 3 * EACH);
    world.make_hot();
    let inner = world.clone();
    let is_admitted = threads.run(0, move || {
        let cost = Cost::of(inner.limiter.meter("tokens").unwrap(), 1);
        inner.limiter.check_at(&inner.member(0, 0, 0), &cost, late).is_ok()
    });
    assert!(!is_admitted);
}
