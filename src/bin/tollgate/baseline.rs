//! What the same limits per account would have done alone: `governor`, one keyed limiter for each account rate
//! rule of each tier, all rules of an account in sequence, each charged with what the request really used.
//!
//! `governor` has no quota, no budget, no concurrency, no level above the account and no settling; a rule that
//! was charged stays charged when a later one refuses. Its cells are 32-bit and its interval per token a whole
//! number of nanoseconds, both rounded in the caller's favour.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter, clock::FakeRelativeClock, middleware::NoOpMiddleware, state::keyed::DashMapStateStore,
};
use tollgate::{DescribedTier, Description, Level, TokenRate};

use crate::{
    meters::Meters,
    row::{Batch, Symbol},
    score::{Refusal, Score},
};

type Keyed =
    RateLimiter<Symbol, DashMapStateStore<Symbol>, FakeRelativeClock, NoOpMiddleware<governor::nanos::Nanos>>;

/// Every account rate rule of a policy, without anything else of it.
pub(crate) struct Baseline {
    clock: FakeRelativeClock,
    now_ms: u64,
    meters: Meters,
    policy_tiers: Vec<(Box<str>, Vec<Vec<Keyed>>)>,
    /// By the trace's symbol: which of the policy's.
    tiers: Vec<Option<usize>>,
    score: Score,
}

impl Baseline {
    pub(crate) fn new(policy: &Description) -> Baseline {
        let clock = FakeRelativeClock::default();
        let policy_tiers = policy.tiers.iter().map(|tier| {
            let by_meter = policy.meters.iter().map(|meter| rules(tier, meter.name.as_str(), &clock));
            (tier.name.as_str().into(), by_meter.collect())
        });
        Baseline {
            now_ms: 0,
            meters: Meters::new(policy.meters.iter().map(|meter| meter.name.as_str())),
            policy_tiers: policy_tiers.collect(),
            tiers: Vec::new(),
            score: Score::default(),
            clock,
        }
    }

    /// Counts by time too, from now on.
    pub(crate) fn record_traffic(&mut self) {
        self.score.record_traffic();
    }

    /// Decides a batch.
    pub(crate) fn decide(&mut self, batch: &Batch) {
        self.meters.learn_models(&batch.names.models);
        self.score.learn_labels(&batch.names.labels);
        for (tier, _) in &batch.names.tiers {
            self.tiers.push(self.policy_tiers.iter().position(|(name, _)| name == tier));
        }
        for row in &batch.rows {
            self.clock.advance(Duration::from_millis(row.at_ms.saturating_sub(self.now_ms)));
            self.now_ms = row.at_ms;
            let tier = self.tiers.get(row.tier as usize).copied().flatten();
            let rules = tier.and_then(|tier| self.policy_tiers.get(tier)).map(|(_, rules)| rules.as_slice());
            let refused = self.meters.amounts(row, row.output_tokens).any(|(meter, amount)| {
                let amount = NonZeroU32::new(u32::try_from(amount).unwrap_or(u32::MAX));
                let rules = rules.and_then(|rules| rules.get(meter));
                amount.is_some_and(|amount| {
                    rules.into_iter().flatten().any(|rule| !admits(rule, row.account, amount))
                })
            });
            self.score.record(row, refused.then_some(Refusal::Account));
        }
    }

    /// The score, at the end of the trace.
    pub(crate) fn finish(self) -> Score {
        self.score
    }
}

/// The rate rules that `tier` has for an account on `meter`.
fn rules(tier: &DescribedTier, meter: &str, clock: &FakeRelativeClock) -> Vec<Keyed> {
    let levels = tier.levels.iter().filter(|level| level.level == Level::Account);
    let rules = levels.flat_map(|level| &level.rules).filter(|rule| rule.meter.as_str() == meter);
    let quotas = rules.filter_map(|rule| {
        // Only a rate has a burst.
        let burst = u32::try_from(rule.burst?).unwrap_or(u32::MAX);
        let rate: TokenRate = rule.limit.parse().ok()?;
        let interval = Duration::from_nanos((rate.nanos / rate.tokens.max(1)).max(1));
        Some(Quota::with_period(interval)?.allow_burst(NonZeroU32::new(burst)?))
    });
    quotas.map(|quota| RateLimiter::dashmap_with_clock(quota, clock.clone())).collect()
}

/// More than the burst is refused as well.
fn admits(rule: &Keyed, account: Symbol, amount: NonZeroU32) -> bool {
    matches!(rule.check_key_n(&account, amount), Ok(Ok(())))
}
