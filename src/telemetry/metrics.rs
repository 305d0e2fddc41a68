//! Metrics of the `metrics` facade.

use std::time::{Duration, SystemTime};

use metrics::{Counter, counter, gauge};

use super::{name_of, outcome};
use crate::{
    decision::{Denial, Level, Name, Receipt},
    id::{Identity, Tier},
    limiter::{Audit, Limiter, Maintenance},
    meter::Cost,
    path::Settlement,
};

/// Tells a recorder of the `metrics` facade about a limiter.
///
/// Made after the recorder was installed. An admission costs an atomic increment, a denial a look-up in the recorder.
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `tollgate_admitted_total` | counter | `tier` |
/// | `tollgate_denied_total` | counter | `tier` `level` `meter` `rule` `outcome`: the first that it is of `overflow`, `tightened`, `withheld`, `never`, `in_flight`, `denied` |
/// | `tollgate_settled_total` | counter | `tier` `outcome`: `whole`, `clipped`, `cut`, `stale` |
/// | `tollgate_would_deny_total` | counter | `tier` `level` `meter` `rule`: of rules in shadow |
/// | `tollgate_lines`, `tollgate_lines_most` | gauge | `of`: how full the tables are |
/// | `tollgate_bytes` | gauge | |
/// | `tollgate_events_total` | counter | `event`: [`Statistics`](crate::Statistics) |
/// | `tollgate_evidence_total` | counter | `event`: [`EvidenceStatistics`](crate::EvidenceStatistics) |
/// | `tollgate_cohorts` | gauge | |
/// | `tollgate_factors` | gauge | `up_to`: `2`, `4`, `8`, `16`, `more`: accounts that evidence has tightened, by their factor |
/// | `tollgate_ring_filled`, `tollgate_ring_cells` | gauge | observations that waited in the fullest ring, and that fit |
/// | `tollgate_overrides` | gauge | `level`: in force |
/// | `tollgate_behind` | gauge | 1 while lines are under an earlier policy |
/// | `tollgate_checkpoints_total` | counter | checkpoints that were written to their end |
/// | `tollgate_checkpoint_age_seconds` | gauge | since the last of them began |
/// | `tollgate_checkpoint_failing` | gauge | 1 while the store fails |
/// | `tollgate_maintained_seconds` | gauge | seconds since 1970 at the last `maintain`: alert on its age |
///
/// ```
/// # let plan = tollgate::Plan::from_toml(include_str!("../../examples/policy.toml"))?;
/// # let limiter = tollgate::Limiter::builder(plan).build()?;
/// use std::{sync::Arc, time::Duration};
/// use tollgate::{Audit, Cost, Upkeep, telemetry::Metrics};
///
/// let metrics = Arc::new(Metrics::new(&limiter));
/// // `GateLayer::audit(metrics.clone())` tells it of decisions; so may a server's own code.
/// let (caller, cost) = (limiter.identity(limiter.tier("verified").unwrap(), 17), Cost::FREE);
/// match limiter.check(&caller, &cost) {
///     Ok(receipt) => metrics.admitted(&caller, &cost, &receipt),
///     Err(denial) => metrics.denied(&caller, &cost, &denial),
/// }
/// let upkeep = Upkeep::thread(&limiter, Duration::from_secs(60), move |limiter, done| {
///     metrics.maintained(limiter, done);
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Metrics {
    /// By tier.
    tiers: Vec<OfTier>,
    /// Of tiers that have come since.
    others: OfTier,
}

#[derive(Debug)]
struct OfTier {
    admitted: Counter,
    whole: Counter,
    clipped: Counter,
    cut: Counter,
    stale: Counter,
}

impl OfTier {
    fn new(name: Name) -> OfTier {
        let settled = |outcome: &'static str| counter!("tollgate_settled_total", "tier" => name.to_string(), "outcome" => outcome);
        OfTier {
            admitted: counter!("tollgate_admitted_total", "tier" => name.to_string()),
            whole: settled("whole"),
            clipped: settled("clipped"),
            cut: settled("cut"),
            stale: settled("stale"),
        }
    }
}

impl Metrics {
    /// For the tiers of `limiter`'s policy; those that later policies add are counted together, as `other`.
    pub fn new(limiter: &Limiter) -> Metrics {
        let plan = limiter.plan();
        Metrics {
            tiers: plan.tiers.iter().map(|tier| OfTier::new(tier.name)).collect(),
            others: OfTier::new(Name::new("other").unwrap_or_default()),
        }
    }

    fn of(&self, tier: Tier) -> &OfTier {
        self.tiers.get(usize::from(tier.as_u8())).unwrap_or(&self.others)
    }

    /// Writes how the limiter stands. To be called after each call of `maintain`; reads two bytes for each slot of the
    /// tables.
    pub fn maintained(&self, limiter: &Limiter, done: &Maintenance) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        gauge!("tollgate_maintained_seconds").set(now.as_secs_f64());
        gauge!("tollgate_behind").set(f64::from(u8::from(done.behind)));
        let plan = limiter.plan();
        let statistics = limiter.statistics();
        let capacity = &plan.capacity;
        for (of, lines, most) in [
            ("accounts", statistics.accounts, capacity.accounts),
            ("organizations", statistics.organizations, capacity.organizations),
            ("parked_accounts", statistics.parked_accounts, capacity.parked_accounts),
            ("parked_organizations", statistics.parked_organizations, capacity.parked_organizations),
        ] {
            gauge!("tollgate_lines", "of" => of).set(lines as f64);
            gauge!("tollgate_lines_most", "of" => of).set(most as f64);
        }
        gauge!("tollgate_bytes").set(statistics.bytes as f64);
        for (event, count) in [
            ("overflowed", statistics.overflowed),
            ("clipped_refunds", statistics.clipped_refunds),
            ("unnoted_permits", statistics.unnoted_permits),
            ("cut_overages", statistics.cut_overages),
            ("stale_settles", statistics.stale_settles),
            ("leases_taken", statistics.leases_taken),
            ("leases_recalled", statistics.leases_recalled),
            ("tier_moves", statistics.tier_moves),
            ("tier_flaps", statistics.tier_flaps),
            ("zone_moves", statistics.zone_moves),
            ("wall_steps", statistics.wall_steps),
            ("refused_wall_steps", statistics.refused_wall_steps),
        ] {
            counter!("tollgate_events_total", "event" => event).absolute(count);
        }
        if let Some(evidence) = statistics.evidence {
            for (event, count) in [
                ("dropped", evidence.dropped),
                ("refused_signals", evidence.refused_signals),
                ("tightened", evidence.tightened),
                ("joined", evidence.joined),
                ("left", evidence.left),
            ] {
                counter!("tollgate_evidence_total", "event" => event).absolute(count);
            }
            gauge!("tollgate_cohorts").set(evidence.cohorts as f64);
            for (up_to, count) in ["2", "4", "8", "16", "more"].into_iter().zip(evidence.factors) {
                gauge!("tollgate_factors", "up_to" => up_to).set(count as f64);
            }
            gauge!("tollgate_ring_filled").set(evidence.ring_filled as f64);
            gauge!("tollgate_ring_cells").set(evidence.ring_cells as f64);
        }
        if let Some(checkpoints) = limiter.checkpoint_status() {
            counter!("tollgate_checkpoints_total").absolute(checkpoints.completed);
            gauge!("tollgate_checkpoint_failing").set(f64::from(u8::from(checkpoints.failure.is_some())));
            if let Some(age) = checkpoints.age {
                gauge!("tollgate_checkpoint_age_seconds").set(Duration::from_nanos(age).as_secs_f64());
            }
        }
        let overrides = limiter.overrides();
        for level in [Level::Account, Level::Organization, Level::Tier] {
            let count = overrides.iter().filter(|known| known.level == level).count();
            gauge!("tollgate_overrides", "level" => name_of(level)).set(count as f64);
        }
        for shadow in limiter.shadows() {
            counter!(
                "tollgate_would_deny_total",
                "tier" => shadow.tier.to_string(),
                "level" => name_of(shadow.level),
                "meter" => shadow.meter.to_string(),
                "rule" => shadow.rule.to_string(),
            )
            .absolute(shadow.would_deny);
        }
    }
}

impl Audit for Metrics {
    fn admitted(&self, caller: &Identity, _cost: &Cost, _receipt: &Receipt) {
        self.of(caller.tier()).admitted.increment(1);
    }

    fn denied(&self, _caller: &Identity, _cost: &Cost, denial: &Denial) {
        counter!(
            "tollgate_denied_total",
            "tier" => denial.tier().to_string(),
            "level" => name_of(denial.level()),
            "meter" => denial.meter().to_string(),
            "rule" => denial.rule().to_string(),
            "outcome" => outcome(denial),
        )
        .increment(1);
    }

    fn settled(&self, caller: &Identity, _actual: &Cost, settlement: &Settlement) {
        let of = self.of(caller.tier());
        let counter = match settlement {
            settled if settled.stale() => &of.stale,
            settled if settled.any_cut() => &of.cut,
            settled if settled.any_clipped() => &of.clipped,
            _ => &of.whole,
        };
        counter.increment(1);
    }
}
