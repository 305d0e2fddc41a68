//! A process that is killed at random moments, under load, and started again on what it had kept.
//!
//! Two threads spend, reserve and settle for a few hundred accounts in tables that hold a few dozen, a third calls `maintain`. A
//! ledger, written right after each admission, tells what was counted. After each kill:
//!
//! - of no account's quota or budget, and no tier's, less is restored than the ledger had when the last complete checkpoint
//!   began: what a kill gives back is what was counted since;
//! - of none more is restored than the ledger has, and what two calls may have had under way: nothing is counted twice;
//! - the last complete checkpoint began no longer than an interval ago, but for a few when the machine was busy.
//!
//! `TOLLGATE_KILLS=200 cargo test --release --features store --test kill -- --nocapture` kills 200 times; else 8 times.
#![cfg(all(feature = "store", feature = "toml", unix))]
#![expect(clippy::disallowed_types, reason = "real threads, outside the models")]

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tollgate::{Checkpointing, Cost, FileStore, Limiter, Plan, Whom};

const POLICY: &str = r#"
    version = 1
    meters = ["tokens"]
    capacity = { accounts = 48, organizations = 1, parked_accounts = 2000 }
    [tiers.free]
    account.tokens = [{ quota = "1G/month" }, { budget = 100G }]
    total.tokens = [{ quota = "1T/month" }, { budget = 100T }]
"#;
const INTERVAL: Duration = Duration::from_millis(400);
const ACCOUNTS: usize = 300;
const THREADS: usize = 2;
/// The most that a call takes.
const MOST: u64 = 4;
/// Set for the process that is killed: the folder it works in.
const FOLDER: &str = "TOLLGATE_KILLED_IN";

/// Words of the ledger: what each thread has counted of each account; and when the last complete checkpoint began.
const WORDS: usize = THREADS * ACCOUNTS + 1;

fn plan() -> Plan {
    let policy = POLICY.replace("100G", "100_000_000_000").replace("100T", "100_000_000_000_000");
    Plan::from_toml(&policy).expect("a policy")
}

fn limiter(folder: &Path) -> Limiter {
    let store = FileStore::open(folder.join("kept")).expect("whole");
    Limiter::builder(plan()).store(store, INTERVAL).build().expect("restored")
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

struct Ledger(File);

impl Ledger {
    fn open(folder: &Path) -> Ledger {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join("ledger"));
        Ledger(file.expect("a file"))
    }

    fn write(&self, word: usize, value: u64) {
        self.0.write_all_at(&value.to_le_bytes(), word as u64 * 8).expect("room");
    }

    fn read(&self) -> Vec<u64> {
        let mut bytes = vec![0; WORDS * 8];
        self.0.read_exact_at(&mut bytes, 0).expect("all of it");
        bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
    }
}

/// By account, what all threads have counted.
fn counted(words: &[u64]) -> Vec<u64> {
    (0..ACCOUNTS).map(|account| (0..THREADS).map(|thread| words[thread * ACCOUNTS + account]).sum()).collect()
}

fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *random >> 33
}

/// The process that is killed. Does nothing where it was not started for that.
#[test]
fn killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let (limiter, ledger) = (limiter(&folder), Ledger::open(&folder));
    let before = ledger.read();
    println!("\nready");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (limiter, ledger, stop) = (&limiter, &ledger, &stop);
            let mut done = before[thread * ACCOUNTS..][..ACCOUNTS].to_vec();
            scope.spawn(move || {
                let (tier, tokens) =
                    (limiter.tier("free").expect("it"), limiter.meter("tokens").expect("it"));
                let mut random = unix_now() ^ thread as u64;
                while !stop.load(Ordering::Relaxed) {
                    let account = next(&mut random) as usize % ACCOUNTS;
                    let (amount, settled) = (1 + next(&mut random) % MOST, next(&mut random) % (MOST + 1));
                    let who = limiter.identity(tier, account as u64);
                    let took = if amount % 2 == 0 {
                        limiter.check(&who, &Cost::of(tokens, amount)).expect("there is enough");
                        amount
                    } else {
                        let permit =
                            limiter.reserve(&who, &Cost::of(tokens, amount)).expect("there is enough");
                        permit.settle(&Cost::of(tokens, settled));
                        settled
                    };
                    done[account] += took;
                    ledger.write(thread * ACCOUNTS + account, done[account]);
                }
            });
        }
        loop {
            let done = limiter.maintain();
            match done.checkpoint {
                Checkpointing::Done => {
                    let age = limiter.checkpoint_status().and_then(|status| status.age).expect("one is done");
                    ledger.write(WORDS - 1, unix_now() - age);
                }
                Checkpointing::Failed => panic!("{:?}", limiter.checkpoint_status()),
                _ => {}
            }
            thread::sleep(done.next_checkpoint.unwrap_or_default().min(Duration::from_millis(5)));
        }
    });
}

fn spawn(folder: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this"))
        .args(["--exact", "killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line == "ready")), "it did not start");
    child
}

/// What is restored of each account, by quota and by budget, and of the tier.
fn restored(folder: &Path) -> Vec<[u64; 2]> {
    let limiter = limiter(folder);
    let (tier, tokens) = (limiter.tier("free").expect("it"), limiter.meter("tokens").expect("it"));
    let used = |whom: Whom<'_>| {
        let counted = limiter.usage(whom, tokens, None);
        [0, 1].map(|rule| counted.get(rule).map_or(0, |counted| counted.used))
    };
    let accounts = (0..ACCOUNTS as u64).map(|account| used(Whom::Account(&limiter.identity(tier, account))));
    accounts.chain([used(Whom::Tier(tier))]).collect()
}

fn kill(times: usize) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kill");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for tests");
    let ledger = Ledger::open(&folder);
    (0..WORDS).for_each(|word| ledger.write(word, 0));
    let mut random = unix_now();
    println!("seed {random}");
    // By what the tier has counted more than its accounts.
    let mut ahead = 0_i64;
    let (mut late, mut lost_most, mut lost_sum, mut spent, mut age_most) = (0, 0, 0_u64, 0, 0);
    for time in 0..times {
        ledger.write(WORDS - 1, unix_now());
        let start = counted(&ledger.read());
        let mut child = spawn(&folder);
        let end = unix_now() + 20_000_000 + next(&mut random) % (2 * INTERVAL.as_nanos() as u64);
        let mut samples: VecDeque<(u64, Vec<u64>)> = VecDeque::from([(0, start.clone())]);
        while unix_now() < end {
            samples.push_back((unix_now(), counted(&ledger.read())));
            thread::sleep(Duration::from_micros(500));
        }
        let killed_at = unix_now();
        child.kill().expect("ours");
        child.wait().expect("ours");
        let words = ledger.read();
        let (now, kept_at) = (counted(&words), words[WORDS - 1]);
        // A sample that was complete before the checkpoint began.
        let least =
            samples.iter().rev().zip(samples.iter().rev().skip(1)).find(|((end, _), _)| *end <= kept_at);
        let least = least.map_or(&start, |(_, (_, least))| least);
        let found = restored(&folder);
        let open = MOST * THREADS as u64;
        for (account, found) in found.iter().take(ACCOUNTS).enumerate() {
            for (found, rule) in found.iter().zip(["month", "budget"]) {
                let range = least[account]..=now[account] + open;
                assert!(
                    range.contains(found),
                    "kill {time}: account {account}, {rule}: {found}, not in {range:?}"
                );
            }
        }
        let (least_sum, now_sum) = (least.iter().sum::<u64>(), now.iter().sum::<u64>());
        for (found, rule) in found[ACCOUNTS].iter().zip(["month", "budget"]) {
            let of_tier = |sum: u64| sum.saturating_add_signed(ahead);
            let range = of_tier(least_sum)..=of_tier(now_sum + open);
            assert!(range.contains(found), "kill {time}: the tier, {rule}: {found}, not in {range:?}");
        }
        let age = killed_at.saturating_sub(kept_at);
        late += usize::from(age > INTERVAL.as_nanos() as u64);
        age_most = age_most.max(age);
        let lost = now_sum.saturating_add_signed(ahead).saturating_sub(found[ACCOUNTS][1]);
        (lost_most, lost_sum) = (lost_most.max(lost), lost_sum + lost);
        spent += now_sum - start.iter().sum::<u64>();
        // Goes on from what there is. The tier's own and its accounts' were kept at different moments.
        for (account, found) in found.iter().take(ACCOUNTS).enumerate() {
            ledger.write(account, found[1]);
            (1..THREADS).for_each(|thread| ledger.write(thread * ACCOUNTS + account, 0));
        }
        let sum = found.iter().take(ACCOUNTS).map(|found| found[1]).sum::<u64>();
        ahead = found[ACCOUNTS][1].cast_signed() - sum.cast_signed();
    }
    println!(
        "{times} kills: {spent} tokens spent, {lost_sum} given back by all, {lost_most} by one; the last checkpoint had begun \
         {} ms before at most, {late} times more than the interval of {} ms",
        age_most / 1_000_000,
        INTERVAL.as_millis()
    );
    assert!(spent > 100 * times as u64, "nothing was shown");
    assert!(late * 20 <= times.max(20), "{late} of {times} were late");
}

#[test]
fn a_kill_gives_back_less_than_an_interval() {
    let times = std::env::var("TOLLGATE_KILLS").map_or(8, |times| times.parse().expect("a number of times"));
    kill(times);
}
