//! Around what is in the straight lane's way: refusals, callers on terms of their own, leases, and others on the lines.
//!
//! Nothing here allocates, or waits but for a guard that was lost to another.

use arrayvec::ArrayVec;

use super::{
    Ask, Home, Note, Refused,
    lane::{Answer, Charged, Course, Lane, Lost, Seen, TOTAL, finish},
    terms::{Account, Terms},
};
use crate::{
    bucket::{self, Mode, Step},
    decision::{Denial, Level, Told},
    lease,
    line::{Backoff, Guard, Head, Held, Version, Word},
    policy::plan::{Charge, LEVELS, PLAIN, place_of},
    sync::{Ordering, mutant},
};

/// Looks at lines that others keep writing to, before each is read by itself, waiting for its guard.
const LOOKS: u32 = 64;

/// What going around came to.
pub(crate) enum Around {
    Charged(Told),
    Denied(Denial),
    /// To be decided by [`Path`](super::Path).
    Stuck,
}

/// What a closer look came to.
enum Closer<'a> {
    Charged(Told),
    /// On terms that are worked out again under the guards.
    Admitted,
    Refused(Refused<'a>),
    /// As [`Course::Busy`].
    Busy,
    /// As [`Course::Unclear`].
    Unclear,
}

/// What a lease that stands in for a bucket answers: the word to move and what it becomes, or nothing, if it does not have
/// the amount.
type Served<'a> = Option<(Word<'a>, u64)>;

impl<'a> Lane<'a> {
    /// Goes on from where the straight way ended.
    #[inline(never)]
    pub(crate) fn go_around(
        self,
        ask: Ask<'_>,
        (course, seen): (Course, Seen),
        note: &mut impl Note,
    ) -> Around {
        let (ask, mut course, mut seen) = (&ask, course, seen);
        let mut backoff = Backoff::new();
        for _ in 0..LOOKS {
            if course == Course::Straight {
                match self.go((ask.cost, ask.moment.now), seen, note) {
                    Ok(()) => return Around::Charged(Told::default()),
                    Err(met) => course = met,
                }
            }
            let closer = match course {
                Course::Refused(..) => self.refused(ask, seen, |_, _| None),
                Course::Guarded => self.look_guarded(ask),
                Course::Winding => {
                    self.wind(ask, seen, note).unwrap_or_else(|lost| self.commit_lost(ask, lost, note))
                }
                Course::Lost(lost) => self.commit_lost(ask, lost, note),
                Course::Busy => Closer::Busy,
                Course::Straight | Course::Unclear => Closer::Unclear,
            };
            match closer {
                Closer::Charged(told) => return Around::Charged(told),
                Closer::Admitted => match self.commit_again(ask, note) {
                    Some(told) => return Around::Charged(told),
                    None => break,
                },
                Closer::Unclear => break,
                // There it is asked for less.
                Closer::Refused(refused) if refused.is_clamped(ask.mode) => break,
                Closer::Refused(refused) => return Around::Denied(refused.denial(ask.moment, false)),
                Closer::Busy => backoff.wait(),
            }
            (course, seen) = self.look(|| ask.moment);
        }
        Around::Stuck
    }

    /// Charges by leases that were just taken, if nothing is in the way; whether it did.
    #[cold]
    pub(super) fn charge_leased(self, ask: &Ask<'_>, note: &mut impl Note) -> bool {
        match self.look(|| ask.moment) {
            (Course::Winding, seen) => matches!(self.wind(ask, seen, note), Ok(Closer::Charged(_))),
            _ => false,
        }
    }

    /// Goes on from a commit that lost a line to another.
    #[cold]
    #[inline(never)]
    fn commit_lost(self, ask: &Ask<'_>, lost: Lost, note: &mut impl Note) -> Closer<'a> {
        let shared = match lost {
            Lost::Account => None,
            Lost::Organization => Some(Level::Organization),
            Lost::Total => Some(Level::Tier),
        };
        if let (Some(level), Mode::Spend) = (shared, ask.mode) {
            // The thread has met another there, which makes it hot.
            self.lines.refill(self.book, (self.plain_home(level), self.rules), true, ask);
            if self.charge_leased(ask, note) {
                return Closer::Charged(Told::default());
            }
        }
        self.commit_again(ask, note).map_or(Closer::Unclear, Closer::Charged)
    }

    /// What becomes of the words of all buckets, if they admit, where what `leased` answers stands in for a bucket.
    #[inline(always)]
    fn ask_leased(
        self,
        ask: &Ask<'_>,
        leased: impl Fn(&Charge, u64) -> Option<Served<'a>>,
    ) -> Result<Charged<'a>, Course> {
        let mut charged = Charged::new();
        for meter in ask.cost.spent() {
            let amount = ask.cost.amount(meter);
            for charge in self.rules.plain_charges(meter, self.in_organization()) {
                let served = match leased(charge, amount) {
                    Some(served) => served.ok_or(Course::Unclear)?,
                    None => match self.answer(charge, amount, ask) {
                        Answer::Admit(place, word) => (place, word),
                        Answer::Refuse(_) => return Err(Course::Refused(meter, 0)),
                        Answer::Guarded => return Err(Course::Guarded),
                        Answer::Unclear => return Err(Course::Unclear),
                    },
                };
                // A path has no more rules than there is room for.
                let _ = charged.try_push(served);
            }
        }
        Ok(charged)
    }

    /// The refusal that passes last, of a plain caller. `leased` as for [`Lane::ask_leased`].
    #[inline(always)]
    fn refused(
        self,
        ask: &Ask<'_>,
        seen: Seen,
        leased: impl Fn(&Charge, u64) -> Option<Served<'a>>,
    ) -> Closer<'a> {
        let mut refused: Option<Refused<'a>> = None;
        for meter in ask.cost.spent() {
            let amount = ask.cost.amount(meter);
            for charge in self.rules.plain_charges(meter, self.in_organization()) {
                match leased(charge, amount) {
                    None => {}
                    Some(Some(_)) => continue,
                    Some(None) => return Closer::Unclear,
                }
                match self.answer(charge, amount, ask) {
                    Answer::Admit(..) => {}
                    Answer::Refuse(new) => Refused::keep_later(&mut refused, new, ask.moment),
                    Answer::Guarded => return self.look_guarded(ask),
                    Answer::Unclear => return Closer::Unclear,
                }
            }
        }
        match refused {
            // What was read has to belong together.
            Some(refused) if self.is_still(seen) => Closer::Refused(refused),
            _ => Closer::Busy,
        }
    }

    #[inline(always)]
    pub(super) fn is_still(&self, [account, organization, total]: Seen) -> bool {
        self.heads[0].is_still(account)
            && (!self.in_organization() || self.heads[1].is_still(organization))
            && self.heads[TOTAL].is_still(total)
    }

    /// Where a bucket takes more than a comparison, or threads have met on the organization's line or the tier's total: a
    /// check then asks the thread's leases in its place.
    #[inline(never)]
    fn wind(self, ask: &Ask<'_>, mut seen: Seen, note: &mut impl Note) -> Result<Closer<'a>, Lost> {
        let (mut lane, mut stripes) = (self, [None; PLAIN]);
        for level in [Level::Organization, Level::Tier] {
            let place = place_of(level);
            let head = self.heads[place];
            if level == Level::Organization && !self.in_organization() {
                continue;
            }
            if head.is_marked() {
                return Ok(self.look_guarded(ask));
            }
            let Some(lot) = head.lot() else { continue };
            if !head.is_hot(ask.moment.now) {
                // The leases are given back on the other way.
                return Ok(Closer::Unclear);
            }
            if ask.mode == Mode::Spend {
                let Some(line) = self.lines.leases.stripe(lot) else { return Ok(Closer::Unclear) };
                let Some(version) = line.head().version() else { return Ok(Closer::Busy) };
                // As in `Lane::go_leased`.
                if level == Level::Organization && !head.is_still(seen[place]) {
                    return Ok(Closer::Busy);
                }
                stripes[place] = Some((line, self.lines.refunds(self.plain_home(level))));
                (lane.heads[place], seen[place]) = (line.head(), version);
            }
        }
        if !self.book.is_latest() {
            return Ok(Closer::Unclear);
        }
        let serve = |charge: &Charge, amount| {
            let (stripe, refunds) = stripes.get(place_of(charge.level)).copied().flatten()?;
            Some(lease::serve(&stripe, charge, refunds, amount, &ask.moment))
        };
        let closer = match lane.ask_leased(ask, serve) {
            Ok(charged) => {
                let guards = lane.lock(seen)?;
                store(&charged);
                lane.finish(guards, (ask.cost, ask.moment.now), note);
                Closer::Charged(Told::default())
            }
            Err(Course::Refused(..)) => match lane.refused(ask, seen, serve) {
                Closer::Refused(refused) if self.is_leased(refused.charge.level) => Closer::Unclear,
                closer => closer,
            },
            Err(Course::Guarded) => self.look_guarded(ask),
            Err(_) => Closer::Unclear,
        };
        Ok(closer)
    }

    /// For callers on terms of their own, and where what is left of a bucket is kept for some.
    #[cold]
    #[inline(never)]
    fn look_guarded(self, ask: &Ask<'_>) -> Closer<'a> {
        let mut read: ArrayVec<(Head<'a>, Version), { LEVELS.len() }> = ArrayVec::new();
        for head in self.heads {
            let Some(version) = head.version() else { return Closer::Busy };
            read.push((head, version));
        }
        let under = self.rules.under;
        let mut strange =
            self.heads[0].differs(&self.identity.account, under) | self.heads[TOTAL].is_not_under(under);
        if let Some(key) = &self.identity.organization {
            strange |= self.heads[1].differs(key, under);
        }
        let word = |rule| self.word_of(Level::Account, rule);
        let standing = self.heads[0].standing(ask.moment.now);
        let account = Account { standing, word: &word };
        let mut terms = Terms::new((self.book, self.rules), self.identity, &account, ask);
        if self.in_organization() {
            let standing = self.heads[1].standing(ask.moment.now);
            terms.in_organization(self.book, self.identity.organization.as_ref(), standing, ask);
        }
        terms.in_tier(self.book, self.identity.tier.as_u8(), self.heads[TOTAL].is_marked(), ask);
        for level in [Level::Cohort, Level::Pool].into_iter().filter(|level| terms.present.has(*level)) {
            let line = self.lines.line(self.home(level, terms.standing.cohort));
            let Some(head) = line.map(|line| line.head()) else { return Closer::Unclear };
            let Some(version) = head.version() else { return Closer::Busy };
            strange |= head.is_not_under(under);
            read.push((head, version));
        }
        if strange | self.book.staleness() != 0 {
            return Closer::Unclear;
        }
        let mut refused: Option<Refused<'a>> = None;
        for meter in ask.cost.spent() {
            for charge in self.rules.charges(meter, terms.present) {
                let place = self.lines.line(self.home(charge.level, terms.standing.cohort));
                let Some(place) = place.and_then(|line| line.word(usize::from(charge.index))) else {
                    return Closer::Unclear;
                };
                let word = place.load();
                let answered = terms.step(self.rules, (meter, charge), word, &account, ask);
                match answered.step {
                    Step::Admit(_) => {}
                    Step::Behind => return Closer::Unclear,
                    Step::Refuse => {
                        let limit = terms.limit(self.rules, charge);
                        let amount = bucket::asked(limit, ask.cost.amount(meter), ask.mode);
                        let new = Refused::on(&terms, limit, charge, word, (amount, answered.withheld));
                        Refused::keep_later(&mut refused, new, ask.moment);
                    }
                }
            }
        }
        let Some(refused) = refused else { return Closer::Admitted };
        if self.is_leased(refused.charge.level) {
            return Closer::Unclear;
        }
        if read.iter().all(|(head, version)| head.is_still(*version)) {
            Closer::Refused(refused)
        } else {
            Closer::Busy
        }
    }

    /// Whether parts of what is at a level may be leased: then it does not refuse before they have been given back.
    fn is_leased(&self, level: Level) -> bool {
        match level {
            Level::Organization | Level::Tier => self.heads[place_of(level)].may_be_leased(),
            Level::Account | Level::Cohort | Level::Pool => false,
        }
    }

    /// Counts what a rule that only watches would have refused.
    fn count_shadow(&self, charge: &Charge, told: Told) {
        let counters = &self.rules.level(charge.level).watched;
        if let (Some(_), Some(Some(counter))) = (told.shadow, counters.get(usize::from(charge.index))) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Where the line of a level is.
    pub(super) fn home(&self, level: Level, cohort: u16) -> Home {
        let tier = self.identity.tier.as_u8();
        match level {
            Level::Account | Level::Organization | Level::Tier => self.plain_home(level),
            Level::Cohort => self.lines.cohort_home(cohort, tier),
            Level::Pool => Home::shared(level, tier),
        }
    }

    /// The word of a rule, 0 where there is none.
    fn word_of(&self, level: Level, rule: usize) -> u64 {
        let line = self.lines.line(self.plain_home(level));
        line.and_then(|line| line.word(rule)).map_or(0, |word| word.load())
    }

    /// Charges where somebody has written since the look, or nobody has looked, or the caller is guarded: takes every
    /// guard, waiting for it, and steps the buckets as they are then.
    #[cold]
    #[inline(never)]
    pub(super) fn commit_again(self, ask: &Ask<'_>, note: &mut impl Note) -> Option<Told> {
        let take = |level, cohort| self.take(level, cohort, ask);
        let account = take(Level::Account, 0)?;
        let word = |rule| self.word_of(Level::Account, rule);
        let standing = &Account { standing: account.standing(ask.moment.now), word: &word };
        let mut terms = Terms::new((self.book, self.rules), self.identity, standing, ask);
        let mut guards: [Option<(Home, Held<'a>)>; LEVELS.len()] = Default::default();
        let mut guards_of_rest = guards.iter_mut();
        if let Some(place) = guards_of_rest.next() {
            *place = Some((self.homes[0], account));
        }
        for (level, place) in terms.present.levels().skip(1).zip(guards_of_rest) {
            let home = self.home(level, terms.standing.cohort);
            let guard = take(level, terms.standing.cohort)?;
            match level {
                Level::Organization => {
                    let key = self.identity.organization.as_ref();
                    terms.in_organization(self.book, key, guard.standing(ask.moment.now), ask);
                }
                Level::Tier => terms.in_tier(self.book, self.identity.tier.as_u8(), guard.is_marked(), ask),
                Level::Account | Level::Cohort | Level::Pool => {}
            }
            *place = Some((home, guard));
        }
        let (mut charged, mut told) = (Charged::new(), Told::default());
        for meter in ask.cost.spent() {
            for charge in self.rules.charges(meter, terms.present) {
                let line = self.lines.line(self.home(charge.level, terms.standing.cohort));
                let place = line.and_then(|line| line.word(usize::from(charge.index)))?;
                let answered = terms.step(self.rules, (meter, charge), place.load(), standing, ask);
                self.count_shadow(charge, answered.told);
                told = told.and(answered.told);
                match answered.step {
                    // A path has no more rules than there is room for.
                    Step::Admit(word) => {
                        if bucket::changes_zone(&charge.limit, place.load(), word) {
                            self.lines.count_zone_move();
                        }
                        let _ = charged.try_push((place, word));
                    }
                    _ if mutant("commit_trusts_the_look") => {
                        let _ = charged.try_push((place, place.load() + ask.cost.amount(meter)));
                    }
                    // Whoever is behind, or refused, finds out when it looks again.
                    Step::Refuse | Step::Behind => return None,
                }
            }
        }
        store(&charged);
        let asked = (ask.cost, ask.moment.now);
        self.note(asked, note, (terms.present, terms.standing.cohort), |charge| {
            let forced = charge.shadow || terms.is_exempt(charge.level);
            (terms.limit(self.rules, charge), terms.factor(charge.level).0, forced)
        });
        note.excepted(terms.excepted());
        for (home, guard) in guards.into_iter().flatten() {
            finish(home, guard, terms.factor(home.level()).0, note);
        }
        Some(told)
    }

    /// The guard of a level's line, once it is under the caller's rules; `None` if it is another's, or has to be looked for
    /// by a later book.
    fn take(&self, level: Level, cohort: u16, ask: &Ask<'_>) -> Option<Held<'a>> {
        let home = self.home(level, cohort);
        let key = match home {
            Home::Account(_) => Some(&self.identity.account),
            Home::Organization(_) => self.identity.organization.as_ref(),
            Home::Tier(_) | Home::Cohort(_) => None,
        };
        let guard = self.lines.take(self.book, home, (key, self.identity.tier.as_u8()), &ask.moment);
        guard.map(Guard::into_held)
    }
}

/// Stores what was charged, under the guards of all lines.
fn store(charged: &Charged<'_>) {
    for (place, word) in charged {
        place.store(*word);
    }
}
