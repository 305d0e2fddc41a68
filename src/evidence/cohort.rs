//! Who is charged together: accounts of a tier that two independent kinds of evidence tie.
//!
//! One in thousands is odd in two ways by chance, and a service has thousands. So an account that is odd in two kinds is a
//! *candidate* at first, and joins only where at least [`LEAST`] of its tier are odd in the same two kinds, and
//! [`TIMES`] as many as would be if the two had nothing to do with each other.
//!
//! Less is asked of each, a *weak* tie, while a total or pool of the tier is short, since then somebody takes what the honest
//! leave; and only where next to nobody is odd in the two by chance: fewer than one in [`RARE`] of the settled, while
//! [`WEAK_TIMES`] as many as that are. What chance brings is worked out from those who are odd in one of the two alone: a
//! fleet that is old and large is odd in both, and would else make itself look usual.
//!
//! Memory: three counters for each tier and pair of kinds.

use super::{KINDS, Kind, TIERS};

/// Candidates of the same two kinds that make a cohort.
pub(super) const LEAST: u32 = 8;
/// How many times what chance would bring.
const TIMES: u64 = 4;
/// The same for weak ties, and at least so many of them.
const WEAK_TIMES: u128 = 16;
/// Weak ties need a pair of kinds that fewer than one in so many of the settled are odd in by chance.
const RARE: u128 = 1000;

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

    fn all() -> impl Iterator<Item = Pair> {
        let with = |one| Kind::ALL.into_iter().map(move |other| Pair { one, other });
        Kind::ALL.into_iter().flat_map(with).filter(|pair| pair.one < pair.other)
    }

    fn index(self) -> usize {
        let (one, other) = (self.one as usize, self.other as usize);
        one.min(other) * KINDS + one.max(other)
    }
}

/// What ties an account to others, as far as it alone can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tie {
    pub(super) pair: Pair,
    /// Whether it is enough in any tier.
    pub(super) strong: bool,
}

/// A counter for each pair of kinds.
type Pairs = [u32; KINDS * KINDS];

/// Counters of one tier.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// Settled accounts in no cohort, and how many of them are odd in each kind, and in two.
    settled: u32,
    odd: [u32; KINDS],
    odd_in_both: Pairs,
    followed: u32,
    /// Who has a strong tie, and who has any.
    candidates: Pairs,
    tied: Pairs,
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
    pub(super) tie: Option<Tie>,
    pub(super) member: bool,
}

impl Groups {
    pub(super) fn new() -> Groups {
        let none = [0; KINDS * KINDS];
        let group = Group {
            settled: 0,
            odd: [0; KINDS],
            odd_in_both: none,
            followed: 0,
            candidates: none,
            tied: none,
            members: 0,
        };
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

    /// Whether those who are tied as `tie` says are too many for chance, in a tier that is crowded or not.
    pub(super) fn forms(&self, tier: u8, tie: Tie, crowded: bool) -> bool {
        let Some(group) = self.tiers.get(Groups::tier(tier)) else { return false };
        tie.strong && group.forms(tie.pair) || crowded && group.forms_of_weak(tie.pair)
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
    fn odd(&self, kind: Kind) -> u64 {
        u64::from(self.odd.get(kind as usize).copied().unwrap_or(0))
    }

    fn forms(&self, pair: Pair) -> bool {
        let candidates = u64::from(self.candidates.get(pair.index()).copied().unwrap_or(0));
        let settled = u64::from(self.settled) + 1;
        let odd = |kind| self.odd(kind) + 1;
        let chance = u64::from(self.followed) * odd(pair.one) / settled * odd(pair.other) / settled;
        candidates >= u64::from(LEAST) && candidates >= TIMES * chance
    }

    fn forms_of_weak(&self, pair: Pair) -> bool {
        let at = |pairs: &Pairs| u64::from(pairs.get(pair.index()).copied().unwrap_or(0));
        let (both, settled) = (at(&self.odd_in_both), u64::from(self.settled));
        let alone = |kind| self.odd(kind).saturating_sub(both);
        let neither = settled.saturating_sub(alone(pair.one) + alone(pair.other) + both);
        // Of the settled, one x other / neither are odd in both if the two are independent.
        let by_chance = u128::from(alone(pair.one) + 1) * u128::from(alone(pair.other) + 1);
        let (tied, neither, settled) = (u128::from(at(&self.tied)), u128::from(neither), u128::from(settled));
        tied >= WEAK_TIMES
            && by_chance * RARE <= neither * settled
            && by_chance * WEAK_TIMES * u128::from(self.followed) <= tied * neither * settled
    }

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
        for pair in Pair::all().filter(|pair| settled && standing.odd & pair.bits() == pair.bits()) {
            if let Some(counter) = self.odd_in_both.get_mut(pair.index()) {
                change(counter, true);
            }
        }
        if let Some(Tie { pair, strong }) = standing.tie {
            for (counters, counts) in [(&mut self.candidates, strong), (&mut self.tied, true)] {
                if let Some(counter) = counters.get_mut(pair.index()) {
                    change(counter, counts);
                }
            }
        }
        change(&mut self.members, standing.member);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(odd: u16, tie: Option<Tie>) -> Standing {
        Standing { followed: true, settled: true, odd, tie, member: false }
    }

    fn strong(pair: Pair) -> Option<Tie> {
        Some(Tie { pair, strong: true })
    }

    fn weak(pair: Pair) -> Option<Tie> {
        Some(Tie { pair, strong: false })
    }

    #[test]
    fn chance_makes_no_cohort() {
        let pair = Pair { one: Kind::Place, other: Kind::Prompt };
        let mut groups = Groups::new();
        let mut add = |count: u32, as_what: Standing| {
            (0..count).for_each(|_| {
                groups.recount(0, Standing::default(), as_what);
            });
            groups.forms(0, Tie { pair, strong: true }, false)
        };
        assert!(!add(800, standing(0, None)));
        assert!(!add(100, standing(Kind::Place.bit(), None)));
        assert!(!add(100, standing(Kind::Prompt.bit(), None)));
        // One in a hundred by chance.
        assert!(!add(12, standing(pair.bits(), strong(pair))));
        assert!(add(60, Standing { settled: false, ..standing(pair.bits(), strong(pair)) }));
    }

    #[test]
    fn a_handful_makes_no_cohort() {
        let pair = Pair { one: Kind::Payment, other: Kind::Prompt };
        let mut groups = Groups::new();
        for count in 1..=LEAST {
            groups.recount(3, Standing::default(), standing(0, strong(pair)));
            assert_eq!(groups.forms(3, Tie { pair, strong: true }, false), count == LEAST);
        }
        assert!(!groups.forms(2, Tie { pair, strong: true }, false));
    }

    /// Half of the tier is a fleet that has been there for long: what it makes usual hides it no more.
    #[test]
    fn less_ties_where_chance_would_bring_nobody() {
        let pair = Pair { one: Kind::Prompt, other: Kind::Model };
        let formed = |in_one: u32, weakly: u32| {
            let mut groups = Groups::new();
            let mut add = |count: u32, as_what: Standing| {
                (0..count).for_each(|_| {
                    groups.recount(0, Standing::default(), as_what);
                });
            };
            add(1000, standing(0, None));
            add(in_one, standing(Kind::Prompt.bit(), None));
            add(in_one, standing(Kind::Model.bit(), None));
            add(weakly, standing(pair.bits(), weak(pair)));
            groups.forms(0, Tie { pair, strong: false }, true)
        };
        assert!(formed(10, 1000), "10 x 10 / 1000 by chance");
        assert!(formed(10, 16));
        assert!(!formed(10, 15), "too few to tell");
        assert!(!formed(80, 1000), "80 x 80 / 1000 are more than one in 1000");
    }
}
