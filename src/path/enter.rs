//! The way of those who have no line yet, and of the rules of another tier to those who come with one.

use super::{Ask, Home, Lane, Lines, Note, Stop, Stopped, Terms, judge::Reading};
use crate::{
    bucket::{self, Mode, Moment},
    decision::{Level, Told},
    id::{Identity, Key},
    line::Meta,
    policy::{
        book::Book,
        plan::{LevelPlan, Limit, MAX_RULES, TierPlan, Under},
    },
};

/// The path of one request, whose subjects may have no line.
pub(crate) struct Path<'a> {
    pub(super) book: &'a Book,
    pub(super) rules: &'a TierPlan,
    pub(super) identity: &'a Identity,
    account: Turn<'a>,
    /// None for a caller without an organization.
    organization: Option<Turn<'a>>,
    total: Stop<'a>,
    /// Whether an overflow line stands in for one of the subjects.
    pub(super) overflow: bool,
}

/// One level of a path.
#[derive(Clone, Copy)]
pub(super) enum Turn<'a> {
    There(Stop<'a>),
    Absent(Newcomer<'a>),
}

/// A subject without a line.
#[derive(Clone, Copy)]
pub(super) struct Newcomer<'a> {
    level: Level,
    key: &'a Key,
    under: Under,
}

impl<'a> Path<'a> {
    /// The lines of `identity`. `None` if its tier is none of the plan's.
    pub(crate) fn find(lines: &'a Lines, book: &'a Book, identity: &'a Identity) -> Option<Path<'a>> {
        let tier = identity.tier.as_u8();
        let rules = book.tier(tier)?;
        let under = rules.under;
        let turn = |level, key| Newcomer { level, key, under }.find(lines);
        let home = Home::total(tier);
        Some(Path {
            book,
            rules,
            identity,
            account: turn(Level::Account, &identity.account),
            organization: identity.organization.as_ref().map(|key| turn(Level::Organization, key)),
            total: Stop { level: Level::Tier, home, line: lines.line(home)?, key: None },
            overflow: false,
        })
    }

    /// Takes back what is leased of the organization and of the tier's total, so that it is as if nobody had met there.
    /// Answers whether anything was.
    pub(crate) fn recall(&self, lines: &Lines, moment: &Moment<'_>) -> bool {
        self.leased().fold(false, |any, stop| any | lines.recall(self.book, stop.home, moment))
    }

    /// The lines of the path that parts may be leased of.
    fn leased(&self) -> impl Iterator<Item = Stop<'a>> + use<'a> {
        let organization = match self.organization {
            Some(Turn::There(stop)) => Some(stop),
            _ => None,
        };
        organization.into_iter().chain([self.total]).filter(|stop| stop.line.head().may_be_leased())
    }

    pub(super) fn account(&self) -> Turn<'a> {
        self.account
    }

    /// Those of the present levels after the account.
    pub(super) fn rest(&self, lines: &'a Lines, terms: &Terms) -> impl Iterator<Item = Turn<'a>> {
        let shared = |level, home| {
            let stop = lines.line(home).map(|line| Turn::There(Stop { level, home, line, key: None }));
            stop.filter(|_| terms.present.has(level))
        };
        let tier = self.identity.tier.as_u8();
        [
            shared(Level::Cohort, lines.cohort_home(terms.standing.cohort, tier)),
            self.organization,
            shared(Level::Pool, Home::shared(Level::Pool, tier)),
            Some(Turn::There(self.total)),
        ]
        .into_iter()
        .flatten()
    }

    /// Gives a line to each subject that has none.
    pub(crate) fn enter(&mut self, lines: &'a Lines, moment: &Moment<'_>) -> Option<Lane<'a>> {
        let Path { book, rules, identity, total, .. } = *self;
        let account = self.account.enter(lines, book, rules, moment)?;
        let organization = match &mut self.organization {
            Some(turn) => Some(turn.enter(lines, book, rules, moment)?),
            None => None,
        };
        self.overflow = account.key.is_none() || organization.is_some_and(|stop| stop.key.is_none());
        let organization = organization.unwrap_or(total);
        let heads = [account, organization, total].map(|stop| stop.line.head());
        Some(Lane { book, rules, identity, lines, heads, homes: [account.home, organization.home] })
    }

    /// Charges every line of the path, or none; those who have no line are given one. Answers whether one of them was
    /// charged on an overflow line.
    pub(crate) fn charge(
        &mut self,
        lines: &'a Lines,
        ask: &Ask<'_>,
        note: &mut impl Note,
    ) -> Result<Told, Stopped> {
        let is_hot = |stop: &Stop<'_>| stop.line.head().is_hot(ask.moment.now);
        for stop in self.leased().filter(|stop| !is_hot(stop)) {
            lines.recall(self.book, stop.home, &ask.moment);
        }
        self.judge(lines, ask, Reading::Held)?;
        let lane = self.enter(lines, &ask.moment).ok_or(Stopped::Changed)?;
        if self.overflow {
            // The overflow line was not looked at yet.
            self.judge(lines, ask, Reading::Held)?;
        }
        if ask.mode == Mode::Spend {
            // What brought a check here was most likely an empty lease. It is served from the next, so that nothing is charged
            // between that and those of other threads, above which they would not come back.
            let mut any = false;
            for stop in self.leased().filter(is_hot) {
                lines.refill(self.book, (stop.home, self.rules), false, ask);
                any = true;
            }
            if any && lane.charge_leased(ask, note) {
                return Ok(Told { overflow: self.overflow, ..Told::default() });
            }
        }
        let told = lane.commit_again(ask, note).ok_or(Stopped::Changed)?;
        Ok(Told { overflow: self.overflow, ..told })
    }
}

impl<'a> Turn<'a> {
    fn enter(
        &mut self,
        lines: &'a Lines,
        book: &Book,
        rules: &TierPlan,
        moment: &Moment<'_>,
    ) -> Option<Stop<'a>> {
        let stop = match self {
            Turn::There(stop) => *stop,
            Turn::Absent(newcomer) => newcomer.enter(lines, book, rules.level(newcomer.level), moment)?,
        };
        *self = Turn::There(stop);
        Some(stop)
    }

    pub(super) fn level(&self) -> Level {
        match self {
            Turn::There(stop) => stop.level,
            Turn::Absent(newcomer) => newcomer.level,
        }
    }
}

impl<'a> Newcomer<'a> {
    fn find(self, lines: &'a Lines) -> Turn<'a> {
        let Newcomer { level, key, .. } = self;
        match lines.subjects(level).and_then(|subjects| subjects.find(key)) {
            Some((slot, _)) => {
                self.at(lines, Home::of(level, slot), Some(key)).map_or(Turn::Absent(self), Turn::There)
            }
            None => Turn::Absent(self),
        }
    }

    fn at(&self, lines: &'a Lines, home: Home, key: Option<&'a Key>) -> Option<Stop<'a>> {
        Some(Stop { level: self.level, home, line: lines.line(home)?, key })
    }

    /// The line that it is given; where there is no place, the tier's overflow line, which has no key.
    fn enter(
        &self,
        lines: &'a Lines,
        book: &Book,
        rules: &LevelPlan,
        moment: &Moment<'_>,
    ) -> Option<Stop<'a>> {
        let words = self.start(lines, book, rules, moment);
        let subjects = lines.subjects(self.level)?;
        match subjects.insert(book, self.key, self.under, &words, moment) {
            Some(slot) => self.at(lines, Home::of(self.level, slot), Some(self.key)),
            None => self.at(lines, Home::shared(self.level, self.under.tier()), None),
        }
    }

    /// What it starts with: what was parked of it, or else, since it may have been charged on its tier's overflow
    /// line, what that has used.
    pub(super) fn start(
        &self,
        lines: &Lines,
        book: &Book,
        rules: &LevelPlan,
        moment: &Moment<'_>,
    ) -> [u64; MAX_RULES] {
        let subjects = lines.subjects(self.level);
        let parked = subjects.and_then(|subjects| subjects.parked_words(book, self.key, self.under, moment));
        let mut words = parked.unwrap_or_default();
        let Some(overflow) = lines.line(Home::shared(self.level, self.under.tier())) else { return words };
        let overflow = overflow.snapshot();
        let used = if overflow.meta.under() == self.under {
            overflow.words
        } else {
            converted(book, self.level, rules, overflow.meta, &overflow.words, moment)
        };
        for ((word, rule), used) in words.iter_mut().zip(&rules.rules).zip(used) {
            match rule.limit {
                // As if the newcomer had made all of the overflow line's charges: a bound of what it did make.
                Limit::Rate(_) => *word = used,
                Limit::Quota(_) if parked.is_none() => *word = used,
                // A budget of the overflow line is spent once, by all together, and never comes back: charging every
                // later newcomer with it would close the tier for good. One spent budget a tier bounds what this lets
                // through. What is in flight there is released there.
                Limit::Quota(_) | Limit::Budget { .. } | Limit::InFlight { .. } => {}
            }
        }
        words
    }
}

/// The words of a line that is under other rules, of another tier or of an earlier policy, under these.
#[cold]
pub(super) fn converted(
    book: &Book,
    level: Level,
    rules: &LevelPlan,
    meta: Meta,
    words: &[u64; MAX_RULES],
    moment: &Moment<'_>,
) -> [u64; MAX_RULES] {
    match book.rules(meta.under()) {
        Some(old) => bucket::convert(old.level(level), rules, words, moment),
        None => [0; MAX_RULES],
    }
}
