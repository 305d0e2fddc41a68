//! What a base policy says and the trace does not: kept.

use std::path::Path;

use toml::{Table, Value as Toml};

use super::document::{Document, Rule, Section, Value};
use crate::{failure::Failure, replay};

const KEPT: &str = "kept from the base policy";

/// Reads the base policy at `path`; it must be valid as it is.
pub(super) fn read(path: &Path) -> Result<Table, Failure> {
    let text = replay::read_policy_text(path)?;
    replay::compile_policy(&text, path)?;
    text.parse().map_err(|error| Failure::file(path, error))
}

/// Adds to `document` what only `base` has.
///
/// A number that the trace measures stays as suggested. Whatever else the base sets is kept: zone, replicas and
/// the like, meters and tiers that the trace does not have, limits of kinds that a trace does not size (budgets,
/// concurrency, other windows), and the switches of evidence.
pub(super) fn keep(document: &mut Document, base: &Table) {
    keep_table(document, &[], base);
}

/// Keys whose suggested value comes from the trace; all others of the base win.
fn is_measured(path: &[String], key: &str) -> bool {
    match path.len() {
        0 => key == "version",
        // A tier's own keys are an operator's decisions, but for what was counted.
        2 => key == "light_reserve",
        3 => true,
        _ => false,
    }
}

fn keep_table(document: &mut Document, path: &[String], base: &Table) {
    for (key, value) in base {
        let inner: Vec<String> = path.iter().chain([key]).cloned().collect();
        if path.is_empty() && key == "meters" {
            keep_meters(document, value);
            continue;
        }
        match value {
            Toml::Table(table) if is_section(&inner) => keep_table(document, &inner, table),
            value => keep_value(document, path, key, value),
        }
    }
}

/// Tables that are written as sections: `tiers.T`, its levels, `evidence` and what is in it.
fn is_section(path: &[String]) -> bool {
    let first = path.first().map(String::as_str);
    match path.len() {
        1 => matches!(first, Some("tiers" | "evidence")),
        2 => matches!(first, Some("tiers" | "evidence")),
        3 => {
            let level = path.last().map(String::as_str);
            let evidence = first == Some("evidence");
            evidence
                || matches!(
                    level,
                    Some("account" | "organization" | "total" | "pool" | "cohort" | "ramp" | "floor")
                )
        }
        _ => false,
    }
}

fn keep_value(document: &mut Document, path: &[String], key: &str, value: &Toml) {
    if document.section_mut(path).is_none() {
        let place = place_of(document, path);
        let section = Section { path: path.to_vec(), ..Section::default() };
        document.sections.insert(place, section);
    }
    let Some(section) = document.section_mut(path) else { return };
    match section.entries.iter_mut().find(|(known, _)| known == key) {
        None => section.plain(key, value.to_string(), KEPT),
        Some((_, Value::Rules(rules))) => keep_rules(rules, value),
        Some(_) if is_measured(path, key) => {}
        Some((_, Value::Plain(text, comment))) => {
            (*text, *comment) = (value.to_string(), KEPT.to_owned());
        }
    }
}

/// Where a section that the document lacks goes: behind the last of the same tier.
fn place_of(document: &Document, path: &[String]) -> usize {
    let same = |section: &Section| path.len() > 1 && section.path.get(..2) == path.get(..2);
    document.sections.iter().rposition(same).map_or(document.sections.len(), |index| index + 1)
}

/// Adds the rules of kinds that were not suggested.
fn keep_rules(rules: &mut Vec<Rule>, value: &Toml) {
    let list = match value {
        Toml::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    for rule in list {
        let kind = kind(rule);
        if rules.iter().all(|known| known.kind != kind) && kind != "rate" && !kind.is_empty() {
            rules.push(Rule { kind, text: rule.to_string(), comment: KEPT.to_owned() });
        }
    }
}

fn kind(rule: &Toml) -> String {
    let Toml::Table(table) = rule else { return "rate".to_owned() };
    let window =
        || table.get("quota")?.as_str()?.rsplit_once('/').map(|(_, window)| window.trim().to_owned());
    for kind in ["budget", "in_flight", "rate"] {
        if table.contains_key(kind) {
            return kind.to_owned();
        }
    }
    match window().as_deref() {
        // Windows that are sized where the trace is long enough; else nobody knows whether the old one still fits.
        Some("day" | "week" | "d" | "w") | None => String::new(),
        Some("h") => "quota/hour".to_owned(),
        Some("minute") => "quota/min".to_owned(),
        Some(window) => format!("quota/{window}"),
    }
}

/// The suggested meters as the base writes them, and its others.
fn keep_meters(document: &mut Document, base: &Toml) {
    let Toml::Array(base) = base else { return };
    let name = |meter: &Toml| match meter {
        Toml::Table(table) => table.get("name").and_then(Toml::as_str).map(str::to_owned),
        meter => meter.as_str().map(str::to_owned),
    };
    let known: Vec<String> = base.iter().filter_map(name).collect();
    let new = super::write::METERS.iter().filter(|meter| known.iter().all(|known| known != *meter));
    let all: Vec<String> =
        base.iter().map(Toml::to_string).chain(new.map(|meter| super::document::string(meter))).collect();
    let Some(root) = document.section_mut(&[]) else { return };
    for (key, value) in &mut root.entries {
        if key == "meters" {
            *value = Value::Plain(format!("[{}]", all.join(", ")), KEPT.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_base_says_stays() {
        let mut root = Section::new([]);
        root.plain("version", "1", "");
        root.plain("zone", "\"UTC\"", "");
        root.plain("meters", "[\"requests\"]", "");
        let mut account = Section::new(["tiers", "a", "account"]);
        let rule = |kind: &str, text: &str| Rule {
            kind: kind.to_owned(),
            text: text.to_owned(),
            comment: String::new(),
        };
        account.rules("requests", vec![rule("quota/day", "{ quota = \"9/day\" }")]);
        let mut document = Document { sections: vec![root, account] };
        let base: Table = r#"
version = 1
zone = "Europe/Berlin"
replicas = 3
meters = ["gpu", { name = "requests", least = 1 }]
[tiers.a.account]
requests = ["5/min", { quota = "100/day" }, { budget = 50 }, { in_flight = 2 }]
gpu = "2/s"
[tiers.b]
total = "unlimited"
[tiers.b.account]
requests = "1/min"
"#
        .parse()
        .unwrap();
        keep(&mut document, &base);
        let merged: Table = document.text().parse().unwrap();
        assert_eq!(merged["zone"].as_str(), Some("Europe/Berlin"));
        assert_eq!(merged["replicas"].as_integer(), Some(3));
        assert_eq!(merged["meters"].as_array().unwrap().len(), 4);
        let account = &merged["tiers"]["a"]["account"];
        let requests = account["requests"].as_array().unwrap();
        assert_eq!(requests.len(), 3);
        assert_eq!(requests[0]["quota"].as_str(), Some("9/day"));
        assert_eq!(requests[1]["budget"].as_integer(), Some(50));
        assert_eq!(account["gpu"].as_str(), Some("2/s"));
        assert_eq!(merged["tiers"]["b"]["total"].as_str(), Some("unlimited"));
        assert_eq!(merged["tiers"]["b"]["account"]["requests"].as_str(), Some("1/min"));
    }
}
