//! What tables are built for, in lines, words and bytes.

use super::{LEVELS, LevelPlan, Plan, evidence::evidence_bytes};
use crate::{decision::Level, sync::stripes};

/// Words that a line at one of some levels has for its rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) rules: usize,
    pub(crate) rates: usize,
    /// Rules whose words are parked.
    pub(crate) lasting: usize,
}

/// What a limiter's tables are built for.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) tiers: usize,
    account: Words,
    organization: Words,
    cohort: Words,
    /// Of a line of a tier, at whatever level.
    shared: Words,
    total: Words,
}

impl Room {
    pub(crate) fn of(&self, level: Level) -> Words {
        match level {
            Level::Account => self.account,
            Level::Organization => self.organization,
            Level::Cohort => self.cohort,
            Level::Pool => self.shared,
            Level::Tier => self.total,
        }
    }
}

/// How many subjects each table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) accounts: usize,
    pub(crate) organizations: usize,
    /// Accounts that are idle but for quotas and budgets; 0 where no account rule is one.
    pub(crate) parked_accounts: usize,
    pub(crate) parked_organizations: usize,
    /// Rules that each level of a later policy may have beyond those of this one's largest.
    pub(crate) spare_rules: usize,
    /// Tiers that later policies may add.
    pub(crate) spare_tiers: usize,
}

/// Bytes of the tables: of one entry of each, and of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableBytes {
    pub(crate) account: u64,
    pub(crate) organization: u64,
    pub(crate) parked_account: u64,
    pub(crate) parked_organization: u64,
    /// Of rings and correlators, which depends on the number of processors; 0 where nothing is observed.
    pub(crate) evidence: u64,
    /// Of the tables.
    pub(crate) total: u64,
}

/// Bytes of a word.
const WORD: u64 = 8;

/// Words that a line has for each rate besides its word.
pub(crate) const RATE_WORDS: usize = 3;

/// Words of a line before its rules': control, key, meta, factor.
pub(crate) const HEADER: usize = 5;
/// Words in a cache line of 64 bytes.
pub(crate) const CACHE_LINE: usize = 8;

/// Rules whose words are in the first cache line of a line.
pub(crate) const FIRST_RULES: usize = CACHE_LINE - HEADER;

/// Cache lines of a line with `rules` rules.
pub(crate) fn lines_for(rules: usize) -> usize {
    (HEADER + rules).div_ceil(CACHE_LINE)
}
/// Slots in a group of a table: a table has whole groups. The tags of 32 fill a cache line.
pub(crate) const GROUP: usize = 32;
/// A table has one slot in this many more than its capacity. A newcomer that finds its two groups full has no place,
/// and with this room that first happens when the table is full to its capacity, or nearly: at 98% of a million, at 99%
/// of 100,000 (the least of five random fillings each).
const HEADROOM: usize = 16;

/// Lines beyond which there is room for what permits note of one in this many; of up to this many, for all.
const PERMITTED: (usize, usize) = (8, 1024);

/// Sets, each of a cache line of tags and as many cells, for what permits note of so many lines.
pub(crate) fn cell_sets_for(slots: usize) -> usize {
    let (part, all) = PERMITTED;
    (slots / part).max(slots.min(all)).div_ceil(CACHE_LINE)
}

/// Groups of a table for `capacity` subjects.
pub(crate) fn groups_for(capacity: usize) -> usize {
    capacity.saturating_add(capacity.div_ceil(HEADROOM)).div_ceil(GROUP)
}
/// Bytes of a group besides its lines: a tag of two bytes for each slot, and a guard word.
const GROUP_BYTES: u64 = 2 * GROUP as u64 + WORD;

impl Plan {
    /// The most words that a line at one of `levels` needs in any tier.
    pub(crate) fn needed(&self, levels: &[Level]) -> Words {
        let most = |count: fn(&LevelPlan) -> usize| {
            let levels = self.tiers.iter().flat_map(|tier| levels.iter().map(|level| tier.level(*level)));
            levels.map(count).max().unwrap_or(0)
        };
        Words {
            rules: most(|level| level.rules.len()),
            rates: most(LevelPlan::rates),
            lasting: most(|level| level.rules.iter().filter(|rule| rule.limit.outlives_idling()).count()),
        }
    }

    /// What tables are built for: what the plan needs, and what the policy spares for others.
    pub(crate) fn room(&self) -> Room {
        let Capacity { spare_rules, spare_tiers, .. } = self.capacity;
        let words = |levels: &[Level]| {
            let Words { rules, rates, lasting } = self.needed(levels);
            // All that there is in whole cache lines.
            let rules = lines_for(rules + spare_rules) * CACHE_LINE - HEADER;
            Words { rules, rates: rates + spare_rules, lasting: lasting + spare_rules }
        };
        Room {
            tiers: self.tiers.len() + spare_tiers,
            account: words(&[Level::Account]),
            organization: words(&[Level::Organization]),
            cohort: words(&[Level::Cohort]),
            shared: words(&LEVELS),
            total: words(&[Level::Tier]),
        }
    }

    /// What the tables of accounts and organizations take. A slot holds a subject of any tier, so each is as
    /// large as the tier with the most rules needs.
    ///
    /// - a line: a header and a word for each rule, in whole cache lines; and, apart from it, three words for each rate
    ///   (what permits need), of accounts for an eighth of them, with a tag;
    /// - a parked entry: a header and a word for each quota and budget, in whole cache lines;
    /// - for either, its part of a group.
    pub(crate) fn table_bytes(&self) -> TableBytes {
        let room = self.room();
        let hot = |rules| lines_for(rules) * CACHE_LINE;
        // At most `MAX_RULES` words, and three times as many again.
        let line = |level| hot(room.of(level).rules) as u64 * WORD;
        let cold = |level| (RATE_WORDS * room.of(level).rates) as u64 * WORD;
        let parked = |level| hot(room.of(level).lasting) as u64 * WORD;
        let account = line(Level::Account);
        let organization = line(Level::Organization) + cold(Level::Organization);
        let (parked_account, parked_organization) = (parked(Level::Account), parked(Level::Organization));
        let Capacity { accounts, organizations, parked_accounts, parked_organizations, .. } = self.capacity;
        let total = [
            (accounts, account),
            (organizations, organization),
            (parked_accounts, parked_account),
            (parked_organizations, parked_organization),
        ]
        .into_iter()
        .fold(0_u64, |sum, (count, bytes)| {
            let groups = groups_for(count) as u64;
            sum.saturating_add(groups.saturating_mul(GROUP_BYTES + GROUP as u64 * bytes))
        });
        let cells = match cold(Level::Account) {
            0 => 0,
            bytes => (cell_sets_for(groups_for(accounts) * GROUP) * CACHE_LINE) as u64 * (WORD + bytes),
        };
        let total = total.saturating_add(cells);
        let evidence = self.evidence.as_ref().map_or(0, |_| evidence_bytes(accounts, stripes()));
        TableBytes { account, organization, parked_account, parked_organization, evidence, total }
    }
}
