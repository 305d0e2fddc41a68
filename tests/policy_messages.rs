//! Every message of a refused policy, with its line: they are what an operator sees, so a change shows here.
#![cfg(feature = "toml")]

use std::fmt::Write;

use tollgate::{Plan, Policy};

/// A policy with one tier, of which `account` and `total` are the rules of the meter `a`; line 5 and 6.
fn two_rules(account: &str, total: &str) -> String {
    format!("version = 1\nmeters = [\"a\"]\n\n[tiers.t]\naccount.a = {account}\ntotal.a = {total}\n")
}

fn one_rule(rule: &str) -> String {
    format!("version = 1\nmeters = [\"a\"]\n\n[tiers.t]\ntotal.a = {rule}\n")
}

/// A policy that is right but for what `extra` says, from line 2.
fn with(extra: &str) -> String {
    format!("version = 1\n{extra}\nmeters = [\"a\"]\n[tiers.t]\ntotal = \"unlimited\"\n")
}

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn messages(cases: &[(&str, String)]) -> String {
    let mut all = String::new();
    for (title, text) in cases {
        let error = Plan::from_toml(text).err().unwrap_or_else(|| panic!("{title}: accepted\n{text}"));
        assert!(error.problems().iter().all(|problem| !problem.message().is_empty()));
        writeln!(all, "# {title}\n{error}\n").unwrap();
    }
    all
}

#[test]
fn form() {
    let cases = [
        ("not TOML", "version = 1\nmeters = [\"a\"\n[tiers]\n".to_owned()),
        ("key twice", "version = 1\nzone = \"UTC\"\nzone = \"UTC\"\n".to_owned()),
        ("nothing at all", String::new()),
        ("another version", "version = 2\nlimits = []\n".to_owned()),
        ("version as text", "version = \"one\"\n".to_owned()),
        ("unknown key", with("replica = 2")),
        ("unknown key of nothing near", with("colour = \"red\"")),
        ("unknown key of a rule", two_rules("{ rate = \"5/s\", brust = 3 }", "\"50/s\"")),
        ("unknown level", "version = 1\nmeters = [\"a\"]\n[tiers.t.acount]\na = \"5/s\"\n".to_owned()),
        ("a rate without a unit", one_rule("600")),
        ("a rate that is half a token", one_rule("\"1.5/s\"")),
        ("a rate by the month", one_rule("[\"5/s\", { rate = \"200k/month\" }]")),
        ("a unit unknown", one_rule("\"5/fortnight\"")),
        ("a suffix unknown", one_rule("{ quota = \"5m/day\" }")),
        ("a quota by the second", one_rule("{ quota = \"5/s\" }")),
        ("a negative budget", one_rule("{ budget = -5 }")),
        ("a budget with a fraction", one_rule("{ budget = 1.5 }")),
        ("too large a number", one_rule("{ budget = \"99999999T\" }")),
        ("total as some word", "version = 1\nmeters = [\"a\"]\n[tiers.t]\ntotal = \"none\"\n".to_owned()),
        ("a meter as number", "version = 1\nmeters = [\"a\", 5, { nam = \"b\" }]\n".to_owned()),
        ("a zone unknown", with("zone = \"Europe/Berln\"")),
        ("zones", with("zones = [\"Europe/Berln\", \"UTC\",\n  \"UTC\"]")),
        ("memory", with("memory = \"2gigs\"")),
        (
            "several at once",
            "version = 1\nzne = \"UTC\"\nmeters = [\"a\"]\nreplicas = \"two\"\n[tiers.t.total]\n\
             a = [\"5/sec\", { rate = \"x\" },\n  { quota = \"5\", burst = true }]\n"
                .to_owned(),
        ),
    ];
    insta::assert_snapshot!(messages(&cases));
}

#[test]
fn names() {
    let cases = [
        ("no tier", "version = 1\nmeters = [\"a\"]\n".to_owned()),
        ("no meter", "version = 1\nmeters = []\n[tiers.t]\ntotal = \"unlimited\"\n".to_owned()),
        (
            "nine meters",
            format!(
                "version = 1\nmeters = [{}]\ntiers.t.total = \"unlimited\"\n",
                list(9, |index| format!("\"m{index}\""))
            )
        ),
        (
            "odd meters",
            "version = 1\nmeters = [\"\", \"a\", \"a b\",\n  \"a\", { name = \"zero\", least = 0 },\n  \
             \"a-name-that-is-longer-than-twenty-three-bytes\"]\ntiers.t.total = \"unlimited\"\n"
                .to_owned()
        ),
        (
            "65 tiers",
            format!(
                "version = 1\nmeters = [\"a\"]\n{}",
                (0..65).map(|index| format!("tiers.t{index}.total = \"unlimited\"\n")).collect::<String>()
            )
        ),
        (
            "odd tiers",
            "version = 1\nmeters = [\"a\"]\n[tiers.\"\"]\ntotal = \"unlimited\"\n\
             [tiers.\"gratis für alle\"]\ntotal = \"unlimited\"\n"
                .to_owned()
        ),
        ("unknown meter", "version = 1\nmeters = [\"requests\", \"tokens\"]\n[tiers.t.total]\nrequest = \"5/s\"\nbananas = \"5/s\"\n".to_owned()),
        ("unknown anonymous tier", with("anonymous = \"tt\"")),
        ("unknown anonymous tier, none near", with("anonymous = \"visitors\"")),
        ("no total", "version = 1\nmeters = [\"a\"]\n\n[tiers.t.account]\na = \"5/s\"\n".to_owned()),
        ("empty total", "version = 1\nmeters = [\"a\"]\n\n[tiers.t.total]\n".to_owned()),
        ("two rates of a name", one_rule("[{ rate = \"5/s\" },\n  { rate = \"50/min\" }]")),
        ("rule names", one_rule("[{ rate = \"5/s\", name = \"\" },\n  { budget = 7, name = \"sixteen-letters-\" }]")),
    ];
    insta::assert_snapshot!(messages(&cases));
}

#[test]
fn kinds_and_numbers() {
    let cases = [
        ("no kind", one_rule("{ burst = 5 }")),
        ("no rules", one_rule("[]")),
        ("two kinds", one_rule("{ rate = \"5/s\", quota = \"5/day\" }")),
        ("a burst of a quota", one_rule("[\n { quota = \"5/day\", burst = 5, max_debt = 1 }]")),
        ("zeros", one_rule("[\n \"0/s\",\n { rate = \"5/s\", burst = 0, name = \"x\" },\n { quota = \"0/day\" },\n { in_flight = 0 }]")),
        ("too fast", one_rule("\"9/ns\"")),
        ("too slow", one_rule("\"1 per 2 years\"")),
        ("too large a burst", one_rule("{ rate = \"5/s\", burst = 1_000_000_000_000_000_000 }")),
        ("too large a debt", one_rule("{ rate = \"5/s\", max_debt = \"5000000T\" }")),
        ("too large a quota", one_rule("{ quota = \"300T/day\" }")),
        ("too large a quota by the minute", one_rule("{ quota = \"2T/minute\" }")),
        ("too large a budget", one_rule("{ budget = \"18446744073709551615\" }")),
        (
            "below the least",
            "version = 1\nmeters = [{ name = \"a\", least = 16 }]\n[tiers.t.total]\na = [\n  \"5/s\",\n  \
             { rate = \"50/s\", burst = 15, name = \"x\" },\n  { quota = \"15/day\" },\n  { budget = 15 },\n  \
             { in_flight = 15 },\n]\n"
                .to_owned()
        ),
        ("no replica", with("replicas = 0")),
        ("too many replicas", with("replicas = 10").replace("total = \"unlimited\"", "total.a = [{ budget = 9 }, { rate = \"8/s\" },\n { quota = \"7/day\" }]")),
        ("factor 0", with("largest_factor = 0")),
        ("factor 65", with("largest_factor = 65")),
        ("jitter of a day", with("retry_jitter = \"24h\"")),
        ("no capacity", with("capacity = { accounts = 0, organizations = 0 }")),
        ("capacity beyond 32 bits", with("memory = \"100TiB\"\ncapacity = { accounts = \"5G\", parked_accounts = \"5G\" }")),
        ("more than the memory", with("memory = \"1MiB\"\ncapacity = { accounts = 20_000 }")),
        (
            "17 rules",
            one_rule(&format!("[{}]", list(17, |index| format!("{{ rate = \"5/s\", name = \"r{index}\" }}"))))
        ),
        (
            "33 rules on a path",
            {
                let rules = |count| list(count, |index| format!("{{ rate = \"5/s\", name = \"r{index}\" }}"));
                format!(
                    "version = 1\nmeters = [\"a\", \"b\"]\n[tiers.t]\naccount.a = [{}]\norganization.a = [{}]\ntotal = \"unlimited\"\n",
                    rules(16),
                    rules(16)
                )
            }
        ),
    ];
    insta::assert_snapshot!(messages(&cases));
}

#[test]
fn rules_that_never_bind() {
    let pairs = [
        (r#""61/min""#, r#""60/min""#),
        (r#"{ rate = "60/min", burst = 61 }"#, r#""60/min""#),
        (r#"{ rate = "1000/s", burst = 201 }"#, r#"{ quota = "100/day" }"#),
        (r#"{ quota = "2_630/day" }"#, r#"{ rate = "100/hour", burst = 10, max_debt = 0 }"#),
        (r#"{ quota = "101/day" }"#, r#"{ quota = "100/day" }"#),
        (r#"{ quota = "101/hour" }"#, r#"{ quota = "100/month" }"#),
        (r#"{ quota = "201/week" }"#, r#"{ quota = "100/month" }"#),
        (r#"{ quota = "601/month" }"#, r#"{ quota = "100/week" }"#),
        (r#"{ quota = "2_601/day" }"#, r#"{ quota = "100/hour" }"#),
        (r#"{ rate = "5/s", burst = 101 }"#, r#"{ budget = 100 }"#),
        (r#"{ quota = "101/day" }"#, r#"{ budget = 100 }"#),
        (r#"{ budget = 101 }"#, r#"{ budget = 100 }"#),
        (r#"{ in_flight = 101 }"#, r#"{ budget = 100 }"#),
        (r#"{ in_flight = 101 }"#, r#"{ in_flight = 100 }"#),
        (r#"{ rate = "100/min", burst = 500 }"#, r#"{ rate = "50/min", burst = 40 }"#),
        (r#""1/year""#, r#"{ budget = 0 }"#),
    ];
    let mut cases: Vec<(&str, String)> = pairs
        .iter()
        .map(|(account, total)| {
            (
                *account,
                two_rules(account, total).replace("version = 1", "version = 1\nzone = \"Europe/Berlin\""),
            )
        })
        .collect();
    cases.push((
        "in UTC a day has 24 hours",
        two_rules("{ quota = \"2_401/day\" }", "{ quota = \"100/hour\" }"),
    ));
    cases.push((
        "beside each other",
        one_rule("[\n  { quota = \"10/minute\" },\n  { quota = \"601/hour\" }]"),
    ));
    cases.push((
        "under an organization",
        "version = 1\nmeters = [\"a\"]\n[tiers.t]\ntotal = \"unlimited\"\naccount.a = [\"5/s\", { in_flight = 9 }]\n\
         organization.a = { in_flight = 8 }\n"
            .to_owned(),
    ));
    insta::assert_snapshot!(messages(&cases));
}

#[test]
fn problems_come_in_the_order_of_the_text() {
    let error = Plan::from_toml(
        "version = 1\n[tiers.b]\naccount.a = { quota = \"0/day\" }\n[tiers.a]\nreplica = 5\n",
    )
    .unwrap_err();
    assert_eq!(error.problems().len(), 1, "the form is told first: {error}");
    let error = Plan::from_toml(
        "version = 1\nreplicas = 0\n[tiers.b]\naccount.a = \"5/s\"\n[tiers.a]\naccount.x = { budget = 1 }\n",
    )
    .unwrap_err();
    let lines: Vec<Option<usize>> = error.problems().iter().map(|problem| problem.line()).collect();
    assert!(lines.is_sorted(), "{error}");
    assert_eq!(lines.iter().flatten().count() + 1, lines.len(), "all but `meters` have a line: {error}");
}

#[test]
fn other_formats_say_the_key() {
    let policy: Policy = serde_json::from_str(
        r#"{"version": 1, "meters": ["a"], "tiers": {"t": {"total": {"a": ["5/s", {"rate": "7/s", "burst": 0, "name": "x"}]}}}}"#,
    )
    .unwrap();
    let error = Plan::new(&policy).unwrap_err();
    assert_eq!(error.problems()[0].path(), "tiers.t.total.a[1].burst");
    assert_eq!(error.problems()[0].line(), None);
    let error = serde_json::from_str::<Policy>(r#"{"tiers": {"t": {"account": {"a": 7}}}}"#).unwrap_err();
    insta::assert_snapshot!(
        error,
        @r#"invalid type: integer `7`, expected a rate such as "600/min", or a table such as { quota = "200/day" }, or a list of these at line 1 column 35"#
    );
}
