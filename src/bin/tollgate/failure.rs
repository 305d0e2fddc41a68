//! What ends the command early: one message, made to be read by the person who typed it.

use std::{fmt, io, path::Path};

/// A message that says where, what is wrong, and what would be accepted.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    /// Whoever read our standard output has gone away: not worth a message.
    quiet: bool,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), quiet: false }
    }

    /// `what` went wrong with the file at `path`.
    pub(crate) fn file(path: &Path, what: impl fmt::Display) -> Failure {
        Failure::new(format!("{}: {what}", path.display()))
    }

    /// Standard output could not be written.
    pub(crate) fn output(error: &io::Error) -> Failure {
        Failure {
            message: format!("standard output: {error}"),
            quiet: error.kind() == io::ErrorKind::BrokenPipe,
        }
    }

    /// Whether to end without a word.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One message is one line, whatever a parser's own message looks like: a caller may be a script.
        let mut lines = self.message.lines().map(str::trim).filter(|line| !line.is_empty());
        if let Some(first) = lines.next() {
            out.write_str(first)?;
        }
        lines.try_for_each(|line| write!(out, " | {line}"))
    }
}
