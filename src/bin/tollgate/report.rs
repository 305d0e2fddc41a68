//! The outcome as a table for people.

use std::io::{self, Write};

use crate::{
    compare,
    replay::{Story, Told},
    score::{LabelScore, Verdict},
};

/// What a tier could be admitted of a meter at most, and what it was admitted.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) tier: String,
    pub(crate) meter: String,
    pub(crate) most: Option<u128>,
    /// What its honest accounts offered.
    pub(crate) honest: u64,
    pub(crate) admitted: u64,
}

/// Writes the whole report.
pub(crate) fn write(out: &mut impl Write, story: &Story) -> io::Result<()> {
    let Story { source, outcome, policy: Told { bounds, .. }, .. } = story;
    writeln!(out, "Replayed {} requests", grouped(u128::from(outcome.requests)))?;
    writeln!(out, "  of {source}")?;
    let (days, wall) = (outcome.simulated_seconds / 86_400.0, outcome.wall_seconds);
    writeln!(out, "  {days:.1} days simulated in {wall:.1} s")?;
    verdict(out, "The policy", &outcome.policy)?;
    if let Some(baseline) = &outcome.baseline {
        verdict(out, "The same account rates alone (governor)", baseline)?;
        compare(out, &outcome.policy, baseline)?;
    }
    if let Some(other) = &story.other {
        compare::write(out, &outcome.policy, other)?;
    }
    if !bounds.is_empty() {
        writeln!(out, "\nWhat each tier could be admitted in this time, and was")?;
        let mut table =
            Table::new(&["tier", "meter", "at most", "admitted", "honest offered", "at most, of that"]);
        for bound in bounds {
            let most = bound.most.map_or("no bound".to_owned(), grouped);
            table.row(vec![
                bound.tier.clone(),
                bound.meter.clone(),
                most,
                grouped(u128::from(bound.admitted)),
                grouped(u128::from(bound.honest)),
                bound.most.filter(|_| bound.honest > 0).map_or("-".to_owned(), |most| {
                    let percents = most * 100 / u128::from(bound.honest);
                    format!("{}.{:02}", percents / 100, percents % 100)
                }),
            ]);
        }
        table.write(out, 2)?;
        writeln!(out, "  Bounds are of what is reserved; settled overage comes on top.")?;
    }
    out.flush()
}

fn verdict(out: &mut impl Write, title: &str, verdict: &Verdict) -> io::Result<()> {
    writeln!(out, "\n{title}")?;
    let mut table = Table::new(&[
        "label",
        "offered",
        "admitted",
        "by account",
        "(ramp)",
        "by org",
        "by tier",
        "by pool",
        "by cohort",
        "tightened",
        "accounts",
        "hurt",
        "contained after",
    ]);
    for (label, score) in &verdict.labels {
        let share = |count: u64| percent(count, score.offered);
        let contained = match verdict.contained_after_s.get(label) {
            Some(Some(seconds)) => format!("{:.1} h", seconds / 3600.0),
            Some(None) => "never".to_owned(),
            None => String::new(),
        };
        table.row(vec![
            label.to_string(),
            grouped(u128::from(score.offered)),
            share(score.admitted),
            share(score.denied_by.account),
            share(score.denied_by.ramp),
            share(score.denied_by.organization),
            share(score.denied_by.tier),
            share(score.denied_by.pool),
            share(score.denied_by.cohort),
            share(score.denied_by.tightening),
            grouped(u128::from(score.accounts)),
            grouped(u128::from(score.accounts_hurt)),
            contained,
        ]);
    }
    table.write(out, 1)
}

/// What is decided in the end: how much the campaigns took, and what it cost the honest.
fn compare(out: &mut impl Write, policy: &Verdict, baseline: &Verdict) -> io::Result<()> {
    writeln!(out, "\nIn sum: output tokens admitted")?;
    let mut table = Table::new(&["", "policy", "account rates alone"]);
    for (title, prefix) in [("of the campaigns", "attack:"), ("of the honest", "legit")] {
        let share = |verdict: &Verdict| {
            let of_kind = || verdict.labels.iter().filter(|(label, _)| label.starts_with(prefix));
            let sum = |part: fn(&LabelScore) -> u64| of_kind().map(|(_, score)| part(score)).sum::<u64>();
            percent(sum(|score| score.output_tokens_admitted), sum(|score| score.output_tokens_offered))
        };
        table.row(vec![title.to_owned(), share(policy), share(baseline)]);
    }
    table.write(out, 1)
}

/// In whole permille, rounded down, so that 100.0% means all.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let permille = u128::from(part) * 1000 / u128::from(whole);
    format!("{}.{}%", permille / 10, permille % 10)
}

/// Digits in groups of three.
pub(crate) fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns as wide as what is in them.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Table {
        Table { rows: vec![header.iter().map(|&name| name.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The first `names` columns begin at the left, numbers end at the right.
    pub(crate) fn write(&self, out: &mut (impl Write + ?Sized), names: usize) -> io::Result<()> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let width = *width;
                line.push_str(&if column < names {
                    format!("  {cell:<width$}")
                } else {
                    format!("  {cell:>width$}")
                });
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1_000, 16_000_000].map(grouped), ["0", "999", "1,000", "16,000,000"]);
        assert_eq!(percent(1, 3), "33.3%");
        assert_eq!(percent(999_999, 1_000_000), "99.9%");
        assert_eq!(percent(0, 0), "-");
    }
}
