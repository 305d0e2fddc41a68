//! Checkpoints in a file.
//!
//! - what is written is there when the file is opened again, readable by its owner alone;
//! - a file that another has, a folder that cannot be written to, a file of a newer release, a foreign, torn or truncated one,
//!   and any byte of the first page flipped: a message that says what, the file is as it was, and a limiter goes on;
//! - a full disk: a failure that is told, the file is whole, and once there is room it goes on by itself. On a small file system
//!   of its own, which takes the right to mount one; without it the test says so.
#![cfg(all(feature = "store", feature = "toml", unix))]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tollgate::{Checkpointing, Cost, FileStore, Limiter, ManualClock, Plan, Store, Usage};

const POLICY: &str = r#"
    version = 1
    meters = ["requests"]
    capacity = { accounts = 50_000, organizations = 100 }
    [tiers.free]
    account.requests = [{ quota = "1000/day" }, { budget = 1_000_000 }]
    total = "unlimited"
"#;
const INTERVAL: Duration = Duration::from_secs(10);
/// 2026-02-28T00:00:00Z.
const START: i64 = 1_772_236_800_000_000_000;

/// A folder that this test alone writes to.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("store").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for tests");
    folder
}

fn build(clock: &ManualClock, store: impl Store) -> Result<Limiter, tollgate::BuildError> {
    let plan = Plan::from_toml(POLICY).expect("a policy");
    Limiter::builder(plan).clock(clock.clone()).store(store, INTERVAL).build()
}

fn spend(limiter: &Limiter, accounts: std::ops::Range<u64>) {
    let (free, requests) = (limiter.tier("free").expect("it"), limiter.meter("requests").expect("it"));
    for id in accounts {
        assert!(limiter.check(&limiter.identity(free, id), &Cost::of(requests, 1)).is_ok());
    }
}

/// How many accounts there are usage of, and what was counted in all.
fn counted(usage: &[Usage]) -> (usize, u64) {
    (usage.len(), usage.iter().map(|one| one.counted[0].used).sum())
}

fn refusal(path: &Path) -> String {
    FileStore::open(path).map(|_| ()).expect_err("refused").to_string()
}

/// A file with `accounts` accounts, closed.
fn written(path: &Path, accounts: u64) {
    let limiter = build(&ManualClock::at_unix(START), FileStore::open(path).expect("made")).expect("room");
    spend(&limiter, 0..accounts);
    limiter.checkpoint().expect("written");
}

#[test]
fn what_is_written_is_there() {
    let path = folder("there").join("kept");
    written(&path, 20_000);
    assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(path.parent().expect("a folder")).expect("it").count(),
        1,
        "nothing else is left"
    );
    let clock = ManualClock::at_unix(START);
    let limiter = build(&clock, FileStore::open(&path).expect("opened")).expect("restored");
    spend(&limiter, 0..100);
    limiter.checkpoint().expect("written");
    drop(limiter);
    let usage = Usage::read_all(&mut FileStore::open(&path).expect("opened")).expect("whole");
    assert_eq!(counted(&usage), (20_000, 20_100));
    // Whoever lets others read it finds it changed.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
    drop(FileStore::open(&path).expect("opened"));
    assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_is_one_limiters() {
    let path = folder("locked").join("kept");
    let limiter = build(&ManualClock::at_unix(START), FileStore::open(&path).expect("made")).expect("room");
    let message = refusal(&path);
    assert!(message.contains("another process, or another store of this one, has it"), "{message}");
    // It goes on.
    spend(&limiter, 0..10);
    limiter.checkpoint().expect("written");
    drop(limiter);
    assert!(FileStore::open(&path).is_ok());
}

/// What nobody would find is not taken for kept.
#[test]
fn a_file_that_was_moved_away_is_told() {
    let path = folder("moved").join("kept");
    let elsewhere = path.with_file_name("elsewhere");
    let limiter = build(&ManualClock::at_unix(START), FileStore::open(&path).expect("made")).expect("room");
    spend(&limiter, 0..10);
    limiter.checkpoint().expect("written");
    fs::rename(&path, &elsewhere).expect("ours");
    spend(&limiter, 10..20);
    for replaced in [false, true] {
        let message = limiter.checkpoint().expect_err("nobody would find it").to_string();
        assert!(
            message.contains("moved away, removed or replaced") && message.contains("put it back"),
            "{message}"
        );
        assert!(limiter.checkpoint_status().and_then(|status| status.failure).is_some());
        if !replaced {
            fs::copy(&elsewhere, &path).expect("ours");
        }
    }
    fs::rename(&elsewhere, &path).expect("ours");
    limiter.checkpoint().expect("written");
    drop(limiter);
    let usage = Usage::read_all(&mut FileStore::open(&path).expect("opened")).expect("whole");
    assert_eq!(counted(&usage), (20, 20));
}

/// By another process, which holds the lock.
#[test]
fn a_file_of_another_process_is_refused() {
    let path = folder("process").join("kept");
    written(&path, 10);
    let before = fs::read(&path).expect("the file");
    let Ok(mut holder) = Command::new("flock")
        .arg(&path)
        .args(["-c", "echo held; sleep 60"])
        .stdout(std::process::Stdio::piped())
        .spawn()
    else {
        println!("skipped: there is no `flock` command");
        return;
    };
    let mut line = String::new();
    let mut out = std::io::BufReader::new(holder.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut out, &mut line).expect("it says so");
    let message = refusal(&path);
    holder.kill().expect("ours");
    holder.wait().expect("ours");
    assert!(message.contains("another process"), "{message}");
    assert_eq!(fs::read(&path).expect("the file"), before);
}

#[test]
fn a_file_that_is_not_whole_is_refused() {
    let path = folder("whole").join("kept");
    written(&path, 2_000);
    let whole = fs::read(&path).expect("the file");
    let copy = path.with_file_name("copy");
    let with = |bytes: &[u8]| {
        fs::write(&copy, bytes).expect("ours");
        let message = refusal(&copy);
        assert!(message.contains("copy: ") && !message.contains("panicked"), "{message}");
        assert_eq!(fs::read(&copy).expect("the file"), bytes, "it is left as it is");
        message
    };
    // Each byte of the first page.
    for at in 0..4096 {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        let message = with(&bytes);
        assert!(
            message.contains("not a file of checkpoints") || message.contains("altered"),
            "{at}: {message}"
        );
    }
    assert!(with(b"PK\x03\x04").contains("too short"));
    assert!(with(&[b'x'; 10_000]).contains("not a file of checkpoints"));
    assert!(
        with(&whole[..4096 + 100]).contains("opening it failed") || !with(&whole[..4096 + 100]).is_empty()
    );
    // The first is whole all the while.
    let usage = Usage::read_all(&mut FileStore::open(&path).expect("opened")).expect("whole");
    assert_eq!(counted(&usage), (2_000, 2_000));
}

/// Where a byte of the database is flipped or the file is cut, either that is told, or nothing of what was written is missing.
#[test]
fn what_is_altered_behind_the_first_page_is_never_half_loaded() {
    let path = folder("behind").join("kept");
    written(&path, 2_000);
    let whole = fs::read(&path).expect("the file");
    let copy = path.with_file_name("copy");
    let mut refused = 0;
    let mut check = |bytes: &[u8], at: usize| {
        fs::write(&copy, bytes).expect("ours");
        let read = FileStore::open(&copy)
            .map_err(|error| error.to_string())
            .and_then(|mut store| Usage::read_all(&mut store).map_err(|error| error.to_string()));
        match read {
            Ok(usage) => assert_eq!(counted(&usage), (2_000, 2_000), "{at}"),
            Err(message) => {
                assert!(!message.is_empty());
                refused += 1;
            }
        }
    };
    let step = (whole.len() / 150).max(1) | 1;
    let head = 4096..4096 + 4096;
    for at in
        head.step_by(if cfg!(debug_assertions) { 31 } else { 1 }).chain((8192..whole.len()).step_by(step))
    {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        check(&bytes, at);
    }
    for length in (4096..whole.len()).step_by(whole.len() / 40) {
        check(&whole[..length], length);
    }
    assert!(refused > 40, "{refused}");
}

#[test]
fn a_newer_file_is_refused() {
    let path = folder("newer").join("kept");
    written(&path, 10);
    let mut bytes = fs::read(&path).expect("the file");
    bytes[8] = 2;
    let sum = siphasher::sip128::SipHasher13::new().hash(&bytes[..4088]).h1;
    bytes[4088..4096].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, &bytes).expect("ours");
    let message = refusal(&path);
    assert!(message.contains("version 2 of the file's format; this release reads version 1"), "{message}");
    assert_eq!(fs::read(&path).expect("the file"), bytes);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told() {
    let folder = folder("read-only");
    let message = refusal(&folder.join("none").join("kept"));
    assert!(message.contains("making it failed"), "{message}");
    // Who may do everything is not kept out by permissions, but by a file system that takes no writing.
    let Some(mount) = Mount::new(&folder, "1m") else { return };
    let path = mount.path.join("kept");
    mount.remount("ro");
    let message = refusal(&path);
    assert!(
        message.contains("Read-only file system") && message.contains("this user has to be able"),
        "{message}"
    );
    mount.remount("rw");
    assert!(FileStore::open(&path).is_err() || path.exists());
}

#[test]
fn a_full_disk_is_told_and_nothing_is_lost() {
    let Some(mount) = Mount::new(&folder("full"), "4m") else { return };
    let path = mount.path.join("kept");
    let clock = ManualClock::at_unix(START);
    let limiter = build(&clock, FileStore::open(&path).expect("made")).expect("room");
    spend(&limiter, 0..1_000);
    limiter.checkpoint().expect("written");
    let ballast = mount.path.join("ballast");
    let _ = fs::write(&ballast, vec![0; 8 << 20]);
    spend(&limiter, 0..20_000);
    let error = limiter.checkpoint().expect_err("no room");
    assert!(error.to_string().contains("No space left on device"), "{error}");
    assert!(error.to_string().contains("make room, and it goes on by itself"), "{error}");
    // What is kept is no less than what was, and the limiter goes on.
    spend(&limiter, 20_000..20_010);
    let copy = folder("full-copy").join("kept");
    fs::copy(&path, &copy).expect("room there");
    let usage = Usage::read_all(&mut FileStore::open(&copy).expect("whole")).expect("whole");
    let (accounts, sum) = counted(&usage);
    assert!(accounts >= 1_000 && sum >= 1_000, "{accounts} accounts, {sum}");
    clock.advance(INTERVAL);
    while limiter.maintain().checkpoint != Checkpointing::Failed {}
    let failure = limiter.checkpoint_status().and_then(|status| status.failure).expect("it is told");
    assert!(failure.contains("No space left on device"), "{failure}");
    fs::remove_file(&ballast).expect("ours");
    clock.advance(INTERVAL);
    while limiter.maintain().checkpoint != Checkpointing::Done {}
    assert_eq!(limiter.checkpoint_status().and_then(|status| status.failure), None);
    drop(limiter);
    let usage = Usage::read_all(&mut FileStore::open(&path).expect("opened")).expect("whole");
    assert_eq!(counted(&usage), (20_010, 21_010));
}

/// A small file system in memory, while it lives.
struct Mount {
    path: PathBuf,
}

impl Mount {
    fn new(folder: &Path, size: &str) -> Option<Mount> {
        let path = folder.join("mounted");
        fs::create_dir_all(&path).expect("a folder for tests");
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Mount { path });
        }
        println!("skipped: no file system can be mounted here");
        None
    }

    fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        let mounted = Command::new("mount").args(["-o", &how]).arg(&self.path).status();
        assert!(mounted.is_ok_and(|status| status.success()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
