//! Properties of the pure steps:
//!
//! - supply is exact arithmetic, short by under two ticks at any time, for any rate that fits;
//! - a charge moves the word by exactly its price, and is admitted iff the word then stays within supply and burst;
//! - what is refused now is admitted at its wait, and not a nanosecond before;
//! - over any schedule of charges and settlements, admitted costs, counted as settled at their admission, stay within
//!   burst + rate x length (rounded up to 1 ns) over every interval; and the two simpler refunds do not;
//! - a tightened bucket never admits what an untouched one refuses;
//! - a quota carries what it overran, forgives nothing, and only moves forward.

use proptest::prelude::*;

use super::{rate::Refunded, *};
use crate::{
    calendar::Period,
    policy::{plan::Quota, rate::Rate},
};

const YEAR: u64 = 365 * 86_400 * 1_000_000_000;
const LATEST: u64 = 1 << 60;

fn rates() -> impl Strategy<Value = Rate> {
    let tokens = prop_oneof![1..100_u64, 1..=u64::MAX >> 8];
    let period = prop_oneof![1..1_000_u64, 1..=YEAR, Just(1_000_000_000), Just(60_000_000_000)];
    let burst = prop_oneof![1..1_000_u64, 1..=(1_u64 << 58)];
    (tokens, period, burst, 1..=16_u32).prop_filter_map("fits", |(tokens, period, burst, factor)| {
        Rate::new(tokens, period, burst, burst, factor).ok()
    })
}

/// t * tokens * 2^shift / period as a fraction.
fn exact_supply(rate: &Rate, now: u64) -> (u128, u128) {
    // tokens * 2^shift <= 8 * period < 2^67, and now <= 2^60.
    (u128::from(now) * (u128::from(rate.tokens) << rate.shift), u128::from(rate.period))
}

proptest! {
    #[test]
    fn supply_is_short_by_under_two_ticks(rate in rates(), now in prop_oneof![0..1_000_000_u64, 0..=LATEST]) {
        let (over, under) = exact_supply(&rate, now);
        let supply = u128::from(rate::supply(&rate, now));
        prop_assert!(supply * under <= over, "more than was due");
        prop_assert!(over < (supply + 2) * under, "short by two ticks");
    }

    #[test]
    fn charge_is_exact(
        rate in rates(),
        now in 0..=LATEST,
        owed in 0..=(1_u64 << 62),
        amount in prop_oneof![0..1_000_u64, any::<u64>()],
    ) {
        let supply = rate::supply(&rate, now);
        let word = supply.saturating_add(owed % rate.burst_ticks.saturating_mul(2)).saturating_sub(rate.burst_ticks);
        let fits = u128::from(word.max(supply)) + (u128::from(amount) << rate.shift)
            <= u128::from(supply) + u128::from(rate.burst_ticks);
        let charged = rate::charge(&rate, word, amount, Factor::ONE, now);
        prop_assert_eq!(charged.is_some(), fits);
        if let Some(charged) = charged {
            prop_assert_eq!(charged - word.max(supply + rate.slack), amount << rate.shift);
        }
    }

    #[test]
    fn wait_is_exact(rate in rates(), now in 0..=LATEST / 4, owed in any::<u64>(), share in any::<u64>(), factor in 16..=256_u16) {
        let amount = 1 + share % rate.burst;
        let factor = Factor::from_sixteenths(factor);
        let word = rate::supply(&rate, now) + owed % rate.burst_ticks + 1;
        if rate::charge(&rate, word, amount, factor, now).is_none() {
            let refusal = rate::refusal(&rate, word, amount, factor, 0, now);
            let at = refusal.wait.instant().unwrap();
            prop_assert!(at > now);
            if at <= LATEST {
                prop_assert!(rate::charge(&rate, word, amount, factor, at).is_some());
                prop_assert!(rate::charge(&rate, word, amount, factor, at - 1).is_none());
            }
        }
    }

    /// What `left` says is admitted, and one more is not.
    #[test]
    fn left_is_what_is_admitted(rate in rates(), now in 0..=LATEST, owed in any::<u64>()) {
        let word = rate::supply(&rate, now) + owed % rate.burst_ticks;
        let left = rate::left(&rate, word, Factor::ONE, now);
        prop_assert!(rate::charge(&rate, word, left, Factor::ONE, now).is_some());
        prop_assert!(rate::charge(&rate, word, left + 1, Factor::ONE, now).is_none());
    }

    /// Under a factor, the bucket of a subject that is charged more is at least as empty, and admits no more.
    #[test]
    fn tightened_admits_no_more(rate in rates(), now in 0..=LATEST, owed in any::<u64>(), more in any::<u64>(), amount in 1..1_000_u64, factor in 16..=256_u16) {
        let word = rate::supply(&rate, now) + owed % rate.burst_ticks;
        let emptier = word + more % rate.burst_ticks;
        let factor = Factor::from_sixteenths(factor);
        if rate::charge(&rate, emptier, amount, factor, now).is_some() {
            prop_assert!(rate::charge(&rate, word, amount, Factor::ONE, now).is_some());
        }
    }

    #[test]
    fn quota_moves_forward_and_forgives_nothing(
        limit in 1..1_000_u64,
        steps in prop::collection::vec((0..3_u32, 0..600_u64, 0..400_u64), 1..60),
    ) {
        let quota = quota_of(limit);
        let (mut word, mut number, mut model) = (0, 1, 0_u64);
        for (ahead, amount, extra) in steps {
            for _ in 0..ahead {
                number += 1;
                model = model.saturating_sub(limit);
            }
            match quota::charge(&quota, word, amount, window(number)) {
                Step::Admit(charged) => {
                    prop_assert!(model + amount <= limit);
                    model += amount;
                    word = charged;
                    // Overage is recorded whole, and what is given back comes off the same window only.
                    word = quota::overage(&quota, word, extra, window(number));
                    model += extra;
                    let back = extra / 2;
                    word = quota::refund(&quota, word, u64::from(number), back);
                    model -= back;
                    prop_assert_eq!(quota::refund(&quota, word, u64::from(number) - 1, back), word);
                }
                Step::Refuse => prop_assert!(model + amount > limit),
                Step::Behind => prop_assert!(false, "never behind"),
            }
            prop_assert_eq!(quota::used_in(&quota, word, u64::from(number)), model);
            if word != 0 && word >> quota.use_bits == u64::from(number) {
                prop_assert_eq!(quota::charge(&quota, word, 1, window(number - 1)), Step::Behind);
            }
        }
    }
}

fn quota_of(limit: u64) -> Quota {
    Quota { limit, period: Period::Day, calendar: 0, use_bits: Quota::use_bits(Period::Day) }
}

fn window(number: u32) -> crate::calendar::Window {
    crate::calendar::Window { number, start: i64::from(number), end: i64::from(number) + 1 }
}

/// A charge of a schedule: after `wait` ns, reserve `reserved`; it is settled to `actual` after `settle` more charges.
#[derive(Clone, Copy, Debug)]
struct Charge {
    wait: u64,
    reserved: u64,
    actual: u64,
    settle: usize,
}

fn schedules() -> impl Strategy<Value = Vec<Charge>> {
    let charge = (prop_oneof![Just(0), 1..12_u64, 0..120_u64], 1..=6_u64, 0..=6_u64, 0..6_usize).prop_map(
        |(wait, reserved, actual, settle)| Charge { wait, reserved, actual: actual.min(reserved), settle },
    );
    prop::collection::vec(charge, 1..40)
}

type Refund = fn(&Rate, (u64, u64), u64, (u64, u64), u64) -> Refunded;

fn ours(rate: &Rate, words: (u64, u64), mark: u64, amounts: (u64, u64), now: u64) -> Refunded {
    rate::refund(rate, words, mark, amounts, Factor::ONE, now)
}

/// The subtraction that first comes to mind.
fn blind(
    rate: &Rate,
    (word, refunded): (u64, u64),
    _: u64,
    (reserved, actual): (u64, u64),
    _: u64,
) -> Refunded {
    Refunded { word: word.saturating_sub((reserved - actual) << rate.shift), refunded, clipped: 0 }
}

/// Ours without the total that others got back meanwhile.
fn without_total(rate: &Rate, (word, _): (u64, u64), mark: u64, amounts: (u64, u64), now: u64) -> Refunded {
    ours(rate, (word, 0), mark, amounts, now)
}

/// Whether a log of instants and costs stays within burst + rate x length, rounded up to 1 ns, over every interval.
pub(super) fn every_interval_keeps_the_bound(rate: &Rate, log: &[(u64, u64)]) -> bool {
    (0..log.len()).all(|first| {
        let mut sum = 0;
        log[first..].iter().all(|(at, cost)| {
            sum += u128::from(*cost);
            let length = u128::from(at - log[first].0) + 1;
            sum.saturating_sub(u128::from(rate.burst)) * u128::from(rate.period)
                <= length * u128::from(rate.tokens)
        })
    })
}

/// Runs a schedule; whether every interval keeps its bound, and how much was admitted in all.
fn keeps_the_bound(rate: &Rate, schedule: &[Charge], refund: Refund) -> (bool, u64) {
    let (mut now, mut word, mut refunded) = (1_000, 0, 0);
    let mut log: Vec<(u64, u64)> = Vec::new();
    let mut open: Vec<(usize, usize, u64, Charge)> = Vec::new();
    for (index, charge) in schedule.iter().enumerate() {
        now += charge.wait;
        open.retain(|&(due, entry, mark, settled)| {
            if due > index {
                return true;
            }
            let done = refund(rate, (word, refunded), mark, (settled.reserved, settled.actual), now);
            (word, refunded) = (done.word, done.refunded);
            log[entry].1 = settled.actual;
            false
        });
        if let Some(charged) = rate::charge(rate, word, charge.reserved, Factor::ONE, now) {
            word = charged;
            open.push((index + charge.settle, log.len(), rate::mark(word, refunded), *charge));
            log.push((now, charge.reserved));
        }
    }
    let kept = every_interval_keeps_the_bound(rate, &log);
    (kept, log.iter().map(|(_, cost)| cost).sum())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn settlements_never_mint(schedule in schedules()) {
        let rate = Rate::new(1, 10, 10, 0, 16).unwrap();
        prop_assert!(keeps_the_bound(&rate, &schedule, ours).0);
    }
}

/// The schedules above are able to tell: each simpler refund breaks the bound on one of them. And liveness: ours gives
/// something back, so that it admits more than no refund at all.
#[test]
fn simpler_refunds_mint() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let rate = Rate::new(1, 10, 10, 0, 16).unwrap();
    let mut runner = TestRunner::deterministic();
    let none: Refund = |_, (word, refunded), _, _, _| Refunded { word, refunded, clipped: 0 };
    let (mut blind_broke, mut without_broke, mut with_ours, mut with_none) = (0, 0, 0, 0);
    for _ in 0..20_000 {
        let schedule = schedules().new_tree(&mut runner).unwrap().current();
        blind_broke += usize::from(!keeps_the_bound(&rate, &schedule, blind).0);
        without_broke += usize::from(!keeps_the_bound(&rate, &schedule, without_total).0);
        with_ours += keeps_the_bound(&rate, &schedule, ours).1;
        with_none += keeps_the_bound(&rate, &schedule, none).1;
    }
    assert!(blind_broke > 0);
    assert!(without_broke > 0);
    assert!(with_ours > with_none, "{with_ours} {with_none}");
}

proptest! {
    /// What the straight lane asks and charges is what [`rate::charge`] does without a factor, for any word whatever.
    #[test]
    fn straight_is_the_same(
        rate in rates(),
        now in prop_oneof![0..1_000_000_u64, 0..=LATEST],
        word in prop_oneof![any::<u64>(), 0..=3_u64],
        near in -3..=3_i64,
        amount in prop_oneof![any::<u64>(), 1..=3_u64],
    ) {
        let ticks = rate.ticks();
        let edge = (rate::supply(&rate, now) + rate.burst_ticks).wrapping_add_signed(near);
        for (word, amount) in [(word, amount), (edge, 1), (edge - (1 << rate.shift).min(edge), 1)] {
            let charged = rate::charge(&rate, word, amount, Factor::ONE, now);
            let admits = rate::admits(&ticks, word, amount, now);
            prop_assert_eq!(charged, admits.then(|| rate::charged(&ticks, word, amount, now)));
        }
    }
}

/// The largest numbers that fit, at the end of time.
#[test]
fn extremes() {
    let fastest = Rate::new(8, 1, 1 << 56, 1 << 60, 16).unwrap();
    let top = rate::supply(&fastest, LATEST);
    // A tick short: its multiplier is the only one that would be 2^64.
    assert_eq!(top, (1 << 63) - 1);
    let word = rate::charge(&fastest, top, 1 << 56, Factor::from_sixteenths(256), LATEST).unwrap();
    let (word, cut) = rate::overage(&fastest, word, u64::MAX, Factor::ONE, LATEST);
    assert!(word >= top && cut > 0);
    assert_eq!(fastest.slack, 0);
    assert_eq!(rate::charge(&fastest, u64::MAX, 1, Factor::ONE, LATEST), None);
    assert_eq!(rate::charge(&fastest, 0, u64::MAX, Factor::ONE, LATEST), None);
    let slowest = Rate::new(1, YEAR, 1, 1, 1).unwrap();
    let word = rate::charge(&slowest, 0, 1, Factor::ONE, 0).unwrap();
    let refusal = rate::refusal(&slowest, word, 1, Factor::ONE, 0, 0);
    let wait = refusal.wait.instant().unwrap();
    assert!((YEAR..YEAR + 2).contains(&wait), "{wait}");
    let large = Rate::new(1, 1, 1 << 62, 0, 1).unwrap();
    assert!(rate::charge(&large, 0, 1 << 62, Factor::ONE, LATEST).is_some());
    assert!(Rate::new(1, 1, (1 << 62) + 1, 0, 1).is_err());
    assert!(Rate::new(9, 1, 1, 0, 1).is_err());
}
