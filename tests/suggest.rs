//! `tollgate suggest` from the outside: what it sizes, what moves it and what does not, and what it says.
#![cfg(feature = "cli")]

mod traces;

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tollgate::Plan;
use traces::traces;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("suggest").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn tollgate<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollgate")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A week of persons, of companies with keys, and of what else is asked for.
#[derive(Clone, Copy, Default)]
struct World {
    /// Times what one account does.
    heavy: u64,
    /// Requests in one hour, one from each account.
    viral: u64,
    labels: bool,
    bare: bool,
}

impl World {
    fn csv(self) -> String {
        let mut rows: Vec<(u64, String)> = Vec::new();
        let mut add = |at: u64, account: &str, organization: &str, tier: &str, since: i64| {
            let (input, output) = (500 + at % 700, 100 + at % 500);
            let label = if at.is_multiple_of(3) { "attack:x" } else { "legit" };
            let mut row = format!("{at},{account},{organization},{tier},m,{input},{output}");
            if !self.bare {
                let _ = write!(row, ",10.0.0.{},p{account},c,t,{since}", at % 250);
            }
            if self.labels {
                let _ = write!(row, ",{label}");
            }
            rows.push((at, row));
        };
        for person in 0..400_u64 {
            let account = format!("person{person}");
            // A quarter is born within the last weeks.
            let since = if person % 4 == 0 { -(person as i64 % 20) } else { -400 } * DAY as i64;
            let times = if person == 7 { self.heavy.max(1) } else { 1 };
            for day in 0..7 {
                for request in 0..(1 + person % 9) * times {
                    let at = day * DAY + 8 * HOUR + (person * 977 + request * 131_071) % (10 * HOUR);
                    add(at, &account, &format!("own{person}"), "verified", since);
                }
            }
        }
        for request in 0..self.viral {
            let at = 3 * DAY + 20 * HOUR + request % HOUR;
            add(at, &format!("person{}", request % 400), &format!("own{}", request % 400), "verified", -400);
        }
        for key in 0..60_u64 {
            for request in 0..70 * (1 + key % 5) {
                let at = (key * 31 + request * 7_919_993) % (7 * DAY);
                add(
                    at,
                    &format!("key{key}"),
                    &format!("company{}", key / 6),
                    "business",
                    -(500 * DAY as i64),
                );
            }
        }
        for request in 0..50 {
            add(request * 3 * HOUR, "one", "one", "enterprise", -(500 * DAY as i64));
        }
        rows.sort();
        let mut header = "t_ms,account,org,tier,model,input_tokens,output_tokens".to_owned();
        if !self.bare {
            header += ",ip,payment,client,template,since_ms";
        }
        if self.labels {
            header += ",label";
        }
        rows.into_iter().fold(header, |text, (_, row)| text + "\n" + &row) + "\n"
    }
}

/// The policy and what was said, of a trace.
fn suggest(folder: &Path, name: &str, csv: &str, more: &[&str]) -> (String, String) {
    let trace = folder.join(format!("{name}.csv"));
    let out = folder.join(format!("{name}.toml"));
    fs::write(&trace, csv).unwrap();
    let _ = fs::remove_file(&out);
    let arguments = ["suggest", "--trace", trace.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let output = tollgate(arguments.iter().chain(more));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let text = fs::read_to_string(&out).unwrap();
    Plan::from_toml(&text).unwrap();
    (text, String::from_utf8(output.stdout).unwrap())
}

/// The one line that a refusal prints.
fn refusal(arguments: &[&str]) -> String {
    let output = tollgate(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn table(text: &str) -> toml::Table {
    text.parse().unwrap()
}

/// The quota of `window` at one level, as it is written.
fn quota(text: &str, tier: &str, level: &str, meter: &str, window: &str) -> f64 {
    let table = table(text);
    let rules = table["tiers"][tier][level][meter].as_array().unwrap();
    let quotas = rules.iter().filter_map(|rule| rule.get("quota")?.as_str()?.split_once('/'));
    let (number, _) = quotas.into_iter().find(|(_, found)| *found == window).unwrap();
    let digits = number.trim_end_matches(['k', 'M', 'G']);
    let scale = match number.chars().last() {
        Some('k') => 1e3,
        Some('M') => 1e6,
        Some('G') => 1e9,
        _ => 1.0,
    };
    digits.parse::<f64>().unwrap() * scale
}

#[test]
fn a_week_gives_a_policy_that_admits_it() {
    let folder = folder("week");
    let (text, said) = suggest(&folder, "trace", &World::default().csv(), &[]);
    for section in ["account", "organization", "total", "pool", "ramp", "cohort", "floor"] {
        assert!(text.contains(&format!("[tiers.verified.{section}]")), "{section}: {text}");
    }
    assert!(!text.contains("[tiers.business.pool]"), "keys of companies have no pool");
    assert!(text.contains("[evidence]") && text.contains("\"payment\""));
    let table = table(&text);
    assert_eq!(table["tiers"]["verified"]["step_up"].as_str(), Some("business"));
    assert!(table["tiers"]["enterprise"].get("step_up").is_none(), "there is none better");
    assert!(said.contains("enterprise: 1 accounts; too few"), "{said}");
    assert!(!said.contains("warning"), "{said}");
    // 2000 requests on each day.
    let total = quota(&text, "verified", "total", "requests", "day");
    assert!((3_000.0..=4_000.0).contains(&total), "at most twice what is offered: {total}");
    let (trace, policy, json) =
        (folder.join("trace.csv"), folder.join("trace.toml"), folder.join("out.json"));
    let output = tollgate([
        Path::new("replay"),
        Path::new("--no-baseline"),
        Path::new("--trace"),
        &trace,
        Path::new("--policy"),
        &policy,
        Path::new("--json"),
        &json,
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let outcome: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let score = &outcome["policy"]["labels"]["unlabelled"];
    assert_eq!(score["denied_by"]["tier"], 0);
    assert!(score["denied"].as_f64().unwrap() < 0.01 * score["offered"].as_f64().unwrap(), "{score}");
}

#[test]
fn neither_a_heavy_account_nor_a_viral_hour_throws_it_off() {
    let folder = folder("robust");
    let (plain, _) = suggest(&folder, "plain", &World::default().csv(), &[]);
    let (heavy, said) = suggest(&folder, "heavy", &World { heavy: 500, ..World::default() }.csv(), &[]);
    for window in ["day", "week"] {
        let of = |text: &str| quota(text, "verified", "account", "output_tokens", window);
        assert!(of(&heavy) <= 1.1 * of(&plain), "{window}: {} and {}", of(&heavy), of(&plain));
    }
    let total = |text: &str| quota(text, "verified", "total", "requests", "day");
    assert!(total(&heavy) <= 1.1 * total(&plain), "{} and {}", total(&heavy), total(&plain));
    assert!(said.contains("verified: 400 accounts; 1 beyond their own quotas"), "{said}");
    // One more day's worth within an hour still fits, and does not double the total.
    let (viral, _) = suggest(&folder, "viral", &World { viral: 2_000, ..World::default() }.csv(), &[]);
    assert!((4_000.0..1.5 * total(&plain)).contains(&total(&viral)), "{}", total(&viral));
}

#[test]
fn the_same_trace_gives_the_same_text_whatever_its_labels() {
    let folder = folder("same");
    let (text, said) = suggest(&folder, "trace", &World::default().csv(), &[]);
    assert_eq!((text.clone(), said), suggest(&folder, "trace", &World::default().csv(), &[]));
    let (labelled, _) = suggest(&folder, "trace", &World { labels: true, ..World::default() }.csv(), &[]);
    assert_eq!(text, labelled);
}

#[test]
fn what_a_trace_does_not_tell_is_not_made_up() {
    let folder = folder("bare");
    let (text, said) = suggest(&folder, "trace", &World { bare: true, ..World::default() }.csv(), &[]);
    for missing in ["pool]", "ramp]", "cohort]", "sensitivity", "[evidence]"] {
        assert!(!text.contains(missing), "{missing}");
    }
    assert!(said.contains("No pool and no ramp"), "{said}");
    let hour: String = World::default().csv().lines().take(40).map(|line| format!("{line}\n")).collect();
    let (text, said) = suggest(&folder, "hour", &hour, &[]);
    assert!(said.contains("shorter than a day"), "{said}");
    assert!(!text.contains("/week"), "{text}");
}

#[test]
fn a_base_keeps_what_was_set_by_hand() {
    let folder = folder("base");
    let base = r#"
version = 1
zone = "Europe/Berlin"
memory = "1GiB"
meters = ["requests", { name = "output_tokens", least = 16 }, "gpu_seconds"]
capacity = { accounts = 5000, organizations = 500 }
[tiers.verified.account]
requests = ["1/min", { in_flight = 3 }, { budget = 100_000 }, { quota = "1/day" }]
gpu_seconds = { quota = "60/day" }
[tiers.verified.total]
requests = { quota = "1G/month" }
gpu_seconds = { quota = "5000/day" }
[tiers.partner]
total = "unlimited"
account = { requests = "5/s" }
"#;
    let path = folder.join("base.toml");
    fs::write(&path, base).unwrap();
    let base = ["--base", path.to_str().unwrap()];
    let (text, said) = suggest(&folder, "trace", &World::default().csv(), &base);
    let table = table(&text);
    assert_eq!(table["zone"].as_str(), Some("Europe/Berlin"));
    assert_eq!(table["memory"].as_str(), Some("1GiB"));
    assert_eq!(table["capacity"]["accounts"].as_integer(), Some(5000));
    assert_eq!(table["meters"].as_array().unwrap().len(), 4);
    assert_eq!(table["tiers"]["partner"]["total"].as_str(), Some("unlimited"));
    let account = &table["tiers"]["verified"]["account"];
    assert_eq!(account["gpu_seconds"]["quota"].as_str(), Some("60/day"));
    let rules = account["requests"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule.get("in_flight").is_some()));
    assert!(rules.iter().any(|rule| rule.get("budget").is_some()));
    assert!(quota(&text, "verified", "account", "requests", "day") > 1.0, "what was measured wins");
    assert!(said.contains("left out") && said.contains("1G/month"), "{said}");
}

#[test]
fn refusals_say_where_and_what() {
    let folder = folder("refusals");
    let out = folder.join("out.toml");
    let out = out.to_str().unwrap();
    let trace = folder.join("empty.csv");
    fs::write(&trace, "t_ms,account,org,tier,model,input_tokens,output_tokens\n").unwrap();
    let trace = trace.to_str().unwrap();
    let message = refusal(&["suggest", "--trace", trace, "--out", out]);
    assert!(message.contains("empty.csv") && message.contains("no requests"), "{message}");
    let base = folder.join("base.toml");
    fs::write(&base, "version = 1\nmeters = 3\n").unwrap();
    let base = base.to_str().unwrap();
    let message = refusal(&["suggest", "--trace", trace, "--out", out, "--base", base]);
    assert!(message.contains("base.toml") && message.contains("line 2"), "{message}");
    fs::write(trace, World::default().csv()).unwrap();
    let folder = folder.to_str().unwrap();
    let message = refusal(&["suggest", "--trace", trace, "--out", folder]);
    assert!(message.contains(folder), "{message}");
    assert!(!Path::new(out).exists(), "nothing was written");
}

#[test]
fn known_traces_are_sized() {
    let Some(traces) = traces() else {
        eprintln!("SKIPPED: known_traces_are_sized: no folder of traces; name one in TOLLGATE_TRACES");
        return;
    };
    let folder = folder("known");
    for name in ["azure-conv-2023", "honest"] {
        let (trace, out) = (traces.join(format!("{name}.csv.gz")), folder.join(format!("{name}.toml")));
        let output = tollgate([Path::new("suggest"), Path::new("--trace"), &trace, Path::new("--out"), &out]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let plan = Plan::from_toml(&fs::read_to_string(&out).unwrap()).unwrap();
        assert_eq!(plan.describe().warnings, Vec::<String>::new(), "{name}");
    }
}
