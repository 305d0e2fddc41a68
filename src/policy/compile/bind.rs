//! Whether one limit makes another pointless.
//!
//! A limit C is *covered* by R when every charge to C's subject is charged to R's too (R is on the same level
//! or a parent's), C would admit whatever R admits, and C is larger somewhere: then C never refuses anything.
//! Equal limits are not covered: they refuse together. An account without an organization is held to what an
//! account of an organization may spend, and limits are compared as they are without tightening.
//!
//! Invariant: no false alarm. Where windows of two lengths meet, the shortest and longest that a zone's
//! calendar can have are taken, and both sides of an edge are counted.

use crate::{
    calendar::Period,
    policy::{
        plan::{Limit, Quota, UNLIMITED},
        rate::Rate,
    },
};

/// What is known of how the windows of two limits lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    /// Whether all of their days have 24 hours; false too where that is not known.
    pub(super) fixed_days: bool,
    /// Whether they are of one zone: their edges fall together as far as their periods do.
    pub(super) aligned: bool,
}

/// Whether `outer` always refuses before `inner` does.
pub(super) fn covers(outer: &Limit, inner: &Limit, Windows { fixed_days, aligned }: Windows) -> bool {
    match (outer, inner) {
        (Limit::Budget { limit: UNLIMITED }, _) | (_, Limit::Budget { limit: UNLIMITED }) => false,
        // A budget bounds all that is ever spent, and so what is held, or spent in a window or at once.
        (Limit::Budget { limit }, Limit::Rate(inner)) => inner.burst > *limit,
        (Limit::Budget { limit }, Limit::Quota(inner)) => inner.limit > *limit,
        (Limit::Budget { limit }, Limit::Budget { limit: inner } | Limit::InFlight { limit: inner }) => {
            inner > limit
        }
        (Limit::Rate(outer), Limit::Rate(inner)) => rate_covers_rate(outer, inner),
        (Limit::Rate(outer), Limit::Quota(inner)) => rate_covers_quota(outer, inner, fixed_days),
        (Limit::Quota(outer), Limit::Rate(inner)) => quota_covers_rate(outer, inner, fixed_days),
        (Limit::Quota(outer), Limit::Quota(inner)) => {
            // Of another zone, one more at either end, whatever clocks do there.
            let more = if aligned { 0 } else { 2 };
            let windows = windows_within(outer.period, inner.period, fixed_days) + more;
            u128::from(inner.limit) > u128::from(outer.limit) * u128::from(windows)
        }
        (Limit::InFlight { limit }, Limit::InFlight { limit: inner }) => inner > limit,
        // A rate or a quota refills for ever, so a budget under it is reached one day; and what is held adds
        // up over refills.
        (Limit::Rate(_) | Limit::Quota(_), Limit::Budget { .. } | Limit::InFlight { .. }) => false,
        // What is released can be taken again.
        (Limit::InFlight { .. }, _) => false,
    }
}

/// At least as fast and as large, and back from its deepest debt no later: then it always has as much left. A
/// debt as deep as the burst, which is the default, is not taken as meant to bind; a deeper one is.
fn rate_covers_rate(outer: &Rate, inner: &Rate) -> bool {
    // tokens / period, cross-multiplied: each product is below 2^128.
    let inner_speed = u128::from(inner.tokens) * u128::from(outer.period);
    let outer_speed = u128::from(outer.tokens) * u128::from(inner.period);
    if inner_speed < outer_speed || inner.burst < outer.burst {
        return false;
    }
    let larger = inner_speed > outer_speed || inner.burst > outer.burst;
    larger && (inner.max_debt <= inner.burst || nanos_of_debt(inner) <= nanos_of_debt(outer))
}

/// How long a rate takes from its deepest debt to zero.
fn nanos_of_debt(rate: &Rate) -> u128 {
    (u128::from(rate.max_debt) * u128::from(rate.period)).div_ceil(u128::from(rate.tokens.max(1)))
}

/// The quota exceeds all that the rate, with its overage, gives in the longest window.
fn rate_covers_quota(outer: &Rate, inner: &Quota, fixed_days: bool) -> bool {
    let most = outer.most_in(longest(inner.period, fixed_days)).saturating_add(u128::from(outer.max_debt));
    u128::from(inner.limit) > most
}

/// The burst takes two whole quotas, one on each side of an edge, and the rate another in every window.
fn quota_covers_rate(outer: &Quota, inner: &Rate, fixed_days: bool) -> bool {
    let two = u128::from(outer.limit) * 2;
    let supplied = u128::from(inner.tokens) * u128::from(shortest(outer.period, fixed_days));
    let needed = u128::from(outer.limit) * u128::from(inner.period);
    let burst = u128::from(inner.burst);
    burst >= two && supplied >= needed && (burst > two || supplied > needed)
}

const MINUTE: u64 = 60_000_000_000;

/// Whether every window of one period in `zone` is known to be as long as any other, but for months.
pub(in crate::policy) fn has_fixed_days(zone: &str) -> bool {
    matches!(zone, "UTC" | "Etc/UTC" | "GMT" | "Etc/GMT")
}

/// Nanoseconds of a period's regular window; none for months.
fn regular(period: Period) -> Option<u64> {
    match period {
        Period::Minute => Some(MINUTE),
        Period::Hour => Some(60 * MINUTE),
        Period::Day => Some(24 * 60 * MINUTE),
        Period::Week => Some(7 * 24 * 60 * MINUTE),
        Period::Month => None,
    }
}

/// Nanoseconds of a period's shortest window.
pub(in crate::policy) fn shortest(period: Period, fixed_days: bool) -> u64 {
    regular(period).filter(|_| fixed_days).unwrap_or(period.shortest())
}

/// Nanoseconds of a period's longest window.
fn longest(period: Period, fixed_days: bool) -> u64 {
    regular(period).filter(|_| fixed_days).unwrap_or(period.longest())
}

/// How many windows of `small` one window of `large` can touch; 1 where `small` is the longer one and holds it
/// whole.
fn windows_within(small: Period, large: Period, fixed_days: bool) -> u64 {
    use Period::{Day, Hour, Minute, Month, Week};
    let hours_of_day = if fixed_days { 24 } else { 26 };
    match (small, large) {
        (Minute, _) => longest(large, fixed_days).div_ceil(MINUTE),
        (Hour, Minute | Hour) => 1,
        (Hour, Day) => hours_of_day,
        (Hour, Week) => 7 * 24 + (hours_of_day - 24),
        (Hour, Month) => 31 * 24 + (hours_of_day - 24),
        (Day, Minute | Hour | Day) => 1,
        (Day, Week) => 7,
        (Day, Month) => 31,
        (Week, Month) => 6,
        (Week, _) => 1,
        // A week can lie across the edge of two months; everything shorter lies in one.
        (Month, Week) => 2,
        (Month, _) => 1,
    }
}

#[cfg(test)]
mod tests;
