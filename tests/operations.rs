//! Sequences of operations against the reference model.
//!
//! - every check, reservation, settlement, drop and explanation is one that the model allows (see `model/run.rs`):
//!   all or nothing over three levels, four kinds of rules, several rules a meter;
//! - peek answers as check does; an identity and a kept subject are one caller; a detached permit settles like any;
//! - a denial names a rule that refuses and the longest wait; what is left is what is explained;
//! - with time that stands still, moves by a nanosecond or by ten years, or is read before others were decided;
//! - a new account has a part of its own limits and pays the pool as well, what many share keeps a part for the light, and
//!   who was reported gets nothing that it would not have got;
//! - organizations whose accounts come from different zones, and from another every three days, have one window after another;
//! - over the whole run no rate rule is over in any interval, told without the model;
//! - liveness: admissions, refusals, settlements, clipped refunds, cut overages and late decisions all happen in
//!   numbers, and what the model leaves open is rare.
#![cfg(feature = "toml")]

mod model;

use std::cell::RefCell;

use model::{
    Operation, Outcome, PolicyModel, Settling,
    operation::MOST_NANOS,
    run,
    samples::{everything, guarded, narrow, rates_only, zoned},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};

const SECOND: u64 = 1_000_000_000;

fn moves() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 1..1_000_u64,
        4 => (0..35_u32, 1..16_u64).prop_map(|(bits, times)| times << bits),
        4 => Just(SECOND / 10),
        2 => 1..200 * SECOND,
        1 => Just(86_400 * SECOND),
        1 => 0..MOST_NANOS / 40,
        1 => Just(MOST_NANOS),
    ]
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..4_u64,
        6 => 1..40_u64,
        3 => 0..2_000_u64,
        1 => (0..64_u32).prop_map(|bits| 1 << bits),
        1 => prop_oneof![Just(u64::MAX), Just(u64::MAX - 1), Just(1 << 63)],
    ]
}

/// Mostly one meter, as a request that is small enough for all of its rules.
fn amounts() -> impl Strategy<Value = [u64; 3]> {
    prop_oneof![
        4 => Just([1, 0, 0]),
        2 => (1..8_u64).prop_map(|amount| [amount, 0, 0]),
        2 => (0..3_u64, 0..60_u64, 0..300_u64).prop_map(|(first, second, third)| [first, second, third]),
        2 => (amount(), amount(), amount()).prop_map(|(first, second, third)| [first, second, third]),
        1 => (0..3_usize, amount()).prop_map(|(meter, amount)| {
            let mut amounts = [0; 3];
            amounts[meter] = amount;
            amounts
        }),
    ]
}

fn settling() -> impl Strategy<Value = Settling> {
    prop_oneof![
        Just(Settling::Equal),
        Just(Settling::Half),
        Just(Settling::Nothing),
        (1..50_u32).prop_map(Settling::More),
        (0..32_u32).prop_map(|bits| Settling::More(1 << bits)),
        any::<[u16; 3]>().prop_map(|amounts| Settling::Actual(amounts.map(|amount| amount % 400))),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => moves().prop_map(|nanos| Operation::Advance { nanos }),
        1 => Just(Operation::Hold),
        10 => (any::<u8>(), amounts(), prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(account, amounts, held, subject)| Operation::Check { account, amounts, held, subject }),
        8 => (any::<u8>(), amounts(), prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(account, amounts, held, subject)| Operation::Reserve { account, amounts, held, subject }),
        6 => (any::<u8>(), settling(), prop::bool::weighted(0.1))
            .prop_map(|(permit, how, held)| Operation::Settle { permit, how, held }),
        1 => any::<u8>().prop_map(|permit| Operation::Drop { permit }),
        1 => any::<u8>().prop_map(|permit| Operation::Detach { permit }),
        2 => any::<u8>().prop_map(|account| Operation::Explain { account }),
        2 => (any::<u8>(), any::<bool>())
            .prop_map(|(account, organization)| Operation::Report { account, organization }),
        1 => Just(Operation::Maintain),
    ]
}

const CASES: u32 = if cfg!(debug_assertions) { 600 } else { 6_000 };

fn run_all(policy: &PolicyModel, cases: u32, length: usize) -> Outcome {
    let config =
        Config { cases, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let sum = RefCell::new(Outcome::default());
    runner
        .run(&prop::collection::vec(operation(), 1..length), |operations| {
            sum.borrow_mut().add(run(&operations, policy));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    let sum = sum.into_inner();
    println!("{sum:?}");
    sum
}

/// A tenth of all at least, of either kind.
fn assert_lively(outcome: Outcome) {
    let Outcome { admitted, refused, either, .. } = outcome;
    let all = admitted + refused;
    assert!(all > 1_000 && admitted * 10 > all && refused * 10 > all, "{outcome:?}");
    assert!(either * 20 < all, "{outcome:?}");
}

#[test]
fn all_kinds_at_all_levels() {
    let outcome = run_all(&everything(), CASES, 160);
    assert_lively(outcome);
    let Outcome { settled, clipped, cut, behind, .. } = outcome;
    assert!(settled > 1_000 && clipped > 100 && cut > 100 && behind > 30, "{outcome:?}");
}

#[test]
fn one_rule_in_few_hands() {
    let outcome = run_all(&narrow(), CASES, 160);
    assert_lively(outcome);
    let Outcome { settled, clipped, cut, behind, .. } = outcome;
    assert!(settled > 1_000 && clipped > 100 && cut > 100 && behind > 30, "{outcome:?}");
}

#[test]
fn new_light_and_reported_accounts() {
    let outcome = run_all(&guarded(), CASES, 160);
    assert_lively(outcome);
    let Outcome { settled, withheld, pooled, tightened, .. } = outcome;
    assert!(settled > 1_000 && withheld > 300 && pooled > 1_000 && tightened > 0, "{outcome:?}");
}

/// Reported often enough, an account gets a part of what it would have got.
#[test]
fn a_reported_account_gets_less() {
    let policy = guarded();
    let check = Operation::Check { account: 0, amounts: [1, 0, 0], held: false, subject: false };
    let report = Operation::Report { account: 0, organization: false };
    let hour = Operation::Advance { nanos: 3_600 * SECOND };
    let checks = [check; 12];
    let untouched = run(&checks, &policy);
    // A factor takes its first step ten minutes after the limiter was made at the earliest.
    let reported = run(&[&[hour, report, report, report][..], &checks[..]].concat(), &policy);
    assert_eq!((untouched.admitted, untouched.tightened), (12, 0));
    assert!(reported.admitted > 0 && reported.tightened > 3, "{reported:?}");
    assert_eq!(reported.admitted + reported.refused, 12);
}

/// Accounts that change zone, of organizations whose accounts are never in one.
#[test]
fn organizations_in_zones() {
    let outcome = run_all(&zoned(), CASES, 160);
    assert_lively(outcome);
    let Outcome { settled, behind, .. } = outcome;
    assert!(settled > 1_000 && behind > 30, "{outcome:?}");
}

#[test]
fn rates_of_every_speed() {
    assert_lively(run_all(&rates_only(), CASES, 160));
}

/// The bytes by which a fuzzer spells operations reach all of them.
#[test]
fn bytes_spell_every_operation() {
    let policy = everything();
    let mut outcome = Outcome::default();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut kinds = [false; 10];
    for _ in 0..200 {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .take(600)
        .collect();
        let operations = Operation::decode(&bytes);
        for operation in &operations {
            kinds[match operation {
                Operation::Advance { .. } => 0,
                Operation::Hold => 1,
                Operation::Check { .. } => 2,
                Operation::Reserve { .. } => 3,
                Operation::Settle { .. } => 4,
                Operation::Drop { .. } => 5,
                Operation::Detach { .. } => 6,
                Operation::Explain { .. } => 7,
                Operation::Report { .. } => 8,
                Operation::Maintain => 9,
            }] = true;
        }
        outcome.add(run(&operations, &policy));
    }
    assert_eq!(kinds, [true; 10]);
    assert!(outcome.admitted > 1_000 && outcome.refused > 1_000, "{outcome:?}");
    assert_eq!(Operation::decode(&[]), []);
}
