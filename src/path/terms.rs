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
//! - Exceptions that an operator made replace factor and limits, or exempt.
//!
//! All is worked out from the account's words as they were read, or are under its guard; nothing else is kept anywhere.

use super::{Ask, settle::Excepted};
use crate::{
    bucket::{self, Factor, Moment, Step},
    decision::{Level, Told},
    id::{Identity, Key},
    line::Standing,
    meter::Meter,
    policy::{
        book::Book,
        exception::{Exception, Scope},
        plan::{Charge, Limit, OwnUse, PLAIN, Present, TierPlan, place_of},
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
pub(super) struct Terms<'a> {
    pub(super) present: Present,
    /// Of the account.
    pub(super) standing: Standing,
    /// Of the organization.
    organization: Standing,
    /// Of the tier's total.
    total: Standing,
    /// The part of its limits that the account has.
    share: Share,
    /// Of account, organization and tier.
    exceptions: [Option<(usize, &'a Exception)>; PLAIN],
}

/// A bucket's answer on terms.
pub(super) struct Answered {
    pub(super) step: Step,
    /// Tokens that were withheld, if it refuses for that.
    pub(super) withheld: u64,
    pub(super) told: Told,
}

/// Whether anybody is new; else nobody's age need be worked out.
#[inline(always)]
pub(super) fn may_be_new(rules: &TierPlan) -> bool {
    rules.guard.ramp.age != 0
}

/// Whether `identity` is new at `moment`.
#[inline]
pub(crate) fn is_new(rules: &TierPlan, identity: &Identity, moment: &Moment<'_>) -> bool {
    // Without a ramp, its age is 0, and an account that is not yet made is no younger.
    identity.age(moment.unix()) < rules.guard.ramp.age
}

impl<'a> Terms<'a> {
    /// Of a caller of whose lines the account's says so much.
    pub(super) fn new(
        (book, rules): (&'a Book, &'a TierPlan),
        identity: &Identity,
        account: &Account<'_>,
        ask: &Ask<'_>,
    ) -> Terms<'a> {
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
        let mut terms = Terms {
            present,
            standing: account.standing,
            organization: Standing::GOOD,
            total: Standing::GOOD,
            share,
            exceptions: [None; PLAIN],
        };
        if account.standing.marked {
            terms.except(book, Scope::Account(identity.account), ask);
        }
        if terms.is_exempt(Level::Account) {
            return terms;
        }
        if terms.standing.cohort == 0
            || guard.cohort.rules.is_empty()
            || terms.is_under_floor(rules, account, ask)
        {
            return terms;
        }
        Terms { present: present.with(Level::Cohort), ..terms }
    }

    /// With what the line of its organization says.
    pub(super) fn in_organization(
        &mut self,
        book: &'a Book,
        key: Option<&Key>,
        standing: Standing,
        ask: &Ask<'_>,
    ) {
        self.organization = standing;
        if let (Some(key), true) = (key, standing.marked) {
            self.except(book, Scope::Organization(*key), ask);
        }
    }

    /// With what the line of its tier's total says.
    pub(super) fn in_tier(&mut self, book: &'a Book, tier: u8, is_marked: bool, ask: &Ask<'_>) {
        if is_marked {
            self.except(book, Scope::Tier(tier), ask);
            if let Some((sixteenths, until)) = book.tightened(tier, ask.moment.now) {
                self.total = Standing { factor: Factor::from_sixteenths(sixteenths), until, ..self.total };
            }
        }
    }

    fn except(&mut self, book: &'a Book, scope: Scope, ask: &Ask<'_>) {
        if let Some(place) = self.exceptions.get_mut(place_of(scope.level())) {
            *place = book.exception(&scope, ask.moment.now);
        }
    }

    /// What is different at a level, if anything is.
    pub(super) fn exception(&self, level: Level) -> Option<&'a Exception> {
        match level {
            Level::Cohort | Level::Pool => None,
            level => self.exceptions.get(place_of(level)).copied().flatten().map(|(_, exception)| exception),
        }
    }

    /// The places of the exceptions, of account, organization and tier, for a permit to find them again, counted from 1.
    pub(super) fn excepted(&self) -> Excepted {
        self.exceptions
            .map(|exception| exception.and_then(|(place, _)| u16::try_from(place + 1).ok()).unwrap_or(0))
    }

    pub(super) fn is_exempt(&self, level: Level) -> bool {
        self.exception(level).is_some_and(|exception| exception.exempt)
    }

    /// The limit of a bucket.
    pub(super) fn limit(&self, rules: &TierPlan, charge: &'a Charge) -> &'a Limit {
        let exception = self.exception(charge.level);
        exception.and_then(|known| known.limit(rules.under.tier(), charge.index)).unwrap_or(&charge.limit)
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
        if let Some(Exception { sixteenths, exempt, until, .. }) = self.exception(level) {
            match (sixteenths, exempt) {
                (Some(sixteenths), _) => return (Factor::granted(*sixteenths), *until),
                (None, true) => return (Factor::ONE, *until),
                (None, false) => {}
            }
        }
        let standing = match level {
            Level::Account => self.standing,
            Level::Organization => self.organization,
            Level::Tier => self.total,
            Level::Cohort | Level::Pool => Standing::GOOD,
        };
        (standing.factor, standing.until)
    }

    /// Tokens of a bucket that the caller cannot have.
    pub(super) fn withheld(
        &self,
        rules: &TierPlan,
        (meter, charge): (Meter, &Charge),
        limit: &Limit,
        account: &Account<'_>,
        ask: &Ask<'_>,
    ) -> u64 {
        match charge.level {
            Level::Account
                if self.share < Share::ONE && matches!(charge.limit, Limit::Rate(_) | Limit::Quota(_)) =>
            {
                let most = limit.most();
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

    /// A bucket's answer to the caller.
    pub(super) fn step(
        &self,
        rules: &TierPlan,
        (meter, charge): (Meter, &'a Charge),
        word: u64,
        account: &Account<'_>,
        ask: &Ask<'_>,
    ) -> Answered {
        let (limit, (factor, _), level) =
            (self.limit(rules, charge), self.factor(charge.level), charge.level);
        let amount = bucket::asked(limit, ask.cost.amount(meter), ask.mode);
        let step = match bucket::step(limit, word, amount, factor, ask.mode, &ask.moment) {
            Step::Admit(next) if *limit != charge.limit => Step::Admit(bucket::allowed(&charge.limit, next)),
            step => step,
        };
        let keeps = |soft| bucket::keeps(limit, word, amount, factor, soft, &ask.moment);
        let spares = |withheld| bucket::spares(limit, word, amount, factor, withheld, &ask.moment);
        let mut told = Told::default();
        let (step, withheld) = match step {
            Step::Admit(_) => match self.withheld(rules, (meter, charge), limit, account, ask) {
                0 => (step, 0),
                withheld if spares(withheld) => (step, 0),
                withheld => (Step::Refuse, withheld),
            },
            step => (step, 0),
        };
        match step {
            Step::Refuse if charge.shadow || self.is_exempt(level) => {
                let forced = bucket::force(limit, word, amount, factor, ask.mode, &ask.moment);
                told.shadow = charge.shadow.then_some(level);
                Answered { step: Step::Admit(forced), withheld: 0, told }
            }
            Step::Admit(_) if charge.soft > 0 && !keeps(charge.soft) => {
                told.soft = Some(level);
                Answered { step, withheld: 0, told }
            }
            step => Answered { step, withheld, told },
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
