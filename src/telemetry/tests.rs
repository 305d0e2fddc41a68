use crate::{
    id::Identity,
    limiter::{Audit, Limiter},
    meter::Cost,
    policy::plan::Plan,
    time::ManualClock,
};

const POLICY: &str = r#"
    version = 1
    meters = ["requests"]
    capacity = { accounts = 1000, organizations = 10 }
    [tiers.free]
    account.requests = [{ rate = "10/s", burst = 1 }, { quota = "1/day", name = "watched", shadow = true }]
    total.requests = { rate = "100/s", burst = 20 }
"#;

fn limiter() -> Limiter {
    let plan = Plan::from_toml(POLICY).expect("a policy");
    Limiter::builder(plan).clock(ManualClock::new()).build().expect("a limiter")
}

/// Each of so many accounts asks twice: the first ends the burst, the total ends after twenty.
fn ask(limiter: &Limiter, accounts: u64, audit: &impl Audit) -> (u64, u64) {
    let free = limiter.tier("free").expect("a tier");
    let cost = Cost::of(limiter.meter("requests").expect("a meter"), 1);
    let (mut admitted, mut denied) = (0, 0);
    for caller in (0..accounts).map(|account| limiter.identity(free, account)) {
        for _ in 0..2 {
            let caller: Identity = caller;
            match limiter.reserve(&caller, &cost) {
                Ok(permit) => {
                    audit.admitted(&caller, &cost, &permit.receipt());
                    audit.settled(&caller, &cost, &permit.settle(&cost));
                    admitted += 1;
                }
                Err(denial) => {
                    audit.denied(&caller, &cost, &denial);
                    denied += 1;
                }
            }
        }
    }
    (admitted, denied)
}

#[cfg(feature = "metrics")]
mod of_metrics {
    use std::{
        collections::{BTreeMap, BTreeSet},
        time::Duration,
    };

    use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

    use super::{POLICY, ask, limiter};
    use crate::{
        checkpoint::MemoryStore, limiter::Limiter, policy::plan::Plan, telemetry::Metrics, time::ManualClock,
    };

    /// By name and labels, what is counted.
    fn counters(snapshotter: &Snapshotter) -> BTreeMap<String, u64> {
        let metrics = snapshotter.snapshot().into_vec().into_iter();
        let counters = metrics.filter_map(|(key, _, _, value)| {
            let labels: Vec<_> =
                key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            match value {
                DebugValue::Counter(count) => {
                    Some((format!("{} {}", key.key().name(), labels.join(",")), count))
                }
                DebugValue::Gauge(_) | DebugValue::Histogram(_) => None,
            }
        });
        counters.collect()
    }

    #[test]
    fn metrics_are_what_callers_counted_however_many_they_are() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || {
            let limiter = limiter();
            let metrics = Metrics::new(&limiter);
            let (admitted, denied) = ask(&limiter, 500, &metrics);
            metrics.maintained(&limiter, &limiter.maintain());
            let counters = counters(&snapshotter);
            assert_eq!((admitted, denied), (20, 980));
            assert_eq!(counters["tollgate_admitted_total tier=free"], admitted);
            assert_eq!(counters["tollgate_settled_total tier=free,outcome=whole"], admitted);
            let denials = counters.iter().filter(|(name, _)| name.starts_with("tollgate_denied_total"));
            let denials: Vec<_> = denials.collect();
            assert_eq!(denials.iter().map(|(_, count)| **count).sum::<u64>(), denied);
            assert_eq!(denials.len(), 2, "by account and by tier: {denials:?}");
            assert!(counters.len() < 40, "bounded by the policy: {}", counters.len());
        });
    }

    /// All that an operator may look for is there before anything has happened, and is in the table of the documentation.
    #[test]
    fn metrics_are_those_that_the_table_has() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || {
            let policy = POLICY.replace("[tiers.free]", "[evidence]\n[tiers.free]");
            let builder = Limiter::builder(Plan::from_toml(&policy).expect("a policy"));
            let store = builder.store(MemoryStore::new(), Duration::from_secs(60));
            let limiter = store.clock(ManualClock::new()).build().expect("a limiter");
            let metrics = Metrics::new(&limiter);
            ask(&limiter, 100, &metrics);
            limiter.checkpoint().expect("a checkpoint");
            metrics.maintained(&limiter, &limiter.maintain());
        });
        let written = snapshotter.snapshot().into_vec().into_iter();
        let written: BTreeSet<String> = written.map(|(key, ..)| key.key().name().to_owned()).collect();
        let table = include_str!("metrics.rs").lines().filter(|line| line.starts_with("/// | `tollgate_"));
        let names =
            table.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2));
        assert_eq!(written, names.map(str::to_owned).collect());
    }
}

#[cfg(feature = "tracing")]
mod of_events {
    use std::{fmt::Write, sync::Arc, time::Duration};

    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    use super::{ask, limiter};
    use crate::{
        limiter::{Override, Whom},
        sync::Mutex,
        telemetry::Events,
    };

    /// Writes down events.
    struct Book(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            let _ = write!(self.0, " {field}={value:?}");
        }
    }

    impl Subscriber for Book {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut line = Line(event.metadata().target().to_owned());
            event.record(&mut line);
            self.0.lock().push(line.0);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn one_denial_of_so_many_is_an_event() {
        let book = Arc::new(Mutex::new(Vec::new()));
        tracing::subscriber::with_default(Book(Arc::clone(&book)), || {
            let limiter = limiter();
            let events = Events::new(100);
            let (_, denied) = ask(&limiter, 500, &events);
            events.maintained(&limiter, &limiter.maintain());
            assert_eq!(book.lock().len() as u64, denied.div_ceil(100));
            let first = &book.lock()[0];
            assert!(first.starts_with("tollgate ") && first.contains("rule=\"rate\""), "{first}");
        });
    }

    #[test]
    fn an_override_is_told_when_it_comes_and_when_it_has_ended() {
        let book = Arc::new(Mutex::new(Vec::new()));
        tracing::subscriber::with_default(Book(Arc::clone(&book)), || {
            let limiter = limiter();
            let events = Events::new(100);
            let caller = limiter.identity(limiter.tier("free").expect("a tier"), 17);
            let granted = Override::new(Duration::from_secs(60), "appeal 4711").factor(8);
            limiter.set_override(Whom::Account(&caller), granted).expect("an override");
            let told = |expected: usize| {
                events.maintained(&limiter, &limiter.maintain());
                let lines = std::mem::take(&mut *book.lock());
                assert_eq!(lines.len(), expected, "{lines:?}");
                assert!(lines.iter().all(|line| line.contains("appeal 4711")), "{lines:?}");
            };
            told(1);
            told(0);
            assert!(limiter.lift_override(Whom::Account(&caller)));
            told(1);
            told(0);
        });
    }
}
