//! Who among the honest lost requests to what others did, when, and by which rule.

use maud::{Markup, html};

use super::{
    chart::{Axis, Layer, chart},
    text::{moment, plural, share, width},
};
use crate::{
    record::{Bin, Class, Counts, Hurt},
    replay::Story,
    report::grouped,
    score::REFUSALS,
};

/// Accounts in the table.
const MOST: usize = 40;

pub(super) fn section(story: &Story, axis: &Axis) -> Markup {
    let honest = story.policy.traffic.iter().filter(|labelled| Class::of(&labelled.label) == Class::Honest);
    let mut by_time = vec![Counts::default(); axis.count];
    for labelled in honest {
        let counts = axis.window(labelled.counts.bins(), |counts| *counts);
        by_time.iter_mut().zip(&counts).for_each(|(sum, counts)| sum.absorb(counts));
    }
    let offered: u64 = by_time.iter().map(|counts| counts.offered).sum();
    let hurt = &story.policy.watched.hurt;
    let refused: u64 = hurt.iter().map(|hurt| hurt.refused).sum();
    html! {
        section {
            h2 { "Who among the honest was hurt" }
            @if offered == 0 {
                p { "The trace says of nobody that he is honest: no label begins with " code { "legit" } "." }
            } @else if hurt.is_empty() {
                p { "Nobody: every refusal of an honest request was by its account\u{2019}s or organization\u{2019}s own limits." }
            } @else {
                p {
                    (plural(hurt.len() as u64, "honest account", "honest accounts")) " lost "
                    (plural(refused, "request", "requests")) " to what others did or evidence says: "
                    (share(refused, offered)) " of all honest requests."
                }
                div.grid { figure.card {
                    h3 { "When" }
                    (chart(axis, &format!("refused per {}", width(axis.width_ms)), "honest requests refused because of others", &[Layer {
                        class: "honest",
                        values: by_time.iter().map(Counts::collateral).collect(),
                        filled: true,
                    }], |index| told(&by_time[index])))
                } figure.card {
                    h3 { "By which rule" }
                    table { tbody { @for (rule, count) in by_rule(story) {
                        tr { td.name.long { (rule) } td { (grouped(u128::from(count))) } }
                    } } }
                } }
                (table(hurt))
            }
        }
    }
}

fn told(counts: &Counts) -> String {
    let parts = REFUSALS.into_iter().zip(counts.refused);
    let parts = parts.filter(|(refusal, count)| refusal.is_collateral() && *count > 0);
    let parts: Vec<String> = parts
        .map(|(refusal, count)| format!("{} {}", super::traffic::reason(refusal), grouped(u128::from(count))))
        .collect();
    if parts.is_empty() { "nobody".to_owned() } else { parts.join(", ") }
}

fn by_rule(story: &Story) -> impl Iterator<Item = (String, u64)> {
    let mut rules: Vec<_> = story
        .policy
        .watched
        .rules
        .iter()
        .filter(|(rule, _)| rule.refusal.is_collateral())
        .map(|(rule, counts)| (rule.to_string(), counts[Class::Honest as usize]))
        .filter(|(_, count)| *count > 0)
        .collect();
    rules.sort_by(|one, two| two.1.cmp(&one.1).then_with(|| one.0.cmp(&two.0)));
    rules.into_iter().take(10)
}

fn table(hurt: &[Hurt]) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th.name { "account" } th.name { "label" } th.name { "tier" } th { "refused" } th { "of its requests" }
                th.name { "first" } th.name { "last" } th.name { "by" }
            } }
            tbody { @for one in hurt.iter().take(MOST) {
                tr {
                    th.name { (one.account) } td.name { (one.label) } td.name { (one.tier) }
                    td { (grouped(u128::from(one.refused))) } td { (share(one.refused, one.offered)) }
                    td.name { (moment(one.first_ms)) } td.name { (moment(one.last_ms)) }
                    td.name.long { @for (index, (rule, count)) in one.by.iter().enumerate() {
                        @if index > 0 { ", " }
                        (rule) @if one.by.len() > 1 { " (" (count) ")" }
                    } }
                }
            } }
        } }
        @if hurt.len() > MOST { p.note { "The " (MOST) " that lost most, of " (hurt.len()) "." } }
    }
}
