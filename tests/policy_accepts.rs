//! What is accepted means the same after it is printed and read again, in any format; and no text panics.
#![cfg(feature = "toml")]

use proptest::prelude::*;
use tollgate::{Plan, Policy};

const EXAMPLE: &str = include_str!("../examples/policy.toml");

/// A policy that uses each form there is.
const EVERY_FORM: &str = r#"
    version = 1
    zone = "UTC"
    replicas = 3
    meters = ["requests", { name = "opus.output_tokens", least = 16 }, { name = "images" }]
    anonymous = "anonymous"
    memory = "512MiB"
    largest_factor = 8
    week_start = "sunday"
    on_drop = "charge"
    capacity = { accounts = "10k", organizations = 1_000, parked_accounts = 0, parked_organizations = 77, spare_rules = 2, spare_tiers = 1 }
    fresh = true
    retry_jitter = "5s"

    [tiers.anonymous]
    total = "unlimited"
    account.requests = "30/min"
    account."opus.output_tokens" = ["3k/min", { quota = "60k per day" }]

    [tiers.free]
    on_stall = "deny"
    [tiers.free.account]
    requests = [{ rate = "3 per 2s", burst = 30, max_debt = 0, name = "steady" }, { in_flight = 12 }]
    [tiers.free.organization]
    requests = { quota = "9_000/hour" }
    [tiers.free.total]
    requests = [
        { rate = "10/ms" }, { quota = "1.5M/week", name = "seven-days", soft = "80%" }, { quota = "5M/month", shadow = true }, { budget = "1T" },
    ]
    "opus.output_tokens" = { budget = 0 }
"#;

fn described(policy: &Policy) -> String {
    Plan::new(policy).unwrap().describe().to_string()
}

#[test]
fn what_is_accepted_reads_back() {
    for text in [EXAMPLE, EVERY_FORM] {
        let policy: Policy = toml::from_str(text).unwrap();
        let plan = Plan::from_toml(text).unwrap();
        assert_eq!(plan.describe().to_string(), described(&policy));

        let printed = toml::to_string(&policy).unwrap();
        let again: Policy = toml::from_str(&printed).unwrap();
        assert_eq!(again, policy, "{printed}");
        assert_eq!(Plan::from_toml(&printed).unwrap().describe(), plan.describe());

        let json = serde_json::to_string(&policy).unwrap();
        let again: Policy = serde_json::from_str(&json).unwrap();
        assert_eq!(again, policy, "{json}");
        assert_eq!(described(&again), described(&policy));
    }
}

#[test]
fn the_example_has_the_tiers_of_the_traces() {
    let description = Plan::from_toml(EXAMPLE).unwrap().describe();
    let names: Vec<&str> = description.tiers.iter().map(|tier| tier.name.as_str()).collect();
    assert_eq!(names, ["anonymous", "business", "enterprise", "unverified", "verified"]);
    assert_eq!(description.warnings, Vec::<String>::new());
    assert!(description.tiers.iter().flat_map(|tier| &tier.bounds).all(|bound| bound.per_month.is_some()));
}

#[test]
fn every_form_is_described() {
    let plan = Plan::from_toml(EVERY_FORM).unwrap();
    insta::assert_snapshot!(plan.describe().to_string());
}

#[test]
fn a_share_of_a_rate_is_exact() {
    let text = |replicas: u64, rate: &str| {
        format!(
            "version = 1\nreplicas = {replicas}\nmeters = [\"a\"]\n[tiers.t]\ntotal.a = {{ rate = \"{rate}\", burst = 300 }}"
        )
    };
    let limit = |replicas, rate| {
        let description = Plan::from_toml(&text(replicas, rate)).unwrap().describe();
        let rule = description.tiers[0].levels[2].rules[0].clone();
        (rule.limit, rule.burst, rule.refill_ns)
    };
    assert_eq!(limit(1, "600/min"), ("600/min".to_owned(), Some(300), Some(100_000_000)));
    assert_eq!(limit(3, "600/min"), ("200/min".to_owned(), Some(100), Some(300_000_000)));
    assert_eq!(limit(7, "10/min"), ("10 per 7 min".to_owned(), Some(42), Some(42_000_000_000)));
}

#[test]
fn bounds_hold_for_an_interval_that_begins_anywhere() {
    let plan = Plan::from_toml(
        "version = 1\nmeters = [\"a\", \"b\", \"c\"]\n[tiers.t]\n\
         total.a = [{ rate = \"60/min\", burst = 10 }, { quota = \"100/day\" }]\ntotal.b = { in_flight = 3 }",
    )
    .unwrap();
    let second = 1_000_000_000;
    let day = 86_400 * second;
    assert_eq!(plan.tier_bound("t", "a", second), Some(11));
    // Late on one day and early on the next.
    assert_eq!(plan.tier_bound("t", "a", 3_600 * second), Some(200));
    // Late on the first, all of the second, at the first instant of the third.
    assert_eq!(plan.tier_bound("t", "a", day), Some(300));
    for (tier, meter) in [("t", "b"), ("t", "c"), ("t", "d"), ("u", "a")] {
        assert_eq!(plan.tier_bound(tier, meter, day), None, "{tier} {meter}");
    }
}

#[test]
fn limits_that_can_bind_are_accepted() {
    // Each is one tier's account and total, in a zone with summer time.
    for (account, total) in [
        // Equal limits refuse together.
        (r#""60/min""#, r#""60/min""#),
        (r#"{ quota = "100/day" }"#, r#"{ quota = "100/day" }"#),
        (r#"{ budget = 5 }"#, r#"{ budget = 5 }"#),
        // Faster but smaller at once, and the other way round.
        (r#"{ rate = "60/min", burst = 5 }"#, r#"{ rate = "30/min", burst = 6 }"#),
        (r#"{ rate = "30/min", burst = 6 }"#, r#"{ rate = "60/min", burst = 5 }"#),
        // Larger, but a debt holds it back longer.
        (
            r#"{ rate = "61/min", burst = 10, max_debt = 1000 }"#,
            r#"{ rate = "60/min", burst = 10, max_debt = 0 }"#,
        ),
        // Two days' quota can come within a moment of midnight.
        (r#"{ rate = "1000/s", burst = 199 }"#, r#"{ quota = "100/day" }"#),
        // The burst is no help against the long run.
        (r#"{ rate = "99/day", burst = 300 }"#, r#"{ quota = "100/day" }"#),
        // A day in autumn has 25 hours.
        (r#"{ quota = "2_500/day" }"#, r#"{ quota = "100/hour" }"#),
        (r#"{ quota = "2_499/day" }"#, r#"{ rate = "100/hour", burst = 1, max_debt = 0 }"#),
        // A week lies in two months, a month touches six weeks.
        (r#"{ quota = "200/week" }"#, r#"{ quota = "100/month" }"#),
        (r#"{ quota = "600/month" }"#, r#"{ quota = "100/week" }"#),
        // What refills reaches any budget one day, and what is held adds up.
        (r#"{ budget = "1T" }"#, r#"{ quota = "1/month" }"#),
        (r#"{ in_flight = 1000 }"#, r#""1/hour""#),
        (r#""1000/s""#, r#"{ in_flight = 1 }"#),
        (r#"{ in_flight = 7 }"#, r#"{ budget = 7 }"#),
    ] {
        let text = format!(
            "version = 1\nzone = \"Europe/Berlin\"\nmeters = [\"a\"]\n[tiers.t]\naccount.a = {account}\ntotal.a = {total}"
        );
        assert_eq!(Plan::from_toml(&text).err().map(|error| error.to_string()), None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = Plan::from_toml(&text);
    }

    /// The example with a piece cut out or put in: most are nearly policies.
    #[test]
    fn no_slip_panics(at in 0..EXAMPLE.len(), cut in 0_usize..40, put in "[\\[\\]{}=\"a-z0-9_./,\n ]{0,6}") {
        let start = EXAMPLE.floor_char_boundary(at);
        let end = EXAMPLE.ceil_char_boundary((start + cut).min(EXAMPLE.len()));
        let text = format!("{}{put}{}", &EXAMPLE[..start], &EXAMPLE[end..]);
        match Plan::from_toml(&text) {
            Ok(plan) => drop(plan.describe().to_string()),
            Err(error) => {
                prop_assert!(!error.problems().is_empty());
                for problem in error.problems() {
                    prop_assert!(!problem.message().contains('\n'), "{problem}");
                }
            }
        }
    }

    /// Any numbers at all, in a policy of the right form.
    #[test]
    fn no_number_panics(numbers in proptest::array::uniform10(prop_oneof![0_u64..20, any::<u64>(), Just(u64::MAX)])) {
        let [replicas, factor, accounts, tokens, nanos, burst, debt, quota, budget, held] = numbers;
        let text = format!(
            r#"{{"version": 1, "replicas": {replicas}, "largest_factor": {factor}, "memory": {},
                "capacity": {{"accounts": {accounts}, "organizations": {held}}}, "meters": ["a", {{"name": "b", "least": {tokens}}}],
                "tiers": {{"t": {{"account": {{"a": [{{"rate": "{tokens} per {nanos}ns", "burst": {burst}, "max_debt": {debt}}}, {{"quota": "{quota}/day"}}]}},
                    "total": {{"a": [{{"budget": {budget}}}, {{"in_flight": {held}}}, {{"rate": "{tokens}/s", "name": "second"}}, {{"quota": "{quota}/minute"}}], "b": "5/s"}}}}}}}}"#,
            u64::MAX,
        );
        let Ok(policy) = serde_json::from_str::<Policy>(&text) else { return Ok(()) };
        if let Ok(plan) = Plan::new(&policy) {
            let _ = plan.describe().to_string();
            let _ = plan.tier_bound("t", "a", nanos);
        }
        let printed = toml::to_string(&policy).unwrap_or_default();
        if !printed.is_empty() {
            prop_assert_eq!(toml::from_str::<Policy>(&printed).unwrap(), policy);
        }
    }
}
