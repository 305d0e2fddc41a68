//! No false alarm: whatever stream of charges the outer limit admits, a limit that it covers admits too.
//!
//! The buckets here are the plainest possible ones, in exact integers; UTC's windows, months apart.

use proptest::prelude::*;

use super::*;

const UTC: Windows = Windows { fixed_days: true, aligned: true };

/// A bucket that knows only how to say how much it would admit, and to charge it.
#[derive(Clone, Copy, Debug)]
enum Bucket {
    /// What is left, in tokens times the period; and when that was.
    Rate {
        limit: Rate,
        left: u128,
        at: u64,
    },
    Quota {
        limit: u64,
        length: u64,
        window: u64,
        used: u64,
    },
    Budget {
        left: u64,
    },
}

impl Bucket {
    fn new(limit: Limit) -> Bucket {
        match limit {
            Limit::Rate(limit) => {
                Bucket::Rate { limit, left: u128::from(limit.burst) * u128::from(limit.period), at: 0 }
            }
            Limit::Quota(Quota { limit, period, .. }) => {
                Bucket::Quota { limit, length: regular(period).unwrap(), window: 0, used: 0 }
            }
            Limit::Budget { limit } | Limit::InFlight { limit } => Bucket::Budget { left: limit },
        }
    }

    fn left(&mut self, now: u64) -> u64 {
        match self {
            Bucket::Rate { limit, left, at } => {
                let full = u128::from(limit.burst) * u128::from(limit.period);
                *left = full.min(*left + u128::from(limit.tokens) * u128::from(now - *at));
                *at = now;
                u64::try_from(*left / u128::from(limit.period)).unwrap()
            }
            Bucket::Quota { limit, length, window, used } => {
                if now / *length > *window {
                    (*window, *used) = (now / *length, 0);
                }
                *limit - *used
            }
            Bucket::Budget { left } => *left,
        }
    }

    fn charge(&mut self, amount: u64) {
        match self {
            Bucket::Rate { limit, left, .. } => *left -= u128::from(amount) * u128::from(limit.period),
            Bucket::Quota { used, .. } => *used += amount,
            Bucket::Budget { left } => *left -= amount,
        }
    }
}

fn limits() -> impl Strategy<Value = Limit> {
    let period = prop::sample::select(vec![Period::Minute, Period::Hour, Period::Day]);
    prop_oneof![
        (1_u64..40, period.clone(), 1_u64..80).prop_map(|(tokens, period, burst)| {
            Limit::Rate(Rate::new(tokens, regular(period).unwrap(), burst, burst, 1).unwrap())
        }),
        (1_u64..60, period, prop::sample::select(vec![1_u64, 24, 60])).prop_map(|(limit, period, times)| {
            let limit = limit * times;
            Limit::Quota(Quota::new(limit, period, 0))
        }),
        (1_u64..90).prop_map(|limit| Limit::Budget { limit }),
    ]
}

/// Nanoseconds between two charges.
fn waits() -> impl Strategy<Value = u64> {
    prop_oneof![Just(1), 1..3 * MINUTE, 1..60 * MINUTE, MINUTE..25 * 60 * MINUTE]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_is_covered_never_refuses(
        outer in limits(),
        inner in limits(),
        steps in prop::collection::vec((waits(), 1_u64..100, any::<bool>()), 1..60),
    ) {
        let (mut outer_bucket, mut inner_bucket) = (Bucket::new(outer), Bucket::new(inner));
        let mut now = 0;
        for (wait, amount, to_the_edge) in steps {
            now += wait;
            if to_the_edge {
                // The last nanosecond of an hour, where two windows' worth come together.
                now = (now / (60 * MINUTE) + 1) * 60 * MINUTE - 1;
            }
            let amount = amount.min(outer_bucket.left(now));
            if inner_bucket.left(now) < amount {
                prop_assert!(!covers(&outer, &inner, UTC), "{inner:?} refused {amount} at {now}");
                break;
            }
            outer_bucket.charge(amount);
            inner_bucket.charge(amount);
        }
    }
}

#[test]
fn larger_in_every_respect_is_covered() {
    let rate = |tokens, burst| Limit::Rate(Rate::new(tokens, MINUTE, burst, burst, 1).unwrap());
    let quota = |limit, period| Limit::Quota(Quota::new(limit, period, 0));
    for (outer, inner) in [
        (rate(10, 10), rate(11, 11)),
        (rate(10, 10), quota(621, Period::Hour)),
        (quota(10, Period::Hour), rate(1, 21)),
        (quota(10, Period::Hour), quota(241, Period::Day)),
        (quota(10, Period::Day), quota(11, Period::Hour)),
        (Limit::Budget { limit: 10 }, rate(1, 11)),
    ] {
        assert!(covers(&outer, &inner, UTC), "{outer:?} {inner:?}");
        assert!(!covers(&outer, &outer, UTC), "{outer:?} by itself");
        assert!(!covers(&inner, &outer, UTC), "{inner:?} {outer:?}");
    }
}
