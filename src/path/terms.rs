//! The terms on which one caller spends, besides the rules: whether its account is new, in a cohort, tightened, and
//! whether it has taken little.
//!
//! A *guarded* caller is new, tightened or in a cohort; a plain one none of these, and nearly all are. What many share may
//! keep its last part for the light, from plain and guarded callers alike.
//!
//! - New accounts pay the tier's pool as well, and have a part of their own rates and quotas (the ramp).
//! - Members of a cohort pay the cohort as well, but for what is under their floor: that much of their own quota the
//!   others cannot take from them.
//! - Factors multiply costs on rates of the subject's own.
//!
//! All is worked out from the account's words as they were read, or are under its guard; nothing else is kept anywhere.

use super::Ask;
use crate::{
    bucket::{self, Factor, Moment, Step},
    decision::Level,
    id::Identity,
    line::Standing,
    meter::Meter,
    policy::{
        plan::{Charge, OwnUse, Present, TierPlan},
        quantity::Share,
    },
};

/// What the account's line says.
pub(super) struct Account<'w> {
    pub(super) standing: Standing,
    /// The word of a rule.
    pub(super) word: &'w dyn Fn(usize) -> u64,
}

/// The terms of one caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) present: Present,
    /// Of the account.
    pub(super) standing: Standing,
    /// Of the organization.
    pub(super) organization: Standing,
    /// The part of its limits that the account has.
    share: Share,
}

/// Whether anybody is new; else nobody's age need be worked out.
#[inline(always)]
pub(super) fn may_be_new(rules: &TierPlan) -> bool {
    rules.guard.ramp.age != 0
}

/// Whether `identity` is new at `moment`.
#[inline]
pub(super) fn is_new(rules: &TierPlan, identity: &Identity, moment: &Moment<'_>) -> bool {
    // Without a ramp, its age is 0, and an account that is not yet made is no younger.
    identity.age(moment.unix()) < rules.guard.ramp.age
}

impl Terms {
    pub(super) fn new(rules: &TierPlan, identity: &Identity, account: &Account<'_>, ask: &Ask<'_>) -> Terms {
        let guard = &rules.guard;
        let mut present = Present::plain(identity.organization.is_some());
        let mut share = Share::ONE;
        if is_new(rules, identity, &ask.moment) {
            share =
                guard.ramp.share(identity.age(ask.moment.unix()), |rule| (account.word)(usize::from(rule)));
            if !guard.pool.rules.is_empty() {
                present = present.with(Level::Pool);
            }
        }
        let terms = Terms { present, standing: account.standing, organization: Standing::GOOD, share };
        if terms.standing.cohort == 0
            || guard.cohort.rules.is_empty()
            || terms.is_under_floor(rules, account, ask)
        {
            return terms;
        }
        Terms { present: present.with(Level::Cohort), ..terms }
    }

    /// Whether all that is asked is under the floor of the cohort's members.
    fn is_under_floor(&self, rules: &TierPlan, account: &Account<'_>, ask: &Ask<'_>) -> bool {
        let limited = |meter: &Meter| rules.guard.cohort.rules.iter().any(|rule| rule.meter == *meter);
        ask.cost.spent().filter(limited).all(|meter| {
            let under = |floor| is_within(rules, floor, account, (ask.cost.amount(meter), Factor::ONE), ask);
            rules.guard.floor(meter).is_some_and(under)
        })
    }

    /// What multiplies costs at a level, and when that ends.
    pub(super) fn factor(&self, level: Level) -> (Factor, u64) {
        let standing = match level {
            Level::Account => self.standing,
            Level::Organization => self.organization,
            Level::Cohort | Level::Pool | Level::Tier => Standing::GOOD,
        };
        (standing.factor, standing.until)
    }

    /// Tokens of a bucket that the caller cannot have.
    pub(super) fn withheld(
        &self,
        rules: &TierPlan,
        (meter, charge): (Meter, &Charge),
        account: &Account<'_>,
        ask: &Ask<'_>,
    ) -> u64 {
        match charge.level {
            Level::Account if self.share < Share::ONE => {
                let most = charge.limit.most();
                most - self.share.of(most)
            }
            Level::Pool | Level::Tier if charge.reserved > 0 => {
                let asked = (ask.cost.amount(meter), self.standing.factor);
                let is_light = |light| is_within(rules, light, account, asked, ask);
                if rules.guard.light(meter).is_some_and(is_light) { 0 } else { charge.reserved }
            }
            _ => 0,
        }
    }

    /// A bucket's answer to the caller, and what was withheld from it if it refuses for that.
    pub(super) fn step(
        &self,
        rules: &TierPlan,
        (meter, charge): (Meter, &Charge),
        word: u64,
        account: &Account<'_>,
        ask: &Ask<'_>,
    ) -> (Step, u64) {
        let (amount, (factor, _)) = (ask.of(meter, charge), self.factor(charge.level));
        let step = bucket::step(&charge.limit, word, amount, factor, ask.mode, &ask.moment);
        if !matches!(step, Step::Admit(_)) {
            return (step, 0);
        }
        match self.withheld(rules, (meter, charge), account, ask) {
            0 => (step, 0),
            withheld if bucket::keeps(&charge.limit, word, amount, factor, withheld, &ask.moment) => {
                (step, 0)
            }
            withheld => (Step::Refuse, withheld),
        }
    }
}

/// Whether the account, with `amount` times `factor` more, stays within a part of its own rule.
fn is_within(
    rules: &TierPlan,
    part: OwnUse,
    account: &Account<'_>,
    (amount, factor): (u64, Factor),
    ask: &Ask<'_>,
) -> bool {
    let rule = usize::from(part.rule);
    let Some(own) = rules.account.rules.get(rule) else { return false };
    let used = bucket::used(&own.limit, (account.word)(rule), &ask.moment);
    factor.of(used.saturating_add(amount)) <= part.most
}
