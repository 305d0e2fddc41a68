//! The one door to atomics: the standard library's, or loom's where `--cfg tollgate_loom` is set.
//!
//! Everything that two threads may touch at once comes from here, so that a loom model of a module is a
//! model of the module itself. `clippy.toml` shuts the other doors.

#[cfg(not(tollgate_loom))]
pub(crate) use std::{
    hint::spin_loop,
    sync::atomic::{Ordering, fence},
    thread::yield_now,
};

#[cfg(tollgate_loom)]
pub(crate) use loom::{
    hint::spin_loop,
    sync::atomic::{Ordering, fence},
    thread::yield_now,
};

// An alias rather than a re-export: the lint tells the two apart, and lets the alias be used everywhere.
#[cfg(not(tollgate_loom))]
#[expect(clippy::disallowed_types, reason = "this is the door")]
pub(crate) type AtomicU64 = std::sync::atomic::AtomicU64;

#[cfg(tollgate_loom)]
pub(crate) type AtomicU64 = loom::sync::atomic::AtomicU64;
