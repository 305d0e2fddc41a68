//! Denials of plain callers whose rules are all rates, from where the straight lane met the first bucket that refuses.

use super::{
    Refused,
    lane::{Lane, Seen},
};
use crate::{
    bucket::{Factor, Mode, Moment, rate},
    decision::{Denial, Refusal, Wait},
    line::Head,
    meter::{Cost, Meter},
    policy::plan::{Charge, Limit, StraightRate, TierPlan},
};

impl<'a> Lane<'a> {
    /// The bucket of `meter` at `level` that a straight look was refused by first, and its word, if it is the only one that
    /// refuses, of a request for one meter, and what is read belongs together: nearly every denial.
    #[inline(always)]
    pub(crate) fn lone_refusal(
        &self,
        (cost, now): (&Cost, u64),
        by: (Meter, u8),
        seen: Seen,
    ) -> Option<(&'a Charge, u64)> {
        let ([account, organization, total], rules) = (self.heads, (self.rules, self.in_organization()));
        let refused = lone_refusal((account, organization), total, rules, (cost, now), by);
        refused.filter(|_| self.is_still(seen))
    }

    /// The denial of a straight look that was refused, first by a bucket of `meter` at `level` or after it, if what is read
    /// belongs together. Nothing but rates is on its way.
    #[inline(always)]
    pub(crate) fn straight_denial(
        &self,
        (cost, mode, now): (&Cost, Mode, u64),
        (meter, level): (Meter, u8),
        seen: Seen,
        moment: impl Fn() -> Moment<'a>,
    ) -> Option<Denial> {
        let in_organization = self.in_organization();
        let straights = self.rules.straights(in_organization);
        let mut admitted = usize::from(level);
        let mut refused: Option<(&Charge, u64, u64)> = None;
        for meter in cost.spent().from(meter) {
            let amount = cost.amount(meter);
            let rates = straights[meter.index()].as_ref()?.rates.iter().zip(&self.heads);
            for (rate, head) in rates.skip(std::mem::take(&mut admitted)) {
                let Some(StraightRate { ticks, place, position, .. }) = rate.as_ref() else { continue };
                let word = head.word_at(*place).load();
                if amount <= ticks.burst && rate::charge_plainly(ticks, word, amount, now).is_some() {
                    continue;
                }
                let charges = self.rules.plain_charges(meter, in_organization);
                let new = (charges.get(usize::from(*position))?, word, amount);
                if refused.is_none_or(|old| is_later(new, old, moment())) {
                    refused = Some(new);
                }
            }
        }
        let (charge, word, amount) = refused.filter(|_| self.is_still(seen))?;
        if Refused::plainly(charge, word, amount).is_clamped(mode) {
            return None;
        }
        Some(plain_denial(charge, word, amount, now))
    }
}

/// By value and in few words, so that who asks keeps nothing in memory for it.
#[inline(never)]
fn lone_refusal<'a>(
    (account, organization): (Head<'a>, Head<'a>),
    total: Head<'a>,
    (rules, in_organization): (&'a TierPlan, bool),
    (cost, now): (&Cost, u64),
    (meter, level): (Meter, u8),
) -> Option<(&'a Charge, u64)> {
    let straight = rules.straights(in_organization)[meter.index()].as_ref()?;
    let amount = cost.amount(meter);
    if amount > straight.most || cost.spent().from(meter).nth(1).is_some() {
        return None;
    }
    let word_of = |rate: &StraightRate, head: Head<'_>| head.word_at(rate.place).load();
    let refuses = |rate: &Option<StraightRate>, head| {
        let answer =
            |rate: &StraightRate| rate::charge_plainly(&rate.ticks, word_of(rate, head), amount, now);
        rate.as_ref().is_some_and(|rate| answer(rate).is_none())
    };
    let [of_account, of_organization, of_total] = &straight.rates;
    let (rate, head) = match level {
        0 if refuses(of_organization, organization) => return None,
        0 | 1 if refuses(of_total, total) => return None,
        0 => (of_account, account),
        1 => (of_organization, organization),
        _ => (of_total, total),
    };
    let rate = rate.as_ref()?;
    let charge = rules.plain_charges(meter, in_organization).get(usize::from(rate.position))?;
    Some((charge, word_of(rate, head)))
}

/// The denial of an `amount` by a bucket that holds `word`.
#[inline(never)]
pub(crate) fn plain_denial(charge: &Charge, word: u64, amount: u64, now: u64) -> Denial {
    let refusal = match &charge.limit {
        Limit::Rate(limit) => rate::refusal(limit, word, amount, Factor::ONE, 0, now),
        // None on the straight lane.
        _ => Refusal { wait: Wait::Never, left: 0 },
    };
    Denial::new(charge.level, charge.names, refusal, now)
}

/// Whether the first of two plain refusals, each by a bucket that holds a word for an amount, passes after the other.
#[cold]
#[inline(never)]
fn is_later(new: (&Charge, u64, u64), old: (&Charge, u64, u64), moment: Moment<'_>) -> bool {
    let [new, old] = [new, old].map(|(charge, word, amount)| Refused::plainly(charge, word, amount));
    new.is_later(&old, moment)
}
