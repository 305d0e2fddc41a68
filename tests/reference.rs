//! The reference model by itself, since what proves a limiter has to be right first.
//!
//! - supply is exact, but for the range that it allows the limiter;
//! - a bucket admits its burst at once, and then its rate, and nothing between;
//! - a refund gives back at least what the order of charges tells, at most what the list does, and never twice;
//! - months and weeks begin where the calendar says.

#[path = "model/bucket.rs"]
mod bucket;
#[path = "model/calendar.rs"]
mod calendar;

use bucket::{Answer, Bucket, Charge, Limit, Rate, Wait};
use calendar::{Period, window_at};

const SECOND: u64 = 1_000_000_000;

/// Ten tokens a second, 20 at once, 5 of debt.
const RATE: Rate = Rate { tokens: 10, period: SECOND, burst: 20, max_debt: 5, largest_factor: 16 };

/// An instant, by the clock of UTC.
fn utc(now: u64) -> (u64, i64) {
    (now, 0)
}

fn admits(bucket: &Bucket, amount: u64, now: u64) -> Answer {
    bucket.judge(amount, utc(now), 0).0
}

#[test]
fn a_tick_is_the_smallest_that_fits() {
    // 10 x 2^29 / 10^9 is 5.4 ticks a nanosecond, twice that more than 8.
    assert_eq!(RATE.ticks_per_token(), 1 << 29);
    // 2^56 x 2^6 is 2^62.
    let large = Rate { burst: 1 << 56, max_debt: 0, largest_factor: 1, ..RATE };
    assert_eq!(large.ticks_per_token(), 1 << 6);
    assert_eq!(Rate { tokens: 8, period: 1, ..RATE }.ticks_per_token(), 1);
}

#[test]
fn supply_is_exact_but_for_what_the_limiter_may_round() {
    let span = RATE.supply(5, 5 + SECOND);
    assert!(span.holds(RATE.grains(10)));
    assert!(span.high - span.low < 3 * RATE.tick());
    assert_eq!(RATE.supply(7, 7).high, 0);
    assert_eq!(RATE.supply(SECOND, 0).high, -RATE.supply(0, SECOND).low);
}

#[test]
fn a_bucket_admits_its_burst_and_then_its_rate() {
    let mut bucket = Bucket::new(&Limit::Rate(RATE), 0);
    assert_eq!(bucket.judge(21, utc(0), 0), (Answer::Refuse, Wait::Never));
    assert_eq!(admits(&bucket, 20, 0), Answer::Admit);
    bucket.charge(20, utc(0), false);
    assert_eq!(admits(&bucket, 1, 0), Answer::Refuse);
    assert_eq!(admits(&bucket, 1, SECOND / 10 - 1), Answer::Refuse);
    assert_eq!(admits(&bucket, 1, SECOND / 10), Answer::Either);
    assert_eq!(admits(&bucket, 1, SECOND / 10 + 1), Answer::Admit);
    let (_, Wait::After(wait)) = bucket.judge(1, utc(0), 0) else { panic!("a matter of time") };
    assert!(wait.holds(i128::from(SECOND / 10)) && wait.high - wait.low <= 1, "{wait:?}");
    // Idling for long mints nothing.
    assert_eq!(admits(&bucket, 20, 1_000 * SECOND), Answer::Admit);
    bucket.charge(20, utc(1_000 * SECOND), false);
    assert_eq!(admits(&bucket, 1, 1_000 * SECOND), Answer::Refuse);
}

#[test]
fn a_refund_gives_back_what_supply_has_not_served() {
    let mut bucket = Bucket::new(&Limit::Rate(RATE), 0);
    let first = bucket.charge(10, utc(0), true);
    let second = bucket.charge(10, utc(0), true);
    // At once: all of it, and no more than was charged.
    assert_eq!(bucket.settle(&second, 10, 8, utc(0)).clipped, (0, 0));
    assert_eq!(admits(&bucket, 2, 0), Answer::Admit);
    assert_eq!(admits(&bucket, 3, 0), Answer::Refuse);
    // Half a second on, five of the first ten are served and two were given back: three remain, by the order. By the list,
    // the second eight would have been served in their place.
    let settled = bucket.settle(&first, 10, 0, utc(SECOND / 2));
    assert!(settled.clipped.0 == 0 && (7..=8).contains(&settled.clipped.1), "{settled:?}");
    let left = bucket.standing(utc(SECOND / 2)).left;
    assert!((9..=10).contains(&left.0) && (17..=18).contains(&left.1), "{left:?}");
}

#[test]
fn overage_runs_ahead_by_the_debt_and_the_rest_is_cut() {
    let mut bucket = Bucket::new(&Limit::Rate(RATE), 0);
    let charge = bucket.charge(20, utc(0), true);
    assert_eq!(bucket.settle(&charge, 20, 28, utc(0)).cut, (3, 3));
    assert_eq!(admits(&bucket, 1, SECOND / 2), Answer::Refuse);
    assert_eq!(admits(&bucket, 1, SECOND * 6 / 10 + 1), Answer::Admit);
    assert_eq!(bucket.settle(&charge, 0, u64::MAX, utc(0)).cut, (u128::from(u64::MAX), u128::from(u64::MAX)));
}

#[test]
fn a_quota_opens_with_its_window_and_carries_what_it_overran() {
    let minute = 60 * SECOND;
    let mut bucket = Bucket::new(&Limit::Quota { limit: 10, period: Period::Minute }, 0);
    let charge = bucket.charge(10, utc(5), true);
    assert!(matches!(charge, Charge::Quota { window: 0, ahead: 0 }));
    assert_eq!(admits(&bucket, 1, minute - 1), Answer::Refuse);
    assert_eq!(admits(&bucket, 10, minute), Answer::Admit);
    // 25 over: the next two windows give nothing, the third gives five.
    bucket.settle(&charge, 10, 35, utc(minute - 1));
    assert_eq!(admits(&bucket, 1, 2 * minute), Answer::Refuse);
    let (_, Wait::After(wait)) = bucket.judge(1, utc(minute), 0) else { panic!("a matter of time") };
    assert_eq!(wait.low, i128::from(2 * minute));
    assert_eq!(admits(&bucket, 5, 3 * minute), Answer::Admit);
    assert_eq!(admits(&bucket, 6, 3 * minute), Answer::Refuse);
    assert_eq!(admits(&bucket, 10, 4 * minute), Answer::Admit);
    // Time that goes back stays in the newest window.
    bucket.charge(10, utc(4 * minute), false);
    assert_eq!(bucket.opened(), 4 * minute);
    assert_eq!(bucket.settle(&charge, 10, 0, utc(5)).clipped, (0, 0));
    assert_eq!(bucket.standing(utc(4 * minute)).left, (0, 0));
}

#[test]
fn flight_is_held_by_permits_alone() {
    let mut bucket = Bucket::new(&Limit::InFlight { limit: 2 }, 0);
    bucket.charge(2, utc(0), false);
    let charge = bucket.charge(2, utc(0), true);
    assert_eq!(bucket.judge(1, utc(0), 0), (Answer::Refuse, Wait::OnRelease));
    assert_eq!(bucket.judge(3, utc(0), 0), (Answer::Refuse, Wait::Never));
    assert_eq!(bucket.judge(0, utc(0), 0).0, Answer::Admit);
    bucket.settle(&charge, 2, 1, utc(0));
    assert_eq!(admits(&bucket, 2, 0), Answer::Admit);
}

#[test]
fn an_estimate_is_clamped_to_a_full_bucket() {
    for limit in
        [Limit::Rate(RATE), Limit::Quota { limit: 20, period: Period::Day }, Limit::InFlight { limit: 20 }]
    {
        let bucket = Bucket::new(&limit, 0);
        assert_eq!((bucket.asked(21, true), bucket.asked(19, true), bucket.asked(21, false)), (20, 19, 21));
    }
}

#[test]
fn a_budget_never_refills() {
    let mut bucket = Bucket::new(&Limit::Budget { limit: 10 }, 0);
    assert_eq!(bucket.asked(11, true), 11);
    let charge = bucket.charge(6, utc(0), true);
    assert_eq!(bucket.judge(5, utc(u64::MAX >> 4), 0), (Answer::Refuse, Wait::Never));
    bucket.settle(&charge, 6, 5, utc(0));
    assert_eq!(admits(&bucket, 5, 0), Answer::Admit);
    bucket.settle(&charge, 5, 50, utc(0));
    assert_eq!(bucket.standing(utc(0)).left, (0, 0));
}

#[test]
fn windows_begin_where_the_calendar_says() {
    let day = 86_400 * 1_000_000_000;
    // 2024-02-29, a Thursday.
    let leap = 19_782 * day;
    assert_eq!(window_at(Period::Month, leap).end, 19_783 * day);
    assert_eq!(window_at(Period::Month, leap).start, 19_754 * day);
    assert_eq!(window_at(Period::Month, leap).number, 54 * 12 + 1);
    assert_eq!(window_at(Period::Week, leap).start, 19_779 * day);
    assert_eq!(window_at(Period::Day, leap - 1).end, leap);
    assert_eq!(window_at(Period::Hour, leap + 1).end, leap + day / 24);
}

#[test]
fn what_is_withheld_is_there_and_not_to_be_had() {
    let rate = Limit::Rate(RATE);
    let mut bucket = Bucket::new(&rate, 0);
    bucket.charge(4, utc(0), false);
    assert_eq!(
        (bucket.judge(6, utc(0), 10).0, bucket.judge(7, utc(0), 10).0),
        (Answer::Admit, Answer::Refuse)
    );
    // What is more than the rest is admitted when the bucket is full.
    assert_eq!(
        (bucket.judge(11, utc(0), 10).0, bucket.judge(11, utc(SECOND), 10).0),
        (Answer::Refuse, Answer::Admit)
    );
    for limit in [Limit::Quota { limit: 20, period: Period::Day }, Limit::Budget { limit: 20 }] {
        let mut bucket = Bucket::new(&limit, 0);
        // So it is of a window of which nothing is used; a budget has no other.
        let whole = if let Limit::Quota { .. } = limit { Answer::Admit } else { Answer::Refuse };
        assert_eq!(bucket.judge(11, utc(0), 10).0, whole);
        bucket.charge(4, utc(0), false);
        assert_eq!(
            (bucket.judge(6, utc(0), 10).0, bucket.judge(7, utc(0), 10).0),
            (Answer::Admit, Answer::Refuse)
        );
        assert_eq!((bucket.used(utc(0)), limit.most()), (4, rate.most()));
    }
}
