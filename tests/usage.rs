//! `tollgate usage`: what a file of checkpoints has counted, printed; and what it refuses.
#![cfg(feature = "cli")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use tollgate::{Cost, FileStore, Limiter, ManualClock, Plan};

const POLICY: &str = r#"
    version = 1
    meters = ["requests"]
    capacity = { accounts = 1000, organizations = 100 }
    [tiers.free]
    account.requests = [{ quota = "1000/day" }, { budget = 5000 }]
    organization.requests = { quota = "3000/day" }
    total = "unlimited"
"#;

fn usage(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollgate")).arg("usage").args(arguments).output().expect("it runs")
}

#[test]
fn a_file_is_printed() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("usage");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for tests");
    let path = folder.join("kept");
    let file = path.to_str().expect("text");
    let plan = Plan::from_toml(POLICY).expect("a policy");
    // 2026-02-28T12:00:00Z.
    let clock = ManualClock::at_unix(1_772_280_000_000_000_000);
    let store = FileStore::open(&path).expect("made");
    let limiter =
        Limiter::builder(plan).clock(clock).store(store, Duration::from_secs(60)).build().expect("room");
    let (free, requests) = (limiter.tier("free").expect("it"), limiter.meter("requests").expect("it"));
    let acme = limiter.organization("acme");
    for (id, amount) in [(17_u64, 3), (18, 40)] {
        let caller = limiter.identity(free, id).in_organization(acme);
        assert!(limiter.check(&caller, &Cost::of(requests, amount)).is_ok());
    }
    assert!(limiter.check(&limiter.identity(free, "a name"), &Cost::of(requests, 5)).is_ok());
    let print = limiter.fingerprint("a name");
    limiter.checkpoint().expect("written");

    let locked = usage(&[file]);
    assert_eq!(locked.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&locked.stderr).contains("another process"), "{locked:?}");
    drop(limiter);

    let printed = String::from_utf8(usage(&[file]).stdout).expect("text");
    let day = "1772236800000,1772323200000";
    assert_eq!(
        printed,
        format!(
            "level,id,tier,meter,rule,period,from_ms,to_ms,used,limit\n\
             account,17,free,requests,day,day,{day},3,1000\naccount,17,free,requests,budget,,,,3,5000\n\
             account,18,free,requests,day,day,{day},40,1000\naccount,18,free,requests,budget,,,,40,5000\n\
             account,text:{print},free,requests,day,day,{day},5,1000\naccount,text:{print},free,requests,budget,,,,5,5000\n\
             organization,acme,free,requests,day,day,{day},43,3000\n"
        )
    );
    let json = String::from_utf8(usage(&[file, "--json"]).stdout).expect("text");
    let first: serde_json::Value = serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["id"]["integer"], 17);

    let empty = folder.join("empty");
    drop(FileStore::open(&empty).expect("made"));
    let printed = usage(&[empty.to_str().expect("text")]);
    assert_eq!(printed.status.code(), Some(0));
    assert_eq!(
        String::from_utf8_lossy(&printed.stdout),
        "level,id,tier,meter,rule,period,from_ms,to_ms,used,limit\n"
    );

    fs::write(folder.join("other"), "no such thing, but long enough to be looked at").expect("ours");
    for (path, message) in
        [("none", "there is no such file"), ("other", "too short for a file of checkpoints")]
    {
        let output = usage(&[folder.join(path).to_str().expect("text")]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(message), "{error}");
        assert!(!folder.join("none").exists(), "nothing is made");
    }
}
