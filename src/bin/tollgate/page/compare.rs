//! Two policies side by side.

use maud::{Markup, html};

use super::text::{plural, share};
use crate::{
    record::{ByRule, Changed},
    replay::Story,
    report::grouped,
};

pub(super) fn section(story: &Story) -> Markup {
    let Some(other) = &story.other else { return html! {} };
    let verdict = &story.outcome.policy;
    let sums = other.difference.people.values().fold(Changed::default(), |sum, changed| Changed {
        refused: sum.refused + changed.refused,
        admitted: sum.admitted + changed.admitted,
        accounts: sum.accounts + changed.accounts,
        ..sum
    });
    html! {
        section {
            h2 { "What " code { (other.name) } " would change" }
            @if other.settings.is_empty() {
                p { "It says the same." }
            } @else {
                div.scroll { table {
                    thead { tr { th.name { "setting" } th { "now" } th { "then" } } }
                    tbody { @for setting in &other.settings {
                        tr {
                            th.name { (setting.place) }
                            td { (setting.first.as_deref().unwrap_or("nothing")) }
                            td.strong { (setting.other.as_deref().unwrap_or("nothing")) }
                        }
                    } }
                } }
            }
            @if other.difference.people.is_empty() {
                p { "It admits and refuses the same requests." }
            } @else {
                p {
                    "It would refuse " strong { (plural(sums.refused, "request", "requests")) } " that get in now, and admit "
                    strong { (plural(sums.admitted, "request", "requests")) } " that are refused now, of "
                    (plural(sums.accounts, "account", "accounts")) ". All other requests are decided alike."
                }
                div.scroll { table {
                    thead { tr {
                        th.name { "label" } th.name { "tier" } th { "refused then" } th { "admitted then" } th { "of accounts" }
                        th { "of the label got in" } th { "then" } th { "accounts hurt" } th { "then" }
                    } }
                    tbody { @for ((label, tier), changed) in &other.difference.people {
                        @let before = verdict.labels.get(label).copied().unwrap_or_default();
                        @let after = other.told.verdict.labels.get(label).copied().unwrap_or_default();
                        tr {
                            th.name { (label) } td.name { (tier) }
                            td { (grouped(u128::from(changed.refused))) } td { (grouped(u128::from(changed.admitted))) }
                            td { (grouped(u128::from(changed.accounts))) }
                            td { (share(before.admitted, before.offered)) } td.strong { (share(after.admitted, after.offered)) }
                            td { (grouped(u128::from(before.accounts_hurt))) } td.strong { (grouped(u128::from(after.accounts_hurt))) }
                        }
                    } }
                } }
                (rules("Refused then by", &other.difference.refusing))
                (rules("Admitted then, refused now by", &other.difference.released))
            }
        }
    }
}

fn rules(title: &str, rules: &ByRule) -> Markup {
    const MOST: usize = 20;
    html! {
        @if !rules.is_empty() {
            div.scroll { table {
                thead { tr { th.name { (title) } th { "of campaigns" } th { "of the honest" } th { "of others" } } }
                tbody { @for (rule, counts) in rules.iter().take(MOST) {
                    tr { th.name { (rule) } @for count in counts { td.zero[*count == 0] { (grouped(u128::from(*count))) } } }
                } }
            } }
            @if rules.len() > MOST { p.note { "The " (MOST) " that decide most, of " (rules.len()) "." } }
        }
    }
}
