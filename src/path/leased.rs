//! What is leased of which line, and what is to be done with it.

use super::{Ask, Home, Lines};
use crate::{
    bucket::Moment,
    decision::Level,
    lease::Source,
    line::Snapshot,
    policy::{book::Book, plan::TierPlan},
};

/// Looks at a line that is leased anew each time.
const LOOKS: usize = 4;

impl Lines {
    /// Gives the calling thread a new share of the line at `home`, a tier's total or an organization's, if that is hot, or
    /// just became so because the thread has `collided` with another there.
    pub(super) fn refill(
        &self,
        book: &Book,
        (home, rules): (Home, &TierPlan),
        collided: bool,
        ask: &Ask<'_>,
    ) {
        let Some(line) = self.line(home) else { return };
        let source = Source {
            book,
            under: rules.under,
            rules: rules.level(home.level()),
            line,
            refunds: self.refunds(home),
        };
        let (slot, lot) = match home {
            Home::Organization(slot) => {
                let lot = line.head().lot().or_else(|| {
                    let is_worth_it = collided && self.leases.is_worth_it(source, ask.cost, &ask.moment);
                    if is_worth_it { self.lot_for(book, slot, &ask.moment) } else { None }
                });
                (Some(slot), lot)
            }
            Home::Tier(_) if home.level() == Level::Tier => (None, Some(usize::from(rules.under.tier()))),
            // Nothing is leased of overflow lines.
            Home::Tier(_) | Home::Account(_) | Home::Cohort(_) => return,
        };
        if let Some(lot) = lot {
            self.leases.refill(source, (lot, slot), (collided, ask.cost), &ask.moment);
        }
    }

    /// A lot for the organization in `slot`: its own, nobody's, or one of somebody who is not hot any more.
    fn lot_for(&self, book: &Book, slot: u32, moment: &Moment<'_>) -> Option<usize> {
        let mut found = None;
        for (lot, owner) in self.leases.owners() {
            let Some(owner) = owner else {
                found = found.or(Some((lot, None)));
                continue;
            };
            if owner == slot {
                return Some(lot);
            }
            let head = self.organizations.head(owner);
            if found.is_none() && head.is_none_or(|head| head.lot() != Some(lot) || !head.is_hot(moment.now))
            {
                found = Some((lot, Some(owner)));
            }
        }
        let (lot, owner) = found?;
        if let Some(owner) = owner {
            self.give_back(book, (owner, lot), moment);
        }
        let is_free = || {
            let head = owner.and_then(|owner| self.organizations.head(owner));
            head.is_none_or(|head| head.lot() != Some(lot))
        };
        self.leases.hand_over(lot, (owner, slot), is_free).then_some(lot)
    }

    /// Takes back what is leased of organizations and totals that are not hot any more.
    pub(crate) fn cool(&self, book: &Book, moment: &Moment<'_>) {
        for (lot, owner) in self.leases.owners() {
            if let Some(owner) = owner {
                self.give_back(book, (owner, lot), moment);
            }
        }
        for tier in 0..book.plan.tiers.len() {
            let home = Home::total(tier as u8);
            if self.line(home).is_some_and(|line| !line.head().is_hot(moment.now)) {
                self.recall(book, home, moment);
            }
        }
    }

    /// Takes back what an organization that is not hot any more has on a lot.
    fn give_back(&self, book: &Book, (slot, lot): (u32, usize), moment: &Moment<'_>) {
        let head = self.organizations.head(slot);
        if head.is_some_and(|head| head.lot() == Some(lot) && !head.is_hot(moment.now)) {
            self.recall(book, Home::Organization(slot), moment);
        }
    }

    /// Takes back all leases on a line. Answers whether there were any.
    pub(super) fn recall(&self, book: &Book, home: Home, moment: &Moment<'_>) -> bool {
        self.source(book, home).is_some_and(|source| self.leases.recall(source, moment))
    }

    /// A copy of a line without what is leased of it: that is not spent.
    pub(super) fn spent(&self, book: &Book, home: Home, moment: &Moment<'_>) -> Option<Snapshot> {
        let line = self.line(home)?;
        for _ in 0..LOOKS {
            let seen = line.snapshot();
            if !seen.may_be_leased() {
                return Some(seen);
            }
            let seen = self.source(book, home).and_then(|source| self.leases.spent(source, moment));
            if seen.is_some() {
                return seen;
            }
        }
        // Somebody has reloaded, or it changes all the time.
        Some(line.snapshot())
    }

    /// A line to lease from, by the rules that it is under.
    fn source<'a>(&'a self, book: &'a Book, home: Home) -> Option<Source<'a>> {
        let line = self.line(home)?;
        let under = line.head().meta().under();
        let rules = book.rules(under)?.level(home.level());
        Some(Source { book, under, rules, line, refunds: self.refunds(home) })
    }
}
