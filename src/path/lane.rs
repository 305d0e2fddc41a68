//! The straight lane: every line is there, under the caller's tier, nobody is in the way, and all rules are rates.
//!
//! Nothing here allocates, explains or waits. What does not go straight is decided by [`around`](super::around), or anew by
//! [`Path`](super::Path), which give the same answers; all that they need is worked out there, so that a plain decision
//! does without it.
//!
//! # Cost
//!
//! Of each line: its control word, key, meta and factor, and a word for each rule of a meter that is spent, all in one
//! cache line up to three rules; one compare-exchange, and plain stores. Between look and commit nothing is compared:
//! a control word that is still what it was before the look shows that nobody wrote since, so that the exchange which
//! takes the guard is also the second look of a sequence lock. What a word becomes is worked out after it: that is
//! cheaper than to keep it from the look.

use arrayvec::ArrayVec;

use super::{
    Ask, Hints, Home, Lines, Note, Refused, Taken,
    terms::{is_new, may_be_new},
};
use crate::{
    bucket::{self, Factor, Mode, Moment, Opened, Step, rate},
    decision::Level,
    id::Identity,
    line::{Head, Held, Version, Word},
    meter::Cost,
    policy::{
        book::Book,
        plan::{Charge, Limit, MAX_PATH_RULES, Present, Straight, Straights, TierPlan},
    },
};

/// Levels of a plain caller's path.
pub(super) const PLAIN: usize = 3;
/// The last of them, that of the tier's total.
pub(super) const TOTAL: usize = PLAIN - 1;

/// The lines of one request that it has whoever makes it: of its account, its organization and its tier.
#[derive(Clone, Copy)]
pub(crate) struct Lane<'a> {
    pub(super) book: &'a Book,
    pub(super) rules: &'a TierPlan,
    pub(super) identity: &'a Identity,
    pub(super) lines: &'a Lines,
    /// Anything in the organization's place for a caller without one; on a lease, the stripe in the tier's.
    pub(super) heads: [Head<'a>; PLAIN],
    /// Of account and organization.
    pub(super) homes: [Home; TOTAL],
}

/// The place of a plain level among the lines of a lane.
#[inline]
pub(super) fn place_of(level: Level) -> usize {
    // Between two of them lies a level of guarded callers.
    level as usize / 2
}

/// The words of the buckets that are charged, and what goes there, in the order of the plan's charges.
pub(super) type Charged<'a> = ArrayVec<(Word<'a>, u64), MAX_PATH_RULES>;

/// The versions of the lines that were looked at; of an organization's only where there is one.
pub(crate) type Seen = [Version; PLAIN];

/// What a look came to.
#[derive(Clone, Copy)]
pub(crate) enum Look {
    Admitted(Seen),
    /// By a bucket that is looked for again.
    Refused(Seen),
    /// The caller has terms of its own, or what is left of a bucket is kept for some.
    Guarded,
    /// A rule is no plain rate; or a stripe may hold a lease on the tier's total.
    Winding(Seen),
    /// A line is being written to, or was meanwhile: look again.
    Busy,
    /// A line is another's, or under another tier's rules; or a bucket's window is later than the request's clock; or a
    /// lease does not have the amount.
    Unclear,
}

/// Whose line another has written to since the look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The account's, or the organization's.
    Own,
    Total,
}

/// What asking the buckets came to.
#[derive(Clone, Copy)]
enum Asked {
    Admitted,
    Refused,
    Winding,
}

/// A bucket's answer to a plain caller.
pub(super) enum Answer<'a> {
    /// The word, and what goes there.
    Admit(Word<'a>, u64),
    Refuse(Refused<'a>),
    /// Some of what is left is kept for some, or it matters how much that is.
    Guarded,
    /// Its window is later than the request's clock.
    Unclear,
}

/// The guards of a lane's lines.
pub(super) struct Guards<'a> {
    account: Held<'a>,
    organization: Option<Held<'a>>,
    total: Held<'a>,
}

impl<'a> Lane<'a> {
    /// The lines of `identity`, at `hints` or by looking them up; `None` if one is missing.
    #[inline(always)]
    pub(crate) fn find(
        lines: &'a Lines,
        book: &'a Book,
        identity: &'a Identity,
        hints: Hints,
    ) -> Option<Lane<'a>> {
        let tier = identity.tier.as_u8();
        let rules = book.tier(tier)?;
        let total = lines.total(tier)?;
        let (account_slot, account) = match hints.account {
            Some(slot) => (slot, lines.accounts.head(slot)?),
            None => lines.accounts.find(&identity.account)?,
        };
        let (organization_slot, organization) = match &identity.organization {
            Some(key) => match hints.organization {
                Some(slot) => (slot, lines.organizations.head(slot)?),
                None => lines.organizations.find(key)?,
            },
            None => (0, total),
        };
        let homes = [Home::Account(account_slot), Home::Organization(organization_slot)];
        Some(Lane { book, rules, identity, lines, heads: [account, organization, total], homes })
    }

    pub(crate) fn identity(&self) -> &'a Identity {
        self.identity
    }

    /// The account's slot, and how many subjects that had held; `None` on an overflow line.
    #[inline(always)]
    pub(crate) fn seat(&self, seen: Seen) -> Option<(u32, u32)> {
        match self.homes[0] {
            Home::Account(slot) => Some((slot, seen[0].generation())),
            _ => None,
        }
    }

    #[inline(always)]
    pub(super) fn in_organization(&self) -> bool {
        self.identity.organization.is_some()
    }

    /// Where the line of a plain level is.
    pub(super) fn plain_home(&self, level: Level) -> Home {
        let total = Home::total(self.identity.tier.as_u8());
        self.homes.get(place_of(level)).copied().unwrap_or(total)
    }

    /// Asks the buckets, and writes nothing. All of the `moment` is asked for only where an account may be new.
    #[inline(always)]
    pub(crate) fn look<'m>(&self, cost: &Cost, now: u64, moment: impl FnOnce() -> Moment<'m>) -> Look {
        let [account, organization, total] = &self.heads;
        let (Some(account_version), Some(total_version)) = (account.version(), total.version()) else {
            return Look::Busy;
        };
        let under = self.rules.under;
        let mut strange = account.differs(&self.identity.account, under) | total.is_not_under(under);
        strange |= self.book.staleness();
        let mut factors = account.factor_word();
        let mut organization_version = account_version;
        if let Some(key) = &self.identity.organization {
            let Some(version) = organization.version() else { return Look::Busy };
            organization_version = version;
            strange |= organization.differs(key, under);
            factors |= organization.factor_word();
        }
        if strange != 0 {
            return Look::Unclear;
        }
        if factors != 0 || may_be_new(self.rules) && is_new(self.rules, self.identity, &moment()) {
            return Look::Guarded;
        }
        let seen = [account_version, organization_version, total_version];
        if total.factor_word() != 0 {
            return Look::Winding(seen);
        }
        let straights = self.rules.straights(self.in_organization());
        match asked(straights, &self.heads, cost, now) {
            Asked::Admitted => Look::Admitted(seen),
            Asked::Refused => Look::Refused(seen),
            Asked::Winding => Look::Winding(seen),
        }
    }

    /// Charges every line as it was looked at, or none, in which case somebody has written since. Permits note what they
    /// need to settle.
    #[inline(always)]
    pub(crate) fn commit(
        &self,
        (cost, now): (&Cost, u64),
        seen: Seen,
        note: &mut impl Note,
    ) -> Result<(), Lost> {
        let guards = self.lock(seen)?;
        charge(self.rules.straights(self.in_organization()), &self.heads, cost, now);
        self.finish(guards, (cost, now), note);
        Ok(())
    }

    /// The word of a bucket.
    #[inline(always)]
    pub(super) fn word(&self, charge: &Straight) -> Word<'a> {
        self.heads[place_of(charge.level)].word_at(charge.place)
    }

    /// Takes the guards if nobody has written to a line since it was looked at.
    #[inline(always)]
    pub(super) fn lock(&self, seen: Seen) -> Result<Guards<'a>, Lost> {
        #[cfg(all(test, feature = "toml"))]
        super::meanwhile::happens();
        #[cfg(tollgate_mutant = "commit_of_another_version")]
        let seen = self.heads.map(|head| head.version().unwrap_or(seen[0]));
        let [account, organization, total] = &self.heads;
        let account = account.lock_at(seen[0]).ok_or(Lost::Own)?;
        let organization =
            if self.in_organization() { Some(organization.lock_at(seen[1]).ok_or(Lost::Own)?) } else { None };
        let total = total.lock_at(seen[TOTAL]).ok_or(Lost::Total)?;
        Ok(Guards { account, organization, total })
    }

    /// Lets go of the lines, which were charged.
    #[inline(always)]
    pub(super) fn finish(&self, guards: Guards<'a>, asked: (&Cost, u64), note: &mut impl Note) {
        let Guards { account, organization, total } = guards;
        self.note(asked, note, (Present::plain(self.in_organization()), 0), |charge| {
            (&charge.limit, Factor::ONE, false)
        });
        finish(self.homes[0], account, Factor::ONE, note);
        if let Some(organization) = organization {
            finish(self.homes[1], organization, Factor::ONE, note);
        }
        finish(Home::total(self.identity.tier.as_u8()), total, Factor::ONE, note);
    }

    /// Lets a permit note what was charged, under the guards of all lines. `terms` tells the limit of a bucket, the factor,
    /// and whether it may have been charged whatever it held.
    #[inline(always)]
    pub(super) fn note<'t>(
        &self,
        (cost, now): (&Cost, u64),
        note: &mut impl Note,
        (present, cohort): (Present, u16),
        terms: impl Fn(&'a Charge) -> (&'t Limit, Factor, bool),
    ) where
        'a: 't,
    {
        note.charges(present, |note| {
            for meter in cost.spent() {
                for charge in self.rules.charges(meter, present) {
                    let home = self.home(charge.level, cohort);
                    let word = self.lines.line(home).and_then(|line| line.word(usize::from(charge.index)));
                    let (limit, factor, forced) = terms(charge);
                    let amount = bucket::asked(limit, cost.amount(meter), Mode::Hold);
                    // All are there, or it would not have been charged.
                    let word = word.map_or(0, |word| word.load());
                    let (refunds, opened) = (self.lines.refunds(home), Opened { amount, factor, forced });
                    note(Taken { charge, word, refunds, opened, now });
                }
            }
        });
    }

    /// A bucket's answer to a plain caller.
    #[inline]
    pub(super) fn answer(&self, charge: &'a Charge, amount: u64, ask: &Ask<'_>) -> Answer<'a> {
        let (level, rule) = (place_of(charge.level), usize::from(charge.index));
        let place = match self.heads[level].word(rule) {
            None => self.lines.line(self.plain_home(charge.level)).and_then(|line| line.word(rule)),
            place => place,
        };
        let Some(place) = place else { return Answer::Unclear };
        let (word, factor) = (place.load(), Factor::ONE);
        match bucket::step(&charge.limit, word, amount, factor, ask.mode, &ask.moment) {
            Step::Refuse if charge.shadow => Answer::Guarded,
            Step::Refuse => Answer::Refuse(Refused::plainly(charge, word, amount)),
            Step::Behind => Answer::Unclear,
            Step::Admit(_)
                if charge.watched() != 0
                    && !bucket::keeps(&charge.limit, word, amount, factor, charge.watched(), &ask.moment) =>
            {
                Answer::Guarded
            }
            Step::Admit(next) => Answer::Admit(place, next),
        }
    }
}

/// Whether all buckets admit. What is read may not belong together; the versions tell, when they are compared.
// By itself, as `charge` is: in one piece with what is around it, half of its instructions move registers.
#[inline(never)]
fn asked(straights: &Straights, heads: &[Head<'_>; PLAIN], cost: &Cost, now: u64) -> Asked {
    for meter in cost.spent() {
        let Some(charges) = &straights[meter.index()] else { return Asked::Winding };
        let amount = cost.amount(meter);
        for Straight { level, place, ticks, .. } in charges {
            let word = heads[place_of(*level)].word_at(*place);
            if !rate::admits(ticks, word.load(), amount, now) {
                return Asked::Refused;
            }
        }
    }
    Asked::Admitted
}

/// Charges the buckets, under the guards of all lines.
#[inline(never)]
fn charge(straights: &Straights, heads: &[Head<'_>; PLAIN], cost: &Cost, now: u64) {
    for meter in cost.spent() {
        // It is there, or the look had not been straight.
        let Some(charges) = &straights[meter.index()] else { return };
        let amount = cost.amount(meter);
        for Straight { level, place, ticks, .. } in charges {
            let word = heads[place_of(*level)].word_at(*place);
            word.store(rate::charged(ticks, word.load(), amount, now));
        }
    }
}

/// Lets go of the guard of a line that was charged.
#[inline(always)]
pub(super) fn finish(home: Home, mut guard: Held<'_>, factor: Factor, note: &mut impl Note) {
    guard.set_written();
    note.line(home, &mut guard, factor);
}
