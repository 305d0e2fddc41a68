//! The table of ratios: `cargo bench --bench ratios`, or with a part of a row's name behind `--` those rows alone.
//!
//! Each row is measured in nine runs, one about pairs in twenty, and within a run ours and the peer's turns alternate, so
//! that what disturbs the machine disturbs both. The ratio is that of the medians of the nine; the spread is the least and the greatest of
//! the ratios of the single runs. `README.md` says what each row is.

mod cases;

use std::time::Duration;

use allocation_counter::measure;
use cases::{
    GIVEN, READ, Run, bounds,
    full::{self, Full},
    governor, hot,
    many::{self, BACK_TO_BACK, UNIFORM, WAITING, ZIPF},
    observed::{Ring, Who, checks, slowest},
    pairs::{PAIRS, median_and_bound},
    reloaded::beside_reloads,
    tail::{self, Measure},
    threads, tiny,
};

const RUNS: u64 = 9;
/// Turns of each side in a run.
const TURNS: usize = 3;
/// How long a turn takes: long beside what a timer or a thread's start costs.
const TURN: Duration = Duration::from_millis(25);

/// What a row asks of a number. `None`: it is shown for what it tells.
#[derive(Clone, Copy)]
enum Aim {
    AtMost(f64),
    AtLeast(f64),
    /// The second is a guarantee: no single run may exceed it.
    Within(f64, f64),
    None,
}
use Aim::{AtLeast, AtMost, Within};

impl Aim {
    /// Of the ratio of the medians, and the greatest of the single runs.
    fn met(self, value: f64, greatest: f64) -> Option<bool> {
        match self {
            AtMost(most) => Some(value <= most),
            AtLeast(least) => Some(value >= least),
            Within(least, most) => Some(value >= least && greatest <= most),
            Aim::None => None,
        }
    }

    fn said(self) -> String {
        match self {
            AtMost(most) => format!("at most {most}"),
            AtLeast(least) => format!("at least {least}"),
            Within(least, most) => format!("{least:.2} to {most:.2}"),
            Aim::None => "-".to_owned(),
        }
    }
}

/// How a row's two numbers come to one.
#[derive(Clone, Copy)]
enum Worth {
    /// Ours in terms of the peer's.
    Ratio,
    /// How much less time than the peer we take.
    Speedup,
    /// How much more two threads do than one: ours is two threads', the peer one's.
    Scale,
    /// Ours is the number.
    Ours,
    /// As `Ratio`, a pair of samples a run, and what the median of their ratios is below at 95%.
    Pairs,
}

impl Worth {
    fn of(self, (ours, peer): (f64, f64)) -> f64 {
        match self {
            Worth::Ratio | Worth::Pairs => ours / peer,
            Worth::Speedup => peer / ours,
            Worth::Scale => 2.0 * peer / ours,
            Worth::Ours => ours,
        }
    }
}
use Worth::{Ours, Pairs, Ratio, Scale, Speedup};

type Row = (&'static str, Worth, Aim, fn() -> Measure);

/// The rows, in the order in which they are printed.
const ROWS: &[Row] = &[
    ("subject, hot, time given : governor direct", Ratio, AtMost(1.1), || {
        beside(hot::subject::<1, 1, GIVEN>(), governor::direct())
    }),
    ("subject, hot, clock read : governor direct", Ratio, AtMost(1.5), || {
        beside(hot::subject::<1, 1, READ>(), governor::direct())
    }),
    ("subject, hot, 3 meters : 1 meter, time given", Ratio, AtMost(1.4), || {
        beside(hot::subject::<3, 3, GIVEN>(), hot::subject::<1, 1, GIVEN>())
    }),
    ("subject, hot, 3 meters : 1 meter, clock read", Ratio, AtMost(1.4), || {
        beside(hot::subject::<3, 3, READ>(), hot::subject::<1, 1, READ>())
    }),
    ("subject, hot, 1 of 3 meters : 1 meter, time given", Ratio, Aim::None, || {
        beside(hot::subject::<3, 1, GIVEN>(), hot::subject::<1, 1, GIVEN>())
    }),
    ("identity kept, hot : governor one keyed", Ratio, AtMost(0.75), || {
        beside(hot::identity::<1, 1, READ>(), governor::keyed())
    }),
    ("identity from strings, hot : governor one keyed", Ratio, AtMost(1.0), || {
        beside(hot::strings::<1, 1, READ>(), governor::keyed())
    }),
    ("identity kept, hot : governor three keyed", Ratio, AtMost(0.30), || {
        beside(hot::identity::<1, 1, READ>(), governor::three())
    }),
    ("identity from strings, hot : governor three keyed", Ratio, AtMost(0.40), || {
        beside(hot::strings::<1, 1, READ>(), governor::three())
    }),
    ("identity kept, hot, time given : governor one keyed", Ratio, Aim::None, || {
        beside(hot::identity::<1, 1, GIVEN>(), governor::keyed())
    }),
    ("identity from u64, hot : governor one keyed", Ratio, Aim::None, || {
        beside(hot::integers::<READ>(), governor::keyed())
    }),
    ("identity kept, hot, 3 meters : governor nine keyed", Ratio, AtMost(0.15), || {
        beside(hot::identity::<3, 3, READ>(), governor::nine())
    }),
    ("identity from strings, hot, 3 meters : governor nine keyed", Ratio, AtMost(0.15), || {
        beside(hot::strings::<3, 3, READ>(), governor::nine())
    }),
    ("identity kept, 1 M uniform, back to back : governor three keyed", Ratio, AtMost(0.35), || {
        beside(
            many::identity::<UNIFORM, BACK_TO_BACK, READ>(),
            many::governor_three::<UNIFORM, BACK_TO_BACK>(),
        )
    }),
    ("identity from strings, 1 M uniform, back to back : governor three keyed", Ratio, AtMost(0.35), || {
        beside(
            many::strings::<UNIFORM, BACK_TO_BACK, READ>(),
            many::governor_three::<UNIFORM, BACK_TO_BACK>(),
        )
    }),
    ("the same, time given : governor three keyed", Ratio, Aim::None, || {
        beside(
            many::strings::<UNIFORM, BACK_TO_BACK, GIVEN>(),
            many::governor_three::<UNIFORM, BACK_TO_BACK>(),
        )
    }),
    ("identity kept, 1 M uniform, waiting : governor three keyed", Ratio, AtMost(0.55), || {
        beside(many::identity::<UNIFORM, WAITING, READ>(), many::governor_three::<UNIFORM, WAITING>())
    }),
    ("identity from strings, 1 M uniform, waiting : governor three keyed", Ratio, AtMost(0.55), || {
        beside(many::strings::<UNIFORM, WAITING, READ>(), many::governor_three::<UNIFORM, WAITING>())
    }),
    ("identity from strings, 1 M Zipf, back to back : governor three keyed", Ratio, Aim::None, || {
        beside(many::strings::<ZIPF, BACK_TO_BACK, READ>(), many::governor_three::<ZIPF, BACK_TO_BACK>())
    }),
    ("subject, deny at the tier, time given : governor direct admit", Ratio, AtMost(0.75), || {
        beside(hot::denied::<1, GIVEN>(), governor::direct())
    }),
    ("subject, deny at the tier, clock read : governor direct admit", Ratio, AtMost(0.75), || {
        beside(hot::denied::<1, READ>(), governor::direct())
    }),
    ("arithmetic that shares nothing, two threads : one, scale", Scale, Aim::None, || {
        beside(threads::arithmetic::<2>(), threads::arithmetic::<1>())
    }),
    ("deny at the tier, two threads : one, scale", Scale, AtLeast(1.7), || {
        beside(threads::denied::<2>(), threads::denied::<1>())
    }),
    ("distinct accounts, one tier, two threads : one, scale", Scale, AtLeast(1.6), || {
        beside(threads::distinct::<2>(), threads::distinct::<1>())
    }),
    ("accounts of one organization, two threads : one, scale", Scale, AtLeast(1.6), || {
        beside(threads::colleagues::<2>(), threads::colleagues::<1>())
    }),
    ("reserve and give back, one tier, two threads : one, scale", Scale, Aim::None, || {
        beside(threads::reserving::<2, true>(), threads::reserving::<1, true>())
    }),
    ("reserve and give back, a tier each, two threads : one, scale", Scale, Aim::None, || {
        beside(threads::reserving::<2, false>(), threads::reserving::<1, false>())
    }),
    ("same account, two threads : governor three keyed, speed-up", Speedup, AtLeast(1.5), || {
        beside(threads::same::<2>(), threads::governor_same::<2>())
    }),
    ("distinct accounts, two threads : governor three keyed, speed-up", Speedup, Aim::None, || {
        beside(threads::distinct::<2>(), threads::governor_distinct::<2>())
    }),
    ("8 threads, one account, 99.99th percentile : compare-exchange", Ratio, AtMost(5.0), || {
        tail::eight_threads(0.9999)
    }),
    ("8 threads, one account, median : compare-exchange", Ratio, Aim::None, || tail::eight_threads(0.5)),
    ("allocations in a decision, first sight included", Ours, AtMost(0.0), allocations),
    ("bytes per account, 3 rates", Ours, AtMost(96.0), || bounds::memory(RATE)),
    ("bytes per account, 3 x (rate + day quota)", Ours, AtMost(192.0), || bounds::memory(RATE_AND_QUOTA)),
    ("insertion, table full of idle, 99.9th percentile : median hit", Ratio, AtMost(10.0), || {
        tail::insertion(Full::of_idle())
    }),
    ("insertion, half owe, 99.9th percentile : median hit", Ratio, Aim::None, || {
        tail::insertion(Full::of_debtors())
    }),
    ("insertion : governor three keyed, both 99.9th percentile", Ratio, Aim::None, || {
        tail::insertion_beside_governor(Full::of_idle())
    }),
    ("flood of new accounts, mean : governor three keyed", Ratio, Aim::None, || {
        beside(full::flood(), full::governor_flood())
    }),
    ("known account beside a flood on another thread : alone", Ratio, Aim::None, || {
        beside(threads::beside_flood::<true>(), threads::beside_flood::<false>())
    }),
    ("subject, observed, ring full : not observed", Ratio, AtMost(1.25), || {
        beside(checks::<1>(Who::Subject, Ring::Full), checks::<1>(Who::Subject, Ring::None))
    }),
    ("subject, observed, maintained : not observed", Ratio, AtMost(1.25), || {
        beside(checks::<1>(Who::Subject, Ring::Emptied(1)), checks::<1>(Who::Subject, Ring::None))
    }),
    ("identity kept, observed, ring full : not observed", Ratio, AtMost(1.25), || {
        beside(checks::<1>(Who::Identity, Ring::Full), checks::<1>(Who::Identity, Ring::None))
    }),
    ("identity kept, observed, maintained : not observed", Ratio, AtMost(1.25), || {
        beside(checks::<1>(Who::Identity, Ring::Emptied(1)), checks::<1>(Who::Identity, Ring::None))
    }),
    ("two threads, identity kept, observed, ring full : not observed", Ratio, AtMost(1.25), || {
        beside(checks::<2>(Who::Identity, Ring::Full), checks::<2>(Who::Identity, Ring::None))
    }),
    ("two threads, identity kept, observed, maintained : not observed", Ratio, AtMost(1.25), || {
        beside(checks::<2>(Who::Identity, Ring::Emptied(1)), checks::<2>(Who::Identity, Ring::None))
    }),
    ("the same : not observed, beside a thread that is as busy", Ratio, AtMost(1.25), || {
        beside(checks::<2>(Who::Identity, Ring::Emptied(1)), checks::<2>(Who::Identity, Ring::Beside(1)))
    }),
    (
        "two threads, identity kept, observed, maintained every 10 ms : not observed",
        Ratio,
        AtMost(1.25),
        || beside(checks::<2>(Who::Identity, Ring::Emptied(10)), checks::<2>(Who::Identity, Ring::None)),
    ),
    ("subject, observed, maintained, 99.9th percentile : ring full", Ratio, Aim::None, || slowest(0.999)),
    ("subject, observed, maintained, 99.99th percentile : ring full", Ratio, Aim::None, || slowest(0.9999)),
    ("subject, clock read, beside 100 reloads a second : none, at 95%", Pairs, AtMost(1.1), beside_reloads),
    ("rate delivered to 2 threads : burst + supply", Ratio, Within(0.99, 1.0), bounds::saturated),
];

const RATE: &str = "{ rate = \"1/min\", burst = 5 }";
const RATE_AND_QUOTA: &str = "[{ rate = \"1/min\", burst = 5 }, { quota = \"200/day\" }]";

/// Turns of both in every run, as many decisions in each as take about [`TURN`]; nanoseconds of one decision.
fn beside(mut ours: Run, mut peer: Run) -> Measure {
    let (count, peer_count) = (warmed(&mut ours), warmed(&mut peer));
    Box::new(move || {
        let (mut taken, mut peer_taken) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..TURNS {
            taken += ours(count);
            peer_taken += peer(peer_count);
        }
        let each = |taken: Duration, count| taken.as_nanos() as f64 / (TURNS as u64 * count) as f64;
        (each(taken, count), each(peer_taken, peer_count))
    })
}

/// How many decisions take a turn, found by doubling, which warms up.
fn warmed(run: &mut Run) -> u64 {
    let mut count = 100;
    loop {
        let taken = run(count);
        if tiny() || taken >= TURN / 2 {
            return count * if tiny() { 1 } else { 2 };
        }
        count *= 2;
    }
}

/// Allocations of a thousand decisions: known and new accounts, admitted, denied, reserved and settled.
fn allocations() -> Measure {
    let (full, spent) = (Full::of_idle(), hot::Hot::spent(1));
    let mut newcomers = full.newcomers(6);
    Box::new(move || {
        let info = measure(|| {
            for _ in 0..250 {
                let newcomer = newcomers.next();
                assert!(full.admits(&newcomer) && full.admits(&newcomer));
                let permit = full.limiter.reserve(&newcomers.next(), &full.cost).expect("as much as it asks");
                permit.settle(&full.cost);
                assert!(spent.limiter.check(&spent.subject, &spent.cost).is_err());
            }
        });
        // The counter counts, or it would be no wonder.
        assert!(measure(|| drop(spent.limiter.explain(&spent.subject))).count_total > 0);
        (info.count_total as f64, 0.0)
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn shown(value: f64) -> String {
    if value < 1_000.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn print_row((name, worth, aim, build): &Row) {
    let mut measure = build();
    if tiny() {
        // The words are criterion's, and `.ci/bench` counts them.
        println!("Testing ratios/{name}");
        measure();
        println!("Success");
        return;
    }
    let count = if matches!(worth, Pairs) { PAIRS as u64 } else { RUNS };
    let runs: Vec<(f64, f64)> = (0..count).map(|_| measure()).collect();
    let ours = median(runs.iter().map(|(ours, _)| *ours).collect());
    let peer = median(runs.iter().map(|(_, peer)| *peer).collect());
    let value = match worth {
        Pairs => worth.of(median_and_bound(runs.clone(), |run| worth.of(*run)).1),
        _ => worth.of((ours, peer)),
    };
    let single = runs.iter().map(|run| worth.of(*run));
    let least = single.clone().fold(f64::INFINITY, f64::min);
    let most = single.fold(f64::NEG_INFINITY, f64::max);
    let beside = if matches!(worth, Ours) { "-".to_owned() } else { shown(peer) };
    let met = match aim.met(value, most) {
        Some(true) => "yes",
        Some(false) => "no",
        None => "",
    };
    println!(
        "| {name} | {} | {beside} | {value:.3} | {least:.3} - {most:.3} | {} | {met} |",
        shown(ours),
        aim.said()
    );
}

fn main() {
    // Flags are criterion's or cargo's, and none of ours but `--test`.
    let filter: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let rows: Vec<&Row> =
        ROWS.iter().filter(|(name, ..)| filter.iter().all(|part| name.contains(part.as_str()))).collect();
    if rows.is_empty() {
        println!("no row's name has {filter:?} in it; these are the rows:");
        ROWS.iter().for_each(|(name, ..)| println!("- {name}"));
        return;
    }
    if !tiny() {
        println!("| row | ours | peer | value | spread | aim | met |\n|---|---|---|---|---|---|---|");
    }
    rows.into_iter().for_each(print_row);
}
