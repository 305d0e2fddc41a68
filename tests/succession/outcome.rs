//! How much of each thing happened.

/// What happened in a run, so that a test can tell that enough did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Runs of a policy that is none: with a rule that can never bind, or with too many.
    pub skipped: u64,
    pub admitted: u64,
    pub refused: u64,
    pub reloads: u64,
    pub renamed: u64,
    pub round_trips: u64,
    /// Permits that were settled under another policy than they were charged by.
    pub settled_later: u64,
    pub forgotten: u64,
    /// Rules with use that a policy lacked.
    pub dropped: u64,
    /// Most that one rate admitted in an interval, in parts of a hundred of its bound.
    pub fullest: u64,
}

impl Outcome {
    pub fn add(&mut self, other: Outcome) {
        self.skipped += other.skipped;
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.reloads += other.reloads;
        self.renamed += other.renamed;
        self.round_trips += other.round_trips;
        self.settled_later += other.settled_later;
        self.forgotten += other.forgotten;
        self.dropped += other.dropped;
        self.fullest = self.fullest.max(other.fullest);
    }
}
