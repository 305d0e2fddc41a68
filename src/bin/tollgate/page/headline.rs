//! What came of it in one sentence, and the numbers of that sentence beside what they would be otherwise.

use maud::{Markup, html};

use super::text::{plural, share, span};
use crate::{record::Class, replay::Story, report::grouped, score::Verdict};

/// What became of the requests of one class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) offered: u64,
    pub(super) admitted: u64,
    /// Refused by anything but the account's and its organization's own rules.
    pub(super) collateral: u64,
    pub(super) accounts: u64,
    pub(super) hurt: u64,
}

impl Sum {
    pub(super) fn of(verdict: &Verdict, classes: &[Class]) -> Sum {
        let mut sum = Sum::default();
        for (label, score) in &verdict.labels {
            if classes.contains(&Class::of(label)) {
                sum.offered += score.offered;
                sum.admitted += score.admitted;
                sum.collateral += score.denied - score.denied_by.account - score.denied_by.organization;
                sum.accounts += score.accounts;
                sum.hurt += score.accounts_hurt;
            }
        }
        sum
    }
}

/// Whom a replay speaks of besides the campaigns: the honest, or where no label tells these, everybody else.
fn people(verdict: &Verdict) -> (&'static str, &'static [Class]) {
    if Sum::of(verdict, &[Class::Honest]).offered > 0 {
        return ("honest requests", &[Class::Honest]);
    }
    let attack = Sum::of(verdict, &[Class::Attack]);
    (if attack.offered > 0 { "other requests" } else { "requests" }, &[Class::Honest, Class::Other])
}

/// The sentence.
fn sentence(verdict: &Verdict) -> String {
    let attack = Sum::of(verdict, &[Class::Attack]);
    let (whose, classes) = people(verdict);
    let people = Sum::of(verdict, classes);
    let collateral = share(people.collateral, people.offered);
    if attack.offered == 0 {
        return format!(
            "{} of {whose} got in; {collateral} were refused by anything but their own limits.",
            share(people.admitted, people.offered)
        );
    }
    let got_in = share(attack.admitted, attack.offered);
    let first = format!("{got_in} of the campaigns\u{2019} requests got in");
    if people.offered == 0 {
        return format!("{first}.");
    }
    format!("{first}; {collateral} of {whose} were refused by anything but their own limits.")
}

/// The sentence and what it rests on.
pub(super) fn head(story: &Story) -> Markup {
    let outcome = &story.outcome;
    html! {
        p.over {
            "Tollgate replay of " code { (story.source) } " under " code { (story.policy_name) } ": "
            (grouped(u128::from(outcome.requests))) " requests, " (span(outcome.simulated_seconds))
        }
        h1 { (sentence(&outcome.policy)) }
        @if let Some(baseline) = outcome.baseline.as_ref().filter(|_| outcome.requests > 0) {
            @let attack = Sum::of(baseline, &[Class::Attack]);
            @let (whose, classes) = people(baseline);
            @let people = Sum::of(baseline, classes);
            p.lead {
                "With the same rates for each account alone, "
                @if attack.offered > 0 { (share(attack.admitted, attack.offered)) " of the campaigns\u{2019} requests get in" }
                @if attack.offered > 0 && people.offered > 0 { ", and " }
                @if people.offered > 0 { (share(people.admitted, people.offered)) " of " (whose) }
                "."
            }
        }
        div.grid { (tiles(story)) }
    }
}

fn tiles(story: &Story) -> Markup {
    let (verdict, baseline) = (&story.outcome.policy, story.outcome.baseline.as_ref());
    let attack = Sum::of(verdict, &[Class::Attack]);
    let (whose, classes) = people(verdict);
    let people = Sum::of(verdict, classes);
    let alone = |classes: &[Class]| baseline.map(|baseline| Sum::of(baseline, classes));
    let then = |classes: &[Class]| story.other.as_ref().map(|other| Sum::of(&other.told.verdict, classes));
    let contained = verdict.contained_after_s.iter();
    html! {
        @if attack.offered > 0 {
            div.card {
                p.what { "Of the campaigns\u{2019} requests, got in" }
                div.big { (share(attack.admitted, attack.offered)) }
                p { (grouped(u128::from(attack.admitted))) " of " (grouped(u128::from(attack.offered))) }
                (bars(&bars_of("attack", attack, then(&[Class::Attack]), alone(&[Class::Attack]))))
            }
        }
        @if people.offered > 0 {
        div.card {
            p.what { "Of " (whose) ", got in" }
            div.big { (share(people.admitted, people.offered)) }
            p { (grouped(u128::from(people.admitted))) " of " (grouped(u128::from(people.offered))) }
            (bars(&bars_of("honest", people, then(classes), alone(classes))))
        }
        div.card {
            p.what { "Of " (whose) ", refused by anything but their own limits" }
            div.big { (share(people.collateral, people.offered)) }
            p {
                (plural(people.collateral, "request", "requests")) "; "
                (plural(people.hurt, "account", "accounts")) " of " (grouped(u128::from(people.accounts)))
                " lost over 1% that way. The other "
                (grouped(u128::from(people.offered - people.admitted - people.collateral)))
                " refusals are by an account\u{2019}s or organization\u{2019}s own limits."
            }
            @if attack.offered > 0 && verdict.contained_after_s.values().any(Option::is_some) {
                p {
                    "Contained after: "
                    @for (index, (label, seconds)) in contained.enumerate() {
                        @if index > 0 { ", " }
                        (label.trim_start_matches("attack:")) " "
                        (seconds.map_or("never".to_owned(), span))
                    }
                    "."
                }
            }
        }
        }
    }
}

/// A share as a bar: whose, the class it is drawn by, the share.
type Bar = (&'static str, &'static str, Sum);

fn bars_of(class: &'static str, now: Sum, then: Option<Sum>, alone: Option<Sum>) -> Vec<Bar> {
    let mut bars = vec![("this policy", class, now)];
    bars.extend(then.map(|sum| ("the other policy", "offered", sum)));
    bars.extend(alone.map(|sum| ("account rates alone", "offered", sum)));
    bars
}

/// What got in, as bars under each other.
fn bars(bars: &[Bar]) -> Markup {
    const LEFT: f64 = 146.0;
    const LONGEST: f64 = 148.0;
    html! {
        svg viewBox={"0 0 360 " (bars.len() * 24 + 2)} aria-hidden="true" {
            @for (index, (whose, class, sum)) in bars.iter().enumerate() {
                @let y = index * 24;
                @let length = LONGEST * sum.admitted as f64 / sum.offered.max(1) as f64;
                text.bar x="0" y=(y + 16) { (whose) }
                rect class=(class) x=(LEFT) y=(y + 3) width=(format!("{:.1}", length.max(1.0))) height="17" {}
                text.bar x=(format!("{:.1}", LEFT + length.max(1.0) + 6.0)) y=(y + 16) { (share(sum.admitted, sum.offered)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::LabelScore;

    fn verdict(labels: &[(&str, u64, u64)]) -> Verdict {
        let score = |offered, admitted| LabelScore {
            offered,
            admitted,
            denied: offered - admitted,
            accounts: 1,
            ..LabelScore::default()
        };
        let labels =
            labels.iter().map(|(label, offered, admitted)| ((*label).into(), score(*offered, *admitted)));
        Verdict { labels: labels.collect(), ..Verdict::default() }
    }

    #[test]
    fn the_sentence_says_what_there_is_to_say() {
        assert_eq!(
            sentence(&verdict(&[("attack:a", 1_000, 33), ("legit", 100_000, 99_998)])),
            "3.3% of the campaigns\u{2019} requests got in; 0.002% of honest requests were refused by anything but their own limits."
        );
        assert_eq!(
            sentence(&verdict(&[("unlabelled", 10, 9)])),
            "90.0% of requests got in; 10.0% were refused by anything but their own limits."
        );
        assert_eq!(
            sentence(&verdict(&[("attack:a", 10, 0)])),
            "0% of the campaigns\u{2019} requests got in."
        );
    }
}
