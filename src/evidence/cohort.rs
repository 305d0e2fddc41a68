//! Who is charged together: accounts of a tier that two independent kinds of evidence tie.
//!
//! One in thousands is odd in two ways by chance, and a service has thousands. So an account that is odd in two kinds is a
//! *candidate* at first, and joins only where at least [`LEAST`] of its tier are odd in the same two kinds, and
//! [`TIMES`] as many as would be if the two had nothing to do with each other.
//!
//! There is one cohort for each tier: a small, fixed number of lines, so that splitting up gains a fleet nothing.
//!
//! Memory: a counter for each tier and pair of kinds.

use super::{KINDS, Kind, TIERS};

/// Candidates of the same two kinds that make a cohort.
pub(super) const LEAST: u32 = 8;
/// How many times what chance would bring.
const TIMES: u64 = 4;

/// Two kinds, the stronger first or not: the pair is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) one: Kind,
    pub(super) other: Kind,
}

impl Pair {
    pub(super) fn bits(self) -> u16 {
        self.one.bit() | self.other.bit()
    }

    fn index(self) -> usize {
        let (one, other) = (self.one as usize, self.other as usize);
        one.min(other) * KINDS + one.max(other)
    }
}

/// Counters of one tier.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// Settled accounts in no cohort, and how many of them are odd in each kind.
    settled: u32,
    odd: [u32; KINDS],
    followed: u32,
    candidates: [u32; KINDS * KINDS],
    members: u32,
}

/// The counters of all tiers.
#[derive(Debug)]
pub(super) struct Groups {
    tiers: [Group; TIERS],
}

/// What an account is counted as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) followed: bool,
    pub(super) settled: bool,
    /// As a set of [`Kind::bit`].
    pub(super) odd: u16,
    /// Members stay candidates.
    pub(super) candidate: Option<Pair>,
    pub(super) member: bool,
}

impl Groups {
    pub(super) fn new() -> Groups {
        let group =
            Group { settled: 0, odd: [0; KINDS], followed: 0, candidates: [0; KINDS * KINDS], members: 0 };
        Groups { tiers: [group; TIERS] }
    }

    fn tier(tier: u8) -> usize {
        usize::from(tier).min(TIERS - 1)
    }

    /// An account of `tier` that counted as `before` counts as `after`. Whether the tier's cohort has nobody any more.
    pub(super) fn recount(&mut self, tier: u8, before: Standing, after: Standing) -> bool {
        let Some(group) = self.tiers.get_mut(Groups::tier(tier)) else { return false };
        let had = group.members > 0;
        group.count(before, -1);
        group.count(after, 1);
        had && group.members == 0
    }

    /// Whether candidates of `pair` are too many for chance.
    pub(super) fn forms(&self, tier: u8, pair: Pair) -> bool {
        let Some(group) = self.tiers.get(Groups::tier(tier)) else { return false };
        let candidates = group.candidates.get(pair.index()).copied().unwrap_or(0);
        let odd = |kind: Kind| u64::from(group.odd.get(kind as usize).copied().unwrap_or(0)) + 1;
        let settled = u64::from(group.settled) + 1;
        let chance = u64::from(group.followed) * odd(pair.one) / settled * odd(pair.other) / settled;
        candidates >= LEAST && u64::from(candidates) >= TIMES * chance
    }

    /// The cohort of `tier`.
    pub(super) fn cohort(tier: u8) -> u16 {
        Groups::tier(tier) as u16 + 1
    }

    /// How many cohorts have members.
    pub(super) fn alive(&self) -> usize {
        self.tiers.iter().filter(|group| group.members > 0).count()
    }
}

impl Group {
    fn count(&mut self, standing: Standing, by: i32) {
        let change = |counter: &mut u32, counts: bool| {
            if counts {
                *counter = counter.saturating_add_signed(by);
            }
        };
        change(&mut self.followed, standing.followed);
        let settled = standing.followed && standing.settled && !standing.member;
        change(&mut self.settled, settled);
        for (odd, kind) in self.odd.iter_mut().zip(Kind::ALL) {
            change(odd, settled && standing.odd & kind.bit() != 0);
        }
        if let Some(counter) = standing.candidate.and_then(|pair| self.candidates.get_mut(pair.index())) {
            change(counter, true);
        }
        change(&mut self.members, standing.member);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(odd: u16, candidate: Option<Pair>) -> Standing {
        Standing { followed: true, settled: true, odd, candidate, member: false }
    }

    #[test]
    fn chance_makes_no_cohort() {
        let pair = Pair { one: Kind::Place, other: Kind::Prompt };
        let mut groups = Groups::new();
        let mut add = |count: u32, as_what: Standing| {
            (0..count).for_each(|_| {
                groups.recount(0, Standing::default(), as_what);
            });
            groups.forms(0, pair)
        };
        assert!(!add(800, standing(0, None)));
        assert!(!add(100, standing(Kind::Place.bit(), None)));
        assert!(!add(100, standing(Kind::Prompt.bit(), None)));
        // One in a hundred by chance.
        assert!(!add(12, standing(pair.bits(), Some(pair))));
        assert!(add(60, Standing { settled: false, ..standing(pair.bits(), Some(pair)) }));
    }

    #[test]
    fn a_handful_makes_no_cohort() {
        let pair = Pair { one: Kind::Payment, other: Kind::Prompt };
        let mut groups = Groups::new();
        for count in 1..=LEAST {
            groups.recount(3, Standing::default(), standing(0, Some(pair)));
            assert_eq!(groups.forms(3, pair), count == LEAST);
        }
        assert!(!groups.forms(2, pair));
    }
}
