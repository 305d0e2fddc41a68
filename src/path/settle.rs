//! What a permit holds, and how it is settled.
//!
//! A permit names its lines by slot and generation, so that it keeps no borrow and pins no memory but its slots: an
//! open permit is counted on its line, and a line with open permits is not given to another subject. If it happens
//! all the same (a subject was forgotten on purpose), the generation differs and nothing is settled there.

use super::{Home, LEVELS, Lines};
use crate::{
    bucket::{self, Factor, Moment, Words},
    decision::Level,
    line::{Guard, Refunds},
    meter::{Cost, MAX_METERS, Meter},
    policy::plan::{LevelPlan, Limit, MAX_PATH_RULES, Plan, Rule},
};

/// One line that a permit was charged to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    home: Home,
    generation: u32,
    epoch: u32,
    factor: Factor,
}

/// All that a permit was charged to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    /// The tier under whose rules it was charged.
    tier: u8,
    held: [Option<Held>; LEVELS],
    noted: u8,
    /// For each rule of each line in turn, what [`bucket::mark`] noted.
    marks: [u64; MAX_PATH_RULES],
    next_mark: u8,
}

/// What settling a permit could not do to the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    clipped: [u64; MAX_METERS],
    cut: [u64; MAX_METERS],
    stale: bool,
}

impl Settlement {
    /// How much of the unused reservation of `meter` a rate bucket could not take back, because supply had already
    /// made up for it and would have been lost to a full bucket; the most over the rules on the path.
    pub fn clipped(&self, meter: Meter) -> u64 {
        self.clipped.get(meter.index()).copied().unwrap_or(0)
    }

    /// How much of what was used of `meter` beyond the reservation a rate bucket was not charged, because it would
    /// have gone further below empty than `max_debt`; the most over the rules on the path.
    pub fn cut(&self, meter: Meter) -> u64 {
        self.cut.get(meter.index()).copied().unwrap_or(0)
    }

    /// Whether a line that was charged has another subject now, so that nothing was settled there.
    pub fn stale(&self) -> bool {
        self.stale
    }

    pub(crate) fn any_clipped(&self) -> bool {
        self.clipped != [0; MAX_METERS]
    }

    pub(crate) fn any_cut(&self) -> bool {
        self.cut != [0; MAX_METERS]
    }
}

impl Hold {
    pub(crate) fn new(tier: u8) -> Hold {
        Hold { tier, held: [None; LEVELS], noted: 0, marks: [0; MAX_PATH_RULES], next_mark: 0 }
    }

    /// Notes a line just charged, under its guard.
    pub(crate) fn note(
        &mut self,
        home: Home,
        guard: &mut Guard<'_>,
        refunds: Refunds<'_>,
        rules: &LevelPlan,
        moment: &Moment<'_>,
    ) {
        guard.set_open_permits(guard.open_permits().saturating_add(1));
        if let Some(held) = self.held.get_mut(usize::from(self.noted)) {
            *held = Some(Held {
                home,
                generation: guard.generation(),
                epoch: guard.meta().epoch(),
                factor: guard.factor(moment.now),
            });
            self.noted += 1;
        }
        for ((index, rule), word) in rules.rules.iter().enumerate().zip(guard.words()) {
            if let Some(mark) = self.marks.get_mut(usize::from(self.next_mark)) {
                *mark = bucket::mark(rule, word, refunds.of(rules.rates_before(index)));
                self.next_mark += 1;
            }
        }
    }

    /// Replaces the charge of `reserved` by one of `actual` on every line, one line after the other.
    pub(crate) fn settle(
        &self,
        lines: &Lines,
        plan: &Plan,
        (reserved, actual): (&Cost, &Cost),
        moment: &Moment<'_>,
    ) -> Settlement {
        let mut settlement = Settlement::default();
        let Some(tier) = plan.tiers.get(usize::from(self.tier)) else { return settlement };
        let mut marks = self.marks.iter();
        for held in self.held.iter().flatten() {
            let level = held.level();
            let charged = tier.level(level);
            let marks = marks.by_ref().take(charged.rules.len());
            let Some(line) = lines.line(held.home) else { continue };
            let refunds = lines.refunds(held.home);
            let mut guard = line.lock();
            #[cfg(not(tollgate_mutant = "settle_ignores_generation"))]
            if guard.generation() != held.generation {
                settlement.stale = true;
                marks.for_each(drop);
                continue;
            }
            guard.set_open_permits(guard.open_permits().saturating_sub(1));
            let meta = guard.meta();
            let current = plan.tiers.get(usize::from(meta.tier())).unwrap_or(tier).level(level);
            let same = meta.epoch() == held.epoch;
            for ((index, charged), mark) in charged.rules.iter().enumerate().zip(marks) {
                let counterpart = if same { Some((index, charged)) } else { counterpart(charged, current) };
                let Some((index, rule)) = counterpart else { continue };
                let mark = (same || speaks_of(charged, rule)).then_some(*mark);
                let rate = current.rates_before(index);
                let Some(word) = guard.words().nth(index) else { continue };
                let words = Words { word, refunded: refunds.of(rate) };
                let amounts = (reserved.amount(rule.meter), actual.amount(rule.meter));
                let settled = bucket::settle(rule, words, mark, amounts, held.factor, moment);
                guard.set_word(index, settled.words.word);
                if matches!(rule.limit, Limit::Rate(_)) {
                    refunds.set(rate, settled.words.refunded);
                }
                settlement.count(rule.meter, settled.clipped, settled.cut);
            }
        }
        settlement
    }
}

impl Held {
    /// The level under whose rules the line was charged; a tier's arena has a total and two overflow lines.
    fn level(&self) -> Level {
        match self.home {
            Home::Account(_) => Level::Account,
            Home::Organization(_) => Level::Organization,
            Home::Tier(slot) => match slot as usize % LEVELS {
                1 => Level::Account,
                2 => Level::Organization,
                _ => Level::Tier,
            },
        }
    }
}

impl Settlement {
    fn count(&mut self, meter: Meter, clipped: u64, cut: u64) {
        for (most, amount) in [(&mut self.clipped, clipped), (&mut self.cut, cut)] {
            if let Some(most) = most.get_mut(meter.index()) {
                *most = amount.max(*most);
            }
        }
    }
}

/// Whether what a permit noted of `charged` still says something of the converted `rule`: the window of a quota does.
fn speaks_of(charged: &Rule, rule: &Rule) -> bool {
    match (&charged.limit, &rule.limit) {
        (Limit::Quota(old), Limit::Quota(new)) => old.calendar == new.calendar,
        _ => false,
    }
}

/// The rule of `level` that a charge to `rule`, of another tier, was carried over to.
fn counterpart<'a>(rule: &Rule, level: &'a LevelPlan) -> Option<(usize, &'a Rule)> {
    let same = |other: &&Rule| {
        other.meter == rule.meter
            && other.name == rule.name
            && std::mem::discriminant(&other.limit) == std::mem::discriminant(&rule.limit)
    };
    level.rules.iter().enumerate().find(|(_, other)| same(other))
}
