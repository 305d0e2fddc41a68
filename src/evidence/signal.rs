//! Signals from outside: weight, cap and half-life by kind, and a bound for each source.
//!
//! Invariants: all signals together are one kind of evidence, so no source puts an account into a cohort alone; an account
//! has at most the cap of a kind; and one source is heard at most [`HEARD`] times in a day, so that one that
//! was forged or ran away is bounded in how many it hurts as well as how much. What is beyond is refused and counted.
//!
//! Memory: [`SOURCES`] sources; a new one takes the place of the one that was silent longest.

use super::subject::Evidence;

/// Sources that are told apart.
const SOURCES: usize = 64;
/// Signals of a source that count, in a day.
pub(super) const HEARD: u32 = 64;
const DAY_S: u32 = 86_400;

/// One kind of signal, as the policy has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignalPlan {
    /// Points, eighths of a bit, of a signal of weight 1.
    pub(crate) weight: u16,
    /// The most points that an account has by this kind.
    pub(crate) cap: u16,
    /// In seconds.
    pub(crate) half_life_s: u32,
}

impl SignalPlan {
    /// Adds a signal that counts `weight` times to what there is of signals.
    pub(super) fn add_to(&self, evidence: &mut Evidence, weight: u16, now_s: u32) {
        let had = evidence.points(now_s);
        let points = had.saturating_add(self.weight.saturating_mul(weight)).min(self.cap);
        evidence.raise(points, now_s, self.half_life_s);
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Source {
    name: u64,
    left: u32,
    refilled_s: u32,
    heard_s: u32,
}

/// All sources.
#[derive(Debug)]
pub(super) struct Sources {
    sources: Vec<Source>,
    pub(super) refused: u64,
}

impl Sources {
    pub(super) fn new() -> Sources {
        Sources { sources: Vec::with_capacity(SOURCES), refused: 0 }
    }

    /// Whether a signal of `source` counts now.
    pub(super) fn admit(&mut self, source: u64, now_s: u32) -> bool {
        let known = self.sources.iter().position(|known| known.name == source);
        let index = known.unwrap_or_else(|| {
            let fresh = Source { name: source, left: HEARD, refilled_s: now_s, heard_s: now_s };
            if self.sources.len() < SOURCES {
                self.sources.push(fresh);
                return self.sources.len() - 1;
            }
            let silent = self.sources.iter().enumerate().min_by_key(|(_, source)| source.heard_s);
            let index = silent.map_or(0, |(index, _)| index);
            if let Some(place) = self.sources.get_mut(index) {
                *place = fresh;
            }
            index
        });
        let Some(source) = self.sources.get_mut(index) else { return false };
        source.heard_s = now_s;
        if now_s.saturating_sub(source.refilled_s) >= DAY_S {
            *source = Source { left: HEARD, refilled_s: now_s, ..*source };
        }
        let admitted = source.left > 0;
        source.left = source.left.saturating_sub(1);
        self.refused += u64::from(!admitted);
        admitted
    }

    pub(super) fn bytes(&self) -> usize {
        SOURCES * size_of::<Source>()
    }
}
