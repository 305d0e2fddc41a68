//! Leases against the interval bound, over any schedule of charges, settlements, bites, servings and recalls; and what
//! may be served later than it is charged, without evaporating, breaks it.

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::*;
use crate::{
    bucket::{Factor, Kept, Opened, Words, rate, refund, tests::every_interval_keeps_the_bound},
    policy::rate::Rate,
    time::Anchor,
};

const STRIPES: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Operation {
    /// An exact charge, settled to `.1` after `.2` more operations.
    Charge(u64, u64, usize),
    Bite(usize, u64),
    Serve(usize, u64),
    GiveBack(usize),
}

/// After a wait, by a clock that was read so long before.
type Step = (u64, u64, Operation);

fn schedules() -> impl Strategy<Value = Vec<Step>> {
    let operation = prop_oneof![
        (1..=6_u64, 0..=6_u64, 0..6_usize).prop_map(|(reserved, actual, after)| Operation::Charge(
            reserved,
            actual.min(reserved),
            after
        )),
        (0..STRIPES, 1..=4_u64).prop_map(|(stripe, parts)| Operation::Bite(stripe, parts)),
        (0..STRIPES, 1..=4_u64).prop_map(|(stripe, amount)| Operation::Serve(stripe, amount)),
        (0..STRIPES, 1..=4_u64).prop_map(|(stripe, amount)| Operation::Serve(stripe, amount)),
        (0..STRIPES).prop_map(Operation::GiveBack),
    ];
    let late = prop_oneof![2 => Just(0), 1 => 1..120_u64];
    prop::collection::vec((prop_oneof![Just(0), 1..12_u64, 0..120_u64], late, operation), 1..60)
}

/// Runs a schedule; whether every interval keeps its bound, and what was served from leases.
fn keeps_the_bound(rate: &Rate, schedule: &[Step], evaporating: bool) -> (bool, u64) {
    let limit = Limit::Rate(*rate);
    let (mut now, mut word, mut kept, mut from_leases) = (1_000, 0, Kept::default(), 0);
    let mut leases = [Lease::default(); STRIPES];
    let mut log: Vec<(u64, u64)> = Vec::new();
    let mut open = Vec::new();
    for (index, &(wait, late, operation)) in schedule.iter().enumerate() {
        now += wait;
        // Whoever comes may have read its clock long ago.
        let then = now - late;
        let moment = Moment::new(then, Anchor::new(0), &[]);
        open.retain(|&(due, entry, mark, amounts): &(usize, usize, u64, (u64, u64))| {
            if due > index {
                return true;
            }
            let leased = leases.iter().any(|lease| *lease != Lease::default());
            let words = Words { word, kept };
            let done = refund::settle((rate, rate), words, mark, amounts, (Factor::ONE, leased), now);
            Words { word, kept } = done.words;
            log[entry].1 = amounts.1;
            false
        });
        match operation {
            Operation::Charge(reserved, actual, after) => {
                if let Some(charged) = rate::charge(rate, word, reserved, Factor::ONE, then) {
                    word = charged;
                    let opened = Opened { amount: reserved, factor: Factor::ONE, forced: false };
                    let mark;
                    (mark, kept) = refund::open(rate, word, kept, opened, then);
                    open.push((index + after, log.len(), mark, (reserved, actual)));
                    log.push((then, reserved));
                }
            }
            Operation::Bite(stripe, parts) => {
                word = give_back(&limit, (word, kept.refunded), leases[stripe], &moment);
                leases[stripe] = Lease::default();
                kept = kept.afresh(word);
                if let Some((charged, lease)) =
                    bite(&limit, (word, kept.refunded), (0, parts, u64::MAX), &moment)
                {
                    word = charged;
                    kept = kept.afresh(word);
                    leases[stripe] = lease;
                }
            }
            Operation::Serve(stripe, amount) => {
                let lease = leases[stripe];
                let served = if evaporating {
                    serve(&limit, lease, kept.refunded, amount, &moment)
                } else {
                    let low = lease.low + (amount << rate.shift);
                    (low <= lease.top).then_some(low)
                };
                if let Some(low) = served {
                    leases[stripe].low = low;
                    log.push((then, amount));
                    from_leases += amount;
                }
            }
            Operation::GiveBack(stripe) => {
                word = give_back(&limit, (word, kept.refunded), leases[stripe], &moment);
                leases[stripe] = Lease::default();
                kept = kept.afresh(word);
            }
        }
    }
    log.sort_unstable();
    let kept = every_interval_keeps_the_bound(rate, &log);
    (kept, from_leases)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn leases_never_mint(schedule in schedules()) {
        let rate = Rate::new(1, 10, 10, 0, 16).unwrap();
        prop_assert!(keeps_the_bound(&rate, &schedule, true).0);
    }
}

/// The schedules above can tell, and leases serve something.
#[test]
fn leases_that_do_not_evaporate_mint() {
    let rate = Rate::new(1, 10, 10, 0, 16).unwrap();
    let mut runner = TestRunner::deterministic();
    let (mut broke, mut served) = (0, 0);
    for _ in 0..5_000 {
        let schedule = schedules().new_tree(&mut runner).unwrap().current();
        broke += usize::from(!keeps_the_bound(&rate, &schedule, false).0);
        served += keeps_the_bound(&rate, &schedule, true).1;
    }
    assert!(broke > 0);
    assert!(served > 5_000, "{served}");
}

/// A budget's lease gives back what it did not serve, to the token; one that only counts is charged what it served.
#[test]
fn counts_come_out_even() {
    let moment = Moment::new(0, Anchor::new(0), &[]);
    for (limit, before) in [(Limit::Budget { limit: 1_000 }, 100), (Limit::Budget { limit: UNLIMITED }, 100)]
    {
        let (word, mut lease) = bite(&limit, (before, 0), (0, 10, u64::MAX), &moment).unwrap();
        let mut served = 0;
        while let Some(low) = serve(&limit, lease, 0, 7, &moment).filter(|_| served < 700) {
            lease.low = low;
            served += 7;
        }
        assert!(served > 0);
        assert_eq!(give_back(&limit, (word, 0), lease, &moment), before + served);
    }
}
