//! Properties of the pure steps:
//!
//! - supply is exact arithmetic, short by under two ticks at any time, for any rate that fits;
//! - a charge moves the word by exactly its price, and is admitted iff the word then stays within supply and burst;
//! - what is refused now is admitted at its wait, and not a nanosecond before;
//! - a tightened bucket never admits what an untouched one refuses;
//! - a quota carries what it overran, forgives nothing, and only moves forward.

use proptest::prelude::*;

use super::*;
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
            if word != 0 && quota::unpack(&quota, word).0 == u64::from(number) {
                prop_assert_eq!(quota::charge(&quota, word, 1, window(number - 1)), Step::Behind);
            }
        }
    }
}

fn quota_of(limit: u64) -> Quota {
    Quota::new(limit, Period::Day, 0)
}

fn window(number: u32) -> crate::calendar::Window {
    crate::calendar::Window { number, start: i64::from(number), end: i64::from(number) + 1 }
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

proptest! {
    /// What the straight lane asks and charges is what [`rate::charge`] does without a factor, for any word of a bucket.
    #[test]
    fn straight_is_the_same(
        rate in rates(),
        now in prop_oneof![0..1_000_000_u64, 0..=LATEST],
        word in prop_oneof![0..3_u64 << 62, 0..=3_u64],
        near in -3..=3_i64,
        amount in prop_oneof![any::<u64>(), 1..=3_u64],
    ) {
        let ticks = rate.ticks();
        let edge = (rate::supply(&rate, now) + rate.burst_ticks).wrapping_add_signed(near);
        for (word, amount) in [(word, amount), (edge, 1), (edge - (1 << rate.shift).min(edge), 1)] {
            let charged = rate::charge(&rate, word, amount, Factor::ONE, now);
            let fits = amount <= ticks.burst;
            prop_assert_eq!(charged, fits.then(|| rate::charge_plainly(&ticks, word, amount, now)).flatten());
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

#[test]
fn of_two_words_the_greater_owes_as_much_as_either() {
    let quota = quota_of(10).among(5);
    let word = |number: u32, place, used| {
        quota::in_place(&quota, quota::restate(&quota, used, window(number)), place)
    };
    for (one, other, number, used) in [
        (word(7, 1, 3), word(7, 1, 5), 7, 5),
        (word(8, 1, 3), word(7, 1, 5), 8, 3),
        (word(7, 4, 3), word(7, 1, 5), 7, 5),
        (word(8, 2, 3), word(7, 1, 5), 8, 5),
        (0, word(7, 1, 5), 7, 5),
    ] {
        let both = [quota::greater(&quota, one, other), quota::greater(&quota, other, one)];
        assert_eq!(both.map(|word| quota::unpack(&quota, word)), [(number, used); 2]);
        assert_ne!(quota::place(&quota, both[0]), Some(0));
    }
}
