//! `tollgate replay --decisions`: what became of each request, one word a line, in the order of the trace.
//!
//! A column that can be pasted beside the trace, or compared with another run's: what a change of the policy changes, and
//! that labels and names change nothing.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use crate::{failure::Failure, score::Refusal, sink::Sink};

/// The file of decisions, being written.
pub(crate) struct Decisions {
    path: PathBuf,
    out: Sink,
}

impl Decisions {
    /// A file at `path`, compressed if it ends in `.gz`, with its header.
    pub(crate) fn create(path: &Path) -> Result<Decisions, Failure> {
        let mut decisions = Decisions { path: path.to_path_buf(), out: Sink::file(path)? };
        decisions.line("decision")?;
        Ok(decisions)
    }

    /// Adds what became of the next request.
    pub(crate) fn record(&mut self, refusal: Option<Refusal>) -> Result<(), Failure> {
        self.line(refusal.map_or("admitted", Refusal::word))
    }

    fn line(&mut self, word: &str) -> Result<(), Failure> {
        writeln!(self.out, "{word}").map_err(|error| Failure::file(&self.path, error))
    }

    /// Writes what is left.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        self.out.finish().map_err(|error| Failure::file(&self.path, error))
    }
}
