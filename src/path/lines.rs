//! All lines of a limiter, and where each is.

use crate::{
    bucket::{self, Moment},
    decision::Level,
    id::{Key, Places},
    lease::Leases,
    line::{Guard, Head, Line, Meta, Refunds},
    policy::{
        book::Book,
        exception::Scope,
        plan::{MAX_COHORTS, MAX_RULES, Plan, Under, Words},
    },
    sync::{AtomicU64, Ordering},
    table::{Arena, OutOfMemory, Subjects},
};

/// All lines of a limiter.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) accounts: Subjects,
    pub(crate) organizations: Subjects,
    /// For each tier its total, the overflow lines of its accounts and of its organizations, and its pool.
    pub(super) tiers: Arena,
    /// For each cohort a line for each tier; none where nothing is observed.
    pub(super) cohorts: Arena,
    pub(crate) leases: Leases,
    moves: Moves,
}

/// How often subjects came with another tier than the one that their line was under, or in another zone.
#[derive(Debug, Default)]
struct Moves {
    all: AtomicU64,
    /// Those back to the tier that had been left.
    back: AtomicU64,
    /// Quotas that have come to count in the windows of another zone.
    zones: AtomicU64,
}

/// Where a line is, in words that outlive a borrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Account(u32),
    Organization(u32),
    /// A line of the tiers' arena.
    Tier(u32),
    /// A line of the cohorts' arena.
    Cohort(u32),
}

/// Lines of a tier in the tiers' arena.
pub(super) const TIER_LINES: u32 = 4;

/// The slot of the first line of a tier, its total.
#[inline]
fn first_slot(tier: u8) -> u32 {
    u32::from(tier) * TIER_LINES
}

/// The level under whose rules each line of a tier is: its total, two overflow lines, its pool.
const TIER_LEVELS: [Level; TIER_LINES as usize] =
    [Level::Tier, Level::Account, Level::Organization, Level::Pool];

impl Home {
    pub(crate) fn total(tier: u8) -> Home {
        Home::Tier(first_slot(tier))
    }

    /// The line of `tier` that is under the rules of `level`, besides those of the subjects that have their own: for
    /// accounts and organizations, what stands in for those without a line.
    pub(super) fn shared(level: Level, tier: u8) -> Home {
        let line = TIER_LEVELS.iter().position(|of| *of == level).unwrap_or(0);
        Home::Tier(first_slot(tier) + line as u32)
    }

    pub(super) fn of(level: Level, slot: u32) -> Home {
        match level {
            Level::Account => Home::Account(slot),
            Level::Organization => Home::Organization(slot),
            Level::Cohort => Home::Cohort(slot),
            Level::Pool | Level::Tier => Home::Tier(slot),
        }
    }

    /// The level under whose rules the line is.
    pub(super) fn level(self) -> Level {
        match self {
            Home::Account(_) => Level::Account,
            Home::Organization(_) => Level::Organization,
            Home::Cohort(_) => Level::Cohort,
            Home::Tier(slot) => TIER_LEVELS[(slot % TIER_LINES) as usize],
        }
    }
}

impl Lines {
    pub(crate) fn new(plan: &Plan, places: &Places) -> Result<Lines, OutOfMemory> {
        let (capacity, room) = (&plan.capacity, plan.room());
        let words = |level| {
            let Words { rules, rates, .. } = room.of(level);
            (rules, rates)
        };
        let tiers = Arena::new(room.tiers * TIER_LINES as usize, words(Level::Pool))?;
        let cohorts = if plan.evidence.is_some() { MAX_COHORTS + 1 } else { 0 };
        let cohorts = Arena::new(cohorts * room.tiers, words(Level::Cohort))?;
        for (arena, tier) in
            [(&tiers, &|slot| slot / TIER_LINES), (&cohorts, &|slot| slot % room.tiers as u32)]
                as [(&Arena, &dyn Fn(u32) -> u32); 2]
        {
            for slot in 0..arena.slots() {
                let slot = slot as u32;
                if let Some(line) = arena.line(slot) {
                    line.lock().set_meta(Meta::unnamed(Under::new(tier(slot) as u8, 0)));
                }
            }
        }
        Ok(Lines {
            accounts: Subjects::new(
                Level::Account,
                (capacity.accounts, capacity.parked_accounts),
                room.of(Level::Account),
                places.clone(),
            )?,
            organizations: Subjects::new(
                Level::Organization,
                (capacity.organizations, capacity.parked_organizations),
                room.of(Level::Organization),
                places.clone(),
            )?,
            tiers,
            cohorts,
            leases: Leases::new(
                room.tiers,
                capacity.organizations > 0,
                room.of(Level::Tier).rules.max(room.of(Level::Organization).rules),
            ),
            moves: Moves::default(),
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.accounts.occupancy().bytes
            + self.organizations.occupancy().bytes
            + self.tiers.bytes()
            + self.cohorts.bytes()
            + self.leases.bytes()
    }

    /// Counts that the subject of a line with this meta has come with `tier`.
    pub(super) fn count_move(&self, meta: Meta, tier: u8) {
        self.moves.all.fetch_add(1, Ordering::Relaxed);
        if meta.had_left(tier) {
            self.moves.back.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts that a quota has come to count in the windows of another zone.
    pub(super) fn count_zone_move(&self) {
        self.moves.zones.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was.
    pub(crate) fn zone_moves(&self) -> u64 {
        self.moves.zones.load(Ordering::Relaxed)
    }

    /// How often subjects came with another tier, and how often with the one that they had left before.
    pub(crate) fn moved_and_back(&self) -> (u64, u64) {
        (self.moves.all.load(Ordering::Relaxed), self.moves.back.load(Ordering::Relaxed))
    }

    /// Says on the line of whom `scope` is about that there is an exception, or none any more. Whether there is such a line.
    pub(crate) fn mark(&self, book: &Book, scope: &Scope, marked: bool, moment: &Moment<'_>) -> bool {
        let key = scope.key();
        let home = match scope {
            Scope::Account(key) => self.accounts.find(key).map(|(slot, _)| Home::Account(slot)),
            Scope::Organization(key) => {
                self.organizations.find(key).map(|(slot, _)| Home::Organization(slot))
            }
            Scope::Tier(tier) => Some(Home::total(*tier)),
        };
        let Some(line) = home.and_then(|home| self.line(home)) else { return false };
        let mut guard = line.lock();
        if key.is_some_and(|key| !guard.holds(key)) {
            return false;
        }
        guard.mark(marked);
        let tier = guard.meta().under().tier();
        drop(guard);
        if let Some(home) = home {
            // What is leased was charged by the line's own terms; nobody leases from a marked one.
            self.recall(book, home, moment);
            if marked {
                self.except(book, (scope, home, key), tier, moment);
            }
        }
        true
    }

    /// Lets an exception that there is now hold nothing against its subject that its rules allowed until then.
    fn except(
        &self,
        book: &Book,
        (scope, home, key): (&Scope, Home, Option<&Key>),
        tier: u8,
        moment: &Moment<'_>,
    ) {
        let (Some((_, exception)), Some(rules)) = (book.exception(scope, moment.now), book.tier(tier)) else {
            return;
        };
        let Some(mut guard) = self.take(book, home, (key, tier), moment) else { return };
        for (index, rule) in rules.level(home.level()).rules.iter().enumerate() {
            // At most `MAX_RULES`.
            let limit = exception.limit(tier, index as u8);
            if let (Some(limit), Some(word)) = (limit, guard.word(index)) {
                guard.set_word(index, bucket::excepted(&rule.limit, limit, word));
            }
        }
    }

    /// Forgets the subject of `key` at a level that has subjects: its line is nobody's, and what permits hold of it is not
    /// settled there. Whether anything was known.
    pub(crate) fn forget(&self, level: Level, key: &Key) -> bool {
        self.subjects(level).is_some_and(|subjects| subjects.remove(key))
    }

    #[inline]
    pub(super) fn total(&self, tier: u8) -> Option<Head<'_>> {
        self.tiers.head(first_slot(tier))
    }

    /// Takes the guard of a line, once it is under the rules in force for its tier or, of a subject, for `tier`; `None` if the
    /// book is not the latest, or the line is not that of `key`.
    pub(super) fn take(
        &self,
        book: &Book,
        home: Home,
        (key, tier): (Option<&Key>, u8),
        moment: &Moment<'_>,
    ) -> Option<Guard<'_>> {
        let mut guard = self.line(home)?.lock();
        if key.is_some_and(|key| !guard.holds(key)) || !book.is_latest() {
            return None;
        }
        let (from, to) = (guard.meta().under(), Under::new(tier, book.current()));
        if from == to {
            return Some(guard);
        }
        let level = home.level();
        if guard.may_be_leased() {
            // What is leased is in the order of the rules that it was leased under.
            drop(guard);
            self.recall(book, home, moment);
            guard = self.line(home)?.lock();
            if key.is_some_and(|key| !guard.holds(key)) {
                return None;
            }
            if guard.may_be_leased() || guard.meta().under() != from || !book.is_latest() {
                return None;
            }
        }
        if from.tier() != tier {
            self.count_move(guard.meta(), tier);
        }
        let new = book.rules(to)?.level(level);
        let words = match book.rules(from).map(|old| old.level(level)) {
            Some(old) if from.tier() == tier && old.counts_like(new) => {
                guard.relabel(to);
                return Some(guard);
            }
            Some(old) => bucket::convert(old, new, &guard.snapshot().words, moment),
            // Of a tier that has just come: nobody was charged there yet.
            None => [0; MAX_RULES],
        };
        guard.convert(moment.now, to, &words, self.refunds(home));
        Some(guard)
    }

    /// How many lines there are to bring over, parked ones included.
    pub(crate) fn places(&self) -> usize {
        self.tiers.slots() + self.cohorts.slots() + self.accounts.slots() + self.organizations.slots()
    }

    /// Brings the line at a place under the plan in force, if it is not.
    pub(crate) fn bring_over(&self, book: &Book, place: usize, moment: &Moment<'_>) {
        let mut place = place;
        for (arena, home) in [(&self.tiers, Home::Tier as fn(u32) -> Home), (&self.cohorts, Home::Cohort)] {
            if let Some(slot) = u32::try_from(place).ok().filter(|slot| (*slot as usize) < arena.slots()) {
                let tier = arena.head(slot).map_or(0, |head| head.meta().under().tier());
                let is_known = book.rules(Under::new(tier, book.current())).is_some();
                // Again where somebody leased meanwhile; not for a tier that there is not.
                while is_known
                    && book.is_latest()
                    && self.take(book, home(slot), (None, tier), moment).is_none()
                {}
                return;
            }
            place -= arena.slots();
        }
        match place.checked_sub(self.accounts.slots()) {
            None => {
                self.accounts.bring_over(book, place, moment);
            }
            Some(place) => {
                while !self.organizations.bring_over(book, place, moment) && book.is_latest() {
                    self.recall(book, Home::Organization(place as u32), moment);
                }
            }
        }
    }

    #[inline]
    pub(super) fn line(&self, home: Home) -> Option<Line<'_>> {
        match home {
            Home::Account(slot) => self.accounts.line(slot),
            Home::Organization(slot) => self.organizations.line(slot),
            Home::Tier(slot) => self.tiers.line(slot),
            Home::Cohort(slot) => self.cohorts.line(slot),
        }
    }

    /// The cold part of a line, for who has its guard.
    #[inline]
    pub(super) fn refunds(&self, home: Home) -> Refunds<'_> {
        match home {
            Home::Account(slot) => self.accounts.refunds(slot),
            Home::Organization(slot) => self.organizations.refunds(slot),
            Home::Tier(slot) => self.tiers.refunds(slot),
            Home::Cohort(slot) => self.cohorts.refunds(slot),
        }
    }

    /// The same, for a permit that is opened.
    pub(super) fn refunds_to_open(&self, home: Home) -> Refunds<'_> {
        match home {
            Home::Account(slot) => self.accounts.refunds_to_open(slot),
            _ => self.refunds(home),
        }
    }

    /// Where the line of a cohort for members of `tier` is.
    pub(super) fn cohort_home(&self, cohort: u16, tier: u8) -> Home {
        let tiers = self.tiers.slots() as u32 / TIER_LINES;
        Home::Cohort(u32::from(cohort) * tiers + u32::from(tier))
    }

    pub(super) fn subjects(&self, level: Level) -> Option<&Subjects> {
        match level {
            Level::Account => Some(&self.accounts),
            Level::Organization => Some(&self.organizations),
            Level::Cohort | Level::Pool | Level::Tier => None,
        }
    }
}
