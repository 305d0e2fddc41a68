//! What a trace offered, by account, organization, tier and day.
//!
//! Memory grows with accounts and organizations times the days on which each was seen, and with a tier's hours;
//! not with rows.

use std::collections::HashMap;

use crate::row::{Batch, Names, Row, Symbol};

/// Requests, input tokens, output tokens.
pub(super) const MEASURES: usize = 3;
/// An amount of each.
pub(super) type Amounts = [u64; MEASURES];

pub(super) const HOUR_MS: u64 = 3_600_000;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;
/// Lengths of time whose largest sum is kept, in milliseconds: they size bursts and rates.
const PEAKS_MS: [u64; 2] = [60_000, 10 * 60_000];

fn add(sum: &mut Amounts, more: &Amounts) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum = sum.saturating_add(*more);
    }
}

/// The largest sum over windows of one length.
#[derive(Clone, Copy, Debug, Default)]
struct Peak {
    window: u64,
    sum: Amounts,
    most: Amounts,
}

impl Peak {
    fn add(&mut self, window: u64, amounts: &Amounts) {
        if window != self.window {
            (self.window, self.sum) = (window, Amounts::default());
        }
        add(&mut self.sum, amounts);
        for (most, sum) in self.most.iter_mut().zip(&self.sum) {
            *most = (*most).max(*sum);
        }
    }
}

/// What one account, organization or tier offered.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    /// The days on which it offered anything, in order.
    pub(super) days: Vec<(u64, Amounts)>,
    peaks: [Peak; PEAKS_MS.len()],
}

impl Usage {
    fn add(&mut self, at_ms: u64, amounts: &Amounts) {
        add_at(&mut self.days, at_ms / DAY_MS, amounts);
        for (peak, length) in self.peaks.iter_mut().zip(PEAKS_MS) {
            peak.add(at_ms / length, amounts);
        }
    }

    /// The most in a minute.
    pub(super) fn minute(&self, measure: usize) -> u64 {
        self.peaks.first().map_or(0, |peak| at(&peak.most, measure))
    }

    /// The most in ten minutes.
    pub(super) fn ten_minutes(&self, measure: usize) -> u64 {
        self.peaks.get(1).map_or(0, |peak| at(&peak.most, measure))
    }

    /// The most in a day.
    pub(super) fn day(&self, measure: usize) -> u64 {
        self.days.iter().map(|(_, amounts)| at(amounts, measure)).max().unwrap_or(0)
    }

    /// The most in a calendar week; a trace begins on a Monday.
    pub(super) fn week(&self, measure: usize) -> u64 {
        let (mut most, mut sum, mut current) = (0, 0, 0);
        for (day, amounts) in &self.days {
            if day / 7 != current {
                (current, sum) = (day / 7, 0);
            }
            sum = u64::saturating_add(sum, at(amounts, measure));
            most = most.max(sum);
        }
        most
    }
}

fn at(amounts: &Amounts, measure: usize) -> u64 {
    amounts.get(measure).copied().unwrap_or(0)
}

fn add_at(list: &mut Vec<(u64, Amounts)>, place: u64, amounts: &Amounts) {
    match list.last_mut() {
        Some((last, sum)) if *last == place => add(sum, amounts),
        _ => list.push((place, *amounts)),
    }
}

/// One account in one tier.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) organization: Option<Symbol>,
    /// Milliseconds on the trace's clock.
    pub(super) since_ms: Option<i64>,
    pub(super) usage: Usage,
}

impl Account {
    /// Whether it is younger than `age_ms` at the end of `day`; false where its age is unknown.
    pub(super) fn is_young(&self, day: u64, age_ms: u64) -> bool {
        let end = i64::try_from((day + 1).saturating_mul(DAY_MS)).unwrap_or(i64::MAX);
        let limit = i64::try_from(age_ms).unwrap_or(i64::MAX);
        self.since_ms.is_some_and(|since| end.saturating_sub(since) <= limit.saturating_add(DAY_MS as i64))
    }
}

/// One tier.
#[derive(Clone, Debug)]
pub(super) struct Tier {
    pub(super) name: Box<str>,
    pub(super) accounts: Vec<Account>,
    /// Of organizations that are named.
    pub(super) organizations: Vec<Usage>,
    pub(super) usage: Usage,
    pub(super) hours: Vec<(u64, Amounts)>,
}

/// All of a trace.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) rows: u64,
    pub(super) first_ms: u64,
    pub(super) last_ms: u64,
    /// In the order of first appearance.
    pub(super) tiers: Vec<Tier>,
    /// Which kinds of evidence the trace has: address, payment, client, template.
    pub(super) evidence: [bool; 4],
    pub(super) models: usize,
    accounts: HashMap<(Symbol, Symbol), usize>,
    organizations: HashMap<(Symbol, Symbol), usize>,
}

impl Observed {
    pub(super) fn add(&mut self, batch: &Batch) {
        self.learn(&batch.names);
        for row in &batch.rows {
            self.add_row(row);
        }
    }

    fn learn(&mut self, names: &Names) {
        self.models += names.models.len();
        self.tiers.extend(names.tiers.iter().map(|(name, _)| Tier {
            name: name.clone(),
            accounts: Vec::new(),
            organizations: Vec::new(),
            usage: Usage::default(),
            hours: Vec::new(),
        }));
    }

    fn add_row(&mut self, row: &Row) {
        let Some(tier) = self.tiers.get_mut(row.tier as usize) else { return };
        if self.rows == 0 {
            self.first_ms = row.at_ms;
        }
        self.rows += 1;
        self.last_ms = row.at_ms;
        let seen = [row.evidence.ip, row.evidence.payment, row.evidence.client, row.evidence.template];
        for (kind, value) in self.evidence.iter_mut().zip(seen) {
            *kind |= value.is_some();
        }
        let amounts = [1, u64::from(row.input_tokens), u64::from(row.output_tokens)];
        tier.usage.add(row.at_ms, &amounts);
        add_at(&mut tier.hours, row.at_ms / HOUR_MS, &amounts);
        let place = *self.accounts.entry((row.tier, row.account)).or_insert_with(|| {
            let account =
                Account { organization: row.organization, since_ms: row.since_ms, usage: Usage::default() };
            tier.accounts.push(account);
            tier.accounts.len() - 1
        });
        if let Some(account) = tier.accounts.get_mut(place) {
            account.usage.add(row.at_ms, &amounts);
        }
        let Some(organization) = row.organization else { return };
        let place = *self.organizations.entry((row.tier, organization)).or_insert_with(|| {
            tier.organizations.push(Usage::default());
            tier.organizations.len() - 1
        });
        if let Some(organization) = tier.organizations.get_mut(place) {
            organization.add(row.at_ms, &amounts);
        }
    }

    /// How long the trace is, in days.
    pub(super) fn span_days(&self) -> f64 {
        (self.last_ms.saturating_sub(self.first_ms) + 1) as f64 / DAY_MS as f64
    }

    /// Calendar days from the first request to the last.
    pub(super) fn days(&self) -> std::ops::RangeInclusive<u64> {
        self.first_ms / DAY_MS..=self.last_ms / DAY_MS
    }
}
