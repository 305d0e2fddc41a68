//! A description as aligned text for a terminal.

use std::{fmt, time::Duration};

use super::{DescribedLevel, DescribedRule, DescribedTier, Description};
use crate::policy::{quantity::ByteSize, spec::OnDrop};

impl fmt::Display for Description {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meters: Vec<String> = self
            .meters
            .iter()
            .map(|meter| match meter.least {
                1 => meter.name.to_string(),
                least => format!("{} (at least {})", meter.name, grouped(least)),
            })
            .collect();
        writeln!(out, "meters      {}", meters.join(", "))?;
        writeln!(out, "zone        {}; weeks start on {}", self.zone, self.week_start)?;
        if !self.zones.is_empty() {
            writeln!(out, "zones       {}, which organizations may be in", self.zones.join(", "))?;
        }
        match self.on_drop {
            OnDrop::Refund => writeln!(out, "on drop     a permit gives back what it reserved")?,
            OnDrop::Charge => writeln!(out, "on drop     what a permit reserved stays charged")?,
        }
        if self.retry_jitter_ns > 0 {
            let jitter = Duration::from_nanos(self.retry_jitter_ns);
            writeln!(out, "denied      to come back up to {jitter:?} later than could be")?;
        }
        match self.replicas {
            1 => writeln!(out, "replicas    1")?,
            replicas => {
                writeln!(out, "replicas    {replicas}: every limit below is the share of one of them")?;
            }
        }
        writeln!(out, "tightening  costs times {} at most", self.largest_factor)?;
        match &self.anonymous {
            Some(tier) => writeln!(out, "anonymous   callers without a credential are of tier {tier}")?,
            None => writeln!(out, "anonymous   no tier for callers without a credential")?,
        }
        writeln!(
            out,
            "capacity    {} accounts, {} organizations; parked: {} and {}",
            grouped(self.accounts),
            grouped(self.organizations),
            grouped(self.parked_accounts),
            grouped(self.parked_organizations),
        )?;
        writeln!(
            out,
            "reload      later policies may have {} more rules a level than fit now, and {} more tiers{}",
            self.spare_rules,
            self.spare_tiers,
            if self.fresh { "; what has come while something is gone starts anew" } else { "" },
        )?;
        write!(out, "memory      {} bytes of tables", grouped(self.table_bytes))?;
        if self.evidence_bytes > 0 {
            write!(out, " and {} of evidence", grouped(self.evidence_bytes))?;
        }
        writeln!(out, ", of {} allowed", ByteSize(self.memory))?;
        for tier in &self.tiers {
            writeln!(out)?;
            write_tier(out, tier)?;
        }
        if !self.warnings.is_empty() {
            writeln!(out)?;
        }
        for warning in &self.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        Ok(())
    }
}

fn write_tier(out: &mut fmt::Formatter<'_>, tier: &DescribedTier) -> fmt::Result {
    writeln!(out, "tier {}", tier.name)?;
    if let Some(zone) = &tier.zone {
        writeln!(out, "  quotas follow {zone}, but those of the total")?;
    }
    let header = [
        "level",
        "meter",
        "rule",
        "limit",
        "burst",
        "debt",
        "one token in",
        "most a minute",
        "an hour",
        "a day",
        "30 days",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    for level in &tier.levels {
        rows.extend(level.rules.iter().map(|rule| rule_row(level, rule)));
    }
    if rows.len() == 1 {
        writeln!(out, "  no rule")?;
    } else {
        write_rows(out, &rows, 4)?;
    }
    writeln!(out, "  the whole tier takes at most")?;
    let mut rows = vec![["", "a day", "30 days"].map(str::to_owned)];
    rows.extend(
        tier.bounds.iter().map(|bound| [bound.meter.to_string(), most(bound.per_day), most(bound.per_month)]),
    );
    write_rows(out, &rows, 1)?;
    if !tier.counted.is_empty() {
        let names: Vec<&str> = tier.counted.iter().map(|name| name.as_str()).collect();
        writeln!(out, "  only counted, never refused: {}", names.join(", "))?;
    }
    for guard in &tier.guards {
        writeln!(out, "  {guard}")?;
    }
    Ok(())
}

fn rule_row(level: &DescribedLevel, rule: &DescribedRule) -> [String; 11] {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), grouped);
    // The number in front, with its thousands apart.
    let digits = rule.limit.find(|c: char| !c.is_ascii_digit()).unwrap_or(rule.limit.len());
    let (tokens, rest) = rule.limit.split_at_checked(digits).unwrap_or(("", &rule.limit));
    let limit = tokens.parse().map_or_else(|_| tokens.to_owned(), grouped) + rest;
    let limit = match rule.kind {
        "budget" => format!("{limit} ever"),
        "in_flight" => format!("{limit} at once"),
        _ => limit,
    };
    let limit = match (rule.shadow, rule.soft) {
        (true, _) => format!("{limit}, in shadow"),
        (false, Some(soft)) => format!("{limit}, told from {}", grouped(soft)),
        (false, None) => limit,
    };
    [
        level.level.to_string(),
        rule.meter.to_string(),
        rule.rule.to_string(),
        limit,
        number(rule.burst),
        number(rule.max_debt),
        rule.refill_ns.map_or_else(|| "-".to_owned(), span),
        most(rule.most.minute),
        most(rule.most.hour),
        most(rule.most.day),
        most(rule.most.month),
    ]
}

/// A bound, or that there is none.
fn most(bound: Option<u64>) -> String {
    bound.map_or_else(|| "no bound".to_owned(), grouped)
}

/// Rows under each other, the first `left` columns flush left and the others flush right.
fn write_rows<const N: usize>(
    out: &mut fmt::Formatter<'_>,
    rows: &[[String; N]],
    left: usize,
) -> fmt::Result {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let mut line = String::from(" ");
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            if column < left {
                line.push_str(&format!(" {cell:<width$} "));
            } else {
                line.push_str(&format!(" {cell:>width$} "));
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A number with its thousands apart, as a policy may write it: `1_500_000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// A time with three decimals at most, in the unit that suits it.
fn span(nanos: u64) -> String {
    const UNITS: [(&str, u64); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let (unit, scale) = UNITS.into_iter().find(|(_, scale)| nanos >= *scale).unwrap_or(("ns", 1));
    let thousandths = u128::from(nanos % scale) * 1000 / u128::from(scale);
    let decimals = format!("{thousandths:03}");
    match decimals.trim_end_matches('0') {
        "" => format!("{} {unit}", nanos / scale),
        decimals => format!("{}.{decimals} {unit}", nanos / scale),
    }
}
