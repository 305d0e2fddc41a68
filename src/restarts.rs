//! Restart without handing out a second month: what a checkpoint keeps, what becomes of it, and how to run one.
//!
//! ```no_run
//! use std::time::Duration;
//! use tollgate::{Limiter, MemoryStore, Plan, Upkeep};
//!
//! # let plan = Plan::from_toml("")?;
//! // With the feature `store`: `tollgate::FileStore::open("/var/lib/api/tollgate")?`.
//! let store = MemoryStore::new();
//! let limiter = Limiter::builder(plan).store(store, Duration::from_secs(60)).build()?;
//! let upkeep = Upkeep::thread(&limiter, Duration::from_secs(60), |limiter, _| {
//!     if let Some(failure) = limiter.checkpoint_status().and_then(|status| status.failure) {
//!         eprintln!("{failure}");
//!     }
//! })?;
//! // ... serve ...
//! drop(upkeep);
//! limiter.checkpoint()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is kept
//!
//! | what | after a restart |
//! |---|---|
//! | quotas | by the start of their windows: what has ended meanwhile is over, what it was overrun by is carried |
//! | budgets | as they were |
//! | rates | what is owed, less what the wall clock says has come back; not where that takes less than an interval |
//! | in flight | let go, since those who held it are gone; what they had reserved of other rules stays charged |
//! | overrides | until they end |
//! | factors, cohorts | until they end; what they were concluded from is observed anew |
//! | the key of fingerprints | the same, so that the same texts are the same subjects; hence a checkpoint is secret |
//!
//! # What a kill gives back
//!
//! Less than an interval's worth. A checkpoint begins each half interval, goes through all tables in small steps, and sees each
//! bucket as it is at one moment; whatever was counted before the last complete one began is there. It is complete in time if it
//! takes less than half an interval: [`CheckpointStatus::age`](crate::CheckpointStatus::age) tells. Nothing is counted twice.
//! Where a reservation was kept, settled for less, and its account's line given to another before the next checkpoint, the
//! whole reservation comes back as charged. `tests/kill.rs` kills a process at random moments and compares with a ledger.
//!
//! # Another clock, another policy
//!
//! - A clock that shows an earlier time than the checkpoint holds all windows until it has caught up
//!   ([`Restored::clock_behind`](crate::Restored::clock_behind)). Nothing has come back to rates then.
//! - Rules match by tier, level, meter and name, as when a policy is reloaded: in another zone, what counts in the window of
//!   then counts in today's, where the policy has that of then no more; a rule that has come starts fresh; what may have been renamed is refused, unless the policy says
//!   `fresh = true`.
//! - Of a tier that is gone, what is owed stays with its accounts, and goes along to whatever tier they come with.
//! - Where the tables have become smaller, who finds no place is charged on the line of all such, which owes at least as much.
//!
//! # What a step costs
//!
//! Requests do nothing for it: what has changed, a line's control word tells. A step of `maintain` looks at 32,768 places or
//! writes one block of some 128 KiB, whichever is first, and waits for the disk to have it. A checkpoint writes what has
//! changed since the last; when all that since the last full one is more than it, the next is full, and what was before goes.
//! Memory: 8 bytes for each place of the tables, and names of organizations, up to 256 bytes each.
//!
//! # What can go wrong
//!
//! A file that another process has, or that is foreign, of a newer release, torn, truncated or altered, is refused with a message
//! and left as it is; nothing of it is loaded. A write that fails (a full disk, say) leaves what was there, is told by
//! [`CheckpointStatus::failure`](crate::CheckpointStatus::failure), and is tried again; the limiter goes on meanwhile. So does one
//! whose file was moved away or replaced: a copy is put back while no limiter has the file. The file is readable by its owner
//! alone.
//!
//! The format is described at the head of `src/checkpoint/mod.rs`; each version that was released stays readable.
