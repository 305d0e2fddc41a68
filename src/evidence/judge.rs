//! The judgement as functions of what is known: what a run shows, what company says, what ties.
//!
//! Company is a sum of logarithms of odds, one for each value that an account was linked to lately: the organizations that
//! use the value and are odd in a kind other than its own, against those that are not. A value of the honest speaks for
//! its users as loudly as a fleet's does against them, so that one forged or borrowed value among one's own weighs little.

use super::{
    KINDS, Kind, Role,
    cohort::Pair,
    habit::{RUN, TRAITS, Trait, eighths},
    subject::{BEAT, COLUMNS, Column, Subject},
    values::{Users, Values},
};
use crate::adapt::BIT;

/// Points that make an account odd in a kind: one in 16 of its tier.
pub(super) const ODD: u16 = 4 * BIT;
/// Points of its strong kinds together, and of each of them, that make it a candidate.
const TIED: u16 = 12 * BIT;
const TIED_EACH: u16 = 4 * BIT;
/// Points of two kinds together of which neither is in what accounts share.
pub(super) const UNTIED: u16 = 15 * BIT;
/// The most that one kind counts.
pub(super) const MOST: u16 = 9 * BIT;
/// The most that one value speaks for or against, and one that accounts have few of.
const EACH: i16 = 3 * BIT as i16;
const ALONE: i16 = 6 * BIT as i16;
/// As many share by chance, or as a household.
const FEW: u64 = 4;
/// Organizations that a value needs before it speaks.
const COMPANY_LEAST: u32 = 4;

/// What is looked at in a run, with the kind of evidence that it is; `None` where there is nothing to see.
pub(super) fn traits(
    subject: &Subject,
    columns: &[Column; COLUMNS],
    values: &Values,
    now_s: u32,
) -> [Option<(Kind, u8)>; TRAITS] {
    let run = &subject.run;
    let column_of = |role: Role| columns.iter().position(|column| column.role == Some(role));
    let distinct = |role: Role| column_of(role).map(|column| (role.kind(), run.distinct(column)));
    let sharers = |column: Option<usize>| {
        let column = columns.get(column?)?;
        let links = subject.links.get(column.start..column.start + column.len)?;
        let (mut sum, mut count) = (0, 0);
        for link in links.iter().filter_map(|link| link.checked_sub(1)) {
            sum += u64::from(values.users(link).all);
            count += 1;
        }
        (count > 0).then(|| (column.kind, (eighths((sum / count).max(FEW)) / 4) as u8))
    };
    let length = now_s.saturating_sub(run.began_s).max(1);
    Trait::ALL.map(|which| match which {
        Trait::Addresses => distinct(Role::Address),
        Trait::Clients => distinct(Role::Client),
        Trait::Templates => distinct(Role::Template),
        Trait::Models => distinct(Role::Model),
        Trait::Others => distinct(Role::Other),
        Trait::NewTemplates => column_of(Role::Template).map(|_| (Kind::Prompt, run.new_templates)),
        Trait::SharedTemplates => column_of(Role::Template).map(|_| (Kind::Prompt, run.shared_templates)),
        Trait::Restless => Some((Kind::Rhythm, run.restless(now_s))),
        Trait::Amount => Some((Kind::Movement, run.average())),
        Trait::Faster => (run.count == RUN && subject.pace_s > 0).then(|| {
            let times = u64::from(subject.pace_s) * 4 / u64::from(length);
            (Kind::Movement, (eighths(times) / 2).min(64) as u8)
        }),
        Trait::PaymentSharers => sharers(column_of(Role::Payment)),
        Trait::BeatSharers => sharers(Some(BEAT)),
        Trait::VolumeChange | Trait::PromptsChange | Trait::AmountChange => None,
    })
}

/// Points by the company of `links`, leaving the account itself out.
pub(super) fn company(links: &[u32], against: u32, values: &Values, role: Option<Role>) -> u16 {
    let most = if role == Some(Role::Payment) || role.is_none() { ALONE } else { EACH };
    let mut sum = 0;
    for link in links.iter().filter_map(|link| link.checked_sub(1)) {
        let Users { all, against: odd } = values.users(link);
        let (all, odd) = (all.saturating_sub(1), odd.saturating_sub(against));
        if all >= COMPANY_LEAST {
            // One more of each: few users make no odds.
            let (odd, even) = (eighths(u64::from(odd) + 1), eighths(u64::from(all.saturating_sub(odd)) + 1));
            sum += (odd as i16 - even as i16).clamp(-most, most);
        }
    }
    (sum.max(0) as u16).min(MOST)
}

/// Tells the account's values whether it is against them: odd in a kind other than theirs.
pub(super) fn turn_values(
    subject: &mut Subject,
    now_s: u32,
    columns: &[Column; COLUMNS],
    values: &mut Values,
) {
    let own = subject.own.map(|evidence| evidence.points(now_s));
    for (index, column) in columns.iter().enumerate() {
        let others = Kind::ALL.into_iter().zip(own).filter(|(kind, _)| *kind != column.kind);
        let odd = others.map(|(_, points)| points).max().is_some_and(|points| points >= ODD);
        // Two kinds made it a member, one of them another than this.
        let against = odd || subject.cohort != 0;
        let mask = 1 << index;
        if against == (subject.against & mask != 0) {
            continue;
        }
        subject.against ^= mask;
        for link in subject.links.iter().skip(column.start).take(column.len) {
            if let Some(link) = link.checked_sub(1) {
                values.turn(link, subject.organization, against);
            }
        }
    }
}

/// The two strongest kinds, where all that are strong are enough to tie.
pub(super) fn tie(points: &[u16; KINDS]) -> Option<Pair> {
    let (mut first, mut second, mut sum) = ((0, Kind::Place), (0, Kind::Place), 0u16);
    for (kind, points) in Kind::ALL.into_iter().zip(points) {
        // Signals may weigh more, but for themselves.
        let points = (*points).min(MOST);
        if points >= TIED_EACH {
            sum = sum.saturating_add(points);
        }
        if points > first.0 {
            (first, second) = ((points, kind), first);
        } else if points > second.0 {
            second = (points, kind);
        }
    }
    (second.0 >= TIED_EACH && sum >= TIED).then_some(Pair { one: first.1, other: second.1 })
}
