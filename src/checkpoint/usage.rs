//! What was counted, for those who read it: of a line's words, and of a checkpoint's records.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::{
    error::{Cause, CheckpointError},
    log::Log,
    record::{Amounts, Record},
    store::Store,
};
use crate::{
    bucket::{self, Moment},
    calendar::{Calendar, Period},
    decision::{Level, Name, RuleName},
    id::KeptId,
    policy::plan::{Limit, MAX_RULES, Rule},
    time::Anchor,
};

/// What one quota or budget has counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counted {
    /// What it counts.
    pub meter: Name,
    /// Its name.
    pub rule: RuleName,
    /// `quota` or `budget`.
    pub kind: &'static str,
    /// Of a quota, the length of its window.
    pub period: Option<Period>,
    /// Of a quota, when the window began: unix nanoseconds.
    pub from: Option<i64>,
    /// When the window ends.
    pub to: Option<i64>,
    /// What was counted in it, or of a budget ever; with what an earlier window was overrun by and this one makes up for.
    pub used: u64,
    /// The policy's limit; `None` where it only counts.
    pub limit: Option<u64>,
}

/// What was counted of an account, an organization or a tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// Where it sits.
    pub level: Level,
    /// The tier that it was in last.
    pub tier: Name,
    /// Of an account or an organization.
    pub id: Option<KeptId>,
    /// Of an organization, where the limiter was told it.
    pub name: Option<String>,
    /// By rule.
    pub counted: Vec<Counted>,
}

impl Usage {
    /// All that a store's checkpoint has counted, as of when its last block was written.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, all of it.
    pub fn read_all(store: &mut dyn Store) -> Result<Vec<Usage>, CheckpointError> {
        let Some(log) = Log::check(store)? else { return Ok(Vec::new()) };
        let mut usage = BTreeMap::new();
        log.each(store, |block| {
            let shape = &block.head.shape;
            let calendars = shape.calendars.iter().map(|windows| {
                let calendar = Calendar::new(windows.period, &windows.zone, windows.week_start);
                calendar
                    .map(Arc::new)
                    .map_err(|error| CheckpointError::new(Cause::Policy(vec![format!("zone: {error}")])))
            });
            let calendars = calendars.collect::<Result<Vec<_>, _>>()?;
            let moment = Moment::new(0, Anchor::new(log.head.unix), &calendars);
            let told = |tier: u8, level, amounts: &Amounts| {
                let tier = shape.tiers.get(usize::from(tier))?;
                let counted = counted(&shape.meters, tier.rules(level), &amounts.0, &moment);
                Some((tier.name, counted))
            };
            for record in block.records {
                match record {
                    Record::Line(line) => {
                        let Some((tier, counted)) = told(line.tier, line.level, &line.amounts) else {
                            continue;
                        };
                        let (level, id, name) = (line.level, Some(line.id), line.name);
                        usage.insert((level, id, None), Usage { level, tier, id, name, counted });
                    }
                    Record::Shared(shared) if shared.level == Level::Tier => {
                        let Some((tier, counted)) = told(shared.tier, shared.level, &shared.amounts) else {
                            continue;
                        };
                        let level = shared.level;
                        let of_tier = Usage { level, tier, id: None, name: None, counted };
                        usage.insert((level, None, Some(tier)), of_tier);
                    }
                    Record::Gone(level, id) => {
                        usage.remove(&(level, Some(id), None));
                    }
                    Record::Shared(_) | Record::Overrides(_) => {}
                }
            }
            Ok(())
        })?;
        Ok(usage.into_values().filter(|usage| usage.counted.iter().any(|one| one.used > 0)).collect())
    }
}

/// What the quotas and budgets among `rules` have counted.
pub(crate) fn counted(
    meters: &[Name],
    rules: &[Rule],
    words: &[u64; MAX_RULES],
    moment: &Moment<'_>,
) -> Vec<Counted> {
    let of = |(rule, word): (&Rule, &u64)| {
        let meter = *meters.get(rule.meter.index())?;
        let (period, window) = match &rule.limit {
            Limit::Quota(quota) => (Some(quota.period), Some(moment.window_of(quota, *word)?)),
            Limit::Budget { .. } => (None, None),
            Limit::Rate(_) | Limit::InFlight { .. } => return None,
        };
        Some(Counted {
            meter,
            rule: rule.name,
            kind: rule.limit.kind(),
            period,
            from: window.map(|window| window.start),
            to: window.map(|window| window.end),
            used: bucket::used(&rule.limit, *word, moment),
            limit: Some(rule.limit.most()).filter(|_| !rule.limit.only_counts()),
        })
    };
    rules.iter().zip(words).filter_map(of).collect()
}
