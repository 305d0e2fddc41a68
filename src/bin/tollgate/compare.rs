//! Two policies side by side: what one says otherwise, and what that would do to whom.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use serde_json::Value;
use tollgate::Policy;

use crate::{
    drive::{Driven, Driver},
    failure::Failure,
    pipeline,
    record::{ByRule, Comparison, Difference, RuleKey},
    replay::Compared,
    report::{Table, grouped, percent},
    row::Batch,
    score::Verdict,
};

/// Something that two policies say differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// As one would write it, such as `tiers.free.total.requests[0].rate`.
    pub(crate) place: String,
    /// `None` where the policy says nothing.
    pub(crate) first: Option<String>,
    pub(crate) other: Option<String>,
}

/// What `other` says otherwise than `first`, by meaning: comments, order and notation don't count.
pub(crate) fn settings(first: &Policy, other: &Policy) -> Vec<Setting> {
    let mut settings = Vec::new();
    // Plain data: it always has a form as JSON.
    let value = |policy| serde_json::to_value(policy).unwrap_or(Value::Null);
    differ("", Some(&value(first)), Some(&value(other)), &mut settings);
    settings
}

fn differ(place: &str, first: Option<&Value>, other: Option<&Value>, settings: &mut Vec<Setting>) {
    if first == other {
        return;
    }
    match (first, other) {
        (Some(Value::Object(one)), Some(Value::Object(two))) => {
            let only_other = two.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(only_other) {
                let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                differ(&place, one.get(key), two.get(key), settings);
            }
        }
        // A lone rule is written without brackets.
        (Some(Value::Array(_)), Some(two @ Value::Object(_))) => {
            differ(place, first, Some(&Value::Array(vec![two.clone()])), settings);
        }
        (Some(one @ Value::Object(_)), Some(Value::Array(_))) => {
            differ(place, Some(&Value::Array(vec![one.clone()])), other, settings);
        }
        (Some(Value::Array(one)), Some(Value::Array(two))) => {
            for index in 0..one.len().max(two.len()) {
                differ(&format!("{place}[{index}]"), one.get(index), two.get(index), settings);
            }
        }
        _ => {
            let said = |value: &Value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            settings.push(Setting {
                place: place.to_owned(),
                first: first.filter(|value| !value.is_null()).map(said),
                other: other.filter(|value| !value.is_null()).map(said),
            });
        }
    }
}

/// Decisions on one batch: which rule refused each row.
type Decisions = Result<Vec<Option<RuleKey>>, Failure>;

/// Another policy, driven on a thread of its own.
pub(crate) struct Beside {
    decisions: Receiver<Decisions>,
    driver: thread::JoinHandle<Driver>,
    comparison: Comparison,
}

impl Beside {
    pub(crate) fn start(mut driver: Driver, batches: Receiver<Arc<Batch>>) -> Beside {
        let (tell, decisions): (Sender<Decisions>, _) = mpsc::channel();
        let driver = thread::spawn(move || {
            pipeline::consume(&batches, |batch: &Batch| {
                let mut decided = Vec::with_capacity(batch.rows.len());
                let outcome = driver.decide(batch, |denial| decided.push(denial.map(RuleKey::of)));
                // Who does not listen any more has failed, and says so.
                let _ = tell.send(outcome.map(|()| decided));
            });
            driver
        });
        Beside { decisions, driver, comparison: Comparison::default() }
    }

    /// Waits for the other policy's decisions on `batch`, and compares them with these.
    pub(crate) fn compare(&mut self, batch: &Batch, decisions: &[Option<RuleKey>]) -> Result<(), Failure> {
        let other = self.decisions.recv().map_err(|_| stopped())??;
        self.comparison.add(batch, decisions, &other);
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(Driven, Difference), Failure> {
        let driver = self.driver.join().map_err(|_| stopped())?;
        Ok((driver.finish()?, self.comparison.finish()))
    }
}

/// It has no panic of its own; were there one, this would still say what is missing.
fn stopped() -> Failure {
    Failure::new("the other policy's replay stopped unexpectedly")
}

/// The comparison as text.
pub(crate) fn write(out: &mut impl Write, policy: &Verdict, other: &Compared) -> io::Result<()> {
    writeln!(out, "\nUnder {} instead", other.name)?;
    if other.settings.is_empty() {
        writeln!(out, "  It says the same.")?;
    }
    for Setting { place, first, other } in &other.settings {
        let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        writeln!(out, "  {place}: {} -> {}", said(first), said(other))?;
    }
    let difference = &other.difference;
    if difference.people.is_empty() {
        return writeln!(out, "\n  It admits and refuses the same requests.");
    }
    writeln!(out, "\n  Requests that are decided otherwise")?;
    let mut table = Table::new(&[
        "label",
        "tier",
        "refused then",
        "admitted then",
        "of accounts",
        "admitted",
        "then",
        "hurt",
        "then",
    ]);
    for ((label, tier), changed) in &difference.people {
        let of = |verdict: &Verdict| verdict.labels.get(label).copied().unwrap_or_default();
        let (before, after) = (of(policy), of(&other.told.verdict));
        table.row(vec![
            label.to_string(),
            tier.to_string(),
            grouped(u128::from(changed.refused)),
            grouped(u128::from(changed.admitted)),
            grouped(u128::from(changed.accounts)),
            percent(before.admitted, before.offered),
            percent(after.admitted, after.offered),
            grouped(u128::from(before.accounts_hurt)),
            grouped(u128::from(after.accounts_hurt)),
        ]);
    }
    table.write(out, 2)?;
    for (title, rules) in
        [("Refused then by", &difference.refusing), ("Admitted then, refused now by", &difference.released)]
    {
        write_rules(out, title, rules)?;
    }
    Ok(())
}

fn write_rules(out: &mut impl Write, title: &str, rules: &ByRule) -> io::Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut table = Table::new(&[title, "of campaigns", "of the honest", "of others"]);
    for (rule, counts) in rules {
        let mut row = vec![rule.to_string()];
        row.extend(counts.map(|count| grouped(u128::from(count))));
        table.row(row);
    }
    table.write(out, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
        version = 1
        meters = ["requests"]
        capacity = { accounts = 10, organizations = 10 }
        [tiers.free.account]
        requests = [{ rate = "60/min", burst = 5 }, { quota = "100/day" }]
        [tiers.free.total]
        requests = { quota = "500/day" }
    "#;

    fn changed(from: &str, to: &str) -> Vec<(String, Option<String>, Option<String>)> {
        let read = |text: &str| toml::from_str::<Policy>(text).unwrap();
        let settings = settings(&read(POLICY), &read(&POLICY.replace(from, to)));
        settings.into_iter().map(|setting| (setting.place, setting.first, setting.other)).collect()
    }

    #[test]
    fn one_number_is_one_setting() {
        assert_eq!(
            changed("500/day", "400/day"),
            [("tiers.free.total.requests.quota".into(), Some("500/day".into()), Some("400/day".into()))]
        );
        assert!(changed("60/min", "60/min").is_empty());
    }

    #[test]
    fn what_only_one_says_is_told_whole() {
        let [(place, first, other)] = &changed(", { quota = \"100/day\" }", "")[..] else { panic!() };
        assert_eq!(place, "tiers.free.account.requests[1]");
        assert!(first.as_ref().is_some_and(|said| said.contains("100/day")) && other.is_none());
    }
}
