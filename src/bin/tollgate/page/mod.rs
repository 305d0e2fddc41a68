//! The page of a replay: one file, without a script and without anything that a browser would fetch.
//!
//! Pure drawing: everything is in the [`Story`]. Each chart is an SVG of 360 units, shown at about that many pixels on any
//! screen, so that its text is readable on a telephone; a wide screen has several beside each other. Nothing is told by
//! colour alone.

mod chart;
mod compare;
mod evidence;
mod headline;
mod hurt;
mod legend;
mod policy;
mod text;
mod totals;
mod traffic;

use std::{fs, io, path::Path};

use maud::{DOCTYPE, Markup, PreEscaped, html};
use tollgate::Description;

use self::chart::Axis;
use crate::replay::Story;

/// Writes the page of a replay to `path`.
pub(crate) fn write(path: &Path, story: &Story) -> io::Result<()> {
    fs::write(path, replay(story).into_string())
}

/// Writes what a policy means as a page to `path`.
pub(crate) fn write_policy(path: &Path, name: &str, policy: &Description) -> io::Result<()> {
    let page = page(
        &format!("{name}: what it means"),
        html! {
            p.over { "Tollgate policy " code { (name) } }
            h1 { "What each tier can take at most, whoever asks and whatever is detected" }
            p.lead { "Settled overage, which is bounded and reported by itself, comes on top." }
        },
        html! {
            (policy::bounds(policy))
            h2 { "Every rule" }
            (policy::rules(policy))
        },
    );
    fs::write(path, page.into_string())
}

fn replay(story: &Story) -> Markup {
    let axis = axis(story);
    page(
        &format!("Tollgate replay of {}", story.source),
        headline::head(story),
        html! {
            (compare::section(story))
            @if axis.count > 0 { (traffic::section(story, &axis)) (totals::section(story, &axis)) }
            @if axis.count > 0 { (evidence::section(story, &axis)) (hurt::section(story, &axis)) }
            section {
                h2 { "The policy" }
                p.note { "As " code { "tollgate lint" } " resolves it. What each tier can take at most, with every detector blind:" }
                (policy::bounds(&story.description))
                (policy::rules(&story.description))
            }
        },
    )
}

/// From the first stretch in which anything was offered to the last.
fn axis(story: &Story) -> Axis {
    let traffic = &story.policy.traffic;
    let width_ms = traffic.iter().map(|labelled| labelled.counts.width_ms()).max().unwrap_or(1);
    let first = traffic
        .iter()
        .filter_map(|labelled| labelled.counts.bins().iter().position(|counts| counts.offered > 0));
    let first = first.min().unwrap_or(0);
    let end = traffic.iter().map(|labelled| labelled.counts.bins().len()).max().unwrap_or(0);
    Axis { width_ms, first, count: end.saturating_sub(first) }
}

fn page(title: &str, head: Markup, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                // Fetches nothing, even if a name in the trace were markup that slipped through.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                (legend::patterns())
                header { (head) }
                main { (body) }
                footer {
                    "Days are counted from the trace\u{2019}s start. Point at a chart to read its numbers. Made by tollgate " (env!("CARGO_PKG_VERSION"))
                    ", without a script and without a network."
                }
            }
        }
    }
}
