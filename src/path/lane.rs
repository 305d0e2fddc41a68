//! The straight lane: every line is there, under the caller's tier, nobody is in the way, and all rules are rates, of a meter
//! one at most on each level. Where threads have met on the tier's total, leases stand in for that.
//!
//! Nothing here allocates, explains or waits. What does not go straight is decided by [`around`](super::around), or anew by
//! [`Path`](super::Path), which give the same answers; all that they need is worked out there, so that a plain decision
//! does without it.
//!
//! # Cost
//!
//! Of each line: its control word, key, meta and factor, and a word for each meter that is spent, all in one cache line; one
//! compare-exchange, and plain stores. Between look and commit nothing is compared: a control word that is still what it was
//! before the look shows that nobody wrote since, so that the exchange which takes the guard is also the second look of a
//! sequence lock, and what the words become is stored as the look worked it out.

use arrayvec::ArrayVec;

use super::{
    Ask, Hints, Home, Lines, Note, Refused, Taken,
    terms::{is_new, may_be_new},
};
use crate::{
    bucket::{self, Factor, Mode, Moment, Opened, Step, rate},
    decision::Level,
    id::Identity,
    lease,
    line::{Head, Held, Line, Refunds, Version, Word},
    meter::{Cost, MAX_METERS, Meter},
    policy::{
        book::Book,
        plan::{Charge, Limit, MAX_PATH_RULES, PLAIN, Present, StraightRate, TierPlan, place_of},
    },
    sync::mutant,
};

/// The last of the plain levels, that of the tier's total.
pub(super) const TOTAL: usize = PLAIN - 1;

/// The lines of one request that it has whoever makes it: of its account, its organization and its tier.
#[derive(Clone, Copy)]
pub(crate) struct Lane<'a> {
    pub(super) book: &'a Book,
    pub(super) rules: &'a TierPlan,
    pub(super) identity: &'a Identity,
    pub(super) lines: &'a Lines,
    /// Anything in the organization's place for a caller without one; on a lease, the stripe in the place of the line.
    pub(super) heads: [Head<'a>; PLAIN],
    /// Of account and organization.
    pub(super) homes: [Home; TOTAL],
}

/// The words of the buckets that are charged, and what goes there, in the order of the plan's charges.
pub(super) type Charged<'a> = ArrayVec<(Word<'a>, u64), MAX_PATH_RULES>;

/// The versions of the lines that were looked at; of an organization's only where there is one.
pub(crate) type Seen = [Version; PLAIN];

/// What is in a decision's way, as far as it has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// Nothing: the buckets are to be asked.
    Straight,
    /// A rule is no plain rate; or a stripe may hold a lease on the organization's line or the tier's total; or there is an
    /// exception for that.
    Winding,
    /// The caller has terms of its own.
    Guarded,
    /// A bucket, which is looked for again: one of this meter, at or after this place among the levels.
    Refused(Meter, u8),
    /// Another, who has written to a line since the look.
    Lost(Lost),
    /// Another, who is writing to a line: look again.
    Busy,
    /// A line is another's, or under another tier's rules; or a bucket's window is later than the request's clock; or a
    /// lease does not have the amount.
    Unclear,
}

/// Whose line another has written to since the look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Account,
    Organization,
    Total,
}

/// Of one meter that is spent, a plain caller's buckets and what their words become.
type Next<'a> = (&'a [Option<StraightRate>; PLAIN], [u64; PLAIN]);

/// Where the rates of a level are charged.
#[derive(Clone, Copy)]
enum Buckets<'a> {
    Line(Head<'a>),
    /// A stripe, and what the line keeps of what its buckets gave back.
    Leased(Line<'a>, Refunds<'a>),
}

impl Buckets<'_> {
    /// What a word becomes; `None` if the bucket, or the lease on it, has not the amount.
    #[inline(always)]
    fn charge(&self, rate: &StraightRate, amount: u64, now: u64) -> Option<u64> {
        match self {
            Buckets::Line(head) => {
                rate::charge_plainly(&rate.ticks, head.word_at(rate.place).load(), amount, now)
            }
            Buckets::Leased(stripe, refunds) => {
                lease::serve_plainly(stripe, rate, refunds.of_rate(usize::from(rate.rate)), amount, now)
            }
        }
    }

    #[inline(always)]
    fn store(&self, rate: &StraightRate, word: u64) {
        match self {
            Buckets::Line(head) => head.word_at(rate.place).store(word),
            Buckets::Leased(stripe, _) => lease::set_low(stripe, rate, word),
        }
    }
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

    /// Reads whose lines these are, and writes nothing. The `moment` is asked for only where an account may be new.
    #[inline(always)]
    pub(crate) fn look<'m>(&self, moment: impl FnOnce() -> Moment<'m>) -> (Course, Seen) {
        let nothing = Seen::default();
        let [account, organization, total] = &self.heads;
        let (Some(account_version), Some(total_version)) = (account.version(), total.version()) else {
            return (Course::Busy, nothing);
        };
        let under = self.rules.under;
        let mut strange = account.differs(&self.identity.account, under) | total.is_not_under(under);
        strange |= self.book.staleness();
        let mut factors = account.factor_word();
        let mut organization_version = account_version;
        if let Some(key) = &self.identity.organization {
            let Some(version) = organization.version() else { return (Course::Busy, nothing) };
            organization_version = version;
            strange |= organization.differs(key, under);
            factors |= organization.factor_word();
        }
        let seen = [account_version, organization_version, total_version];
        if strange != 0 {
            return (Course::Unclear, seen);
        }
        if factors != 0 && !is_only_leased(*account, *organization)
            || may_be_new(self.rules) && is_new(self.rules, self.identity, &moment())
        {
            return (Course::Guarded, seen);
        }
        (if factors | total.factor_word() == 0 { Course::Straight } else { Course::Winding }, seen)
    }

    /// Asks the buckets, and if all admit charges every line as it was looked at; else none.
    #[inline(always)]
    pub(crate) fn go(&self, ask: (&Cost, u64), seen: Seen, note: &mut impl Note) -> Result<(), Course> {
        let [_, organization, total] = self.heads.map(Buckets::Line);
        self.go_by(ask, seen, note, (organization, total))
    }

    /// As [`go`](Lane::go) goes, where threads have met on the tier's total or on the organization's line: the thread's leases
    /// stand in for its buckets.
    #[inline(never)]
    pub(crate) fn go_leased(
        mut self,
        ask: (&Cost, u64),
        mut seen: Seen,
        note: &mut impl Note,
    ) -> Result<(), Course> {
        let (line, version) = (self.heads[1], seen[1]);
        let organization = if self.in_organization() && line.may_be_leased() {
            let leased = self.lease(1, &mut seen, ask.1)?;
            // Whoever gives these stripes to another organization has taken them from this one, and then writes them.
            if !line.is_still(version) && !mutant("serve_from_anothers_lease") {
                return Err(Course::Busy);
            }
            leased
        } else {
            Buckets::Line(line)
        };
        let total = match self.heads[TOTAL].factor_word() {
            0 => Buckets::Line(self.heads[TOTAL]),
            _ => self.lease(TOTAL, &mut seen, ask.1)?,
        };
        if !self.book.is_latest() {
            return Err(Course::Unclear);
        }
        match self.go_by(ask, seen, note, (organization, total)) {
            // By whom is found out where all kinds of leases are asked.
            Err(Course::Refused(..)) => Err(Course::Winding),
            gone => gone,
        }
    }

    /// The calling thread's stripe of what is leased at a level, in the place of the line.
    #[inline(always)]
    fn lease(&mut self, level: usize, seen: &mut Seen, now: u64) -> Result<Buckets<'a>, Course> {
        let line = self.heads[level];
        if line.is_marked() || !line.is_hot(now) {
            return Err(Course::Winding);
        }
        let stripe = line.lot().and_then(|lot| self.lines.leases.stripe(lot)).ok_or(Course::Winding)?;
        (self.heads[level], seen[level]) = (stripe.head(), stripe.head().version().ok_or(Course::Busy)?);
        let home = self.homes.get(level).copied().unwrap_or(Home::total(self.identity.tier.as_u8()));
        Ok(Buckets::Leased(stripe, self.lines.refunds(home)))
    }

    /// Asks the buckets, those of organization and total where they are said to be, and charges them. What is read may not
    /// belong together; the versions tell, when they are compared.
    #[inline(always)]
    fn go_by(
        &self,
        (cost, now): (&Cost, u64),
        seen: Seen,
        note: &mut impl Note,
        (organization, total): (Buckets<'a>, Buckets<'a>),
    ) -> Result<(), Course> {
        let account = Buckets::Line(self.heads[0]);
        let straights = self.rules.straights(self.in_organization());
        let mut next: ArrayVec<Next<'a>, MAX_METERS> = ArrayVec::new();
        for meter in cost.spent() {
            let straight = straights[meter.index()].as_ref().ok_or(Course::Winding)?;
            let amount = cost.amount(meter);
            if amount > straight.most {
                return Err(Course::Refused(meter, 0));
            }
            let mut words = [0; PLAIN];
            for (level, buckets) in [&account, &organization, &total].into_iter().enumerate() {
                if let Some(rate) = &straight.rates[level] {
                    words[level] =
                        buckets.charge(rate, amount, now).ok_or(Course::Refused(meter, level as u8))?;
                }
            }
            // There is room for every meter.
            let _ = next.try_push((&straight.rates, words));
        }
        let guards = self.lock(seen).map_err(Course::Lost)?;
        for (rates, words) in &next {
            for ((buckets, rate), word) in
                [&account, &organization, &total].into_iter().zip(*rates).zip(words)
            {
                if let Some(rate) = rate {
                    buckets.store(rate, *word);
                }
            }
        }
        self.finish(guards, (cost, now), note);
        Ok(())
    }

    /// Takes the guards if nobody has written to a line since it was looked at.
    #[inline(always)]
    pub(super) fn lock(&self, seen: Seen) -> Result<Guards<'a>, Lost> {
        #[cfg(all(test, feature = "toml"))]
        super::meanwhile::happens();
        let seen = if mutant("commit_of_another_version") {
            self.heads.map(|head| head.version().unwrap_or(seen[0]))
        } else {
            seen
        };
        let [account, organization, total] = &self.heads;
        let account = account.lock_at(seen[0]).ok_or(Lost::Account)?;
        let organization = match self.in_organization() {
            true => Some(organization.lock_at(seen[1]).ok_or(Lost::Organization)?),
            false => None,
        };
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
            let mut of_account = None;
            for meter in cost.spent() {
                for charge in self.rules.charges(meter, present) {
                    let home = self.home(charge.level, cohort);
                    let word = self.lines.line(home).and_then(|line| line.word(usize::from(charge.index)));
                    let (limit, factor, forced) = terms(charge);
                    let amount = bucket::asked(limit, cost.amount(meter), Mode::Hold);
                    // All are there, or it would not have been charged.
                    let word = word.map_or(0, |word| word.load());
                    let refunds = match (charge.level, &charge.limit) {
                        (Level::Account, Limit::Rate(_)) => {
                            *of_account.get_or_insert_with(|| self.lines.refunds_to_open(home))
                        }
                        // Others keep nothing there.
                        (Level::Account, _) => Refunds::NONE,
                        _ => self.lines.refunds(home),
                    };
                    let opened = Opened { amount, factor, forced };
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
            // It is counted on the other way.
            Step::Admit(next) if bucket::changes_zone(&charge.limit, word, next) => Answer::Unclear,
            Step::Admit(next) => Answer::Admit(place, next),
        }
    }
}

/// Whether nothing is to be seen to at an account and its organization but leases. By value, as `lone_refusal`.
#[inline(never)]
fn is_only_leased(account: Head<'_>, organization: Head<'_>) -> bool {
    account.factor_word() == 0 && organization.may_be_leased() && !organization.is_marked()
}

/// Lets go of the guard of a line that was charged.
#[inline(always)]
pub(super) fn finish(home: Home, mut guard: Held<'_>, factor: Factor, note: &mut impl Note) {
    guard.set_written();
    note.line(home, &mut guard, factor);
}
