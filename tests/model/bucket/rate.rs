//! A rate by its list of admissions.

use super::{Answer, Charge, Rate, Settled, Span, Standing, Wait};

/// One admission and what was charged from then on: what is owed for it at a later instant is `charged` less
/// the supply since `since`.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    pub since: u64,
    /// Grains.
    pub charged: Span,
}

/// A token bucket by its list of admissions.
#[derive(Clone, Debug)]
pub struct RateBucket {
    pub rate: Rate,
    /// When each was admitted, and the least that it counts, in grains.
    log: Vec<(u64, i128)>,
    /// The same if what comes back is told from the order alone: it owes the most that any of these owes.
    backlogs: Vec<Backlog>,
    /// Grains that such a bucket gave back, one entry each time.
    refunds: Vec<Span>,
}

/// What is owed at `now` by the backlogs, in grains: how far the tokens taken run ahead of the supply.
fn owed(rate: &Rate, backlogs: &[Backlog], now: u64) -> Span {
    backlogs
        .iter()
        .map(|backlog| backlog.charged.minus(rate.supply(backlog.since, now)))
        .fold(Span::ZERO, Span::max)
}

impl RateBucket {
    pub(super) fn new(rate: Rate) -> RateBucket {
        RateBucket { rate, log: Vec::new(), backlogs: Vec::new(), refunds: Vec::new() }
    }

    /// The least that was admitted from each instant on, `more` included.
    pub(super) fn suffixes(&self, more: Option<(u64, i128)>) -> Vec<Backlog> {
        let mut log: Vec<(u64, i128)> = self.log.iter().copied().chain(more).collect();
        log.sort_unstable();
        let mut sum = 0;
        let suffix = |(since, grains): (u64, i128)| {
            sum += grains;
            Backlog { since, charged: Span::exactly(sum) }
        };
        log.into_iter().rev().map(suffix).collect()
    }

    /// What is owed at `now`: at least by the list, at most by the order.
    pub(super) fn owed(&self, now: u64) -> Span {
        Span {
            low: owed(&self.rate, &self.suffixes(None), now).low,
            high: owed(&self.rate, &self.backlogs, now).high,
        }
    }

    /// The admissions so far, with one more of `amount` at `now`; `from` is what a full bucket then starts from.
    pub(super) fn with(&self, grains: Span, from: Span, now: u64) -> Vec<Backlog> {
        let mut backlogs = self.backlogs.clone();
        backlogs.push(Backlog { since: now, charged: from });
        for backlog in &mut backlogs {
            backlog.charged = backlog.charged.plus(grains);
        }
        backlogs
    }

    pub(super) fn judge(&self, amount: u64, now: u64, withheld: u64) -> (Answer, Wait) {
        if amount == 0 {
            return (Answer::Admit, Wait::After(Span::ZERO));
        }
        if amount > self.rate.burst {
            return (Answer::Refuse, Wait::Never);
        }
        // Who may have no more than a part gets what is larger from a full bucket.
        let room = self.rate.burst - withheld;
        let amount = self.rate.grains(amount.min(room));
        let after = self.with(Span::exactly(amount), Span::ZERO, now);
        let burst = self.rate.grains(room);
        let least = self.suffixes(Some((now, amount)));
        let wait = |backlogs: &[Backlog]| {
            backlogs.iter().map(|backlog| self.wait(backlog, burst, now)).fold(Span::exactly(1), Span::max)
        };
        let wait = Span { low: wait(&least).low, high: wait(&after).high };
        let owed = Span { low: owed(&self.rate, &least, now).low, high: owed(&self.rate, &after, now).high };
        if owed.high <= burst {
            (Answer::Admit, Wait::After(Span::ZERO))
        } else if owed.low > burst {
            (Answer::Refuse, Wait::After(wait))
        } else {
            (Answer::Either, Wait::After(wait))
        }
    }

    /// Nanoseconds from `now` until the backlog owes no more than `burst` grains.
    pub(super) fn wait(&self, backlog: &Backlog, burst: i128, now: u64) -> Span {
        let over = backlog.charged.minus(Span::exactly(burst));
        let until = |grains: i128| {
            i128::from(backlog.since) + ceiling(grains, self.rate.grains_per_nano()) - i128::from(now)
        };
        // The limiter may have supplied up to a tick more than is exact, or up to two ticks less.
        Span {
            low: until(over.low - self.rate.tick() + 1),
            high: until(over.high + 2 * self.rate.tick() - 1),
        }
    }

    pub(super) fn charge(&mut self, amount: u64, now: u64) -> Charge {
        let mut entry = None;
        if amount > 0 {
            self.backlogs = self.with(Span::exactly(self.rate.grains(amount)), self.rate.slack(), now);
            self.forget_paid(now);
            entry = Some(self.log.len());
            self.log.push((now, self.rate.grains(amount)));
        }
        Charge::Rate { word: self.backlogs.clone(), refunds_before: self.refunds.len(), entry }
    }

    /// Backlogs that surely owe less than the one of `now` never matter again.
    pub(super) fn forget_paid(&mut self, now: u64) {
        let Some(newest) = self.backlogs.iter().rev().find(|backlog| backlog.since == now).copied() else {
            return;
        };
        self.backlogs.retain(|backlog| {
            backlog.since >= now
                || backlog.charged.minus(self.rate.supply(backlog.since, now)).high >= newest.charged.low
        });
    }

    /// Gives back `amount`: in the list, all of it; by the order, at most what the charge still keeps from others: what
    /// the bucket owed right after it, less what was supplied and given back since.
    pub(super) fn give_back(
        &mut self,
        (word, refunds_before, entry): (&[Backlog], usize, Option<usize>),
        amount: u64,
        now: u64,
    ) -> Settled {
        let wanted = self.rate.grains(amount);
        let before = self.owed(now);
        if let Some(entry) = entry {
            self.log[entry].1 -= wanted;
        }
        let since = self.refunds[refunds_before..].iter().copied().fold(Span::ZERO, Span::plus);
        let most = owed_or_less(&self.rate, word, now).minus(since).max(Span::ZERO);
        let given = Span::exactly(wanted).min(most);
        for backlog in &mut self.backlogs {
            backlog.charged = backlog.charged.minus(given);
        }
        if amount > 0 {
            self.refunds.push(given);
        }
        // At the most, all that is owed came back but for what the list tells.
        let most = (before.high - self.owed(now).low).max(given.high).min(wanted);
        let given = Span { low: given.low, high: most };
        Settled { clipped: self.tokens(Span::exactly(wanted).minus(given)), ..Settled::default() }
    }

    /// Charges `amount` more, as far as the debt allows.
    pub(super) fn charge_overage(&mut self, amount: u64, now: u64) -> Settled {
        // An amount beyond all range is charged up to the debt, and the rest is cut, whatever it is.
        let most = i128::from(self.rate.burst) + i128::from(self.rate.max_debt);
        let wanted = i128::from(amount).min(most + 1) * self.rate.token();
        let charged = |owed| {
            let room = Span::exactly(most * self.rate.token()).minus(owed).max(Span::ZERO);
            Span::exactly(wanted).min(room)
        };
        let by_order = charged(owed(&self.rate, &self.backlogs, now));
        let charged = charged(self.owed(now));
        self.backlogs = self.with(by_order, self.rate.slack(), now);
        self.log.push((now, charged.low));
        let (least, most) = self.tokens(Span::exactly(wanted).minus(charged));
        let beyond = u128::from(amount) - (wanted / self.rate.token()).unsigned_abs();
        Settled { cut: (least + beyond, most + beyond), ..Settled::default() }
    }

    /// Grains as whole tokens: rounded down, rounded up.
    pub(super) fn tokens(&self, grains: Span) -> (u128, u128) {
        let low = grains.low.max(0).div_euclid(self.rate.token());
        (low.unsigned_abs(), ceiling(grains.high.max(0), self.rate.token()).unsigned_abs())
    }

    pub(super) fn standing(&self, now: u64) -> Standing {
        let burst = self.rate.grains(self.rate.burst);
        let left = Span::exactly(burst).minus(self.owed(now)).max(Span::ZERO);
        let whole = |grains: i128| (grains / self.rate.token()).unsigned_abs();
        Standing { limit: self.rate.burst, left: (whole(left.low), whole(left.high)) }
    }
}

/// As [`owed`], without the floor at nothing: supplied meanwhile may be more than was owed.
fn owed_or_less(rate: &Rate, backlogs: &[Backlog], now: u64) -> Span {
    backlogs
        .iter()
        .map(|backlog| backlog.charged.minus(rate.supply(backlog.since, now)))
        .reduce(Span::max)
        .unwrap_or(Span::ZERO)
}

/// The quotient, rounded up.
fn ceiling(dividend: i128, divisor: i128) -> i128 {
    dividend.div_euclid(divisor) + i128::from(dividend.rem_euclid(divisor) != 0)
}
