//! Policy text, any text at all.
//!
//! - Reading and compiling answer; they do not panic, whatever the text.
//! - The two ways from text to plan agree: `Plan::from_toml`, and any serde format with `Plan::new`. Both
//!   accept, with plans that describe themselves alike, or both refuse, for the same reasons.
//! - A refusal says something, and its lines are lines of the text.
//! - An accepted policy prints as TOML that reads back as the same policy and compiles to the same plan.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::{Plan, Policy, PolicyError};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        check(text);
    }
});

fn check(text: &str) {
    let compiled = Plan::from_toml(text);
    if let Err(refusal) = &compiled {
        check_refusal(refusal, text);
    }
    let Ok(policy) = toml::from_str::<Policy>(text) else {
        assert!(compiled.is_err(), "text that is no policy was compiled");
        return;
    };
    match (compiled, Plan::new(&policy)) {
        (Ok(compiled), Ok(again)) => {
            assert_eq!(describe(&compiled), describe(&again), "the two ways to a plan differ");
            check_round_trip(&policy, &describe(&compiled));
        }
        (Err(refusal), Err(again)) => {
            assert_eq!(reasons(&refusal), reasons(&again), "the two ways refuse for different reasons");
        }
        (Ok(_), Err(refusal)) => panic!("accepted as text, but refused as a policy: {refusal}"),
        (Err(refusal), Ok(_)) => panic!("accepted as a policy, but refused as text: {refusal}"),
    }
}

fn check_refusal(refusal: &PolicyError, text: &str) {
    assert!(!refusal.problems().is_empty(), "refused for no reason");
    let lines = text.split('\n').count();
    for problem in refusal.problems() {
        assert!(!problem.message().is_empty(), "a problem without words");
        assert!(problem.line().is_none_or(|line| (1..=lines).contains(&line)), "no such line: {problem}");
    }
    assert!(!refusal.to_string().is_empty(), "a refusal without words");
}

fn check_round_trip(policy: &Policy, description: &str) {
    let printed = toml::to_string(policy).expect("an accepted policy prints");
    let read: Policy = toml::from_str(&printed).expect("a printed policy reads");
    assert_eq!(policy, &read, "printed as:\n{printed}");
    let plan = Plan::from_toml(&printed).expect("a printed policy compiles");
    assert_eq!(description, describe(&plan), "printed as:\n{printed}");
}

fn describe(plan: &Plan) -> String {
    plan.describe().to_string()
}

/// What is wrong, and where in the policy; the order is that of lines, which only text has.
fn reasons(refusal: &PolicyError) -> Vec<(String, String)> {
    let problems = refusal.problems().iter();
    let mut reasons: Vec<_> =
        problems.map(|problem| (problem.path(), problem.message().to_owned())).collect();
    reasons.sort();
    reasons
}
