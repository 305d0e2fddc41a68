//! Checkpoints of a million accounts while requests go on.
//!
//! - one after 1% of them has changed writes under 5% of what the first, full one wrote, in bytes to the file;
//! - while checkpoints are written as [`tollgate::Upkeep`] does it, one behind the other, a request takes less than 1.10 times
//!   what it takes else: the median of 20 interleaved pairs, at 95%; what it takes while a processor does nothing but write
//!   them is printed;
//! - no step of `maintain` takes longer than 25 ms, besides what the disk takes for one write of some 128 KiB.
//!
//! `TOLLGATE_TIMED=1 cargo test --release --features store --test checkpoint_load -- --ignored --nocapture`, on a quiet machine; the
//! times are only printed without `TOLLGATE_TIMED`.
#![cfg(all(feature = "store", feature = "toml"))]
#![expect(clippy::disallowed_types, reason = "real threads, outside the models")]

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tollgate::{Checkpointing, Cost, FileStore, Identity, Limiter, Plan, Store, StoreError};

#[path = "../benches/cases/pairs.rs"]
mod pairs;
use pairs::{PAIRS, Pair, median_and_bound};

const POLICY: &str = r#"
    version = 1
    meters = ["tokens"]
    capacity = { accounts = 1_000_000, organizations = 1, parked_accounts = 1000 }
    [tiers.free]
    account.tokens = [{ rate = "600/min", burst = 1_000_000 }, { quota = "1_000_000/month" }, { budget = 1_000_000_000 }]
    total = "unlimited"
"#;
const ACCOUNTS: u64 = 1_000_000;
/// Requests in a batch, batches in a turn, and turns of either kind in a sample.
const BATCH: u32 = 256;
const BATCHES: u32 = 200;
const TURNS: u32 = 10;
/// Nanoseconds from step to step while [`tollgate::Upkeep`] writes a checkpoint; no step at all.
const UPKEEP: u64 = 10_000_000;
const OFF: u64 = u64::MAX;
/// The longest step, without the disk's part.
const BOUND: Duration = Duration::from_millis(25);

/// Counts bytes that the file was written, and how long that took.
struct Counting {
    store: FileStore,
    bytes: Arc<AtomicU64>,
    nanos: Arc<AtomicU64>,
}

impl Store for Counting {
    fn numbers(&mut self) -> Result<Vec<u64>, StoreError> {
        self.store.numbers()
    }

    fn read(&mut self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.read(number)
    }

    fn write(&mut self, number: u64, block: &[u8], remove: &[u64]) -> Result<(), StoreError> {
        let start = Instant::now();
        let done = self.store.write(number, block, remove);
        self.nanos.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.bytes.store(self.store.written(), Ordering::Relaxed);
        done
    }
}

fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *random >> 33
}

#[test]
#[ignore = "takes a minute, and a quiet machine"]
fn a_million_accounts() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("checkpoint_load");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for tests");
    let (bytes, nanos) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let store = FileStore::open(folder.join("kept")).expect("made");
    let store = Counting { store, bytes: Arc::clone(&bytes), nanos: Arc::clone(&nanos) };
    let plan = Plan::from_toml(POLICY).expect("a policy");
    // The next is always due.
    let limiter = Limiter::builder(plan).store(store, Duration::from_nanos(1)).build().expect("room");
    let (free, tokens) = (limiter.tier("free").expect("it"), limiter.meter("tokens").expect("it"));
    let (one, account) = (Cost::of(tokens, 1), |id: u64| limiter.identity(free, id));
    for id in 0..ACCOUNTS {
        assert!(limiter.check(&account(id), &one).is_ok());
    }
    let begin = Instant::now();
    limiter.checkpoint().expect("written");
    let (full, took) = (bytes.load(Ordering::Relaxed), begin.elapsed());
    let mut random = 1;
    for _ in 0..ACCOUNTS / 100 {
        assert!(limiter.check(&account(next(&mut random) % ACCOUNTS), &one).is_ok());
    }
    let begin = Instant::now();
    limiter.checkpoint().expect("written");
    let part = bytes.load(Ordering::Relaxed) - full;
    println!(
        "full: {full} bytes in {took:?}; after 1% has changed: {part} bytes ({:.2}%) in {:?}",
        part as f64 * 100.0 / full as f64,
        begin.elapsed()
    );
    assert!(part * 20 < full, "{part} of {full}");

    let (pause, stop) = (AtomicU64::new(OFF), AtomicBool::new(false));
    let (ratios, (steps, done)) = thread::scope(|scope| {
        let steps = scope.spawn(|| {
            let mut steps: Vec<[u64; 2]> = Vec::new();
            let mut done = 0;
            while !stop.load(Ordering::Relaxed) {
                let pause = pause.load(Ordering::Relaxed);
                if pause == OFF {
                    thread::sleep(Duration::from_micros(100));
                    continue;
                }
                let (begin, before) = (Instant::now(), nanos.load(Ordering::Relaxed));
                let checkpoint = limiter.maintain().checkpoint;
                let (took, disk) =
                    (begin.elapsed().as_nanos() as u64, nanos.load(Ordering::Relaxed) - before);
                steps.push([took.saturating_sub(disk), disk]);
                done += usize::from(checkpoint == Checkpointing::Done);
                assert_ne!(checkpoint, Checkpointing::Failed);
                thread::sleep(Duration::from_nanos(pause));
            }
            (steps, done)
        });
        let mut turn = |every: u64| -> Duration {
            pause.store(every, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(12));
            let batch = |_| {
                let who: Vec<Identity> = (0..BATCH).map(|_| account(next(&mut random) % ACCOUNTS)).collect();
                let begin = Instant::now();
                who.iter().for_each(|who| assert!(black_box(limiter.check(who, &one)).is_ok()));
                begin.elapsed()
            };
            // The sum, since a median would not know of a step that is under way now and then.
            (0..BATCHES).map(batch).sum()
        };
        let ratios = [UPKEEP, 0].map(|every| {
            // Many short turns of either: what else a machine does lasts longer than one.
            let mut pair = |_| {
                let turns = (0..TURNS).map(|number| {
                    Pair::measure(number as usize, |writing| turn(if writing { every } else { OFF }))
                });
                let add = |sum: Pair, of: Pair| Pair {
                    with: sum.with + of.with,
                    without: sum.without + of.without,
                };
                turns.reduce(add).expect("some turns")
            };
            pair(0);
            median_and_bound((0..PAIRS).map(pair).collect(), Pair::ratio)
        });
        stop.store(true, Ordering::Relaxed);
        (ratios, steps.join().expect("it ends"))
    });
    let longest = |part: usize| Duration::from_nanos(steps.iter().map(|step| step[part]).max().unwrap_or(0));
    let mut own: Vec<u64> = steps.iter().map(|step| step[0]).collect();
    own.sort_unstable();
    println!(
        "{} steps, {done} checkpoints; a step without the disk: median {:?}, longest {:?}; the disk: longest {:?}",
        steps.len(),
        Duration::from_nanos(own[own.len() / 2]),
        longest(0),
        longest(1)
    );
    for ((median, upper), how) in ratios.iter().zip(["a step each 10 ms", "steps without a pause"]) {
        println!(
            "a request beside checkpoints, {how}: {:.3} times ({:?} and {:?}), at 95% below {:.3}",
            median.ratio(),
            median.with / (BATCH * BATCHES * TURNS),
            median.without / (BATCH * BATCHES * TURNS),
            upper.ratio()
        );
    }
    assert!(steps.len() > 100, "nothing was shown");
    // Times are for a quiet machine to hold.
    if std::env::var_os("TOLLGATE_TIMED").is_some() {
        let (_, upper) = &ratios[0];
        assert!(upper.ratio() < 1.10, "{upper:?}");
        assert!(longest(0) < BOUND, "{:?}", longest(0));
    }
}
