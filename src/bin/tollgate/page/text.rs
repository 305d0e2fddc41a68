//! Numbers and times as people read them.

/// A share, with as many digits as it takes to tell it from nothing and from all.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 || part > whole {
        return "-".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    // What it differs from nothing or all by, whichever is less, is at least one in so many.
    let is_one_in = |many: u128| u128::from(part.min(whole - part)) * many >= u128::from(whole);
    match part {
        0 => "0%".to_owned(),
        _ if part == whole => "100%".to_owned(),
        _ if is_one_in(1_000) => format!("{percent:.1}%"),
        _ if is_one_in(10_000) => format!("{percent:.2}%"),
        _ if is_one_in(100_000) => format!("{percent:.3}%"),
        _ if percent < 1.0 => "<0.001%".to_owned(),
        _ => ">99.999%".to_owned(),
    }
}

/// A number in three digits or so, for an axis.
pub(super) fn short(number: f64) -> String {
    let (scaled, unit) = match number {
        _ if number >= 1e9 => (number / 1e9, "G"),
        _ if number >= 1e6 => (number / 1e6, "M"),
        _ if number >= 1e4 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    let text = format!("{scaled:.1}");
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// One of something, or several.
pub(super) fn plural(count: u64, one: &str, several: &str) -> String {
    format!("{} {}", crate::report::grouped(u128::from(count)), if count == 1 { one } else { several })
}

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// How long a stretch is, such as `hour` or `4 hours`: what stands after "per".
pub(super) fn width(width_ms: u64) -> String {
    let (count, unit) = match width_ms {
        _ if width_ms.is_multiple_of(DAY_MS) => (width_ms / DAY_MS, "day"),
        _ if width_ms.is_multiple_of(HOUR_MS) => (width_ms / HOUR_MS, "hour"),
        _ => (width_ms / MINUTE_MS, "minute"),
    };
    if count == 1 { unit.to_owned() } else { format!("{count} {unit}s") }
}

/// A moment of a trace: days since its start, and the time of that day.
pub(super) fn moment(at_ms: u64) -> String {
    let (day, rest) = (at_ms / DAY_MS, at_ms % DAY_MS);
    format!("day {day}, {:02}:{:02}", rest / HOUR_MS, rest % HOUR_MS / MINUTE_MS)
}

/// A time in hours or days.
pub(super) fn span(seconds: f64) -> String {
    match seconds {
        _ if seconds >= 2.0 * 86_400.0 => format!("{:.1} days", seconds / 86_400.0),
        _ if seconds >= 3_600.0 => format!("{:.1} h", seconds / 3_600.0),
        _ if seconds >= 60.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{seconds:.0} s"),
    }
}

/// Points of time for an axis from `from_ms` to `to_ms`, in the unit of its name.
pub(super) fn ticks(from_ms: u64, to_ms: u64) -> (Vec<(u64, u64)>, &'static str) {
    const MOST: u64 = 7;
    const STEPS: [(u64, u64, &str); 17] = [
        (1, MINUTE_MS, "minutes"),
        (5, MINUTE_MS, "minutes"),
        (10, MINUTE_MS, "minutes"),
        (15, MINUTE_MS, "minutes"),
        (30, MINUTE_MS, "minutes"),
        (1, HOUR_MS, "hours"),
        (2, HOUR_MS, "hours"),
        (4, HOUR_MS, "hours"),
        (8, HOUR_MS, "hours"),
        (1, DAY_MS, "days"),
        (2, DAY_MS, "days"),
        (5, DAY_MS, "days"),
        (10, DAY_MS, "days"),
        (25, DAY_MS, "days"),
        (50, DAY_MS, "days"),
        (100, DAY_MS, "days"),
        (2_000, DAY_MS, "days"),
    ];
    let fits = |(count, unit, _): &(u64, u64, &str)| (to_ms - from_ms) / (count * unit) <= MOST;
    let (count, unit, name) = STEPS.into_iter().find(fits).unwrap_or((5_000, DAY_MS, "days"));
    let step = count * unit;
    let first = from_ms.div_ceil(step) * step;
    ((first..=to_ms).step_by(step as usize).map(|at| (at, at / unit)).collect(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_never_rounded_to_nothing_or_all() {
        let shares = [(0, 9), (1, 1_000_000), (5, 274_329), (33, 1000), (389, 1000), (999, 1000), (9, 9)];
        assert_eq!(
            shares.map(|(part, whole)| share(part, whole)),
            ["0%", "<0.001%", "0.002%", "3.3%", "38.9%", "99.9%", "100%"]
        );
        assert_eq!(share(0, 0), "-");
        assert_eq!(share(9_999_999, 10_000_000), ">99.999%");
    }

    #[test]
    fn an_axis_has_few_ticks_whatever_the_time() {
        for hours in [1_u64, 3, 20, 168, 720, 24 * 366, 24 * 365 * 30] {
            let (ticks, _) = ticks(0, hours * HOUR_MS);
            assert!((2..=8).contains(&ticks.len()), "{hours} hours: {ticks:?}");
        }
        assert_eq!(ticks(3 * DAY_MS, 10 * DAY_MS).0.first(), Some(&(3 * DAY_MS, 3)));
        assert_eq!(ticks(0, 7 * DAY_MS - 1).1, "days");
    }
}
