//! What is given back against the interval bound, over any schedule of spending and of permits that settle in any order, to
//! less or to more, by clocks that were read too early, in buckets that idle or never do. And what simpler rules do.

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::*;
use crate::bucket::{rate, tests::every_interval_keeps_the_bound};

/// A charge of a schedule: after `wait` ns, of `reserved`, by a clock that was read `late` ns before.
#[derive(Clone, Copy, Debug)]
struct Charge {
    wait: u64,
    late: u64,
    reserved: u64,
    /// What it is settled to, after so many more charges; spent at once if `None`.
    settled: Option<(u64, usize)>,
}

fn schedules() -> impl Strategy<Value = Vec<Charge>> {
    let wait = prop_oneof![3 => Just(0), 4 => 1..12_u64, 1 => 0..120_u64];
    let late = prop_oneof![3 => Just(0), 1 => 0..40_u64];
    let settled = prop_oneof![
        1 => Just(None),
        3 => (prop_oneof![Just(0), 0..=6_u64, 0..=9_u64], prop_oneof![0..6_usize, 0..30_usize]).prop_map(Some),
    ];
    let charge = (wait, late, 1..=6_u64, settled).prop_map(|(wait, late, reserved, settled)| Charge {
        wait,
        late,
        reserved,
        settled,
    });
    prop::collection::vec(charge, 1..60)
}

type Rule = fn(&Rate, Words, u64, (u64, u64), u64) -> Settled;

fn ours(rate: &Rate, words: Words, mark: u64, amounts: (u64, u64), now: u64) -> Settled {
    settle((rate, rate), words, mark, amounts, (Factor::ONE, false), now)
}

/// By the order alone: what leases leave of it.
fn by_order(rate: &Rate, words: Words, mark: u64, amounts: (u64, u64), now: u64) -> Settled {
    settle((rate, rate), words, mark, amounts, (Factor::ONE, true), now)
}

fn nothing(rate: &Rate, words: Words, _: u64, (reserved, actual): (u64, u64), now: u64) -> Settled {
    ours(rate, words, 0, (reserved, actual.max(reserved)), now)
}

/// The subtraction that first comes to mind.
fn blind(rate: &Rate, words: Words, _: u64, (reserved, actual): (u64, u64), _: u64) -> Settled {
    let word = words.word.saturating_sub(reserved.saturating_sub(actual) << rate.shift);
    Settled { words: Words { word, ..words }, clipped: 0, cut: 0 }
}

/// By the order, without what others got back meanwhile.
fn without_total(rate: &Rate, words: Words, mark: u64, amounts: (u64, u64), now: u64) -> Settled {
    let none = Kept { refunded: 0, ..words.kept };
    by_order(rate, Words { kept: none, ..words }, mark, amounts, now)
}

/// By what is open, without what was spent at once since Z was worked out.
fn without_spending(rate: &Rate, words: Words, mark: u64, amounts: (u64, u64), now: u64) -> Settled {
    let stale = Kept { seen: words.word.max(words.kept.seen), ..words.kept };
    let behind = words.kept.behind + ((stale.seen - words.kept.seen) >> unit(rate));
    ours(rate, Words { kept: Kept { behind, ..stale }, ..words }, mark, amounts, now)
}

/// By what is open, with Z as it was, however long ago.
fn without_supply(rate: &Rate, words: Words, mark: u64, amounts: (u64, u64), now: u64) -> Settled {
    let Words { word, kept } = words;
    let done = by_order(rate, words, mark, amounts, now);
    let (reserved, actual) = amounts;
    let kept = kept.with_open(kept.open.saturating_sub(units_up(rate, reserved << rate.shift)));
    let settled = kept.seen.saturating_sub(kept.behind << unit(rate))
        + word.saturating_sub(kept.seen)
        + (actual.min(reserved) << rate.shift);
    let low = settled + kept.open_ticks(rate).unwrap();
    let word = done.words.word.min(low);
    Settled { words: Words { word, kept: kept.at(rate, word, settled.min(word)) }, ..done }
}

/// Runs a schedule; whether every interval kept its bound at every admission, and how many were admitted.
fn keeps_the_bound(rate: &Rate, schedule: &[Charge], rule: Rule) -> (bool, usize) {
    let (mut now, mut words) = (1_000, Words { word: 0, kept: Kept::default() });
    let mut log: Vec<(u64, u64)> = Vec::new();
    let mut open: Vec<(usize, usize, u64, (u64, u64))> = Vec::new();
    let mut kept = true;
    for (index, charge) in schedule.iter().enumerate() {
        now += charge.wait;
        open.retain(|&(due, entry, mark, amounts)| {
            if due > index {
                return true;
            }
            words = rule(rate, words, mark, amounts, now).words;
            // What was used beyond the reservation is not bounded.
            log[entry].1 = amounts.1.min(amounts.0);
            false
        });
        if open.is_empty() {
            words.kept = words.kept.with_none_open();
        }
        let at = now - charge.late;
        let Some(word) = rate::charge(rate, words.word, charge.reserved, Factor::ONE, at) else { continue };
        words.word = word;
        if let Some((actual, after)) = charge.settled {
            let opened = Opened { amount: charge.reserved, factor: Factor::ONE, forced: false };
            let mark;
            (mark, words.kept) = super::open(rate, word, words.kept, opened, at);
            open.push((index + 1 + after, log.len(), mark, (charge.reserved, actual)));
        }
        log.push((at, charge.reserved));
        let mut sorted = log.clone();
        sorted.sort_unstable();
        kept &= every_interval_keeps_the_bound(rate, &sorted);
    }
    (kept, log.len())
}

const CASES: u32 = if cfg!(debug_assertions) { 1_000 } else { 200_000 };

fn rate() -> Rate {
    Rate::new(1, 10, 10, 6, 16).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn settlements_never_mint(schedule in schedules()) {
        prop_assert!(keeps_the_bound(&rate(), &schedule, ours).0);
    }
}

/// The schedules above are able to tell: each simpler rule breaks the bound on one of them. And liveness: ours gives
/// back more than the order alone, and that more than nothing.
#[test]
fn simpler_rules_mint() {
    let mut runner = TestRunner::deterministic();
    let schedules: Vec<_> =
        (0..CASES).map(|_| schedules().new_tree(&mut runner).unwrap().current()).collect();
    let all = |rule| {
        let ran = schedules.iter().map(|schedule| keeps_the_bound(&rate(), schedule, rule));
        ran.fold((0, 0), |(broke, sum), (kept, admitted)| (broke + u64::from(!kept), sum + admitted))
    };
    for (name, rule) in [
        ("blind", blind as Rule),
        ("without_total", without_total),
        ("without_spending", without_spending),
        ("without_supply", without_supply),
    ] {
        assert!(all(rule).0 > 0, "{name}");
    }
    let (ours, by_order, nothing) = (all(ours), all(by_order), all(nothing));
    assert_eq!((ours.0, by_order.0, nothing.0), (0, 0, 0));
    println!("admitted: {} by both, {} by the order, {} without", ours.1, by_order.1, nothing.1);
    assert!(ours.1 > by_order.1 && by_order.1 > nothing.1);
}

/// What is packed into a word: rounded to the side that gives less back, and a sum beyond it is not known.
#[test]
fn packing() {
    for (tokens, period, burst) in [(1, 10, 10), (100_000, 60_000_000_000, 100_000), (8, 1, 1 << 55)] {
        let rate = Rate::new(tokens, period, burst, 0, 16).unwrap();
        let (mut kept, mut word) = (Kept::default(), rate.burst_ticks * 2);
        for _ in 0..10 {
            word += price(&rate, burst, Factor::ONE);
            let opened = Opened { amount: burst, factor: Factor::ONE, forced: false };
            kept = super::open(&rate, word, kept, opened, 0).1;
            assert_eq!(Kept::unpack(kept.pack()), kept);
        }
        let open = u128::from(rate.burst_ticks) * 10;
        assert!(kept.open << unit(&rate) >= open as u64);
        assert!(kept.settled(&rate, word, word, 0) >= rate.burst_ticks * 2);
        let full = Kept { open: UNKNOWN - 1, ..kept };
        let opened = Opened { amount: burst, factor: Factor::ONE, forced: false };
        let full = super::open(&rate, word, full, opened, 0).1;
        assert_eq!((full.open, full.open_ticks(&rate)), (UNKNOWN, None));
        assert_eq!(full.with_open(0).open, UNKNOWN);
        assert_eq!(full.with_none_open().open, 0);
        assert_eq!(Kept::unpack(full.pack()), full);
    }
}
