//! Why a checkpoint cannot be used, or not be written.

use std::fmt;

use super::{block::VERSION, bytes::Malformed, store::StoreError};

/// Why a checkpoint cannot be used; nothing of it was.
#[derive(Debug)]
pub struct CheckpointError(Cause);

#[derive(Debug)]
pub(crate) enum Cause {
    Foreign,
    Newer {
        version: u16,
    },
    Corrupt {
        block: Option<u64>,
        malformed: Malformed,
    },
    /// A block that is needed is not there.
    Gap {
        missing: u64,
    },
    /// Blocks have different keys.
    Mixed,
    /// The builder was given another.
    Secret,
    /// What today's policy does not say about the rules of then.
    Policy(Vec<String>),
    Store(StoreError),
}

impl CheckpointError {
    pub(crate) fn new(cause: Cause) -> CheckpointError {
        CheckpointError(cause)
    }

    pub(crate) fn in_block(self, number: u64) -> CheckpointError {
        CheckpointError(match self.0 {
            Cause::Corrupt { malformed, .. } => Cause::Corrupt { block: Some(number), malformed },
            other => other,
        })
    }

    /// Whether a newer release wrote it.
    pub fn is_newer(&self) -> bool {
        matches!(self.0, Cause::Newer { .. })
    }

    /// Whether it is not, or not all, as it was written: foreign, torn, truncated, or altered.
    pub fn is_corrupt(&self) -> bool {
        matches!(self.0, Cause::Foreign | Cause::Corrupt { .. } | Cause::Gap { .. } | Cause::Mixed)
    }

    /// Whether the policy seems to have renamed what the checkpoint is about.
    pub fn is_policy(&self) -> bool {
        matches!(self.0, Cause::Policy(_))
    }

    /// What the store could not do, where that is it.
    pub fn store(&self) -> Option<&StoreError> {
        match &self.0 {
            Cause::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<StoreError> for CheckpointError {
    fn from(error: StoreError) -> CheckpointError {
        CheckpointError(Cause::Store(error))
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Foreign => out.write_str("the checkpoint: not one that this crate wrote"),
            Cause::Newer { version } => write!(
                out,
                "the checkpoint: version {version} of the format; this release reads up to {VERSION}; take a newer release"
            ),
            Cause::Corrupt { block, malformed } => {
                out.write_str("the checkpoint: ")?;
                if let Some(block) = block {
                    write!(out, "block {block}, ")?;
                }
                write!(out, "{malformed}; it is torn or was altered; restore a copy, or start without it")
            }
            Cause::Gap { missing } => write!(
                out,
                "the checkpoint: block {missing} is missing; it is torn; restore a copy, or start without it"
            ),
            Cause::Mixed => out.write_str(
                "the checkpoint: its blocks have different keys; it was put together from two; restore a copy, or start \
                 without it",
            ),
            Cause::Secret => out.write_str(
                "the checkpoint: it was kept under another secret than the one given; give that one, or none, which takes \
                 the checkpoint's",
            ),
            Cause::Policy(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    write!(out, "{}the checkpoint: {problem}", if index > 0 { "\n" } else { "" })?;
                }
                Ok(())
            }
            Cause::Store(error) => fmt::Display::fmt(error, out),
        }
    }
}

impl std::error::Error for CheckpointError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Cause::Store(error) => Some(error),
            _ => None,
        }
    }
}
