//! Checkpoints: what outlives the process, in which form, and what becomes of it under another policy and another clock.
//!
//! Invariant: what is read is all that was written, or nothing; and what is restored is never less than what was counted when
//! it was kept. All of it is pure but for [`Store`]s; the `limiter` decides when what is written.
//!
//! # The format
//!
//! A checkpoint is a log of *blocks*, numbered upwards. A later record of a subject takes the place of an earlier one; a block
//! says which is the first that is still needed, and all from there to the last must be there. Numbers are little-endian;
//! *short* ones are LEB128, in their shortest form; a text is a short length and UTF-8.
//!
//! | of a block | bytes | what |
//! |---|---|---|
//! | magic | 8 | `tollgate` |
//! | version | 2 | 1 |
//! | first | 8 | the number of the first block that is still needed |
//! | number | 8 | this block's |
//! | time | 8 | when its records were taken: unix nanoseconds, signed |
//! | length | 4 | of what follows but for the checksum |
//! | secret | 16 | the key of fingerprints |
//! | shape | | the rules that its records are under |
//! | records | | up to the end |
//! | checksum | 8 | the first word of SipHash-1-3-128 under a key of zeros, of all before |
//!
//! The *shape*: largest factor (short); meters (short count, names); calendars (short count; period 0-4 from minute to month,
//! weekday 0-6 from Monday, zone); tiers (short count). A tier: name; 1 where the policy had it no more, else 0; the rules of
//! account, cohort, organization, pool and total (short count each). A rule: name; place of its meter; kind. 1, a rate: tokens,
//! period in nanoseconds, burst, debt, bits of a tick (all short). 2, a quota: limit (short), place of its calendar. 3, a
//! budget, 4, in flight: limit (short). 5, a quota that follows the zones of organizations: as 2, and how many calendars its
//! words tell apart (1 byte), the first so many of the shape.
//!
//! A record begins with its kind:
//!
//! | kind | what follows |
//! |---|---|
//! | 1, a line | level (0 account, 2 organization), id, tier, parts (1 a name, 2 a standing, 4 an override is about it), name, standing (short sixteenths, short cohort, 8 bytes unix time of its end), amounts |
//! | 2, a line of a tier | level, tier, cohort (short; 0 for none), amounts |
//! | 3, all overrides | short count; each: level, id or the tier's name, short sixteenths (0 for none), 1 where exempt, 8 bytes unix time of its end, reason, short count of limits (meter, rule, short limit) |
//! | 4, one who was forgotten | level, id |
//!
//! An *id*: kind (1 integer, short; 2 UUID, 3 fingerprint of a text, 4 of a caller without a credential: 16 bytes). *Amounts*: a
//! set of rules (short, a bit each), and 8 bytes for each: of a rate the ticks owed, of a quota the window's number above its
//! use (37 bits for a minute's, 43 for an hour's, else 48, of which the highest says that another policy allowed it; of kind 5
//! the place of the calendar is above that, in as many of these bits as places need), of a budget what was spent. What is in flight is let go by a restart.

mod block;
mod bytes;
mod convert;
mod error;
#[cfg(feature = "store")]
mod file;
mod log;
mod record;
mod shape;
mod store;
mod usage;
#[cfg(test)]
mod tests;

pub use block::Block;
pub(crate) use block::{Head, Writer};
pub(crate) use convert::{Past, keep};
pub(crate) use error::Cause;
pub use error::CheckpointError;
#[cfg(feature = "store")]
pub use file::FileStore;
pub(crate) use log::Log;
pub(crate) use record::{Line, MOST_NAME, Override, Record, Shared, Standing, Whom};
pub(crate) use shape::Shape;
pub use store::{MemoryStore, Store, StoreError};
pub(crate) use usage::counted;
pub use usage::{Counted, Usage};
