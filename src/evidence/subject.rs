//! One account: the run that it is in, the values that it uses, its evidence by kind.

use super::{
    ATTRIBUTES, KINDS, Kind, Member, Observation, Role,
    cohort::Standing,
    habit::{LOOKS, RUN, eighths},
    values::mix,
};
use crate::adapt::{Tightening, fade};

/// Links of an account.
pub(super) const LINKS: usize = 32;
/// Attributes, and the beat, which is made of when an account was active.
pub(super) const COLUMNS: usize = ATTRIBUTES + 1;
pub(super) const BEAT: usize = ATTRIBUTES;
/// Accounts act in step where they become active in the same minutes, after a rest.
const BEAT_S: u32 = 60;
const REST_S: u32 = 5 * BEAT_S;
/// A run shorter than this, in seconds, says nothing about nights.
const DAY_S: u32 = 20 * 3600;

/// Of what kind a column is, and which of an account's links are its.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) role: Option<Role>,
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// The columns of `roles`; what doesn't fit isn't linked.
pub(super) fn columns(roles: &[Role]) -> [Column; COLUMNS] {
    let mut start = 0;
    let mut room = |len: usize| {
        let first = start;
        start = LINKS.min(start + len);
        (first, start - first)
    };
    let beat = room(2);
    let mut columns = [Column { role: None, kind: Kind::Lockstep, start: beat.0, len: beat.1 }; COLUMNS];
    for (index, column) in columns.iter_mut().enumerate().take(ATTRIBUTES) {
        let role = roles.get(index).copied();
        let (start, len) = room(match role {
            Some(Role::Template) => 12,
            Some(Role::Address) => 8,
            Some(Role::Client) => 4,
            Some(Role::Payment | Role::Other) => 2,
            // Everybody shares models; no unknown column has values.
            Some(Role::Model) | None => 0,
        });
        *column = Column { role, kind: role.map_or(Kind::Other, Role::kind), start, len };
    }
    columns
}

/// What an account did since its run began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    pub(super) count: u16,
    pub(super) began_s: u32,
    rest_s: u32,
    /// Which of 64 places each column's values fall on.
    marks: [u64; ATTRIBUTES],
    pub(super) new_templates: u8,
    pub(super) shared_templates: u8,
    amount: u64,
    /// How many of its requests have told what they took.
    amounts: u32,
    /// The least hashes of the minutes in which it became active, in order.
    beat: [u32; 4],
    stretch: u32,
    stretches: u8,
}

impl Run {
    fn start(now_s: u32) -> Run {
        Run { began_s: now_s, beat: [u32::MAX; 4], stretch: u32::MAX, ..Run::default() }
    }

    /// Counts what `observation`, `rest_s` after the one before, shows.
    pub(super) fn add(&mut self, observation: &Observation, now_s: u32, rest_s: u32) {
        if self.count == 0 || self.count >= RUN {
            *self = Run::start(now_s);
        } else {
            self.rest_s = self.rest_s.max(rest_s);
        }
        self.count += 1;
        for (marks, value) in self.marks.iter_mut().zip(observation.attributes) {
            if value != 0 {
                *marks |= 1 << (mix(u64::from(value)) & 63);
            }
        }
        self.took(observation.amount);
        let stretch = now_s / BEAT_S;
        // Where it becomes active: who is active for half an hour is in step with all who began with him.
        if stretch != self.stretch && (self.count == 1 || rest_s >= REST_S) {
            self.stretch = stretch;
            self.stretches = self.stretches.saturating_add(1);
            let mut hash = mix(u64::from(stretch)) as u32;
            for least in &mut self.beat {
                if hash == *least {
                    break;
                }
                if hash < *least {
                    std::mem::swap(&mut hash, least);
                }
            }
        }
    }

    /// Counts what a request took in the end; 0 is unknown.
    pub(super) fn took(&mut self, amount: u32) {
        self.amount += u64::from(amount);
        self.amounts += u32::from(amount > 0);
    }

    /// Counts a prompt that nobody had before, or that others have too.
    pub(super) fn fresh(&mut self, new: bool, shared: bool) {
        self.new_templates = self.new_templates.saturating_add(u8::from(new));
        self.shared_templates = self.shared_templates.saturating_add(u8::from(shared));
    }

    /// How many distinct values a column had; near 64, about as many.
    pub(super) fn distinct(&self, column: usize) -> u8 {
        self.marks.get(column).map_or(0, |marks| marks.count_ones() as u8)
    }

    /// How far what the run shows lifts evidence that fades by `half_life_s`: by its part of that, at most half of the way.
    ///
    /// Who makes many runs has many chances to look odd once, and is judged by what it does for as long as others are, not by
    /// the oddest of its hours.
    pub(super) fn part(&self, now_s: u32, half_life_s: u32) -> u16 {
        let length = now_s.saturating_sub(self.began_s).min(half_life_s / 2);
        (u64::from(length) * u64::from(WAY) / u64::from(half_life_s.max(1))) as u16
    }

    /// The run's length over its longest rest, in quarters; 0 for a run that saw no night.
    pub(super) fn restless(&self, now_s: u32) -> u8 {
        let length = now_s.saturating_sub(self.began_s);
        if length < DAY_S {
            return 0;
        }
        (u64::from(length) * 4 / u64::from(self.rest_s.max(1))).min(64) as u8
    }

    /// The average amount, in quarters of an octave.
    pub(super) fn average(&self) -> u8 {
        (eighths(self.amount / u64::from(self.amounts.max(1))) / 2).min(64) as u8
    }

    /// Accounts in step have the same; `None` where there is too little to tell.
    pub(super) fn beat(&self) -> Option<u32> {
        let hash = self.beat.iter().fold(0, |hash, least| mix(hash ^ u64::from(*least)));
        (self.stretches >= 8).then_some((hash as u32).max(1))
    }
}

/// All of the way that evidence goes to follow what is seen.
const WAY: u16 = 256;

/// Evidence of one kind: its height when it was last seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    points: u16,
    since_s: u32,
    half_life_s: u32,
}

impl Evidence {
    /// What is left of it at `now_s`.
    pub(super) fn points(&self, now_s: u32) -> u16 {
        fade(self.points, u64::from(now_s.saturating_sub(self.since_s)), u64::from(self.half_life_s))
    }

    /// It goes up to `points` by `part` of the way (of [`WAY`]), or a quarter of the way down.
    pub(super) fn follow(&mut self, points: u16, part: u16, now_s: u32, half_life_s: u32) {
        let had = self.points(now_s);
        let up = u32::from(points.saturating_sub(had)) * u32::from(part.min(WAY));
        let points =
            if points > had { had + up.div_ceil(u32::from(WAY)) as u16 } else { had - (had - points) / 4 };
        *self = Evidence { points, since_s: now_s, half_life_s };
    }

    /// It is `points` now.
    pub(super) fn set(&mut self, points: u16, now_s: u32, half_life_s: u32) {
        *self = Evidence { points, since_s: now_s, half_life_s };
    }

    /// It is at least `points` now, and fades by `half_life_s`.
    pub(super) fn raise(&mut self, points: u16, now_s: u32, half_life_s: u32) {
        if points > 0 && points >= self.points(now_s) {
            *self = Evidence { points, since_s: now_s, half_life_s };
        }
    }
}

/// An account that is followed.
#[derive(Clone, Debug, Default)]
pub(super) struct Subject {
    pub(super) member: Member,
    pub(super) organization: u64,
    pub(super) tier: u8,
    pub(super) known: bool,
    pub(super) seen_s: u32,
    pub(super) run: Run,
    /// One more than the link; 0 for none.
    pub(super) links: [u32; LINKS],
    pub(super) next: [u8; COLUMNS],
    /// Columns that it is against, as a set.
    pub(super) against: u16,
    /// What it did itself, and what was reported of it.
    pub(super) own: [Evidence; KINDS],
    /// What those who share its values did.
    pub(super) company: [Evidence; KINDS],
    /// By look, one more than the day on which its run was counted as a habit.
    pub(super) taught: [u16; LOOKS],
    /// How long its runs take, in seconds; 0 for unknown.
    pub(super) pace_s: u32,
    pub(super) cohort: u16,
    pub(super) until_s: u32,
    pub(super) stepped_s: u32,
    /// When its factor ends, if it is not said again.
    pub(super) tight_until_s: u32,
    pub(super) pardoned_until_s: u32,
    pub(super) tightening: Tightening,
    pub(super) settled: bool,
    /// As what its tier counts it.
    pub(super) standing: Standing,
}

impl Subject {
    /// Whether it is against the values of `column`.
    pub(super) fn is_against(&self, column: usize) -> bool {
        self.against & 1 << column != 0
    }
}
