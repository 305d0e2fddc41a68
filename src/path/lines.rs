//! All lines of a limiter, and where each is.

use super::{Ask, LEVELS};
use crate::{
    bucket::Moment,
    decision::Level,
    id::Places,
    lease::{Leases, Total},
    line::{Head, Line, Meta, Refunds},
    policy::plan::{LevelPlan, Plan},
    table::{Arena, OutOfMemory, Subjects},
};

/// All lines of a limiter.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) accounts: Subjects,
    pub(crate) organizations: Subjects,
    /// Three for each tier: its total, and the overflow lines of its accounts and of its organizations.
    tiers: Arena,
    pub(crate) leases: Leases,
}

/// Where a line is, in words that outlive a borrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Account(u32),
    Organization(u32),
    /// A line of the tiers' arena.
    Tier(u32),
}

/// The slot of the first line of a tier, its total.
#[inline]
fn first_slot(tier: u8) -> u32 {
    u32::from(tier) * LEVELS as u32
}

impl Home {
    pub(crate) fn total(tier: u8) -> Home {
        Home::Tier(first_slot(tier))
    }

    /// The line that stands in for accounts or organizations of `tier` that have none.
    pub(super) fn overflow(level: Level, tier: u8) -> Home {
        Home::Tier(first_slot(tier) + if level == Level::Account { 1 } else { 2 })
    }

    pub(super) fn of(level: Level, slot: u32) -> Home {
        match level {
            Level::Account => Home::Account(slot),
            Level::Organization => Home::Organization(slot),
            Level::Tier => Home::Tier(slot),
        }
    }
}

impl Lines {
    pub(crate) fn new(plan: &Plan, places: &Places) -> Result<Lines, OutOfMemory> {
        let capacity = &plan.capacity;
        let most = |count: fn(&LevelPlan) -> usize| {
            let levels = plan.tiers.iter().flat_map(|tier| [&tier.account, &tier.organization, &tier.total]);
            levels.map(count).max().unwrap_or(0)
        };
        let rules = (most(|level| level.rules.len()), most(LevelPlan::rates));
        let tiers = Arena::new(plan.tiers.len() * LEVELS, rules)?;
        for slot in 0..tiers.slots() {
            let slot = slot as u32;
            if let Some(line) = tiers.line(slot) {
                line.lock().set_meta(Meta::unnamed((slot / LEVELS as u32) as u8));
            }
        }
        Ok(Lines {
            accounts: Subjects::new(
                plan,
                Level::Account,
                (capacity.accounts, capacity.parked_accounts),
                places.clone(),
            )?,
            organizations: Subjects::new(
                plan,
                Level::Organization,
                (capacity.organizations, capacity.parked_organizations),
                places.clone(),
            )?,
            tiers,
            leases: Leases::new(plan),
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.accounts.occupancy().bytes
            + self.organizations.occupancy().bytes
            + self.tiers.bytes()
            + self.leases.bytes()
    }

    #[inline]
    pub(super) fn total(&self, tier: u8) -> Option<Head<'_>> {
        self.tiers.head(first_slot(tier))
    }

    /// Gives the calling thread a new share of the total of `tier`, if that is hot, or just became so because the thread
    /// has `collided` with another there.
    pub(super) fn refill(&self, rules: &LevelPlan, tier: u8, collided: bool, ask: &Ask<'_>) {
        if let Some(total) = self.to_lease_from(rules, tier) {
            self.leases.refill(total, collided, ask.cost, &ask.moment);
        }
    }

    /// Takes back all leases on the total of `tier`. Answers whether there were any.
    pub(super) fn recall(&self, rules: &LevelPlan, tier: u8, moment: &Moment<'_>) -> bool {
        self.to_lease_from(rules, tier).is_some_and(|total| self.leases.recall(total, moment))
    }

    fn to_lease_from<'a>(&'a self, rules: &'a LevelPlan, tier: u8) -> Option<Total<'a>> {
        let home = Home::total(tier);
        Some(Total { tier, rules, line: self.line(home)?, refunds: self.refunds(home) })
    }

    #[inline]
    pub(super) fn line(&self, home: Home) -> Option<Line<'_>> {
        match home {
            Home::Account(slot) => self.accounts.line(slot),
            Home::Organization(slot) => self.organizations.line(slot),
            Home::Tier(slot) => self.tiers.line(slot),
        }
    }

    pub(super) fn refunds(&self, home: Home) -> Refunds<'_> {
        match home {
            Home::Account(slot) => self.accounts.refunds(slot),
            Home::Organization(slot) => self.organizations.refunds(slot),
            Home::Tier(slot) => self.tiers.refunds(slot),
        }
    }

    pub(super) fn subjects(&self, level: Level) -> Option<&Subjects> {
        match level {
            Level::Account => Some(&self.accounts),
            Level::Organization => Some(&self.organizations),
            Level::Tier => None,
        }
    }
}
