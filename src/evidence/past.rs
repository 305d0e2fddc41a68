//! An organization against its own past: what it did today, beside what it does on other days.
//!
//! A business that turns to extraction from within shares nothing with strangers and is odd in nothing that a large
//! customer might not do as well. But it changes: more prompts than ever, other answers, another volume. Of each
//! organization (an account without one stands for itself) a day's volume, prompts and average amount are kept, and what
//! is usual for it. At its 64th, 128th, ... request of a day the change is looked up among the changes of all others
//! ([`Habits`]), and counted there.
//!
//! Days end at midnight of the limiter's clock. What is usual moves by a quarter of the difference a day, by a sixteenth
//! while the organization is odd: who turned doesn't become usual by going on.
//!
//! Memory: one entry for each, in sets; a new organization takes the place of the one that was silent longest.

use super::{
    KINDS, Kind,
    habit::{Habits, Trait, eighths},
    subject::Evidence,
    values::mix,
};
use crate::adapt::BIT;

const WAYS: usize = 8;
const DAY_S: u32 = 86_400;
/// Requests in a day before it is compared.
const LEAST: u32 = 64;
/// Requests of a day that says what is usual.
const LEAST_USUAL: u32 = 8;
/// Points that make it odd.
const ODD: u16 = 5 * BIT;
/// Points that each change needs before any counts.
const EACH: u16 = 3 * BIT;
/// What is compared, and the kind of evidence that it is.
const CHANGES: usize = 3;
const OF_KINDS: [(Trait, Kind); CHANGES] = [
    (Trait::VolumeChange, Kind::Rhythm),
    (Trait::PromptsChange, Kind::Prompt),
    (Trait::AmountChange, Kind::Movement),
];
/// The look-up's middle: no change.
const MIDDLE: i32 = 32;

/// What a day is like, in eighths of an octave.
#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    volume: u16,
    prompts: u16,
    amount: u16,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past {
    /// 0 where free.
    key: u64,
    seen_s: u32,
    day: u32,
    count: u32,
    amount: u64,
    /// How many of its requests have told what they took.
    amounts: u32,
    prompts: [u64; 2],
    /// Days that `usual` is made of.
    days: u16,
    usual: Usual,
    /// Volume, prompts, amount.
    evidence: [Evidence; CHANGES],
}

impl Past {
    /// Points by kind. A launch changes the volume, new software the prompts, a new model the answers; only who changes in
    /// all three has become somebody else.
    pub(super) fn points(&self, now_s: u32) -> [u16; KINDS] {
        let changes = self.evidence.map(|evidence| evidence.points(now_s));
        let mut points = [0; KINDS];
        if changes.iter().all(|points| *points >= EACH) {
            for ((_, kind), change) in OF_KINDS.into_iter().zip(changes) {
                if let Some(points) = points.get_mut(kind as usize) {
                    *points = change;
                }
            }
        }
        points
    }

    fn today(&self) -> Usual {
        let prompts: u32 = self.prompts.iter().map(|marks| marks.count_ones()).sum();
        Usual {
            volume: eighths(u64::from(self.count)),
            prompts: eighths(u64::from(prompts)),
            amount: eighths(self.amount / u64::from(self.amounts.max(1))),
        }
    }

    fn took(&mut self, amount: u32) {
        self.amount += u64::from(amount);
        self.amounts += u32::from(amount > 0);
    }

    fn end_day(&mut self, day: u32, now_s: u32) {
        if self.count >= LEAST_USUAL {
            let today = self.today();
            let odd = self.evidence.iter().any(|evidence| evidence.points(now_s) >= ODD);
            let part = if self.days == 0 {
                1
            } else if odd {
                16
            } else {
                4
            };
            let blend = |usual: &mut u16, today: u16| {
                let change = (i32::from(today) - i32::from(*usual)) / part;
                *usual = usual.saturating_add_signed(change as i16);
            };
            blend(&mut self.usual.volume, today.volume);
            blend(&mut self.usual.prompts, today.prompts);
            blend(&mut self.usual.amount, today.amount);
            self.days = self.days.saturating_add(1);
        }
        *self = Past { day, count: 0, amount: 0, amounts: 0, prompts: [0; 2], ..*self };
    }
}

/// The pasts of all organizations.
#[derive(Debug)]
pub(super) struct Pasts {
    pasts: Box<[Past]>,
}

impl Pasts {
    pub(super) fn new(organizations: usize) -> Pasts {
        let count = organizations.max(WAYS).checked_next_power_of_two().unwrap_or(WAYS);
        Pasts { pasts: vec![Past::default(); count].into_boxed_slice() }
    }

    fn set(&mut self, key: u64) -> Option<&mut [Past]> {
        let first = mix(key) as usize & (self.pasts.len() - 1) & !(WAYS - 1);
        self.pasts.get_mut(first..first + WAYS)
    }

    /// What there is about `key`.
    pub(super) fn find(&self, key: u64) -> Option<&Past> {
        let first = mix(key) as usize & (self.pasts.len() - 1) & !(WAYS - 1);
        self.pasts.get(first..first + WAYS)?.iter().find(|past| past.key == key)
    }

    /// Counts a request of the organization of `key`; a prompt of 0 and an amount of 0 are unknown.
    pub(super) fn add(
        &mut self,
        key: u64,
        prompt: u32,
        amount: u32,
        now_s: u32,
        habits: &mut Habits,
        half_life_s: u32,
    ) {
        let Some(set) = self.set(key) else { return };
        let there = set.iter().position(|past| past.key == key);
        let way = there.or_else(|| (0..WAYS).min_by_key(|way| set.get(*way).map(|past| past.seen_s)));
        let Some(past) = way.and_then(|way| set.get_mut(way)) else { return };
        let day = now_s / DAY_S;
        if there.is_none() {
            *past = Past { key, day, ..Past::default() };
        }
        past.seen_s = now_s;
        if past.day != day {
            past.end_day(day, now_s);
        }
        past.count += 1;
        past.took(amount);
        if prompt != 0 {
            let mark = mix(u64::from(prompt)) & 127;
            if let Some(marks) = past.prompts.get_mut((mark >> 6) as usize) {
                *marks |= 1 << (mark & 63);
            }
        }
        if past.days == 0 || past.count < LEAST || !past.count.is_power_of_two() {
            return;
        }
        let (today, usual) = (past.today(), past.usual);
        let change = |today: u16, usual: u16| {
            (MIDDLE + (i32::from(today) - i32::from(usual)) / 2).clamp(0, 2 * MIDDLE) as u8
        };
        let changes = [
            change(today.volume, usual.volume),
            change(today.prompts, usual.prompts),
            change(today.amount, usual.amount),
        ];
        for (((which, _), evidence), value) in OF_KINDS.into_iter().zip(&mut past.evidence).zip(changes) {
            evidence.raise(habits.surprise(0, 0, which, value).unwrap_or(0), now_s, half_life_s);
            habits.learn(0, 0, which, value);
        }
    }

    /// Counts what an earlier request took in the end.
    pub(super) fn took(&mut self, key: u64, amount: u32) {
        if let Some(past) = self.set(key).and_then(|set| set.iter_mut().find(|past| past.key == key)) {
            past.took(amount);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.pasts)
    }
}
