//! What was offered and what got in, over time and by label, and why the rest did not.

use maud::{Markup, html};

use super::{
    chart::{Axis, Layer, chart},
    legend::{Mark, legend},
    text::{share, width},
};
use crate::{
    record::{Bin, Class, Counts, Labelled},
    replay::Story,
    report::grouped,
    score::{REFUSALS, Refusal},
};

/// How a refusal is called.
pub(super) fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Account => "own limits",
        Refusal::Organization => "organization",
        Refusal::Tier => "tier\u{2019}s total",
        Refusal::Ramp => "new account",
        Refusal::Pool => "pool of the new",
        Refusal::Cohort => "cohort",
        Refusal::Tightening => "tightened",
    }
}

/// How a class is drawn.
pub(super) fn class_name(class: Class) -> &'static str {
    match class {
        Class::Attack => "attack",
        Class::Honest => "honest",
        Class::Other => "other",
    }
}

/// What one panel shows: a label, or all of a class.
struct Panel {
    title: String,
    class: Class,
    policy: Vec<Counts>,
    alone: Option<Vec<Counts>>,
    then: Option<Vec<Counts>>,
}

impl Panel {
    fn new(story: &Story, axis: &Axis, title: String, class: Class, belongs: impl Fn(&str) -> bool) -> Panel {
        let sum = |traffic: &[Labelled]| {
            let mut sums = vec![Counts::default(); axis.count];
            for labelled in traffic.iter().filter(|labelled| belongs(&labelled.label)) {
                let counts = axis.window(labelled.counts.bins(), |counts| *counts);
                sums.iter_mut().zip(&counts).for_each(|(sum, counts)| sum.absorb(counts));
            }
            sums
        };
        Panel {
            title,
            class,
            policy: sum(&story.policy.traffic),
            alone: story.baseline_traffic.as_deref().map(sum),
            then: story.other.as_ref().map(|other| sum(&other.told.traffic)),
        }
    }

    fn draw(&self, axis: &Axis) -> Markup {
        let column =
            |counts: &[Counts], part: fn(&Counts) -> u64| counts.iter().map(part).collect::<Vec<_>>();
        let admitted = |counts: &[Counts]| column(counts, |counts| counts.admitted);
        let mut layers = vec![
            Layer { class: "offered", values: column(&self.policy, |counts| counts.offered), filled: true },
            Layer { class: class_name(self.class), values: admitted(&self.policy), filled: true },
        ];
        let lines = [("alone", &self.alone), ("then", &self.then)];
        layers.extend(lines.into_iter().filter_map(|(class, counts)| {
            Some(Layer { class, values: admitted(counts.as_deref()?), filled: false })
        }));
        let sum = |counts: &[Counts]| {
            let sums = counts.iter().map(|counts| (counts.admitted, counts.offered));
            let (admitted, offered) = sums.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
            (share(admitted, offered), grouped(u128::from(offered)))
        };
        let (got_in, offered) = sum(&self.policy);
        html! {
            figure.card {
                h3 { (self.title) }
                p {
                    strong { (got_in) " of " (offered) } " got in"
                    @if let Some(then) = &self.then { "; under the other policy " (sum(then).0) }
                    @if let Some(alone) = &self.alone { "; under account rates alone " (sum(alone).0) }
                    "."
                }
                (chart(axis, &format!("requests per {}", width(axis.width_ms)), &self.title, &layers, |index| self.told(index)))
            }
        }
    }

    fn told(&self, index: usize) -> String {
        let at = |counts: &[Counts]| counts.get(index).copied().unwrap_or_default();
        let counts = at(&self.policy);
        let number = |number: u64| grouped(u128::from(number));
        let mut text = format!("offered {}, got in {}", number(counts.offered), number(counts.admitted));
        if let Some(then) = &self.then {
            text += &format!(", under the other policy {}", number(at(then).admitted));
        }
        if let Some(alone) = &self.alone {
            text += &format!(", under account rates alone {}", number(at(alone).admitted));
        }
        let refused = REFUSALS.into_iter().zip(counts.refused).filter(|(_, count)| *count > 0);
        for (index, (refusal, count)) in refused.enumerate() {
            text += if index == 0 { "; refused by " } else { ", " };
            text += &format!("{} {}", reason(refusal), number(count));
        }
        text
    }
}

fn panels(story: &Story, axis: &Axis) -> Vec<Panel> {
    let mut panels = Vec::new();
    let classes = [
        (Class::Attack, "All campaigns"),
        (Class::Honest, "All honest traffic"),
        (Class::Other, "All other traffic"),
    ];
    let labels = |class| {
        let labels = story.policy.traffic.iter().map(|labelled| &*labelled.label);
        labels.filter(move |label| Class::of(label) == class)
    };
    for (class, all) in classes {
        if labels(class).count() > 1 {
            panels.push(Panel::new(story, axis, all.to_owned(), class, |label| Class::of(label) == class));
        }
    }
    for (class, _) in classes {
        for label in labels(class) {
            panels.push(Panel::new(story, axis, label.to_owned(), class, |other| other == label));
        }
    }
    // Labels beyond these are in the sums, and in the table.
    panels.truncate(15);
    panels
}

pub(super) fn section(story: &Story, axis: &Axis) -> Markup {
    let classes = |class| story.policy.traffic.iter().any(|labelled| Class::of(&labelled.label) == class);
    let marks = [
        Some((Mark::Area("offered"), "offered")),
        classes(Class::Attack).then_some((Mark::Area("attack"), "got in, of campaigns")),
        classes(Class::Honest).then_some((Mark::Area("honest"), "got in, of the honest")),
        classes(Class::Other).then_some((Mark::Area("other"), "got in, of others")),
        story.other.is_some().then_some((Mark::Line("then"), "would get in under the other policy")),
        story
            .baseline_traffic
            .is_some()
            .then_some((Mark::Line("alone"), "would get in under account rates alone")),
    ];
    html! {
        section {
            h2 { "What got in" }
            p.note { "Hatched is what was asked for; solid is what this policy admitted of it. Each chart has a scale of its own." }
            (legend(marks.into_iter().flatten()))
            div.grid { @for panel in panels(story, axis) { (panel.draw(axis)) } }
        }
        (refusals(story))
    }
}

/// The table's reasons, in the order of its columns.
const COLUMNS: [Refusal; REFUSALS.len()] = [
    Refusal::Account,
    Refusal::Ramp,
    Refusal::Organization,
    Refusal::Tier,
    Refusal::Pool,
    Refusal::Cohort,
    Refusal::Tightening,
];

/// Why the rest did not.
fn refusals(story: &Story) -> Markup {
    html! {
        section {
            h2 { "Why the rest did not" }
            p.note {
                "Each refusal counts once, by the limit that it names. An account\u{2019}s own limits, what it has of them while it is "
                "new, and its organization\u{2019}s are its own doing; the other columns are what others did, or what evidence says."
            }
            div.scroll { table {
                thead { tr {
                    th.name { "label" } th { "offered" } th { "got in" }
                    @for refusal in COLUMNS { th { (reason(refusal)) } }
                    th { "accounts" } th { "hurt" }
                } }
                tbody { @for (label, score) in &story.outcome.policy.labels {
                    @let by = score.denied_by;
                    tr {
                        th.name { (label) } td { (grouped(u128::from(score.offered))) } td.strong { (share(score.admitted, score.offered)) }
                        @for count in [by.account - by.ramp, by.ramp, by.organization, by.tier, by.pool, by.cohort, by.tightening] {
                            td.zero[count == 0] { (share(count, score.offered)) }
                        }
                        td { (grouped(u128::from(score.accounts))) } td.zero[score.accounts_hurt == 0] { (grouped(u128::from(score.accounts_hurt))) }
                    }
                } }
            } }
            p.note { "Hurt: accounts with over 1% of their requests refused by anything but their own and their organization\u{2019}s limits." }
        }
    }
}
