//! Numbers that one account, or one hour, cannot move far.

/// A share of a sorted list: the value that `share` of it does not pass, by nearest rank.
///
/// However high the share, the largest of three or more values is left out: one subject alone never sets a limit
/// for the others.
pub(super) fn quantile(sorted: &[u64], share: f64) -> u64 {
    let count = sorted.len();
    let rank = ((share * count as f64).ceil() as usize).clamp(1, count.max(1)) - 1;
    let last = if count >= 3 { count - 2 } else { count.saturating_sub(1) };
    sorted.get(rank.min(last)).copied().unwrap_or(0)
}

/// The busiest of a few days, without the one busiest of three or more.
pub(super) fn busy(days: &[u64]) -> u64 {
    let mut sorted = days.to_vec();
    sorted.sort_unstable();
    quantile(&sorted, 1.0)
}

/// The sum of a few days, of which the busiest counts as the second busiest.
pub(super) fn steady_sum(days: &[u64]) -> u64 {
    let high = busy(days);
    days.iter().map(|day| (*day).min(high)).fold(0, u64::saturating_add)
}

/// What a bucket that refills at `rate` an hour must hold at once, so that it lets these hours through.
pub(super) fn needed_burst(hours: &[(u64, u64)], rate: f64) -> f64 {
    let (mut level, mut most, mut last) = (0.0_f64, 0.0_f64, 0);
    for (hour, count) in hours {
        let idle = hour.saturating_sub(last).saturating_sub(1) as f64;
        level = (level - idle * rate).max(0.0);
        level = (level + *count as f64 - rate).max(0.0);
        // Within its hour, the traffic may come all at once.
        most = most.max(level + rate / 2.0);
        last = *hour;
    }
    most
}

/// `number` rounded up to what an operator would write: two digits, and a half where the first is a one.
pub(super) fn readable(number: f64) -> u64 {
    let number = number.ceil().clamp(1.0, 1e18) as u64;
    let unit = unit(number);
    number.div_ceil(unit) * unit
}

/// The same, rounded down.
pub(super) fn readable_below(number: f64) -> u64 {
    let number = number.floor().clamp(1.0, 1e18) as u64;
    number / unit(number) * unit(number)
}

fn unit(number: u64) -> u64 {
    let mut unit = 1;
    while number.div_ceil(unit) > 100 {
        unit *= 10;
    }
    if unit > 1 && number <= 20 * unit { unit / 2 } else { unit }
}

/// A number as a policy says it: `950`, `9.5k`, `1.25M`.
pub(super) fn said(number: u64) -> String {
    for (unit, suffix) in [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")] {
        if number >= unit && number.is_multiple_of(unit / 100) {
            let (whole, hundredths) = (number / unit, number % unit / (unit / 100));
            let fraction = format!(".{hundredths:02}");
            return format!("{whole}{}{suffix}", fraction.trim_end_matches('0').trim_end_matches('.'));
        }
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_heavy_subject_sets_nothing() {
        let mut use_of_each: Vec<u64> = (1..=100).collect();
        use_of_each.push(1_000_000);
        assert_eq!(quantile(&use_of_each, 0.999), 100);
        assert_eq!(quantile(&use_of_each, 0.5), 51);
        assert_eq!(quantile(&[7], 0.9), 7);
        assert_eq!(quantile(&[], 0.9), 0);
        assert_eq!(busy(&[10, 900, 12, 11]), 12);
        assert_eq!(busy(&[10, 12]), 12);
        assert_eq!(steady_sum(&[10, 900, 12, 11]), 45);
    }

    #[test]
    fn numbers_are_readable_and_never_smaller() {
        for (number, wanted, text) in [
            (0.2, 1, "1"),
            (98.2, 99, "99"),
            (101.0, 105, "105"),
            (1_234.0, 1_250, "1.25k"),
            (9_420.0, 9_500, "9.5k"),
            (17_215.0, 17_500, "17.5k"),
            (21_001.0, 22_000, "22k"),
            (1_710_000.0, 1_750_000, "1.75M"),
            (1_990_001.0, 2_000_000, "2M"),
            (1_040_000.0, 1_050_000, "1.05M"),
            (31_400_000_000.0, 32_000_000_000, "32G"),
        ] {
            assert_eq!(readable(number), wanted);
            assert_eq!(said(wanted), text);
        }
        assert_eq!(said(123_456_789), "123456789");
        assert_eq!(readable_below(19_142.0), 19_000);
        assert_eq!(readable_below(99.9), 99);
    }

    #[test]
    fn a_burst_carries_the_hours_that_pass_the_rate() {
        assert!(needed_burst(&[(0, 10), (1, 10)], 20.0) <= 20.0);
        let high = needed_burst(&[(0, 500), (1, 500), (2, 0), (9, 500)], 100.0);
        assert!((800.0..=900.0).contains(&high), "{high}");
    }
}
