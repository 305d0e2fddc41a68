//! Every interleaving of a few operations on one line.
//!
//! Each model has a mutant, a `cfg` that takes out the piece that the model is about; the model must fail with it.

use std::collections::BTreeMap;

use loom::{sync::Arc, thread};

use super::{CacheLine, Line, Meta, Refunds};
use crate::{
    bucket::{self, Factor, Mode, Moment, Step},
    calendar::Weekday,
    decision::Name,
    id::{Fingerprints, Id, Key},
    meter::Meter,
    policy::{
        plan::{Capacity, GuardPlan, LevelPlan, Limit, Plan, Rule, TierPlan, Under},
        quantity::ByteSize,
        spec::{OnDrop, Policy, PolicyCapacity},
    },
    sync::{AtomicU64, Ordering},
    time::Anchor,
};

/// Runs `model` over every interleaving with at most three preemptions.
pub(crate) fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    // Filling a table before the threads start takes many steps, none of which branches.
    builder.max_branches = 20_000;
    builder.check(model);
}

/// A plan of one tier with rules of one meter.
pub(crate) fn plan_of(levels: [LevelPlan; 3]) -> Plan {
    Plan {
        policy: Policy {
            version: 1,
            zone: "UTC".to_owned(),
            zones: Vec::new(),
            week_start: Weekday::Monday,
            on_drop: OnDrop::Refund,
            retry_jitter: None,
            fresh: false,
            replicas: 1,
            anonymous: None,
            memory: ByteSize(0),
            largest_factor: 16,
            meters: Vec::new(),
            capacity: PolicyCapacity::default(),
            evidence: None,
            tiers: BTreeMap::new(),
        },
        meters: Vec::new(),
        tiers: vec![TierPlan::new(Name::new("tier").unwrap(), levels, GuardPlan::default(), &[])],
        calendars: Vec::new(),
        zones: Vec::new(),
        zone: "UTC".to_owned(),
        week_start: Weekday::Monday,
        on_drop: OnDrop::Refund,
        retry_jitter: 0,
        capacity: Capacity { accounts: 1, ..Capacity::default() },
        memory: 0,
        anonymous: None,
        replicas: 1,
        largest_factor: 16,
        evidence: None,
        warnings: Vec::new(),
    }
}

/// The rules of a level that has one limit.
pub(crate) fn level_of(limit: Limit) -> LevelPlan {
    let meter = Meter::from_index(0).unwrap();
    LevelPlan::new(Box::new([Rule::plain(Name::new("rule").unwrap(), meter, limit)]))
}

/// A line of its own, for as many rules as fit a cache line.
struct Lone {
    hot: [CacheLine; 1],
    cold: [AtomicU64; 4],
}

impl Lone {
    fn new() -> Arc<Lone> {
        Arc::new(Lone { hot: Default::default(), cold: Default::default() })
    }

    fn refunds(&self) -> Refunds<'_> {
        Refunds::new(&self.cold)
    }

    fn line(&self) -> Line<'_> {
        Line::new(&self.hot).unwrap()
    }
}

fn key(id: u64) -> Key {
    Fingerprints::new([1; 16]).key(Id::Integer(id))
}

fn budget(limit: u64) -> Rule {
    let meter = Meter::from_index(0).unwrap();
    Rule::plain(Name::new("budget").unwrap(), meter, Limit::Budget { limit })
}

const MOMENT: Moment<'static> = Moment::new(0, Anchor::new(0), &[]);

/// Charges one of the budget, as commit does; whether it was admitted.
fn charge(line: Line<'_>, rule: &Rule) -> bool {
    let mut guard = line.lock();
    let word = guard.word(0).unwrap();
    match bucket::step(&rule.limit, word, 1, Factor::ONE, Mode::Spend, &MOMENT) {
        Step::Admit(word) => {
            guard.set_word(0, word);
            true
        }
        Step::Refuse | Step::Behind => false,
    }
}

/// Two charges of one against a budget of one: exactly one is admitted. Mutant: `guard_without_exchange`.
#[test]
fn loom_charge_and_charge() {
    explore(|| {
        let lone = Lone::new();
        let rule = budget(1);
        let other = {
            let lone = Arc::clone(&lone);
            thread::spawn(move || charge(lone.line(), &rule))
        };
        let admitted = usize::from(charge(lone.line(), &rule)) + usize::from(other.join().unwrap());
        assert_eq!(admitted, 1);
        assert_eq!(lone.line().snapshot().words[0], 1);
    });
}

/// A reader beside a writer of two words that always agree. Mutant: `reader_without_second_look`.
#[test]
fn loom_read_and_charge() {
    explore(|| {
        let lone = Lone::new();
        let writer = {
            let lone = Arc::clone(&lone);
            thread::spawn(move || {
                let mut guard = lone.line().lock();
                guard.set_word(0, 7);
                guard.set_word(1, 7);
            })
        };
        let seen = lone.line().snapshot();
        assert_eq!(seen.words[0], seen.words[1]);
        writer.join().unwrap();
    });
}

/// A permit settles while its slot is given to another subject: it never touches the newcomer's words. Mutant:
/// `replacement_keeps_generation`.
#[test]
fn loom_settle_and_replacement() {
    explore(|| {
        let lone = Lone::new();
        let generation = {
            let mut guard = lone.line().lock();
            guard.replace(Some((&key(1), Under::default())), &[5], lone.refunds());
            guard.generation()
        };
        let replacer = {
            let lone = Arc::clone(&lone);
            thread::spawn(move || {
                let mut guard = lone.line().lock();
                guard.replace(Some((&key(2), Under::default())), &[9], lone.refunds());
            })
        };
        {
            let mut guard = lone.line().lock();
            if guard.generation() == generation {
                let word = guard.word(0).unwrap();
                guard.set_word(0, word - 5);
            }
        }
        replacer.join().unwrap();
        let seen = lone.line().snapshot();
        assert!(seen.holds(&key(2)));
        assert_eq!(seen.words[0], 9);
    });
}

/// A look never takes one subject's words for another's. Mutant: `reader_without_second_look`.
#[test]
fn loom_look_and_replacement() {
    explore(|| {
        let lone = Lone::new();
        lone.line().lock().replace(Some((&key(1), Under::default())), &[1], lone.refunds());
        let replacer = {
            let lone = Arc::clone(&lone);
            thread::spawn(move || {
                lone.line().lock().replace(Some((&key(2), Under::default())), &[2], lone.refunds());
            })
        };
        let seen = lone.line().snapshot();
        assert_eq!(seen.words[0], if seen.holds(&key(1)) { 1 } else { 2 });
        assert_eq!(seen.meta, Meta::of(&key(1), Under::default()));
        replacer.join().unwrap();
        // The guard was let go.
        assert_eq!(lone.hot[0].word(0).load(Ordering::Relaxed) & 1, 0);
    });
}
