//! `tollgate convert` from the outside: logs that nginx 1.22 has written become traces that `replay` takes, lines that
//! are no good are counted and named, and nothing depends on the order of lines within some minutes.
#![cfg(feature = "cli")]

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Written by nginx 1.22 in its combined format: two users, one of whose programs has quotes in its name, visitors, and
/// somebody who speaks no HTTP.
const COMBINED: &str = include_str!("logs/nginx.log");
/// The same requests by `log_format escape=json`.
const JSON: &str = include_str!("logs/nginx.jsonl");

const POLICY: &str = r#"
version = 1
meters = ["requests", "output_tokens"]
capacity = { accounts = 100, organizations = 10 }
[tiers.free.account]
requests = { quota = "4/day" }
[tiers.free.total]
requests = { quota = "100/day" }
output_tokens = { quota = "1M/day" }
"#;

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("convert").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn tollgate(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who has refused its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// The trace of `log`, and what was told of it.
fn convert(log: &[u8], arguments: &[&str]) -> (Vec<String>, String) {
    let output = tollgate(&[&["convert", "-", "--out", "-"][..], arguments].concat(), log);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    let trace = String::from_utf8(output.stdout).unwrap();
    (trace.lines().map(str::to_owned).collect(), told)
}

/// What `replay` says of `trace` under a policy of four requests a day for each account.
fn replay(folder: &Path, trace: &Path) -> String {
    let policy = folder.join("policy.toml");
    fs::write(&policy, POLICY).unwrap();
    let arguments = ["replay", "--policy", policy.to_str().unwrap(), "--trace", trace.to_str().unwrap()];
    let output = tollgate(&arguments, b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_nginx_writes_becomes_a_trace() {
    let folder = folder("nginx");
    let log = folder.join("access.log");
    fs::write(&log, COMBINED).unwrap();
    let trace = folder.join("trace.csv.gz");
    let arguments = ["convert", log.to_str().unwrap(), "--format", "common", "--tier", "=free", "--out"];
    let output = tollgate(&[&arguments[..], &[trace.to_str().unwrap()]].concat(), b"");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(told.starts_with("12 rows of 12 lines\n  from 2026-11-26T03:28:31Z to "), "{told}");
    assert!(told.contains("counts from 2026-11-23T00:00:00Z") && !told.contains("left out"), "{told}");
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(&trace).unwrap()).read_to_string(&mut text).unwrap();
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(
        rows[0],
        "t_ms,account,org,tier,model,input_tokens,output_tokens,ip,payment,client,template,since_ms,label"
    );
    // Three days, three hours, 28 minutes and 31 seconds after Monday; 2,300 bytes at four a token.
    assert_eq!(rows[1], "271711000,alice,,free,,0,575,127.0.0.1,,chat-app/2.1,,,");
    assert!(rows[3].starts_with("271711000,127.0.0.1,,free,,0,175,"), "{}", rows[3]);
    // Four a day: alice's four, bob's three, four of the visitors' five.
    let told = replay(&folder, &trace);
    assert!(told.contains("Replayed 12 requests") && told.contains("91.6%"), "{told}");
}

#[test]
fn json_lines_become_a_trace() {
    let folder = folder("json");
    let arguments = [
        "--format",
        "json",
        "--time",
        "ts",
        "--account",
        "key,user.id,addr",
        "--tier",
        "=free",
        "--model",
        "path",
        "--input-tokens",
        "usage.in/4",
        "--output-tokens",
        "usage.out/4",
        "--client",
        "agent",
        "--label",
        "=legit",
    ];
    let (rows, told) = convert(JSON.as_bytes(), &arguments);
    assert!(told.starts_with("12 rows of 12 lines") && !told.contains("empty in every row"), "{told}");
    assert_eq!(rows[1], "271711294,k1,,free,/answer,34,575,,,chat-app/2.1,,,legit");
    assert_eq!(
        rows[2],
        "271711308,k2,,free,/answer,41,575,,,\"Mozilla/5.0 (X11; \"\"quoted\"\") \\ back\",,,legit"
    );
    let trace = folder.join("trace.csv");
    fs::write(&trace, rows.join("\n")).unwrap();
    assert!(replay(&folder, &trace).contains("Replayed 12 requests"));
}

#[test]
fn bad_lines_are_counted_and_the_first_are_named() {
    let good = COMBINED.lines().next().unwrap();
    let bad = [
        "not a line of a log".to_owned(),
        good.replace("26/Nov/2026:03:28:31 +0000", "yesterday"),
        good.replace("200 2300", "200 many"),
        format!("{good} \"open"),
        "x".repeat(100_000),
        good.replace("26/Nov", "25/Nov"),
        "\u{0}".repeat(3),
    ];
    let late = good.replace("03:28:31", "04:28:31");
    let log = format!("{good}\n{late}\n\n{}\n", bad.join("\n"));
    let (rows, told) =
        convert(&[log.as_bytes(), b"\xff\xfe\n"].concat(), &["--format", "common", "--tier", "=free"]);
    assert_eq!(rows.len(), 3, "{told}");
    assert!(told.contains("2 rows of 11 lines") && told.contains("8 lines were left out"), "{told}");
    for named in [
        "standard input:4: has 6 fields; the common log format has at least 7: addr ident user time",
        "standard input:5: time: \"yesterday\" is not a time, such as",
        "standard input:6: output_tokens: \"many\" is not a whole number from 0 to 4294967295",
        "standard input:7: a quote is not closed",
        "standard input:8: the line is longer than 65536 bytes",
        "  and 3 more",
    ] {
        assert!(told.contains(named), "{named}: {told}");
    }
    assert!(!told.contains("input:9"), "{told}");
}

#[test]
fn lines_may_be_some_minutes_out_of_order() {
    let line = |minute: u32| {
        format!(
            "{{\"time\":\"2026-01-05T00:{minute:02}:00Z\",\"who\":\"a{minute}\",\"made\":\"2026-01-04T23:00:00Z\"}}\n"
        )
    };
    let arguments =
        ["--format", "json", "--account", "who", "--tier", "=free", "--since", "made", "--org", "none"];
    let log: String = [3, 1, 2, 9, 5, 20, 11, 30].map(line).concat();
    let (rows, told) = convert(log.as_bytes(), &arguments);
    let times: Vec<&str> = rows[1..].iter().map(|row| row.split(',').next().unwrap()).collect();
    let minutes = [1, 2, 3, 5, 9, 11, 20, 30].map(|minute: u32| (minute * 60_000).to_string());
    assert_eq!(times, minutes, "{told}");
    assert!(rows[1].ends_with(",-3600000,"), "{}", rows[1]);
    assert!(told.contains("org is empty in every row: no line has none"), "{told}");
    let (rows, told) = convert([20, 40, 5].map(line).concat().as_bytes(), &arguments);
    assert_eq!(rows.len(), 3);
    assert!(told.contains("standard input:3: is 35 minutes before a line above it; sort the log"), "{told}");
}

#[test]
fn what_is_no_log_is_refused() {
    for (arguments, input, expected) in [
        (&["--format", "json", "--tier", "=free"][..], "", "--account is missing"),
        (&["--format", "common"], "", "--tier"),
        (
            &["--format", "json", "--account", "a", "--tier", "=x"],
            "oops\nno\n",
            "none of 2 lines could be converted",
        ),
        (&["--format", "json", "--account", "a", "--tier", "x/0"], "", "whole number"),
    ] {
        let output = tollgate(&[&["convert", "-", "--out", "-"][..], arguments].concat(), input.as_bytes());
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(expected) && !message.contains("panicked"), "{message}");
    }
    let (rows, told) = convert(b"", &["--format", "common", "--tier", "=free"]);
    assert_eq!((rows.len(), told.starts_with("0 rows of 0 lines")), (1, true), "{told}");
}
