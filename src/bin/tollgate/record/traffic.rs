//! What was offered and what became of it, by label and time.

use super::series::{Bin, Series};
use crate::{
    row::{Row, Symbol},
    score::{REFUSALS, Refusal},
};

/// Labels that are told apart; all others are counted together.
const MOST_LABELS: usize = 32;

/// The requests of one stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) offered: u64,
    pub(crate) admitted: u64,
    /// By [`Refusal`], each request once.
    pub(crate) refused: [u64; REFUSALS.len()],
}

impl Bin for Counts {
    fn absorb(&mut self, later: &Counts) {
        self.offered += later.offered;
        self.admitted += later.admitted;
        for (sum, count) in self.refused.iter_mut().zip(later.refused) {
            *sum += count;
        }
    }
}

impl Counts {
    /// How many were refused by anything but the account's and its organization's own rules.
    pub(crate) fn collateral(&self) -> u64 {
        let refused = REFUSALS.into_iter().zip(self.refused);
        refused.filter(|(refusal, _)| refusal.is_collateral()).map(|(_, count)| count).sum()
    }
}

/// The requests of one label.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labelled {
    pub(crate) label: Box<str>,
    pub(crate) counts: Series<Counts>,
}

/// Requests by label and time. Memory is that of [`MOST_LABELS`] series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    labels: Vec<Labelled>,
}

impl Traffic {
    /// Continues the numbering of labels with `names`.
    pub(crate) fn learn_labels(&mut self, names: &[Box<str>]) {
        for name in names {
            match self.labels.len() {
                count if count < MOST_LABELS => {
                    self.labels.push(Labelled { label: name.clone(), counts: Series::default() });
                }
                MOST_LABELS => {
                    self.labels
                        .push(Labelled { label: "all other labels".into(), counts: Series::default() });
                }
                _ => return,
            }
        }
    }

    pub(crate) fn record(&mut self, row: &Row, refusal: Option<Refusal>) {
        let label: Symbol = row.label.min(MOST_LABELS as Symbol);
        let Some(labelled) = self.labels.get_mut(label as usize) else { return };
        let counts = labelled.counts.at(row.at_ms);
        counts.offered += 1;
        match refusal {
            None => counts.admitted += 1,
            Some(refusal) => counts.refused[refusal as usize] += 1,
        }
    }

    /// Those that have come, in order of appearance, in stretches of the same length.
    pub(crate) fn finish(mut self) -> Vec<Labelled> {
        self.labels.retain(|labelled| !labelled.counts.bins().is_empty());
        let width_ms = self.labels.iter().map(|labelled| labelled.counts.width_ms()).max().unwrap_or(0);
        for labelled in &mut self.labels {
            labelled.counts.widen(width_ms);
        }
        self.labels
    }
}
