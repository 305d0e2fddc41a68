//! Whom evidence tied together and tightened, when, and by what.

use maud::{Markup, html};

use super::{
    chart::{Axis, Layer, chart},
    legend::{Mark, legend},
    text::{moment, plural},
};
use crate::{
    record::{CLASSES, Class, Cohort, Sample, Series},
    replay::Story,
    report::grouped,
};

pub(super) fn section(story: &Story, axis: &Axis) -> Markup {
    let watched = &story.policy.watched;
    let is_tightened =
        watched.tightened.bins().iter().any(|sample| sample.accounts.iter().any(|count| *count > 0));
    html! {
        section {
            h2 { "Whom evidence tied together" }
            @if watched.shadow { p { strong { "In shadow: it did nothing. This is what it would have done at first." } } }
            @if watched.cohorts.is_empty() {
                p { "Nobody: no cohort formed." }
            } @else {
                p.note {
                    "A cohort is the accounts of a tier that two independent kinds of evidence say are one operator\u{2019}s. They share an "
                    "allowance. Shown as they stood at the end of each stretch."
                }
                (legend([
                    (Mark::Area("attack"), "accounts of campaigns"),
                    (Mark::Area("honest-too"), "honest accounts, in front"),
                ]))
                div.grid { @for cohort in &watched.cohorts { (draw(axis, cohort)) } }
            }
            h2 { "Whose costs were multiplied" }
            @if is_tightened {
                p.note { "Accounts with a factor above 1: each of their requests costs that much more of their own rates." }
                div.grid { figure.card {
                    h3 { "Accounts with a factor" }
                    p { (most(&watched.tightened)) }
                    (chart(axis, "accounts", "accounts with a factor", &layers(axis, &watched.tightened), |index| {
                        let sample = at(axis, &watched.tightened, index);
                        format!("{}; the largest factor {}", counts(&sample.accounts), factor(sample.largest))
                    }))
                } figure.card {
                    h3 { "The largest factor" }
                    p { "What the most suspect account\u{2019}s costs were multiplied by." }
                    (chart(axis, "times", "the largest factor", &[Layer {
                        class: "fill",
                        values: (0..axis.count).map(|index| u64::from(at(axis, &watched.tightened, index).largest / 16)).collect(),
                        filled: true,
                    }], |index| format!("costs times {}", factor(at(axis, &watched.tightened, index).largest))))
                } }
            } @else {
                p { "Nobody\u{2019}s: no factor was above 1." }
            }
        }
    }
}

fn at(axis: &Axis, series: &Series<Sample>, index: usize) -> Sample {
    series.bins().get(axis.first + index).copied().unwrap_or_default()
}

fn factor(sixteenths: u16) -> String {
    format!("{:.1}", f64::from(sixteenths.max(16)) / 16.0)
}

fn counts(accounts: &[u32; 3]) -> String {
    let whose = |class| match class {
        Class::Attack => "of campaigns",
        Class::Honest => "honest",
        Class::Other => "other",
    };
    let parts = CLASSES.into_iter().zip(accounts).filter(|(_, count)| **count > 0);
    let parts: Vec<String> =
        parts.map(|(class, count)| format!("{} {}", grouped(u128::from(*count)), whose(class))).collect();
    if parts.is_empty() { "nobody".to_owned() } else { parts.join(", ") }
}

fn layers(axis: &Axis, series: &Series<Sample>) -> Vec<Layer<'static>> {
    let values = |part: fn(&Sample) -> u32| axis.window(series.bins(), move |sample| u64::from(part(sample)));
    let mut layers = vec![
        Layer {
            class: "attack",
            values: values(|sample| sample.accounts[Class::Attack as usize]),
            filled: true,
        },
        Layer {
            class: "honest-too",
            values: values(|sample| {
                sample.accounts[Class::Honest as usize] + sample.accounts[Class::Other as usize]
            }),
            filled: true,
        },
    ];
    layers.retain(|layer| layer.values.iter().any(|value| *value > 0));
    layers
}

fn most(series: &Series<Sample>) -> String {
    let most = series.bins().iter().max_by_key(|sample| sample.accounts.iter().sum::<u32>());
    format!("At most {}.", counts(&most.copied().unwrap_or_default().accounts))
}

fn draw(axis: &Axis, cohort: &Cohort) -> Markup {
    let mut evidence: Vec<_> = cohort.evidence.iter().collect();
    evidence.sort_by_key(|(pair, accounts)| (std::cmp::Reverse(accounts.iter().sum::<u32>()), **pair));
    html! {
        figure.card {
            h3 { "The cohort of " (cohort.tier) }
            p {
                "First seen by " (moment(cohort.first_ms)) "; ever in it: "
                strong { (counts(&cohort.ever)) } "."
            }
            (chart(axis, "accounts", &format!("the cohort of {}", cohort.tier), &layers(axis, &cohort.members), |index| {
                counts(&at(axis, &cohort.members, index).accounts)
            }))
            p { "By what weighed most when they were first seen in it:" }
            table { tbody { @for (pair, accounts) in evidence.into_iter().take(8) {
                tr {
                    td.name { (pair.0) " and " (pair.1) }
                    td { (plural(u64::from(accounts.iter().sum::<u32>()), "account", "accounts")) }
                }
            } } }
        }
    }
}
