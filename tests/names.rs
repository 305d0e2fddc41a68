//! What decides nothing: labels, and what a trace calls anybody. And what decides little: the limiter's secret.
//!
//! By one command each: `tollgate replay --decisions` on a trace, on the same without its labels, and with every account,
//! organization, address, card, client and template called otherwise. On the traces of the folder that `TOLLGATE_TRACES`
//! names too, where there is one, by the policy that `tollgate suggest` makes of its `honest.csv.gz`.
#![cfg(feature = "cli")]

mod run;

use run::{folder, tollgate};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

const LABEL: &str = "label";
/// Columns that name somebody or something.
const NAMES: [&str; 6] = ["account", "org", "ip", "payment", "client", "template"];

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// What became of each request of `trace`, under the policy at `policy` or the example, with the limiter's secret.
fn decisions(folder: &Path, trace: &str, policy: Option<&str>, secret: &str) -> Vec<String> {
    let (at, out) = (folder.join("trace.csv"), folder.join("decisions.txt.gz"));
    fs::write(&at, trace).unwrap();
    let mut arguments = vec!["replay", "--no-baseline", "--trace", at.to_str().unwrap(), "--secret", secret];
    arguments.extend(["--decisions", out.to_str().unwrap()]);
    arguments.extend(policy.iter().flat_map(|policy| ["--policy", policy]));
    tollgate(&arguments);
    let text = unpacked(&out);
    let mut lines = text.lines().map(str::to_owned);
    assert_eq!(lines.next().unwrap(), "decision");
    let decisions: Vec<String> = lines.collect();
    assert_eq!(decisions.len() + 1, trace.lines().count());
    decisions
}

/// `trace` with every field changed by `change`, which is told its column.
fn changed(trace: &str, change: impl Fn(&str, &str) -> String) -> String {
    let mut lines = trace.lines();
    let header = lines.next().unwrap();
    let columns: Vec<&str> = header.split(',').collect();
    let mut out = header.to_owned() + "\n";
    for line in lines {
        let fields = line.split(',').zip(&columns).map(|(field, column)| change(column, field));
        out += &fields.collect::<Vec<String>>().join(",");
        out.push('\n');
    }
    out
}

fn share_that_differs(one: &[String], other: &[String]) -> f64 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).filter(|(one, other)| one != other).count() as f64 / one.len() as f64
}

/// Compares, prints a row of a table, and asserts.
fn compare(folder: &Path, name: &str, trace: &str, policy: Option<&str>) {
    let replayed = |trace: &str, secret: &str| decisions(folder, trace, policy, secret);
    let plain = replayed(trace, "0");
    let unlabelled =
        changed(trace, |column, field| if column == LABEL { String::new() } else { field.to_owned() });
    assert_ne!(unlabelled, trace);
    let renamed = changed(trace, |column, field| {
        if !NAMES.contains(&column) || field.is_empty() {
            return field.to_owned();
        }
        // Another name for each, in another order of the alphabet.
        format!("{:x}", u128::from_le_bytes(*b"other names, all").wrapping_mul(hash(field) | 1))
    });
    assert_ne!(renamed, trace);
    let labels = share_that_differs(&plain, &replayed(&unlabelled, "0"));
    let names = share_that_differs(&plain, &replayed(&renamed, "0"));
    let secret = share_that_differs(&plain, &replayed(trace, "1"));
    let denied = plain.iter().filter(|decision| *decision != "admitted").count() as f64 / plain.len() as f64;
    let row = format!(
        "| {name} | {} | {:.2}% | {:.4}% | {:.4}% | {:.4}% |",
        plain.len(),
        100.0 * denied,
        100.0 * labels,
        100.0 * names,
        100.0 * secret
    );
    eprintln!("{row}");
    assert!(denied > 0.001, "something was denied: {row}");
    assert!(labels == 0.0, "labels: {row}");
    assert!(names < 0.000_1, "names: {row}");
}

/// FNV-1a, of 128 bits: no two names of a trace meet.
fn hash(text: &str) -> u128 {
    text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

#[test]
fn labels_and_names_decide_nothing() {
    let folder = folder("campaign");
    let trace = folder.join("campaign.csv");
    let small = ["--accounts", "240", "--exchanges", "20000", "--days", "2", "--seed", "3"];
    let arguments: Vec<&str> =
        ["campaign", "--out", trace.to_str().unwrap()].into_iter().chain(small).collect();
    tollgate(&arguments);
    // As large a share of what the honest take as at full size.
    let policy = folder.join("policy.toml");
    tollgate(&["suggest", "--trace", trace.to_str().unwrap(), "--out", policy.to_str().unwrap()]);
    compare(
        &folder,
        "campaign of 240, 2 days",
        &fs::read_to_string(&trace).unwrap(),
        Some(policy.to_str().unwrap()),
    );
}

#[test]
fn labels_and_names_decide_nothing_in_known_traces() {
    let Some(traces) = std::env::var_os("TOLLGATE_TRACES").map(PathBuf::from).filter(|path| path.is_dir())
    else {
        eprintln!(
            "SKIPPED: labels_and_names_decide_nothing_in_known_traces: name a folder in TOLLGATE_TRACES"
        );
        return;
    };
    let folder = folder("known");
    let policy = folder.join("policy.toml");
    let (honest, policy) = (traces.join("honest.csv.gz"), policy.to_str().unwrap());
    tollgate(&["suggest", "--trace", honest.to_str().unwrap(), "--out", policy]);
    for name in ["honest", "mixed-0", "hydra-1", "hydra-2"] {
        let trace = unpacked(&traces.join(format!("{name}.csv.gz")));
        compare(&folder, name, &trace, Some(policy));
    }
}
