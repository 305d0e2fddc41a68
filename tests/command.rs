//! The `tollgate` command from the outside: what it prints, what it refuses, and that it is the same every time.
#![cfg(feature = "cli")]

mod traces;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use traces::traces;

const HEADER: &str = "t_ms,account,org,tier,model,input_tokens,output_tokens";

const POLICY: &str = r#"
version = 1
meters = ["requests", "output_tokens", "opus.output_tokens"]
capacity = { accounts = 1000, organizations = 100 }
[tiers.free.account]
requests = [{ rate = "10/min", burst = 2 }, { in_flight = 1 }]
[tiers.free.total]
output_tokens = { quota = "10k/day" }
"opus.output_tokens" = { quota = "1k/day" }
"#;

/// A folder that this test alone writes to.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path
}

fn tollgate<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollgate")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The one line that a refusal prints; it must be the only thing.
fn refusal<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> String {
    let output = tollgate(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    assert!(!message.contains("panicked"), "{message}");
    assert!(output.stdout.is_empty());
    message
}

/// The outcome of a replay, without how long it took.
fn outcome(folder: &Path, arguments: &[&str]) -> Value {
    let json = folder.join("out.json");
    let output = tollgate(["replay", "--json", json.to_str().unwrap()].iter().chain(arguments));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "silent where nobody watches");
    let mut outcome: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert!(outcome["wall_seconds"].take().is_f64());
    outcome
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const SMALL: [&str; 8] = ["--accounts", "240", "--exchanges", "20000", "--days", "2", "--seed", "5"];

#[test]
fn helps() {
    for arguments in [&["--help"][..], &["replay", "--help"], &["lint", "--help"], &["campaign", "--help"]] {
        let output = tollgate(arguments);
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("Usage: tollgate"));
    }
    assert_eq!(tollgate(["no-such-command"]).status.code(), Some(2));
}

#[test]
fn malformed_traces_are_refused_with_their_line() {
    let folder = folder("malformed");
    let policy = file(&folder, "policy.toml", POLICY);
    let good = format!("{HEADER}\n1,a,o,free,m,1,2\n");
    let many: String = (0..5000).map(|at| format!("{at},account{at},o,free,m,1,2\n")).collect();
    let whole = gzip(format!("{HEADER}\n{many}").as_bytes());
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty.csv", Vec::new(), "empty.csv:1: the trace is empty"),
        (
            "column.csv",
            b"t_ms,account,org,tier,model,input_tokens\n".into(),
            ":1: column output_tokens is missing",
        ),
        ("number.csv", format!("{good}2,a,o,free,m,many,2\n").into(), ":3: column input_tokens: \"many\""),
        ("back.csv", format!("{good}0,a,o,free,m,1,2\n").into(), ":3: column t_ms: 0 is before"),
        ("short.csv", format!("{good}2,a,o,free\n").into(), ":3: has 4 fields; the header has 7"),
        ("bytes.csv", [good.as_bytes(), b"2,\xff\xfe,o,free,m,1,2\n"].concat(), ":3: column account"),
        (
            "tier.csv",
            format!("{good}2,a,o,gold,m,1,2\n").into(),
            ":3: column tier: the policy has no tier \"gold\"",
        ),
        ("long.csv", format!("{good}2,{}", "x".repeat(10 << 20)).into(), ":3: the record is longer than"),
        ("cut.csv.gz", whole[..whole.len() / 2].into(), "cut short"),
    ];
    for (name, content, expected) in cases {
        let trace = file(&folder, name, content);
        let message = refusal([
            Path::new("replay"),
            Path::new("--policy"),
            policy.as_path(),
            Path::new("--trace"),
            trace.as_path(),
        ]);
        assert!(message.contains(name) && message.contains(expected), "{name}: {message}");
    }
    let message = refusal([Path::new("replay"), Path::new("--trace"), &folder.join("missing.csv")]);
    assert!(message.contains("missing.csv"), "{message}");
    let message = refusal([Path::new("replay"), Path::new("--trace"), &folder]);
    assert!(message.contains("malformed"), "{message}");
}

#[test]
fn what_sizes_a_campaign_says_nothing_of_a_trace() {
    for command in ["replay", "ablate"] {
        for size in SMALL.chunks(2) {
            let arguments = [&[command, "--trace", "week.csv"], size].concat();
            let output = tollgate(arguments);
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{error}");
            assert!(error.contains("--trace") && error.contains(size[0]), "{error}");
        }
    }
}

#[test]
fn malformed_policies_are_refused_with_their_line() {
    let folder = folder("policies");
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("syntax.toml", b"version = 1\nmeters = [\n".into(), "line "),
        ("unknown.toml", POLICY.replace("in_flight", "in_fright").into(), "line 6"),
        ("rate.toml", POLICY.replace("10/min", "fast").into(), "line 6"),
        (
            "total.toml",
            format!("{POLICY}[tiers.other.account]\nrequests = \"1/min\"\n").into(),
            "tiers.other",
        ),
        ("bytes.toml", b"version = 1\n\xff\n".into(), "line 2: not UTF-8"),
    ];
    for (name, content, expected) in cases {
        let path = file(&folder, name, content);
        for arguments in
            [vec![Path::new("lint"), &path], vec![Path::new("replay"), Path::new("--policy"), &path]]
        {
            let message = refusal(arguments);
            assert!(message.contains(name) && message.contains(expected), "{name}: {message}");
        }
    }
    assert!(refusal([Path::new("lint"), &folder.join("missing.toml")]).contains("missing.toml"));
}

#[test]
fn lint_prints_what_a_policy_means() {
    let folder = folder("lint");
    let policy = file(&folder, "policy.toml", POLICY);
    let output = tollgate([Path::new("lint"), &policy]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("free") && text.contains("10/min"), "{text}");
}

#[test]
fn limits_are_applied_to_the_rows_they_are_about() {
    let folder = folder("limits");
    let policy = file(&folder, "policy.toml", POLICY);
    let rows = [
        // Two at once: one in flight.
        "0,a,,free,m,1,600,legit",
        "1,a,,free,m,1,600,legit",
        // Ten and a half seconds later the answer is written.
        "10500,a,,free,m,1,600,legit",
        // 512 reserved of 1000 of this model, then 900 settled: no room for another.
        "20000,b,,free,opus,1,900,attack:x",
        "60000,c,,free,opus,1,900,attack:x",
        "60001,d,,free,m,1,900,drawer:x",
    ];
    let trace = file(&folder, "trace.csv", format!("{HEADER},label\n{}\n", rows.join("\n")));
    let arguments = ["--policy", policy.to_str().unwrap(), "--trace", trace.to_str().unwrap()];
    let outcome = outcome(&folder, &arguments);
    let label = |name: &str| outcome["policy"]["labels"][name].clone();
    assert_eq!(outcome["requests"], 6);
    assert_eq!(outcome["simulated_seconds"], 60.001);
    assert_eq!(label("legit")["admitted"], 2);
    assert_eq!(label("legit")["denied_by"]["account"], 1);
    assert_eq!(label("attack:x")["denied_by"]["tier"], 1);
    assert_eq!(label("attack:x")["accounts_hurt"], 1);
    assert_eq!(label("attack:x")["output_tokens_admitted"], 900);
    assert_eq!(label("drawer:x")["admitted"], 1);
    assert!(outcome["policy"]["contained_after_s"]["attack:x"].is_null());
    assert_eq!(outcome["baseline"]["labels"]["legit"]["admitted"], 3, "it knows no concurrency");
}

#[test]
fn the_outcome_has_its_shape() {
    let outcome = outcome(&folder("shape"), &SMALL);
    for side in ["policy", "baseline"] {
        let labels = outcome[side]["labels"].as_object().unwrap();
        let mut offered = 0;
        for (name, label) in labels {
            let number = |key: &str| label[key].as_u64().unwrap_or_else(|| panic!("{side} {name} {key}"));
            let by = &label["denied_by"];
            let kinds = ["account", "organization", "tier", "pool", "cohort", "tightening"];
            let denied: u64 = kinds.iter().map(|kind| by[*kind].as_u64().unwrap()).sum();
            assert_eq!(by.as_object().unwrap().len(), kinds.len());
            assert_eq!(denied, number("denied"));
            assert_eq!(number("offered"), number("admitted") + denied);
            assert!(number("accounts_hurt") <= number("accounts"));
            assert!(number("output_tokens_admitted") <= number("output_tokens_offered"));
            offered += number("offered");
        }
        assert_eq!(offered, outcome["requests"].as_u64().unwrap());
        let campaigns = labels.keys().filter(|name| name.starts_with("attack:")).count();
        assert_eq!(outcome[side]["contained_after_s"].as_object().unwrap().len(), campaigns);
        assert_eq!(outcome[side]["cohorts"], 0);
    }
    let seconds = outcome["simulated_seconds"].as_f64().unwrap();
    assert!((170_000.0..172_800.0).contains(&seconds), "{seconds}");
}

#[test]
fn a_replay_is_the_same_every_time_and_a_recording_is_the_same_as_the_campaign() {
    let folder = folder("same");
    let generated = outcome(&folder, &SMALL);
    assert_eq!(generated, outcome(&folder, &SMALL));
    let trace = folder.join("campaign.csv.gz");
    let trace = trace.to_str().unwrap();
    assert!(tollgate(["campaign", "--out", trace].iter().chain(&SMALL)).status.success());
    assert_eq!(generated, outcome(&folder, &["--trace", trace]));
    let mut alone = outcome(&folder, &["--trace", trace, "--no-baseline"]);
    assert!(alone["baseline"].is_null());
    alone["baseline"] = generated["baseline"].clone();
    assert_eq!(generated, alone);
}

/// The sums over all labels, which a label can have no part in.
fn sums(outcome: &Value) -> Vec<u64> {
    let labels = || outcome["policy"]["labels"].as_object().unwrap().values();
    let keys = ["offered", "admitted", "denied", "output_tokens_admitted"];
    let sum = |part: &dyn Fn(&Value) -> u64| labels().map(part).sum::<u64>();
    let mut sums: Vec<u64> = keys.iter().map(|key| sum(&|label| label[*key].as_u64().unwrap())).collect();
    for kind in ["account", "organization", "tier"] {
        sums.push(sum(&|label| label["denied_by"][kind].as_u64().unwrap()));
    }
    sums
}

#[test]
fn labels_decide_nothing() {
    let folder = folder("labels");
    let trace = folder.join("labelled.csv");
    let path = trace.to_str().unwrap();
    assert!(tollgate(["campaign", "--out", path].iter().chain(&SMALL)).status.success());
    let labelled = fs::read_to_string(&trace).unwrap();
    let bare: String =
        labelled.lines().map(|line| format!("{}\n", line.rsplit_once(',').unwrap().0)).collect();
    let bare = file(&folder, "bare.csv", bare);
    let with = outcome(&folder, &["--trace", path]);
    let without = outcome(&folder, &["--trace", bare.to_str().unwrap()]);
    assert_eq!(sums(&with), sums(&without));
    assert!(sums(&with)[2] > 0, "something was denied");
    assert!(with["policy"]["labels"].as_object().unwrap().len() >= 6);
    assert_eq!(without["policy"]["labels"].as_object().unwrap().keys().collect::<Vec<_>>(), ["unlabelled"]);
}

#[test]
fn a_trace_may_come_from_standard_input() {
    let folder = folder("stdin");
    let policy = file(&folder, "policy.toml", POLICY);
    let json = folder.join("out.json");
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args([Path::new("replay"), Path::new("--trace"), Path::new("-"), Path::new("--policy"), &policy])
        .args([Path::new("--json"), &json])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let text = format!("{HEADER}\n1,a,,free,m,1,2\n");
    child.stdin.take().unwrap().write_all(&gzip(text.as_bytes())).unwrap();
    assert!(child.wait().unwrap().success());
    let outcome: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(outcome["requests"], 1);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["campaign"].iter().chain(&SMALL))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn known_traces_replay() {
    let Some(traces) = traces() else {
        eprintln!("SKIPPED: known_traces_replay: no folder of traces; name one in TOLLGATE_TRACES");
        return;
    };
    let folder = folder("known");
    for (name, rows) in [("azure-conv-2023.csv.gz", 19_366), ("mixed-0.csv.gz", 422_124)] {
        let trace = traces.join(name);
        let outcome = outcome(&folder, &["--trace", trace.to_str().unwrap()]);
        assert_eq!(outcome["requests"], rows, "{name}");
    }
}
