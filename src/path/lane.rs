//! The straight lane: every line is there, under the caller's tier, and seldom is anybody in the way.
//!
//! Nothing here allocates, explains or waits but for a guard that was lost to another. What does not go straight is
//! decided anew by [`Path`](super::Path), which gives the same answers.
//!
//! # Cost
//!
//! Of each line: its control word, key, meta and factor, and a word for each rule of a meter that is spent, all in one
//! cache line up to three rules; one compare-exchange, and plain stores. Between look and commit nothing is compared:
//! a control word that is still what it was before the look shows that nobody wrote since, so that the exchange which
//! takes the guard is also the second look of a sequence lock.

use arrayvec::ArrayVec;

use super::{
    Ask, Hints, Home, Lines, Note, Refused,
    enter::converted,
    terms::{Account, Terms, is_new},
};
use crate::{
    bucket::{self, Factor, Mode, Step, rate},
    decision::Level,
    id::Identity,
    lease,
    line::{Head, Held, Version, Word},
    policy::plan::{Charge, LEVELS, Limit, MAX_PATH_RULES, Plan, Present, TierPlan},
};

/// Levels of a plain caller's path.
pub(super) const PLAIN: usize = 3;

/// The lines of one request that it has whoever makes it: of its account, its organization and its tier.
#[derive(Clone, Copy)]
pub(crate) struct Lane<'a> {
    pub(super) rules: &'a TierPlan,
    pub(super) identity: &'a Identity,
    pub(super) lines: &'a Lines,
    /// Anything in the organization's place for a caller without one.
    pub(super) heads: [Head<'a>; PLAIN],
    pub(super) homes: [Home; PLAIN],
}

/// The place of a plain level among the lines of a lane.
#[inline]
fn place_of(level: Level) -> usize {
    // Between two of them lies a level of guarded callers.
    level as usize / 2
}

/// The words of the buckets that are charged, and what goes there, in the order of the plan's charges.
pub(crate) type Charged<'a> = ArrayVec<(Word<'a>, u64), MAX_PATH_RULES>;

/// What the words were worked out from.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// The versions of the lines, by level.
    versions: [Version; PLAIN],
    /// The tier's own line, or the stripe that stands in for it.
    total: Head<'a>,
}

/// What a look came to.
pub(crate) enum Look<'a> {
    Admitted(Seen<'a>),
    /// The caller has terms of its own, or what is left of a bucket is kept for some: [`Lane::look_guarded`].
    Guarded,
    /// On terms that are worked out again under the guards: [`Lane::commit_again`].
    AdmittedGuarded,
    Refused(Refused<'a>),
    /// A line is being written to, or was meanwhile: look again.
    Busy,
    /// A line is another's, or under another tier's rules; or a bucket's window is later than the request's clock; or a
    /// lease does not have the amount.
    Unclear,
}

impl<'a> Lane<'a> {
    /// The lines of `identity`, at `hints` or by looking them up; `None` if one is missing.
    #[inline(always)]
    pub(crate) fn find(
        lines: &'a Lines,
        plan: &'a Plan,
        identity: &'a Identity,
        hints: Hints,
    ) -> Option<Lane<'a>> {
        let tier = identity.tier.as_u8();
        let rules = plan.tiers.get(usize::from(tier))?;
        let home = Home::total(tier);
        let total = lines.total(tier)?;
        let (slot, account) = match hints.account {
            Some(slot) => (slot, lines.accounts.head(slot)?),
            None => lines.accounts.find(&identity.account)?,
        };
        let (organization, organization_home) = match &identity.organization {
            Some(key) => {
                let (slot, head) = match hints.organization {
                    Some(slot) => (slot, lines.organizations.head(slot)?),
                    None => lines.organizations.find(key)?,
                };
                (head, Home::Organization(slot))
            }
            None => (total, home),
        };
        Some(Lane {
            rules,
            identity,
            lines,
            heads: [account, organization, total],
            homes: [Home::Account(slot), organization_home, home],
        })
    }

    #[inline(always)]
    fn in_organization(&self) -> bool {
        self.identity.organization.is_some()
    }

    /// Asks the buckets, and writes nothing.
    #[inline(always)]
    pub(crate) fn look(&self, ask: &Ask<'_>, charged: &mut Charged<'a>) -> Look<'a> {
        let [account, organization, total] = &self.heads;
        let (Some(account_version), Some(total_version)) = (account.version(), total.version()) else {
            return Look::Busy;
        };
        let tier = self.identity.tier.as_u8();
        let mut strange = account.differs(&self.identity.account, tier);
        let mut factors = account.factor_word();
        let mut organization_version = Version::NONE;
        if let Some(key) = &self.identity.organization {
            let Some(version) = organization.version() else { return Look::Busy };
            organization_version = version;
            strange |= organization.differs(key, tier);
            factors |= organization.factor_word();
        }
        let seen = Seen { versions: [account_version, organization_version, total_version], total: *total };
        if strange != 0 {
            Look::Unclear
        } else if factors != 0 || is_new(self.rules, self.identity, ask) {
            Look::Guarded
        } else if total.may_be_leased() {
            self.ask_leased(ask, seen, charged)
        } else {
            self.ask(ask, seen, charged, |_, _| None)
        }
    }

    /// The same for callers on terms of their own, and where what is left of a bucket is kept for some.
    #[cold]
    #[inline(never)]
    pub(crate) fn look_guarded(self, ask: &Ask<'_>) -> Look<'a> {
        let mut read: ArrayVec<(Head<'a>, Version), { LEVELS.len() }> = ArrayVec::new();
        for head in self.heads {
            let Some(version) = head.version() else { return Look::Busy };
            read.push((head, version));
        }
        let tier = self.identity.tier.as_u8();
        let mut strange = self.heads[0].differs(&self.identity.account, tier);
        if let Some(key) = &self.identity.organization {
            strange |= self.heads[1].differs(key, tier);
        }
        if strange != 0 {
            return Look::Unclear;
        }
        let word = |rule| self.word(Level::Account, rule);
        let standing = self.heads[0].standing(ask.moment.now);
        let account = Account { standing, word: &word };
        let mut terms = Terms::new(self.rules, self.identity, &account, ask);
        if self.in_organization() {
            terms.organization = self.heads[1].standing(ask.moment.now);
        }
        for level in [Level::Cohort, Level::Pool].into_iter().filter(|level| terms.present.has(*level)) {
            let line = self.lines.line(self.home(level, terms.standing.cohort));
            let Some(head) = line.map(|line| line.head()) else { return Look::Unclear };
            let Some(version) = head.version() else { return Look::Busy };
            read.push((head, version));
        }
        let mut refused: Option<Refused<'a>> = None;
        for meter in ask.cost.spent() {
            for charge in self.rules.charges(meter, terms.present) {
                let place = self.lines.line(self.home(charge.level, terms.standing.cohort));
                let Some(place) = place.and_then(|line| line.word(usize::from(charge.index))) else {
                    return Look::Unclear;
                };
                let word = place.load();
                match terms.step(self.rules, (meter, charge), word, &account, ask) {
                    (Step::Admit(_), _) => {}
                    (Step::Behind, _) => return Look::Unclear,
                    (Step::Refuse, withheld) => {
                        let new = Refused::on(&terms, charge, word, ask.of(meter, charge), withheld);
                        Refused::keep_later(&mut refused, new, ask.moment);
                    }
                }
            }
        }
        let Some(refused) = refused else { return Look::AdmittedGuarded };
        if self.heads[2].may_be_leased() && refused.charge.level == Level::Tier {
            // Not before the leases have been given back.
            return Look::Unclear;
        }
        if read.iter().all(|(head, version)| head.is_still(*version)) {
            Look::Refused(refused)
        } else {
            Look::Busy
        }
    }

    /// Where the line of a level is.
    fn home(&self, level: Level, cohort: u16) -> Home {
        let tier = self.identity.tier.as_u8();
        match level {
            Level::Account | Level::Organization | Level::Tier => self.homes[place_of(level)],
            Level::Cohort => self.lines.cohort_home(cohort, tier),
            Level::Pool => Home::shared(level, tier),
        }
    }

    /// The word of a rule, 0 where there is none.
    fn word(&self, level: Level, rule: usize) -> u64 {
        let line = self.lines.line(self.homes[place_of(level)]);
        line.and_then(|line| line.word(rule)).map_or(0, |word| word.load())
    }

    /// The same where threads have met on the tier's total: a check then asks the thread's leases in its place.
    #[inline(never)]
    fn ask_leased(self, ask: &Ask<'_>, mut seen: Seen<'a>, charged: &mut Charged<'a>) -> Look<'a> {
        if !seen.total.is_hot(ask.moment.now) {
            // The leases are given back on the other way.
            return Look::Unclear;
        }
        if ask.mode == Mode::Hold {
            return match self.ask(ask, seen, charged, |_, _| None) {
                // Not before the leases have been given back.
                Look::Refused(refused) if refused.charge.level == Level::Tier => Look::Unclear,
                look => look,
            };
        }
        let Some(stripe) = self.lines.leases.stripe(self.identity.tier.as_u8()) else { return Look::Unclear };
        let Some(version) = stripe.head().version() else { return Look::Busy };
        seen.versions[place_of(Level::Tier)] = version;
        seen.total = stripe.head();
        let refunds = self.lines.refunds(self.homes[place_of(Level::Tier)]);
        self.ask(ask, seen, charged, |charge, amount| {
            (charge.level == Level::Tier).then(|| lease::serve(&stripe, charge, refunds, amount, &ask.moment))
        })
    }

    /// What it reads may not belong together; the versions tell, when they are compared. What `leased` answers stands in
    /// for a bucket: the word to move and what it becomes, or nothing, if the lease does not have the amount.
    #[inline(always)]
    fn ask(
        &self,
        ask: &Ask<'_>,
        seen: Seen<'a>,
        charged: &mut Charged<'a>,
        leased: impl Fn(&Charge, u64) -> Option<Option<(Word<'a>, u64)>>,
    ) -> Look<'a> {
        let mut refused: Option<Refused<'a>> = None;
        for meter in ask.cost.spent() {
            let amount = ask.cost.amount(meter);
            for charge in self.rules.plain_charges(meter, self.in_organization()) {
                if let Some(served) = leased(charge, amount) {
                    let Some(served) = served else { return Look::Unclear };
                    let _ = charged.try_push(served);
                    continue;
                }
                let Some(place) = self.place(charge) else { return Look::Unclear };
                let (word, factor) = (place.load(), Factor::ONE);
                let admitted = match &charge.limit {
                    // As `step` has it, but in place: six instructions fewer for each.
                    Limit::Rate(rate) => rate::charge(rate, word, amount, factor, ask.moment.now),
                    limit => match bucket::step(limit, word, amount, factor, ask.mode, &ask.moment) {
                        Step::Admit(word) => Some(word),
                        Step::Refuse => None,
                        Step::Behind => return Look::Unclear,
                    },
                };
                let Some(admitted) = admitted else {
                    Refused::keep_later(&mut refused, Refused::plainly(charge, word, amount), ask.moment);
                    continue;
                };
                if charge.reserved != 0
                    && !bucket::keeps(&charge.limit, word, amount, factor, charge.reserved, &ask.moment)
                {
                    return Look::Guarded;
                }
                // A path has no more rules than there is room for.
                let _ = charged.try_push((place, admitted));
            }
        }
        match refused {
            None => Look::Admitted(seen),
            // What was read has to belong together.
            Some(refused) if self.is_still(seen) => Look::Refused(refused),
            Some(_) => Look::Busy,
        }
    }

    /// The word of a bucket; in the line's first cache line, mostly.
    #[inline(always)]
    fn place(&self, charge: &Charge) -> Option<Word<'a>> {
        let (level, rule) = (place_of(charge.level), usize::from(charge.index));
        match self.heads[level].word(rule) {
            None => self.lines.line(self.homes[level])?.word(rule),
            place => place,
        }
    }

    #[inline(always)]
    fn is_still(&self, Seen { versions: [account, organization, of_total], total }: Seen<'a>) -> bool {
        self.heads[0].is_still(account)
            && (!self.in_organization() || self.heads[1].is_still(organization))
            && total.is_still(of_total)
    }

    /// Charges every line, or none, in which case it has to be looked at again. Permits note what they need to settle.
    #[inline(always)]
    pub(crate) fn commit(
        &self,
        plan: &Plan,
        ask: &Ask<'_>,
        (Seen { versions, total }, charged): (Seen<'a>, &Charged<'a>),
        note: &mut impl Note,
    ) -> bool {
        let Some(account) = self.heads[0].lock_at(versions[0]) else {
            return self.commit_again(plan, ask, note);
        };
        let organization = if self.in_organization() {
            let Some(guard) = self.heads[1].lock_at(versions[1]) else {
                drop(account);
                return self.commit_again(plan, ask, note);
            };
            Some(guard)
        } else {
            None
        };
        let Some(total) = total.lock_at(versions[2]) else {
            drop((account, organization));
            return self.commit_again(plan, ask, note) && {
                self.collided(ask);
                true
            };
        };
        self.store(ask, charged, note, Present::plain(self.in_organization()), 0);
        finish(self.homes[0], account, note, ask);
        if let Some(organization) = organization {
            finish(self.homes[1], organization, note, ask);
        }
        finish(self.homes[2], total, note, ask);
        true
    }

    /// Stores what was charged, under the guards of all lines.
    #[inline(always)]
    fn store(
        &self,
        ask: &Ask<'_>,
        charged: &[(Word<'a>, u64)],
        note: &mut impl Note,
        present: Present,
        cohort: u16,
    ) {
        for (place, word) in charged {
            place.store(*word);
        }
        note.charges(present, |note| {
            let mut charged = charged.iter();
            for meter in ask.cost.spent() {
                for (charge, (_, word)) in self.rules.charges(meter, present).zip(&mut charged) {
                    note(charge, *word, self.lines.refunds(self.home(charge.level, cohort)));
                }
            }
        });
    }

    /// Makes the total hot on which the thread has met another.
    #[cold]
    #[inline(never)]
    fn collided(self, ask: &Ask<'_>) {
        if ask.mode == Mode::Spend {
            self.lines.refill(&self.rules.total, self.identity.tier.as_u8(), true, ask);
        }
    }

    /// The same where somebody has written since the look, or nobody has looked, or the caller is guarded: takes every
    /// guard, waiting for it, and steps the buckets as they are then.
    #[cold]
    #[inline(never)]
    pub(crate) fn commit_again(self, plan: &Plan, ask: &Ask<'_>, note: &mut impl Note) -> bool {
        let take = |level| self.take(level, plan, ask);
        let Some(account) = take(Level::Account) else { return false };
        let word = |rule| self.word(Level::Account, rule);
        let standing = &Account { standing: account.standing(ask.moment.now), word: &word };
        let mut terms = Terms::new(self.rules, self.identity, standing, ask);
        let mut guards: [Option<(Home, Held<'a>)>; LEVELS.len()] = Default::default();
        let mut guards_of_rest = guards.iter_mut();
        if let Some(place) = guards_of_rest.next() {
            *place = Some((self.homes[0], account));
        }
        for (level, place) in terms.present.levels().skip(1).zip(guards_of_rest) {
            let home = self.home(level, terms.standing.cohort);
            let guard = match level {
                Level::Cohort | Level::Pool => self.lines.line(home).map(|line| line.lock().into_held()),
                Level::Account | Level::Organization | Level::Tier => take(level),
            };
            let Some(guard) = guard else { return false };
            if level == Level::Organization {
                terms.organization = guard.standing(ask.moment.now);
            }
            *place = Some((home, guard));
        }
        let mut charged = Charged::new();
        for meter in ask.cost.spent() {
            for charge in self.rules.charges(meter, terms.present) {
                let line = self.lines.line(self.home(charge.level, terms.standing.cohort));
                let Some(place) = line.and_then(|line| line.word(usize::from(charge.index))) else {
                    return false;
                };
                match terms.step(self.rules, (meter, charge), place.load(), standing, ask).0 {
                    // A path has no more rules than there is room for.
                    Step::Admit(word) => {
                        let _ = charged.try_push((place, word));
                    }
                    #[cfg(tollgate_mutant = "commit_trusts_the_look")]
                    _ => {
                        let _ = charged.try_push((place, place.load() + ask.cost.amount(meter)));
                    }
                    // Whoever is behind, or refused, finds out when it looks again.
                    #[cfg(not(tollgate_mutant = "commit_trusts_the_look"))]
                    Step::Refuse | Step::Behind => return false,
                }
            }
        }
        self.store(ask, &charged, note, terms.present, terms.standing.cohort);
        for (home, guard) in guards.into_iter().flatten() {
            finish(home, guard, note, ask);
        }
        true
    }

    /// The guard of a plain level's line, once it is under the caller's rules; `None` if it is another's.
    fn take(&self, level: Level, plan: &Plan, ask: &Ask<'_>) -> Option<Held<'a>> {
        let home = self.homes[place_of(level)];
        let mut guard = self.lines.line(home)?.lock();
        let key = match home {
            Home::Account(_) => Some(&self.identity.account),
            Home::Organization(_) => self.identity.organization.as_ref(),
            Home::Tier(_) | Home::Cohort(_) => None,
        };
        if key.is_some_and(|key| !guard.holds(key)) {
            return None;
        }
        let tier = self.identity.tier.as_u8();
        if guard.meta().tier() != tier {
            self.lines.count_move(guard.meta(), tier);
            let rules = self.rules.level(level);
            let words = converted(plan, level, rules, guard.meta(), &guard.snapshot().words, &ask.moment);
            guard.change_tier(ask.moment.now, tier, &words, self.lines.refunds(home));
        }
        Some(guard.into_held())
    }
}

/// Lets go of the guard of a line that was charged.
#[inline(always)]
fn finish(home: Home, mut guard: Held<'_>, note: &mut impl Note, ask: &Ask<'_>) {
    guard.set_written();
    note.line(home, &mut guard, ask);
}
