//! `tollgate replay --decisions`: what became of each request, one word a line, in the order of the trace.
//!
//! A column that can be pasted beside the trace, or compared with another run's: what a change of the policy changes, and
//! that labels and names change nothing.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

use crate::{failure::Failure, score::Refusal};

enum Out {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
}

/// The file of decisions, being written.
pub(crate) struct Decisions {
    path: PathBuf,
    out: Out,
}

impl Decisions {
    /// A file at `path`, compressed if it ends in `.gz`, with its header.
    pub(crate) fn create(path: &Path) -> Result<Decisions, Failure> {
        let file = BufWriter::new(File::create(path).map_err(|error| Failure::file(path, error))?);
        let out = if path.extension().is_some_and(|extension| extension == "gz") {
            Out::Gzip(GzEncoder::new(file, Compression::fast()))
        } else {
            Out::Plain(file)
        };
        let mut decisions = Decisions { path: path.to_path_buf(), out };
        decisions.line("decision")?;
        Ok(decisions)
    }

    /// Adds what became of the next request.
    pub(crate) fn record(&mut self, refusal: Option<Refusal>) -> Result<(), Failure> {
        self.line(refusal.map_or("admitted", Refusal::word))
    }

    fn line(&mut self, word: &str) -> Result<(), Failure> {
        let written = match &mut self.out {
            Out::Plain(out) => writeln!(out, "{word}"),
            Out::Gzip(out) => writeln!(out, "{word}"),
        };
        written.map_err(|error| Failure::file(&self.path, error))
    }

    /// Writes what is left.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let finish = |out: Out| -> io::Result<()> {
            match out {
                Out::Plain(mut out) => out.flush(),
                Out::Gzip(out) => out.finish()?.flush(),
            }
        };
        finish(self.out).map_err(|error| Failure::file(&self.path, error))
    }
}
