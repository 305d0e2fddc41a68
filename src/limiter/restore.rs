//! Restoring: what a checkpoint has, under today's policy and today's clock.

use serde::Serialize;

use super::names::Names;
use crate::{
    bucket::{Factor, Moment},
    checkpoint::{Block, CheckpointError, Line, Log, Override, Past, Record, Standing as Told, Store, Whom},
    decision::Level,
    id::{KeptId, Places},
    line::Standing,
    path::Lines,
    policy::{
        book::Book,
        exception::{Exception, Scope},
        plan::{MAX_COHORTS, MAX_RULES, Under},
    },
    time::{Anchor, Nanos},
};

/// What was found in a store when a limiter was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Restored {
    /// When the last of it was kept, in unix nanoseconds.
    pub unix: i64,
    /// Nanoseconds that the clock showed less than that, where it did: calendars stand still until it has caught up.
    pub clock_behind: u64,
    /// Records of accounts and organizations.
    pub lines: u64,
    /// Those for which there was no place, or none for what they owe of rates, where the rest is parked; the lines that stand
    /// in for them owe as much.
    pub unplaced: u64,
    /// Those of tiers that neither the policy has nor anything is owed under.
    pub dropped: u64,
    /// Overrides that are in force again.
    pub overrides: u64,
}

/// Puts back all that `log` has, into lines that nobody uses yet; answers the book with its overrides.
pub(super) fn restore(
    store: &mut dyn Store,
    log: &Log,
    (lines, names, places): (&Lines, &Names, &Places),
    book: Book,
    moment: &Moment<'_>,
) -> Result<(Book, Restored), CheckpointError> {
    let behind = log.head.unix.saturating_sub(moment.anchor.unix_unheld(moment.now));
    let mut restoring = Restoring {
        lines,
        names,
        places,
        book: &book,
        moment,
        past: Past::new(&log.head.shape, &book.plan)?,
        overrides: Vec::new(),
        marked: Vec::new(),
        restored: Restored {
            unix: log.head.unix,
            clock_behind: u64::try_from(behind).unwrap_or(0),
            ..Restored::default()
        },
    };
    log.each(store, |block| restoring.take(block))?;
    let overrides = std::mem::take(&mut restoring.overrides);
    let exceptions: Vec<Exception> =
        overrides.into_iter().filter_map(|one| restoring.exception(one)).collect();
    let (mut restored, marked) = (restoring.restored, std::mem::take(&mut restoring.marked));
    restored.overrides = exceptions.len() as u64;
    let scopes: Vec<Scope> = exceptions.iter().map(|exception| exception.scope).collect();
    // The same number of lines, under the same plan: nobody has a copy of the book before.
    let next = book.with_exceptions(exceptions);
    next.publish();
    for scope in marked.iter().filter(|scope| !scopes.contains(scope)) {
        lines.mark(&next, scope, false, moment);
    }
    for scope in &scopes {
        // Of whom nothing else was kept has no line yet.
        if !lines.mark(&next, scope, true, moment) && lines.enter(&next, scope, moment) {
            lines.mark(&next, scope, true, moment);
        }
    }
    Ok((next, restored))
}

struct Restoring<'a> {
    lines: &'a Lines,
    names: &'a Names,
    places: &'a Places,
    book: &'a Book,
    moment: &'a Moment<'a>,
    /// Of the shape that was met last.
    past: Past,
    overrides: Vec<Override>,
    /// Whose lines say that there is an override.
    marked: Vec<Scope>,
    restored: Restored,
}

impl Restoring<'_> {
    fn take(&mut self, block: Block) -> Result<(), CheckpointError> {
        let Block { head, records } = block;
        if !self.past.is_of(&head.shape) {
            self.past = Past::new(&head.shape, &self.book.plan)?;
        }
        let (lines, book, moment) = (self.lines, self.book, self.moment);
        for record in records {
            match record {
                Record::Line(line) => {
                    self.restored.lines += 1;
                    let of = (line.level, line.tier);
                    match self.past.words(&head, of, &line.amounts, &book.plan, moment) {
                        Some((under, words)) => self.put(&line, under, &words),
                        None => self.restored.dropped += 1,
                    }
                }
                Record::Shared(shared) => {
                    let (level, tier, cohort) = (shared.level, shared.tier, shared.cohort);
                    let words = self.past.words(&head, (level, tier), &shared.amounts, &book.plan, moment);
                    if let Some((under, words)) = words.filter(|_| usize::from(cohort) <= MAX_COHORTS) {
                        lines.put_shared(level, (under.tier(), cohort), &words);
                    }
                }
                Record::Overrides(overrides) => self.overrides = overrides,
                Record::Gone(level, id) => {
                    lines.forget(level, &id.key(self.places));
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, line: &Line, under: Under, words: &[u64; MAX_RULES]) {
        let key = line.id.key(self.places);
        if let (Some(name), KeptId::Fingerprint(_)) = (&line.name, line.id) {
            self.names.tell(&key, name);
        }
        if line.amounts.is_nothing() && line.standing.is_none() && !line.marked {
            // Whatever was told of it before.
            self.lines.forget(line.level, &key);
            return;
        }
        // Whom an override is about keeps its line, whoever comes after.
        let standing = Standing { marked: line.marked, ..self.standing(line.standing, under, line.level) };
        if line.marked {
            self.marked.push(match line.level {
                Level::Organization => Scope::Organization(key),
                _ => Scope::Account(key),
            });
        }
        let of = (&key, under);
        if !self.lines.put(self.book, line.level, of, words, standing, self.moment) {
            self.restored.unplaced += 1;
        }
    }

    /// What evidence had done, as far as it still does.
    fn standing(&self, told: Option<Told>, under: Under, level: Level) -> Standing {
        let (Some(Told { sixteenths, cohort, until }), Some(evidence)) = (told, &self.book.plan.evidence)
        else {
            return Standing::GOOD;
        };
        let until = limiter_time(self.moment.anchor, until);
        let has_cohort = self.book.rules(under).is_some_and(|tier| !tier.guard.cohort.rules.is_empty());
        let cohort = if has_cohort && usize::from(cohort) <= MAX_COHORTS { cohort } else { 0 };
        let most = self.book.plan.largest_factor.saturating_mul(16);
        let factor = Factor::from_sixteenths(sixteenths.min(u16::try_from(most).unwrap_or(u16::MAX)));
        let holds = !evidence.shadow && level == Level::Account && until > self.moment.now;
        if holds { Standing { factor, cohort, until, marked: false } } else { Standing::GOOD }
    }

    /// An override as today's policy has it; none where that has no such tier, or it has ended.
    fn exception(&self, told: Override) -> Option<Exception> {
        let scope = match told.whom {
            Whom::Account(id) => Scope::Account(id.key(self.places)),
            Whom::Organization(id) => Scope::Organization(id.key(self.places)),
            Whom::Tier(name) => {
                let is_it = |tier: &crate::policy::plan::TierPlan| !tier.retired && tier.name == name;
                Scope::Tier(u8::try_from(self.book.plan.tiers.iter().position(is_it)?).ok()?)
            }
        };
        let until = limiter_time(self.moment.anchor, told.until);
        if until <= self.moment.now {
            return None;
        }
        let mut exception =
            Exception::new(scope, (told.sixteenths, told.exempt), told.limits, until, told.reason);
        // As on a reload.
        exception.resolve_known(&self.book.plan);
        Some(exception)
    }
}

/// The instant of limiter time at which it is `unix`.
fn limiter_time(anchor: Anchor, unix: i64) -> u64 {
    Nanos::new(anchor.limiter_time(unix)).as_u64()
}
