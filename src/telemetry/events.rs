//! Events of `tracing`, under the target `tollgate`.

use tracing::{Level as Severity, event};

use super::{name_of, outcome};
use crate::{
    decision::{Denial, Receipt},
    id::Identity,
    limiter::{Audit, EvidenceStatistics, Limiter, Maintenance, OverrideState, Statistics, WallClock},
    meter::Cost,
    path::Settlement,
    sync::{AtomicU64, Mutex, Ordering},
};

/// The target of all events.
const TARGET: &str = "tollgate";

/// Makes events of what a limiter does: denials, one of so many; what `maintain` changed.
///
/// | severity | event |
/// |---|---|
/// | debug | a denial: tier, level, meter, rule, outcome, wait, and how many it stands for |
/// | info | accounts tightened, put into cohorts, or out of them since the last call |
/// | info | an override that has come, or is no more, since the last call: level, reason, factor, for how long |
/// | warn | the wall clock was stepped; observations were dropped; requests were admitted on an overflow line |
#[derive(Debug)]
pub struct Events {
    every: u64,
    denials: AtomicU64,
    last: Mutex<Option<Statistics>>,
    overrides: Mutex<Vec<OverrideState>>,
}

impl Events {
    /// An event for one in `every` denials; for each where that is 0 or 1.
    pub fn new(every: u64) -> Events {
        let (last, overrides) = (Mutex::new(None), Mutex::new(Vec::new()));
        Events { every: every.max(1), denials: AtomicU64::new(0), last, overrides }
    }

    /// Tells what has changed. To be called after each call of `maintain`; reads two bytes for each slot of the tables.
    pub fn maintained(&self, limiter: &Limiter, done: &Maintenance) {
        let now = limiter.statistics();
        let last = self.last.lock().replace(now);
        let before = last.and_then(|last| last.evidence).unwrap_or_default();
        let evidence = now.evidence.unwrap_or_default();
        let since = |count: fn(&EvidenceStatistics) -> u64| count(&evidence).saturating_sub(count(&before));
        let (tightened, joined, left) =
            (since(|it| it.tightened), since(|it| it.joined), since(|it| it.left));
        if tightened + joined + left > 0 {
            let cohorts = evidence.cohorts;
            event!(
                target: TARGET, Severity::INFO, tightened, joined, left, cohorts,
                "evidence has changed what accounts may do"
            );
        }
        let dropped = since(|it| it.dropped);
        if dropped > 0 {
            event!(target: TARGET, Severity::WARN, dropped, "observations found no room: call maintain more often");
        }
        let overflowed = now.overflowed.saturating_sub(last.map_or(0, |last| last.overflowed));
        if overflowed > 0 {
            event!(
                target: TARGET, Severity::WARN, overflowed,
                "requests were admitted on an overflow line: the tables are full of debtors"
            );
        }
        self.tell_overrides(limiter.overrides());
        match done.wall_clock {
            WallClock::Steady => {}
            stepped => event!(target: TARGET, Severity::WARN, ?stepped, "the wall clock was stepped"),
        }
    }

    fn tell_overrides(&self, now: Vec<OverrideState>) {
        let mut known = self.overrides.lock();
        let is_in = |those: &[OverrideState], it: &OverrideState| those.iter().any(|other| it.is_same(other));
        for new in now.iter().filter(|new| !is_in(&known, new)) {
            let OverrideState { reason, exempt, factor_sixteenths, .. } = new;
            let (level, seconds) = (name_of(new.level), new.ends_in / 1_000_000_000);
            event!(target: TARGET, Severity::INFO, level, reason, exempt, ?factor_sixteenths, seconds, "an override");
        }
        for gone in known.iter().filter(|gone| !is_in(&now, gone)) {
            let (level, reason) = (name_of(gone.level), &gone.reason);
            event!(target: TARGET, Severity::INFO, level, reason, "an override has ended");
        }
        *known = now;
    }
}

impl Audit for Events {
    fn admitted(&self, _caller: &Identity, _cost: &Cost, _receipt: &Receipt) {}

    fn denied(&self, _caller: &Identity, _cost: &Cost, denial: &Denial) {
        if !self.denials.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every) {
            return;
        }
        event!(
            target: TARGET, Severity::DEBUG,
            tier = denial.tier().as_str(),
            level = name_of(denial.level()),
            meter = denial.meter().as_str(),
            rule = denial.rule().as_str(),
            outcome = outcome(denial),
            wait = ?denial.retry_after(),
            stands_for = self.every,
            "denied"
        );
    }

    fn settled(&self, _caller: &Identity, _actual: &Cost, _settlement: &Settlement) {}
}
