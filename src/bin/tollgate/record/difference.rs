//! What one policy admits and another refuses, request by request, and to whom.

use std::collections::{BTreeMap, HashMap};

use super::watch::{CLASSES, Class, RuleKey, sort_busiest};
use crate::row::{Batch, Names, Row, Symbol};

/// What differs for some requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Requests that only the other policy refuses, and their output tokens.
    pub(crate) refused: u64,
    pub(crate) tokens_refused: u64,
    /// Requests that only the other policy admits, and their output tokens.
    pub(crate) admitted: u64,
    pub(crate) tokens_admitted: u64,
    /// Accounts that any of these are of.
    pub(crate) accounts: u64,
}

impl Changed {
    fn add(&mut self, is_refused: bool, tokens: u64) {
        let (requests, sum) = if is_refused {
            (&mut self.refused, &mut self.tokens_refused)
        } else {
            (&mut self.admitted, &mut self.tokens_admitted)
        };
        *requests += 1;
        *sum += tokens;
    }
}

/// What a rule refuses under one policy alone, by [`Class`].
pub(crate) type ByRule = Vec<(RuleKey, [u64; CLASSES.len()])>;

/// The difference between two policies over a trace; only what differs is in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Difference {
    /// By label and tier.
    pub(crate) people: BTreeMap<(Box<str>, Box<str>), Changed>,
    /// The other policy's rules that refuse what the first admits, the busiest first.
    pub(crate) refusing: ByRule,
    /// The first policy's rules that refuse what the other admits, the busiest first.
    pub(crate) released: ByRule,
}

/// Compares two lists of decisions on the same rows.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    labels: Vec<(Box<str>, Class)>,
    tiers: Vec<Box<str>>,
    people: HashMap<(Symbol, Symbol), Changed>,
    /// Who has been counted under which label and tier.
    accounts: HashMap<Symbol, (Symbol, Symbol)>,
    refusing: HashMap<RuleKey, [u64; CLASSES.len()]>,
    released: HashMap<RuleKey, [u64; CLASSES.len()]>,
}

impl Comparison {
    /// `first` and `other` say for each row of `batch` which rule refused it.
    pub(crate) fn add(&mut self, batch: &Batch, first: &[Option<RuleKey>], other: &[Option<RuleKey>]) {
        self.learn(&batch.names);
        for ((row, first), other) in batch.rows.iter().zip(first).zip(other) {
            match (first, other) {
                (None, Some(rule)) => self.changed(row, *rule, true),
                (Some(rule), None) => self.changed(row, *rule, false),
                _ => {}
            }
        }
    }

    fn learn(&mut self, names: &Names) {
        self.labels.extend(names.labels.iter().map(|label| (label.clone(), Class::of(label))));
        self.tiers.extend(names.tiers.iter().map(|(tier, _)| tier.clone()));
    }

    fn changed(&mut self, row: &Row, rule: RuleKey, is_refused: bool) {
        let class = self.labels.get(row.label as usize).map_or(Class::Other, |(_, class)| *class);
        let rules = if is_refused { &mut self.refusing } else { &mut self.released };
        rules.entry(rule).or_default()[class as usize] += 1;
        let place = (row.label, row.tier);
        let changed = self.people.entry(place).or_default();
        changed.add(is_refused, u64::from(row.output_tokens));
        if self.accounts.insert(row.account, place) != Some(place) {
            changed.accounts += 1;
        }
    }

    pub(crate) fn finish(self) -> Difference {
        let Comparison { labels, tiers, people, refusing, released, .. } = self;
        let busiest = |rules: HashMap<RuleKey, [u64; CLASSES.len()]>| {
            let mut rules: ByRule = rules.into_iter().collect();
            sort_busiest(&mut rules);
            rules
        };
        let people = people.into_iter().map(|((label, tier), changed)| {
            let label = labels.get(label as usize).map(|(label, _)| label.clone()).unwrap_or_default();
            ((label, tiers.get(tier as usize).cloned().unwrap_or_default()), changed)
        });
        Difference { people: people.collect(), refusing: busiest(refusing), released: busiest(released) }
    }
}
