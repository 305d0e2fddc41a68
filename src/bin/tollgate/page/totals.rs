//! How full the totals of tiers and the pools of new accounts were.

use maud::{Markup, html};
use tollgate::{DescribedRule, Description, Level};

use super::{
    chart::{Axis, strip},
    text::{moment, plural, short, width},
};
use crate::{record::Shared, replay::Story, report::grouped};

/// Strips on a page; a policy may have some hundred rules.
const MOST: usize = 48;
/// In permille: a limit that was never as full as this is told in a word.
const LEAST: u64 = 100;

struct Strip<'a> {
    shared: &'a Shared,
    permille: Vec<u64>,
    most: u64,
}

pub(super) fn section(story: &Story, axis: &Axis) -> Markup {
    let all = story.policy.watched.shared.iter().filter(|shared| !shared.shadow).map(|shared| {
        let permille = axis.window(shared.fill.bins(), |fill| u64::from(fill.0));
        Strip { shared, most: permille.iter().copied().max().unwrap_or(0), permille }
    });
    // Of several rules on a meter, the one that was fullest is the one that binds.
    let mut fullest: Vec<Strip<'_>> = Vec::new();
    for strip in all {
        let of = |strip: &Strip<'_>| (strip.shared.tier, strip.shared.level, strip.shared.meter);
        match fullest.iter_mut().find(|known| of(known) == of(&strip)) {
            Some(known) if known.most < strip.most => *known = strip,
            Some(_) => {}
            None => fullest.push(strip),
        }
    }
    let (mut strips, idle): (Vec<Strip<'_>>, Vec<Strip<'_>>) =
        fullest.into_iter().partition(|strip| strip.most >= LEAST);
    let left_out = strips.len().saturating_sub(MOST);
    strips.truncate(MOST);
    let tiers: Vec<&str> = story.description.tiers.iter().map(|tier| tier.name.as_str()).collect();
    html! {
        section {
            h2 { "Tiers against their totals" }
            p.note {
                "How much of each limit that many share was in use, at most within each " (width(axis.width_ms))
                ". At the dashed line it is full, and refuses. A rate\u{2019}s is of its burst, a quota\u{2019}s of its window. Of several limits on a meter, the fullest is shown."
            }
            @for tier in tiers {
                @let own: Vec<&Strip<'_>> = strips.iter().filter(|strip| strip.shared.tier.as_str() == tier).collect();
                @if !own.is_empty() {
                    h3.tier { (tier) }
                    div.grid { @for one in own { figure.card { (draw(story, axis, one)) } } }
                }
            }
            @if strips.is_empty() { p { "No limit that many share was ever used by a tenth." } }
            @else if !idle.is_empty() { p.note { (plural(idle.len() as u64, "other such limit was", "other such limits were")) " never used by a tenth." } }
            @if left_out > 0 { p.note { (left_out) " more are not shown." } }
            (bounds(story))
        }
    }
}

fn draw(story: &Story, axis: &Axis, one: &Strip<'_>) -> Markup {
    let Strip { shared, permille, most } = one;
    let name = match shared.level {
        Level::Pool => format!("pool of the new: {}", shared.meter),
        _ => format!("total: {}", shared.meter),
    };
    let limit = rule(&story.description, shared).map(said).unwrap_or_default();
    let full = permille.iter().filter(|permille| **permille >= 1_000).count() as u64 * axis.width_ms;
    let percent = |permille: u64| format!("{}%", permille / 10);
    html! {
        p {
            strong { (name) } ", " (limit) ". At most " strong { (percent(*most)) }
            @if full > 0 { ", full in " (plural(full / axis.width_ms, "stretch", "stretches")) " of " (width(axis.width_ms)) }
            "."
        }
        (strip(axis, &format!("{} {name}", shared.tier), permille, |index| {
            format!("{} of {name}", percent(permille.get(index).copied().unwrap_or(0)))
        }))
    }
}

fn rule<'a>(description: &'a Description, shared: &Shared) -> Option<&'a DescribedRule> {
    let tier = description.tiers.iter().find(|tier| tier.name == shared.tier)?;
    let level = tier.levels.iter().find(|level| level.level == shared.level)?;
    level.rules.iter().find(|rule| rule.meter == shared.meter && rule.rule == shared.rule)
}

/// A limit in a few words.
fn said(rule: &DescribedRule) -> String {
    let digits = rule.limit.find(|c: char| !c.is_ascii_digit()).unwrap_or(rule.limit.len());
    let (number, unit) = rule.limit.split_at_checked(digits).unwrap_or(("", &rule.limit));
    let limit = number.parse::<f64>().map_or_else(|_| rule.limit.clone(), |number| short(number) + unit);
    match (rule.kind, rule.burst) {
        ("budget", _) => format!("{limit} ever"),
        (_, Some(burst)) => format!("{limit}, burst {}", short(burst as f64)),
        _ => limit,
    }
}

/// What each tier could be admitted at most while the trace lasted, and was.
fn bounds(story: &Story) -> Markup {
    html! {
        p.note { "What each tier could be admitted at most in these " (super::text::span(story.outcome.simulated_seconds)) ", with every detector blind, and what it was:" }
        div.scroll { table {
            thead { tr { th.name { "tier" } th.name { "meter" } th { "at most" } th { "admitted" } th { "of it" } } }
            tbody { @for bound in &story.policy.bounds {
                tr {
                    th.name { (bound.tier) } td.name { (bound.meter) }
                    td { (bound.most.map_or("no bound".to_owned(), grouped)) }
                    td { (grouped(u128::from(bound.admitted))) }
                    td { @if let Some(most) = bound.most.filter(|most| *most > 0) { (u128::from(bound.admitted) * 100 / most) "%" } @else { "-" } }
                }
            } }
        } }
        p.note { "Until the end of " (moment(story.end_ms)) ". Bounds are of what is reserved; settled overage comes on top." }
    }
}
