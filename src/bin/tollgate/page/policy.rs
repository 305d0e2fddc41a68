//! A policy as it resolves: what each tier can take, and every rule.

use maud::{Markup, html};
use tollgate::{DescribedTier, Description};

use crate::report::grouped;

fn number(number: Option<u64>, none: &str) -> String {
    number.map_or_else(|| none.to_owned(), |number| grouped(u128::from(number)))
}

/// What each tier can take in a day and a month.
pub(super) fn bounds(policy: &Description) -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th.name { "tier" } th.name { "meter" } th { "most in a day" } th { "most in 30 days" } } }
            tbody { @for tier in &policy.tiers { @for bound in &tier.bounds {
                tr {
                    th.name { (tier.name) } td.name { (bound.meter) }
                    td { (number(bound.per_day, "no bound")) } td { (number(bound.per_month, "no bound")) }
                }
            } } }
        } }
    }
}

/// Every rule of every tier, tiers opened one by one.
pub(super) fn rules(policy: &Description) -> Markup {
    html! {
        @for tier in &policy.tiers {
            details {
                summary { (tier.name) }
                (rules_of(tier))
                @if !tier.counted.is_empty() {
                    p.note {
                        "Only counted, never refused: "
                        @for (index, name) in tier.counted.iter().enumerate() { @if index > 0 { ", " } (name) }
                        "."
                    }
                }
                @if !tier.guards.is_empty() { ul.guards { @for guard in &tier.guards { li { (guard) } } } }
            }
        }
        @if !policy.warnings.is_empty() {
            h3 { "Warnings" }
            ul.guards { @for warning in &policy.warnings { li { (warning) } } }
        }
        p.note {
            "Quotas follow " (policy.zone) "; weeks start on " (policy.week_start) ". "
            @if policy.replicas > 1 { "Each number is the share of one of " (policy.replicas) " processes. " }
            "Evidence may multiply an account\u{2019}s costs by " (policy.largest_factor) " at most."
        }
    }
}

fn rules_of(tier: &DescribedTier) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th.name { "level" } th.name { "meter" } th.name { "rule" } th { "limit" } th { "burst" }
                th { "most in a minute" } th { "an hour" } th { "a day" } th { "30 days" }
            } }
            tbody { @for level in &tier.levels { @for rule in &level.rules {
                tr {
                    th.name { (level.level) } td.name { (rule.meter) } td.name { (rule.rule) }
                    td {
                        (limit(&rule.limit))
                        @match rule.kind { "budget" => " ever", "in_flight" => " at once", _ => "" }
                        @if rule.shadow { ", in shadow" }
                    }
                    td { (number(rule.burst, "-")) }
                    @for most in [rule.most.minute, rule.most.hour, rule.most.day, rule.most.month] {
                        td { (number(most, "no bound")) }
                    }
                }
            } } }
        } }
    }
}

/// A limit as a policy says it, with its thousands apart.
fn limit(text: &str) -> String {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).unwrap_or(("", text));
    number.parse::<u64>().map_or_else(|_| text.to_owned(), |number| grouped(u128::from(number)) + unit)
}
