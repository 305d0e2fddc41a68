//! Building a limiter: clock, secret, memory.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Counters, Limiter, Shared, Source, books::Books, checkpoint::Checkpoints, maintain::Observer,
    names::Names, reload::Sweep, restore::restore, wall::Wall,
};
use crate::{
    bucket::Moment,
    checkpoint::{Cause as CheckpointCause, CheckpointError, Log, Past, Store},
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
    store: Option<(Box<dyn Store>, u64)>,
}

impl Builder {
    pub(super) fn new(plan: Plan) -> Builder {
        Builder { plan, clock: Source::System(SystemClock::new()), secret: None, store: None }
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

    /// Keeps what was counted in `store`, so that a kill loses less than an `interval`'s worth of any quota, budget or rate, and
    /// takes up what is there.
    ///
    /// Takes effect through [`Limiter::maintain`], which is then to be called when
    /// [it says](crate::Maintenance::next_checkpoint), as [`Upkeep`](crate::Upkeep) does: a checkpoint begins each half interval,
    /// and is written in many small steps. For a shutdown there is [`Limiter::checkpoint`]. Costs 8 bytes for each place of the tables, and requests nothing.
    ///
    /// What is found there goes on under this policy as it does when one is reloaded: by tier, level, meter and name. Rates go
    /// by the wall clock meanwhile, quotas by their windows. What open permits held in flight is let go, what they had
    /// reserved of the rest stays charged.
    #[must_use]
    pub fn store(mut self, store: impl Store, interval: Duration) -> Builder {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        self.store = Some((Box::new(store), interval));
        self
    }

    /// Takes all the memory that the limiter will ever use, and what its store has.
    ///
    /// # Errors
    ///
    /// If that memory, or randomness for a secret, is not to be had; or the store cannot be read, what it has is not whole, or
    /// the policy seems to have renamed what it is about. The store is then left as it is.
    pub fn build(self) -> Result<Limiter, BuildError> {
        let Builder { mut plan, clock, secret, mut store } = self;
        let log = match &mut store {
            Some((store, _)) => Log::check(&mut **store).map_err(refused)?,
            None => None,
        };
        if let Some(log) = &log {
            if secret.is_some_and(|secret| secret != log.head.secret) {
                return Err(refused(CheckpointError::new(CheckpointCause::Secret)));
            }
            Past::take_in(&mut plan, &log.head.shape, &log.tiers).map_err(refused)?;
        }
        let secret = match secret.or(log.as_ref().map(|log| log.head.secret)) {
            Some(secret) => secret,
            None => {
                let mut secret = [0; 16];
                getrandom::fill(&mut secret).map_err(|error| BuildError(Cause::Randomness(error)))?;
                secret
            }
        };
        let fingerprints = Fingerprints::new(secret);
        let lines = Lines::new(&plan, &fingerprints.places())
            .map_err(|error| BuildError(Cause::Memory { bytes: error.bytes }))?;
        let now = clock.now();
        let wall = Wall::new(clock.unix().saturating_sub(now.as_u64().cast_signed()));
        let counters = Counters::default();
        let observer = Observer::new(&plan);
        let sweep = Sweep::new(plan.room());
        let names =
            Names::new(plan.capacity.organizations.saturating_add(plan.capacity.parked_organizations));
        let mut book = Book::new(plan);
        let mut restored = None;
        if let (Some((store, _)), Some(log)) = (&mut store, &log) {
            wall.hold(log.head.unix);
            let plan = Arc::clone(&book.plan);
            let moment = Moment::new(now.as_u64(), wall.anchor(), &plan.calendars);
            let places = fingerprints.places();
            let (next, found) =
                restore(&mut **store, log, (&lines, &names, &places), book, &moment).map_err(refused)?;
            (book, restored) = (next, Some(found));
        }
        let checkpoints = store.map(|(store, interval)| {
            let blocks = log.map_or((0, 0, Vec::new()), |log| (log.first, log.head.number + 1, log.leftover));
            Checkpoints::new(store, interval, lines.places(), blocks, restored)
        });
        let books = Books::new(book);
        let maintained = AtomicU64::new(now.as_u64());
        let shared = Shared {
            maintained,
            books,
            fingerprints,
            clock,
            wall,
            lines,
            counters,
            observer,
            sweep,
            names,
            checkpoints,
        };
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
    Checkpoint(CheckpointError),
}

fn refused(error: CheckpointError) -> BuildError {
    BuildError(Cause::Checkpoint(error))
}

impl BuildError {
    /// Whether the memory for the policy's `capacity` was not to be had.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self.0, Cause::Memory { .. })
    }

    /// Why the store's checkpoint cannot be used, where that is it.
    pub fn checkpoint(&self) -> Option<&CheckpointError> {
        match &self.0 {
            Cause::Checkpoint(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Memory { bytes } => {
                write!(out, "{bytes} bytes for a table are not to be had; lower `capacity` in the policy")
            }
            Cause::Checkpoint(error) => fmt::Display::fmt(error, out),
            Cause::Randomness(error) => {
                write!(out, "the system gives no randomness for a secret ({error}); pass one to `secret`")
            }
        }
    }
}

impl std::error::Error for BuildError {}
