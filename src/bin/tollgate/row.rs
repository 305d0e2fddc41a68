//! One recorded request, and where such rows come from.
//!
//! Rows travel in batches from the thread that reads or generates them to the thread that decides. A row is
//! plain integers: what recurs (an account, a tier, a label) is a symbol, a number given in the order of first
//! appearance, whose text travels once, in the batch that has it first. Nothing is allocated per row.

use std::num::NonZeroU64;

use crate::failure::Failure;

/// The number of a text that recurs, within its column.
pub(crate) type Symbol = u32;

/// A piece of evidence: equal texts have equal values, and the value tells nothing else.
pub(crate) type Value = Option<NonZeroU64>;

/// One request of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    /// Milliseconds since the trace's epoch.
    pub(crate) at_ms: u64,
    pub(crate) account: Symbol,
    pub(crate) organization: Option<Symbol>,
    pub(crate) tier: Symbol,
    pub(crate) model: Symbol,
    pub(crate) input_tokens: u32,
    pub(crate) output_tokens: u32,
    pub(crate) evidence: Evidence,
    /// When the account was made, in milliseconds since the trace's epoch.
    pub(crate) since_ms: Option<i64>,
    /// Ground truth: for the score, never for a decision.
    pub(crate) label: Symbol,
}

/// What a server knows about a request besides who sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Evidence {
    pub(crate) ip: Value,
    pub(crate) payment: Value,
    pub(crate) client: Value,
    pub(crate) template: Value,
}

/// Texts that a batch has for the first time; each continues the numbering of its column.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Stays empty where accounts are numbers and have no text.
    pub(crate) accounts: Vec<Box<str>>,
    /// Stays empty where organizations are numbers and have no text.
    pub(crate) organizations: Vec<Box<str>>,
    /// With the line that has each first.
    pub(crate) tiers: Vec<(Box<str>, u64)>,
    pub(crate) models: Vec<Box<str>>,
    pub(crate) labels: Vec<Box<str>>,
}

impl Names {
    /// Adds what `newer` has.
    pub(crate) fn extend(&mut self, newer: Names) {
        self.accounts.extend(newer.accounts);
        self.organizations.extend(newer.organizations);
        self.tiers.extend(newer.tiers);
        self.models.extend(newer.models);
        self.labels.extend(newer.labels);
    }
}

/// A stretch of a trace.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) rows: Vec<Row>,
    pub(crate) names: Names,
}

/// About how many rows travel together: enough that handing a batch over costs nothing beside deciding it.
pub(crate) const BATCH_ROWS: usize = 8192;

/// A stream of rows in order of time.
pub(crate) trait Source {
    /// The next stretch; no rows at the end.
    fn next_batch(&mut self) -> Result<Batch, Failure>;

    /// How to name it in a message.
    fn name(&self) -> String;

    /// How many rows it will give, where that is known.
    fn expected_rows(&self) -> Option<u64>;
}
