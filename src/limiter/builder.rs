//! Building a limiter: clock, secret, memory.

use std::{fmt, sync::Arc};

use super::{Counters, Limiter, Shared, Source, books::Books, maintain::Observer, reload::Sweep, wall::Wall};
use crate::{
    id::Fingerprints,
    path::Lines,
    policy::{book::Book, plan::Plan},
    sync::AtomicU64,
    time::{Clock, SystemClock},
};

/// Builds a [`Limiter`]; made by [`Limiter::builder`].
pub struct Builder {
    plan: Plan,
    clock: Source,
    secret: Option<[u8; 16]>,
}

impl Builder {
    pub(super) fn new(plan: Plan) -> Builder {
        Builder { plan, clock: Source::System(SystemClock::new()), secret: None }
    }

    /// Takes time from `clock` rather than from the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Builder {
        self.clock = Source::Other(Box::new(clock));
        self
    }

    /// The key of text ids' fingerprints, and of where they are placed. Left out, it is taken from the operating
    /// system's randomness. Whoever knows it can make names that meet in the table: keep it secret.
    #[must_use]
    pub fn secret(mut self, secret: [u8; 16]) -> Builder {
        self.secret = Some(secret);
        self
    }

    /// Takes all the memory that the limiter will ever use.
    ///
    /// # Errors
    ///
    /// If that memory, or randomness for a secret, is not to be had.
    pub fn build(self) -> Result<Limiter, BuildError> {
        let secret = match self.secret {
            Some(secret) => secret,
            None => {
                let mut secret = [0; 16];
                getrandom::fill(&mut secret).map_err(|error| BuildError(Cause::Randomness(error)))?;
                secret
            }
        };
        let fingerprints = Fingerprints::new(secret);
        let lines = Lines::new(&self.plan, &fingerprints.places())
            .map_err(|error| BuildError(Cause::Memory { bytes: error.bytes }))?;
        let clock: &dyn Clock = match &self.clock {
            Source::System(clock) => clock,
            Source::Other(clock) => &**clock,
        };
        let elapsed = i64::try_from(clock.elapsed()).unwrap_or(i64::MAX);
        let wall = Wall::new(clock.unix().saturating_sub(elapsed));
        let counters = Counters::default();
        let observer = Observer::new(&self.plan);
        let Builder { plan, clock, .. } = self;
        let sweep = Sweep::new(plan.room());
        let books = Books::new(Book::new(plan));
        let maintained = AtomicU64::new(elapsed.cast_unsigned());
        let shared =
            Shared { maintained, books, fingerprints, clock, wall, lines, counters, observer, sweep };
        Ok(Limiter { shared: Arc::new(shared) })
    }
}

impl fmt::Debug for Builder {
    /// Never shows the secret.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Builder").finish_non_exhaustive()
    }
}

/// Why a limiter could not be built.
#[derive(Debug)]
pub struct BuildError(Cause);

#[derive(Debug)]
enum Cause {
    Memory { bytes: usize },
    Randomness(getrandom::Error),
}

impl BuildError {
    /// Whether the memory for the policy's `capacity` was not to be had.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self.0, Cause::Memory { .. })
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Memory { bytes } => {
                write!(out, "{bytes} bytes for a table are not to be had; lower `capacity` in the policy")
            }
            Cause::Randomness(error) => {
                write!(out, "the system gives no randomness for a secret ({error}); pass one to `secret`")
            }
        }
    }
}

impl std::error::Error for BuildError {}
