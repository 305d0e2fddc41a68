//! What happened.

/// What happened in a run, so that a test can tell that enough did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub admitted: u64,
    pub refused: u64,
    /// Decisions that hung on the two ticks.
    pub either: u64,
    pub settled: u64,
    pub clipped: u64,
    pub cut: u64,
    /// Requests that were decided later than their clock.
    pub behind: u64,
    /// Refusals of what was there, and kept from the caller.
    pub withheld: u64,
    /// Admissions that new accounts' pools were charged with.
    pub pooled: u64,
    /// Refusals of what an account that nobody reported would have got.
    pub tightened: u64,
}

impl Outcome {
    /// Adds another run's.
    pub fn add(&mut self, other: Outcome) {
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.either += other.either;
        self.settled += other.settled;
        self.clipped += other.clipped;
        self.cut += other.cut;
        self.behind += other.behind;
        self.withheld += other.withheld;
        self.pooled += other.pooled;
        self.tightened += other.tightened;
    }
}
