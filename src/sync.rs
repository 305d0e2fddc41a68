//! The one door to atomics: the standard library's, or loom's where `--cfg tollgate_loom` is set.
//!
//! Everything that two threads may touch at once comes from here, so that a loom model of a module is a
//! model of the module itself.

#[cfg(not(tollgate_loom))]
pub(crate) use std::{
    hint::spin_loop,
    sync::atomic::{AtomicU64, Ordering, fence},
    thread::yield_now,
};

#[cfg(tollgate_loom)]
pub(crate) use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicU64, Ordering, fence},
    thread::yield_now,
};
