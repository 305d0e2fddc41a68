//! The lines that one request is charged to, and its way over them: find, look, commit.
//!
//! Invariant: a request is charged to every line of its path or to none. *Look* reads the lines as sequence locks
//! and writes nothing; most denials end there. *Commit* takes the guards in path order (account, organization,
//! tier, so that there is no deadlock), steps every bucket again, and stores only if all admit: there is nothing to
//! roll back. Whoever finds at commit that a line has changed hands, or a bucket refuses now, lets go and looks
//! again; that is the one place where denials are made.

mod lines;
#[cfg(all(test, tollgate_loom))]
mod loom_tests;
mod settle;

pub(crate) use lines::{Home, Lines};
pub(crate) use settle::Hold;
pub use settle::Settlement;

use crate::{
    bucket::{self, Factor, Mode, Moment, Seen, Step},
    decision::{Denial, Level, Refusal},
    id::{Identity, Key},
    line::{Guard, Line, Meta, Version},
    meter::Cost,
    policy::plan::{LevelPlan, Limit, MAX_PATH_RULES, MAX_RULES, Plan, Rule, TierPlan},
    table::Subjects,
};

/// Levels on a path at the most.
pub(crate) const LEVELS: usize = 3;

/// Slots at which a subject's lines were found before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    pub(crate) account: Option<u32>,
    pub(crate) organization: Option<u32>,
}

/// One level of a path.
struct Stop<'a> {
    level: Level,
    rules: &'a LevelPlan,
    place: Place<'a>,
}

enum Place<'a> {
    /// A line, and whose it must be; nobody's for a tier's own.
    Line { home: Home, line: Line<'a>, key: Option<&'a Key> },
    /// No line yet.
    Absent { key: &'a Key },
}

/// What the buckets of a path come to once they are charged: the words to store, and the version of each line that
/// they were worked out from.
pub(crate) struct Charged {
    versions: [Version; LEVELS],
    words: [u64; MAX_PATH_RULES],
}

impl<'a> Stop<'a> {
    /// A line of the tier's own; a plan's tier has all three.
    #[inline]
    fn of_tier(
        lines: &'a Lines,
        level: Level,
        rules: &'a LevelPlan,
        tier: u8,
        offset: u32,
    ) -> Option<Stop<'a>> {
        let home = Home::Tier(u32::from(tier) * LEVELS as u32 + offset);
        Some(Stop { level, rules, place: Place::Line { home, line: lines.line(home)?, key: None } })
    }

    fn overflow(lines: &'a Lines, level: Level, rules: &'a LevelPlan, tier: u8) -> Option<Stop<'a>> {
        Stop::of_tier(lines, level, rules, tier, if level == Level::Account { 1 } else { 2 })
    }
}

impl Charged {
    pub(crate) fn new() -> Charged {
        Charged { versions: [Version::NONE; LEVELS], words: [0; MAX_PATH_RULES] }
    }
}

/// The path of one request. A caller without an organization has two stops.
pub(crate) struct Path<'a> {
    plan: &'a Plan,
    tier: &'a TierPlan,
    tier_index: u8,
    stops: [Option<Stop<'a>>; LEVELS],
    overflow: bool,
}

/// What a look or a commit came to, short of being admitted.
pub(crate) enum Stopped {
    Refused(Denial),
    /// A bucket's quota window is later than the request's clock; at this instant it is not.
    Behind(u64),
    /// A line has another subject now, or a bucket has changed since the look.
    Changed,
}

impl<'a> Path<'a> {
    /// The lines of `identity`, at `hints` or by looking them up. `None` if the identity's tier is none of the plan's.
    #[inline]
    pub(crate) fn find(
        lines: &'a Lines,
        plan: &'a Plan,
        identity: &'a Identity,
        hints: Hints,
    ) -> Option<Path<'a>> {
        let tier_index = identity.tier.as_u8();
        let tier = plan.tiers.get(usize::from(tier_index))?;
        let stop =
            |level, rules, key: &'a Key, hint: Option<u32>, subjects: &'a Subjects, home: fn(u32) -> Home| {
                let slot = hint.or_else(|| subjects.find(key));
                let place = match slot.and_then(|slot| Some((slot, subjects.line(slot)?))) {
                    Some((slot, line)) => Place::Line { home: home(slot), line, key: Some(key) },
                    None => Place::Absent { key },
                };
                Stop { level, rules, place }
            };
        let account = stop(
            Level::Account,
            &tier.account,
            &identity.account,
            hints.account,
            &lines.accounts,
            Home::Account,
        );
        let organization = identity.organization.as_ref().map(|key| {
            stop(
                Level::Organization,
                &tier.organization,
                key,
                hints.organization,
                &lines.organizations,
                Home::Organization,
            )
        });
        let total = Stop::of_tier(lines, Level::Tier, &tier.total, tier_index, 0)?;
        Some(Path {
            plan,
            tier,
            tier_index,
            stops: [Some(account), organization, Some(total)],
            overflow: false,
        })
    }

    pub(crate) fn overflow(&self) -> bool {
        self.overflow
    }

    pub(crate) fn tier(&self) -> u8 {
        self.tier_index
    }

    /// Every bucket of the path as it is now.
    pub(crate) fn inspect(
        &self,
        lines: &Lines,
        moment: &Moment<'_>,
        mut visit: impl FnMut(Seen<'a>),
    ) -> Result<(), Stopped> {
        for stop in self.stops.iter().flatten() {
            let (words, factor, tightened_until) = match &stop.place {
                Place::Absent { key } => (self.start(lines, stop, key, moment), Factor::ONE, None),
                Place::Line { line, key, .. } => {
                    let seen = line.snapshot(stop.rules.rules.len());
                    if key.is_some_and(|key| !seen.holds(key)) {
                        return Err(Stopped::Changed);
                    }
                    let tightened = seen.tightened_until(moment.now);
                    if seen.meta.tier() == self.tier_index {
                        (seen.words, seen.factor(moment.now), tightened)
                    } else {
                        // Another tier may have more rules.
                        let seen = line.snapshot(MAX_RULES);
                        if key.is_some_and(|key| !seen.holds(key)) {
                            return Err(Stopped::Changed);
                        }
                        let words = self.converted(stop, seen.meta, &seen.words, moment);
                        (words, seen.factor(moment.now), tightened)
                    }
                }
            };
            for (rule, word) in stop.rules.rules.iter().zip(words) {
                visit(Seen { level: stop.level, rule, word, tightened_until, factor });
            }
        }
        Ok(())
    }

    /// Asks every bucket of the path, and writes nothing.
    #[inline]
    pub(crate) fn look(
        &self,
        lines: &Lines,
        cost: &Cost,
        mode: Mode,
        moment: &Moment<'_>,
        charged: &mut Charged,
    ) -> Result<(), Stopped> {
        let mut words = &mut charged.words[..];
        for (stop, version) in self.stops.iter().zip(&mut charged.versions) {
            let Some(stop) = stop else { continue };
            let rules = &*stop.rules.rules;
            // A plan has at most `MAX_PATH_RULES` on a path.
            let Some((own, others)) = words.split_at_mut_checked(rules.len()) else { break };
            words = others;
            let Place::Line { line, key, .. } = &stop.place else {
                return self.judge(lines, cost, mode, moment, &mut charged.versions);
            };
            let (read_at, admitted) = line.read(|line| {
                key.is_none_or(|key| line.seems(key))
                    && line.meta().tier() == self.tier_index
                    && charge(rules, own, cost, mode, moment, line.factor(moment.now), line.words())
            });
            if !admitted {
                return self.judge(lines, cost, mode, moment, &mut charged.versions);
            }
            *version = read_at;
        }
        Ok(())
    }

    /// Looks again at what is not plainly admitted. Where all admit all the same, the answer leaves every line to be
    /// stepped under its guard.
    #[cold]
    #[inline(never)]
    fn judge(
        &self,
        lines: &Lines,
        cost: &Cost,
        mode: Mode,
        moment: &Moment<'_>,
        versions: &mut [Version; LEVELS],
    ) -> Result<(), Stopped> {
        *versions = [Version::NONE; LEVELS];
        let mut behind = None;
        let mut worst: Option<(Refusal, Level, &Rule)> = None;
        self.inspect(lines, moment, |Seen { level, rule, word, factor, .. }| {
            let amount = cost.amount(rule.meter);
            match bucket::step(rule, word, amount, factor, mode, moment) {
                Step::Admit(_) => {}
                Step::Behind => behind = behind.max(Some(moment.caught_up_with(rule, word).now)),
                Step::Refuse => {
                    let refusal = bucket::refusal(rule, word, amount, factor, moment);
                    if worst.is_none_or(|(other, ..)| refusal.wait.passes_after(other.wait)) {
                        worst = Some((refusal, level, rule));
                    }
                }
            }
        })?;
        match (behind, worst) {
            (Some(now), _) => Err(Stopped::Behind(now)),
            (None, Some(worst)) => Err(Stopped::Refused(self.denial(worst, moment))),
            (None, None) => Ok(()),
        }
    }

    #[cold]
    fn denial(&self, (refusal, level, rule): (Refusal, Level, &Rule), moment: &Moment<'_>) -> Denial {
        let meter = self.plan.meters.get(rule.meter.index()).map_or(self.tier.name, |meter| meter.name);
        Denial::new(refusal, (level, self.tier.name, meter, rule.name), moment.now, self.overflow)
    }

    /// Gives a line to each subject that has none; where there is no place, the tier's overflow line. Answers whether
    /// the path must be looked at again, because a line on it was not looked at yet.
    pub(crate) fn settle_in(&mut self, lines: &'a Lines, moment: &Moment<'_>) -> bool {
        let mut again = false;
        for stop in self.stops.iter_mut().flatten() {
            let Place::Absent { key } = stop.place else { continue };
            let Some(subjects) = lines.subjects(stop.level) else { continue };
            let words = start(lines, self.plan, stop, (key, self.tier_index), moment);
            let slot = subjects.insert(self.plan, key, self.tier_index, &words, moment);
            match slot.and_then(|slot| Some((slot, subjects.line(slot)?))) {
                Some((slot, line)) => {
                    let home = if stop.level == Level::Account {
                        Home::Account(slot)
                    } else {
                        Home::Organization(slot)
                    };
                    stop.place = Place::Line { home, line, key: Some(key) };
                }
                None => {
                    if let Some(shared) = Stop::overflow(lines, stop.level, stop.rules, self.tier_index) {
                        *stop = shared;
                    }
                    self.overflow = true;
                    again = true;
                }
            }
        }
        again
    }

    /// Whether every subject of the path has a line.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.stops.iter().flatten().all(|stop| matches!(stop.place, Place::Line { .. }))
    }

    /// Charges every line of the path, or none. A line that nobody wrote to since it was looked at takes the words that
    /// came of that; any other is stepped again. With `hold`, notes there what a permit needs to settle.
    #[inline]
    pub(crate) fn commit(
        &self,
        lines: &Lines,
        charged: &mut Charged,
        cost: &Cost,
        moment: &Moment<'_>,
        mut hold: Option<&mut Hold>,
    ) -> Result<(), Stopped> {
        let mode = if hold.is_some() { Mode::Hold } else { Mode::Spend };
        let mut guards: [Option<Guard<'a>>; LEVELS] = [const { None }; LEVELS];
        let mut words = &mut charged.words[..];
        for ((stop, version), place) in self.stops.iter().zip(charged.versions).zip(&mut guards) {
            let Some(stop) = stop else { continue };
            let Some((own, others)) = words.split_at_mut_checked(stop.rules.rules.len()) else { break };
            words = others;
            let Place::Line { line, .. } = &stop.place else { return Err(Stopped::Changed) };
            *place = match line.lock_at(version) {
                Some(guard) => Some(guard),
                None => Some(self.step_again(lines, stop, own, cost, mode, moment)?),
            };
        }
        let mut words = &charged.words[..];
        for (stop, guard) in self.stops.iter().zip(&mut guards) {
            let (Some(stop), Some(guard)) = (stop, guard) else { continue };
            let Some((own, others)) = words.split_at_checked(stop.rules.rules.len()) else { break };
            words = others;
            guard.set_words(own);
            if let (Some(hold), Place::Line { home, .. }) = (hold.as_deref_mut(), &stop.place) {
                hold.note(*home, guard, lines.refunds(*home), stop.rules, moment);
            }
        }
        Ok(())
    }

    /// Takes the guard of a line that has been written to, and steps its buckets as they are now.
    #[cold]
    #[inline(never)]
    fn step_again(
        &self,
        lines: &Lines,
        stop: &Stop<'a>,
        own: &mut [u64],
        cost: &Cost,
        mode: Mode,
        moment: &Moment<'_>,
    ) -> Result<Guard<'a>, Stopped> {
        let Place::Line { home, line, key } = &stop.place else { return Err(Stopped::Changed) };
        let mut guard = line.lock();
        if key.is_some_and(|key| !guard.holds(key)) {
            return Err(Stopped::Changed);
        }
        if guard.meta().tier() != self.tier_index {
            let words = self.converted(stop, guard.meta(), &guard.snapshot().words, moment);
            guard.change_tier(self.tier_index, &words, lines.refunds(*home));
        }
        let factor = guard.factor(moment.now);
        let admitted = charge(&stop.rules.rules, own, cost, mode, moment, factor, guard.words());
        // Whoever is behind finds out when it looks again.
        if admitted || cfg!(tollgate_mutant = "commit_trusts_the_look") {
            Ok(guard)
        } else {
            Err(Stopped::Changed)
        }
    }

    /// What a subject without a line would start with.
    #[cold]
    fn start(&self, lines: &Lines, stop: &Stop<'_>, key: &Key, moment: &Moment<'_>) -> [u64; MAX_RULES] {
        start(lines, self.plan, stop, (key, self.tier_index), moment)
    }

    /// The words of a subject that comes with another tier than it had, under the rules of the new one.
    #[cold]
    fn converted(
        &self,
        stop: &Stop<'_>,
        meta: Meta,
        words: &[u64; MAX_RULES],
        moment: &Moment<'_>,
    ) -> [u64; MAX_RULES] {
        match self.plan.tiers.get(usize::from(meta.tier())) {
            Some(old) => bucket::convert(old.level(stop.level), stop.rules, words, moment),
            None => [0; MAX_RULES],
        }
    }
}

/// Steps the buckets of one line; whether all admit.
#[inline]
fn charge(
    rules: &[Rule],
    charged: &mut [u64],
    cost: &Cost,
    mode: Mode,
    moment: &Moment<'_>,
    factor: Factor,
    words: impl Iterator<Item = u64>,
) -> bool {
    rules.iter().zip(charged).zip(words).all(|((rule, charged), word)| {
        match bucket::step(rule, word, cost.amount(rule.meter), factor, mode, moment) {
            Step::Admit(word) => {
                *charged = word;
                true
            }
            Step::Refuse | Step::Behind => false,
        }
    })
}

/// What a newcomer starts with: what was parked of it, or else, since it may have been charged on its tier's overflow
/// line, what that has used.
fn start(
    lines: &Lines,
    plan: &Plan,
    stop: &Stop<'_>,
    (key, tier): (&Key, u8),
    moment: &Moment<'_>,
) -> [u64; MAX_RULES] {
    let Stop { level, rules, .. } = stop;
    let parked = lines.subjects(*level).and_then(|subjects| subjects.parked_words(plan, key, tier, moment));
    let mut words = parked.unwrap_or_default();
    let Some(Stop { place: Place::Line { line, .. }, .. }) = Stop::overflow(lines, *level, rules, tier)
    else {
        return words;
    };
    let overflow = line.snapshot(rules.rules.len());
    for ((word, rule), used) in words.iter_mut().zip(&rules.rules).zip(overflow.words) {
        match rule.limit {
            // As if the newcomer had made all of the overflow line's charges: a bound of what it did make.
            Limit::Rate(_) => *word = used,
            Limit::Quota(_) if parked.is_none() => *word = used,
            // A budget of the overflow line is spent once, by all together, and never comes back: charging every later
            // newcomer with it would close the tier for good. One spent budget a tier bounds what this lets through.
            // What is in flight there is released there.
            Limit::Quota(_) | Limit::Budget { .. } | Limit::InFlight { .. } => {}
        }
    }
    words
}
