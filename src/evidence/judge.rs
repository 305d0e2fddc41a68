//! The judgement as functions of what is known: what a run shows, what company says, what ties.
//!
//! Company is a mean of logarithms of odds over the values that an account was linked to lately. A value that the larger
//! part of its organizations are odd with, in a kind other than its own, speaks against its users, by how many more that
//! are than of all; one of the honest speaks for them. So one forged or borrowed value among one's own weighs little, and
//! who takes a few prompts from a library that a fleet takes all of its prompts from is told apart from it.
//!
//! A kind's points are the account's own and half of its company's. What ties is the sum over all kinds that are strong,
//! two at least; less is asked for where company is part of it than of an account that is odd all by itself.

use super::{
    KINDS, Kind, Role,
    cohort::{Pair, Tie},
    habit::{RUN, TRAITS, Trait, eighths},
    subject::{BEAT, COLUMNS, Column, Subject},
    values::{Users, Values},
};
use crate::adapt::BIT;

/// Points that make an account odd in a kind: one in 16 of its tier.
pub(super) const ODD: u16 = 4 * BIT;
/// Points in a kind that speak against the values of the others.
const AGAINST: u16 = 3 * BIT;
/// Points of a kind that is strong; and of all that are, together, where company is part of it and where it isn't.
const STRONG: u16 = 4 * BIT;
const TIED: u16 = 10 * BIT;
const UNTIED: u16 = 15 * BIT;
/// The same in a tier that is crowded: see [`cohort`](super::cohort).
const WEAK: u16 = 11 * BIT;
/// Company's points that are part of it.
const COMPANY: u16 = 7 * BIT / 2;
/// Points that an account needs of its own: company alone ties nobody.
const OWN: u16 = 3 * BIT;
/// The most that one kind counts.
pub(super) const MOST: u16 = 9 * BIT;
/// The most that one value speaks for or against, and one that accounts have few of.
const EACH: i16 = 3 * BIT as i16;
const ALONE: i16 = 6 * BIT as i16;
/// As many share by chance, or as a household.
const FEW: u64 = 4;
/// Organizations that a value needs before it speaks, and how many usual ones it is taken to have besides.
const COMPANY_LEAST: u32 = 4;
const USUAL: u64 = 8;
/// The least share of accounts that are taken to be against a value by chance.
const LEAST_SHARE: u32 = 16;

/// How many accounts there are, and how many of them are against the values of a column.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Base {
    all: u32,
    against: u32,
}

impl Base {
    pub(super) fn add(&mut self, against: bool) {
        self.all += 1;
        self.against += u32::from(against);
    }

    pub(super) fn remove(&mut self, against: bool) {
        self.all = self.all.saturating_sub(1);
        self.against = self.against.saturating_sub(u32::from(against));
    }
}

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
pub(super) fn company(links: &[u32], against: bool, values: &Values, role: Option<Role>, base: Base) -> u16 {
    let most = if role == Some(Role::Payment) || role.is_none() { ALONE } else { EACH };
    let (mut sum, mut shared, mut alone) = (0, 0, 0);
    for link in links.iter().filter_map(|link| link.checked_sub(1)) {
        let Users { all, against: odd } = values.users(link);
        let users = Users { all: all.saturating_sub(1), against: odd.saturating_sub(u32::from(against)) };
        if users.all < COMPANY_LEAST {
            alone += 1;
            continue;
        }
        sum += i32::from(speaks(users, base).clamp(-most, most));
        shared += 1;
    }
    // The mean, as if there were one more of half a value; a value of one's own is a quarter of one.
    let mean = i32::from(MOST) * 4 * sum / (i32::from(most) * (4 * shared + alone + 2));
    mean.min(sum).clamp(0, i32::from(MOST)) as u16
}

/// How a value with such users speaks against one more of them.
fn speaks(users: Users, base: Base) -> i16 {
    let (odd, even) = (u64::from(users.against), u64::from(users.all.saturating_sub(users.against)));
    if odd <= even {
        // One more of each: few users make no odds.
        return eighths(odd + 1) as i16 - eighths(even + 1) as i16;
    }
    let base_odd = u64::from(base.against.max(base.all / LEAST_SHARE).max(1));
    let base_even = u64::from(base.all).saturating_sub(base_odd).max(base_odd);
    let usual = base_odd + base_even;
    let log_odds = |odd: u64, even: u64| eighths(odd << 8) as i16 - eighths(even << 8) as i16;
    let here = log_odds(odd * usual + USUAL * base_odd, even * usual + USUAL * base_even);
    (here - log_odds(base_odd, base_even)).max(0)
}

/// Tells the account's values whether it is against them: odd in a kind other than theirs.
pub(super) fn turn_values(
    subject: &mut Subject,
    now_s: u32,
    columns: &[Column; COLUMNS],
    values: &mut Values,
    bases: &mut [Base; COLUMNS],
) {
    let own = subject.own.map(|evidence| evidence.points(now_s));
    for ((index, column), base) in columns.iter().enumerate().zip(bases) {
        let others = Kind::ALL.into_iter().zip(own).filter(|(kind, _)| *kind != column.kind);
        let odd = others.map(|(_, points)| points).max().is_some_and(|points| points >= AGAINST);
        // Two kinds made it a member, one of them another than this.
        let against = odd || subject.cohort != 0;
        let mask = 1 << index;
        if against == subject.is_against(index) {
            continue;
        }
        base.remove(!against);
        base.add(against);
        subject.against ^= mask;
        for link in subject.links.iter().skip(column.start).take(column.len) {
            if let Some(link) = link.checked_sub(1) {
                values.turn(link, subject.organization, against);
            }
        }
    }
}

/// The two strongest kinds, where all that are strong are enough to tie, or nearly. `own` is what an account did and what
/// was reported of it, `company` what those did who share its values, and `sensitivity` what evidence counts in its tier, in
/// sixteenths.
pub(super) fn tie(own: &[u16; KINDS], company: &[u16; KINDS], sensitivity: u16) -> Option<Tie> {
    let (mut first, mut second) = ((0, Kind::Place), (0, Kind::Place));
    let (mut sum, mut rhythm) = (0, 0);
    for ((kind, own), company) in Kind::ALL.into_iter().zip(own).zip(company) {
        // Signals may weigh more, but for themselves.
        let points = (*own).min(MOST) + (*company).min(MOST) / 2;
        if points >= STRONG {
            sum += u32::from(points);
            if kind == Kind::Rhythm {
                rhythm = u32::from(points);
            }
        }
        if points > first.0 {
            (first, second) = ((points, kind), first);
        } else if points > second.0 {
            second = (points, kind);
        }
    }
    let most = |points: &[u16; KINDS]| points.iter().copied().max().unwrap_or(0);
    let is_enough = |sum: u32, least: u16| sum * u32::from(sensitivity) >= u32::from(least) * 16;
    // Programs are even and ask the same: alone, the two are one.
    let alone = sum - rhythm;
    let strong = if most(company) >= COMPANY { is_enough(sum, TIED) } else { is_enough(alone, UNTIED) };
    let ties = (strong || is_enough(alone, WEAK)) && second.0 >= STRONG && most(own) >= OWN;
    ties.then_some(Tie { pair: Pair { one: first.1, other: second.1 }, strong })
}
