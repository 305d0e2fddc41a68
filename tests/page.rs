//! The page of a replay from the outside: that a browser can read it without fetching anything, that it is small, that
//! looking on changes nothing, and that a comparison tells of one number's effect and nothing else.
#![cfg(feature = "cli")]

mod traces;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use traces::traces;

const SMALL: [&str; 8] = ["--accounts", "240", "--exchanges", "20000", "--days", "2", "--seed", "5"];

/// A folder that this test alone writes to.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// What `tollgate` prints; it must succeed, in silence.
fn tollgate(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tollgate")).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

/// Reads the page as strictly as XML is read, but for what HTML says of `<!DOCTYPE>`, `<meta>` and `<style>`: every
/// element is closed in its order, every attribute quoted, and there is no bare `<` or `&`. Answers the elements.
fn elements(page: &str) -> Vec<String> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
    let (mut open, mut all): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        for (at, _) in text.match_indices('&') {
            let entity = text[at..].split(';').next().unwrap();
            assert!(["&amp", "&lt", "&gt", "&quot"].contains(&entity), "a bare &: {entity}");
        }
        let end = start + rest[start..].find('>').expect("an end of the tag");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()), "<{tag}>");
        assert_eq!(attributes.matches('"').count() % 2, 0, "<{tag}>");
        for (index, part) in attributes.split('"').enumerate() {
            assert!(index % 2 == 1 || part.is_empty() || part.ends_with('='), "<{tag}>");
        }
        all.push(name.to_owned());
        if name == "style" {
            rest = &rest[rest.find("</style>").expect("an end of the style") + "</style>".len()..];
        } else if name != "meta" {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
    all
}

/// What every page must be.
fn check(page: &str) -> Vec<String> {
    for fetched in ["http:", "https:", "//", "<script", "<link", "<img", "@import", "src=", "href="] {
        assert!(!page.contains(fetched), "the page has {fetched}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
    for reference in page.split("url(#").skip(1) {
        let id = reference.split(')').next().unwrap();
        assert!(page.contains(&format!("id=\"{id}\"")), "nothing is called {id}");
    }
    for nonsense in ["NaN", "inf\"", "-inf"] {
        assert!(!page.contains(nonsense), "the page has {nonsense}");
    }
    elements(page)
}

#[test]
fn the_page_is_whole_and_looking_on_changes_nothing() {
    let folder = folder("whole");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    tollgate(&[&["replay", "--json", &path("bare.json")][..], &SMALL].concat());
    tollgate(&[&["replay", "--json", &path("seen.json"), "--html", &path("page.html")][..], &SMALL].concat());
    let outcome = |name: &str| {
        let mut outcome: Value = serde_json::from_slice(&fs::read(path(name)).unwrap()).unwrap();
        assert!(outcome["wall_seconds"].take().is_f64());
        outcome
    };
    assert_eq!(outcome("bare.json"), outcome("seen.json"));
    let page = fs::read_to_string(path("page.html")).unwrap();
    let elements = check(&page);
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
    let count = |name: &str| elements.iter().filter(|element| *element == name).count();
    assert!(count("svg") > 10 && count("path") > 20);
    // One is the page's own; the others are told on hover.
    assert!(count("title") > 500, "{}", count("title"));
    for text in [
        "campaigns\u{2019} requests got in",
        "What got in",
        "Tiers against their totals",
        "cohort",
        "The policy",
    ] {
        assert!(page.contains(text), "{text}");
    }
    for label in outcome("seen.json")["policy"]["labels"].as_object().unwrap().keys() {
        assert!(page.contains(label.as_str()), "{label}");
    }
}

const HEADER: &str = "t_ms,account,org,tier,model,input_tokens,output_tokens,label";

const POLICY: &str = r#"
version = 1
meters = ["requests"]
capacity = { accounts = 100, organizations = 10 }
[tiers.free.account]
requests = { quota = "40/day" }
[tiers.free.total]
requests = { quota = "120/day" }
[tiers.paid.account]
requests = { quota = "40/day" }
[tiers.paid.total]
requests = { quota = "120/day" }
"#;

/// Five accounts of each tier, 30 requests each, in turn.
fn trace() -> String {
    let rows = (0..300).map(|number| {
        let (tier, label) = if number % 2 == 0 { ("free", "attack:x") } else { ("paid", "legit") };
        format!("{},{tier}{},,{tier},m,1,1,{label}\n", number * 1_000, number / 2 % 5)
    });
    format!("{HEADER}\n{}", rows.collect::<String>())
}

#[test]
fn a_comparison_names_one_numbers_effect_and_nothing_else() {
    let folder = folder("compare");
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (policy, trace) = (file("policy.toml", POLICY), file("trace.csv", &trace()));
    let html = folder.join("page.html");
    let html = html.to_str().unwrap();
    let compare = |other: &str| {
        let other = file("other.toml", other);
        let text = tollgate(&[
            "replay",
            "--policy",
            &policy,
            "--trace",
            &trace,
            "--compare",
            &other,
            "--html",
            html,
        ]);
        let page = fs::read_to_string(html).unwrap();
        check(&page);
        let start = text.find("Under ").expect("the comparison");
        let end = text[start..].find("What each tier could").map_or(text.len(), |end| start + end);
        (text[start..end].to_owned(), page)
    };
    // The total of one tier alone: 120 of 150 requests get in, and then 100.
    let (text, page) = compare(&POLICY.replacen("120/day", "100/day", 1));
    assert!(text.contains("tiers.free.total.requests.quota: 120/day -> 100/day"), "{text}");
    assert_eq!(text.matches("->").count(), 1, "{text}");
    let row: Vec<&str> =
        text.lines().find(|line| line.contains("attack:x")).unwrap().split_whitespace().collect();
    assert_eq!(row, ["attack:x", "free", "20", "0", "5", "80.0%", "66.6%", "5", "5"]);
    assert!(
        text.contains("free tier: requests/day") && !text.contains("legit") && !text.contains("paid"),
        "{text}"
    );
    assert!(page.contains("20 requests</strong> that get in now"), "the page tells it too");
    // The same number in another notation, and a comment.
    let (text, page) =
        compare(&format!("# The same.\n{}", POLICY.replacen("\"120/day\"", "\"0.12k/day\"", 1)));
    assert!(
        text.contains("It says the same.") && text.contains("the same requests") && !text.contains("->"),
        "{text}"
    );
    assert!(page.contains("It admits and refuses the same requests."));
    // A number that nobody meets.
    let (text, _) = compare(&POLICY.replacen("40/day", "39/day", 1));
    assert!(text.contains("tiers.free.account.requests.quota: 40/day -> 39/day"), "{text}");
    assert!(text.contains("the same requests") && !text.contains("attack"), "{text}");
}

#[test]
fn names_in_a_trace_cannot_break_the_page() {
    let folder = folder("names");
    let (policy, trace, html) =
        (folder.join("policy.toml"), folder.join("trace.csv"), folder.join("page.html"));
    fs::write(&policy, POLICY.replace("120/day", "40/day")).unwrap();
    let accounts = ["a", "\"<b onclick='x'>&amp;\"\"\""];
    let rows = (0..78).map(|at| format!("{at},{},,free,m,1,1,\"legit<i>&\"\n", accounts[at % 2]));
    fs::write(&trace, format!("{HEADER}\n{}", rows.collect::<String>())).unwrap();
    let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
    tollgate(&["replay", "--policy", &path(&policy), "--trace", &path(&trace), "--html", &path(&html)]);
    let page = fs::read_to_string(&html).unwrap();
    check(&page);
    assert!(page.contains("&lt;b onclick") && page.contains("legit&lt;i&gt;&amp;"));
}

#[test]
fn a_trace_without_rows_or_labels_has_a_page() {
    let folder = folder("empty");
    let (trace, html) = (folder.join("trace.csv"), folder.join("page.html"));
    let (trace, html) = (trace.to_str().unwrap(), html.to_str().unwrap());
    let header = HEADER.strip_suffix(",label").unwrap();
    for rows in ["", "1,a,,unverified,m,1,1\n", "500000000,a,,unverified,m,1,1\n"] {
        fs::write(trace, format!("{header}\n{rows}")).unwrap();
        tollgate(&["replay", "--trace", trace, "--html", html]);
        check(&fs::read_to_string(html).unwrap());
    }
}

#[test]
fn a_policy_has_a_page_of_what_each_tier_can_take() {
    let folder = folder("lint");
    let (policy, html) = (folder.join("policy.toml"), folder.join("page.html"));
    fs::write(&policy, POLICY.replace("120/day", "1234/day")).unwrap();
    tollgate(&["lint", policy.to_str().unwrap(), "--html", html.to_str().unwrap()]);
    let page = fs::read_to_string(html).unwrap();
    check(&page);
    let cells = "<td>1,234</td><td>37,020</td>";
    assert_eq!(page.matches(cells).count(), 2 + 2, "for each tier its bound, and its rule");
}

#[test]
fn the_page_of_a_known_week_is_small() {
    let Some(traces) = traces() else {
        eprintln!(
            "SKIPPED: the_page_of_a_known_week_is_small: no folder of traces; name one in TOLLGATE_TRACES"
        );
        return;
    };
    let html = folder("known").join("page.html");
    let trace = traces.join("mixed-0.csv.gz");
    tollgate(&["replay", "--trace", trace.to_str().unwrap(), "--html", html.to_str().unwrap()]);
    let page = fs::read_to_string(html).unwrap();
    check(&page);
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
}
