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

/// Whether to make the mistake of this name: under model checking alone, where the environment's `TOLLGATE_MUTANT` asks for
/// it. A model that does not fail then shows nothing; `.ci/loom` tries all.
#[cfg(tollgate_loom)]
pub(crate) fn mutant(name: &str) -> bool {
    static MUTANT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    MUTANT.get_or_init(|| std::env::var("TOLLGATE_MUTANT").ok()).as_deref() == Some(name)
}

#[cfg(not(tollgate_loom))]
#[inline(always)]
pub(crate) const fn mutant(_name: &str) -> bool {
    false
}

/// For what the request path never touches. The standard library's, without its word on whether a holder has panicked:
/// what it guards is whole between any two statements, or is made anew.
#[derive(Debug, Default)]
#[expect(clippy::disallowed_types, reason = "this is the door")]
pub(crate) struct Mutex<T: ?Sized>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    #[expect(clippy::disallowed_types, reason = "this is the door")]
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }
}

impl<T: ?Sized> Mutex<T> {
    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// `None` where somebody has it.
    pub(crate) fn try_lock(&self) -> Option<std::sync::MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }
}

/// Into how many stripes to part what many threads would meet on: twice the processors, a power of two.
#[cfg(not(tollgate_loom))]
pub(crate) fn stripes() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (2 * processors.get()).next_power_of_two())
}

/// A model has few threads; they meet on one stripe.
#[cfg(tollgate_loom)]
pub(crate) fn stripes() -> usize {
    1
}

/// The calling thread's number: threads count up as they first ask.
#[cfg(not(tollgate_loom))]
#[inline]
#[expect(clippy::disallowed_types, reason = "a number for each thread; no other memory is ordered by it")]
pub(crate) fn thread_number() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // Without a number only where the thread is ending: any stripe will do.
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

#[cfg(tollgate_loom)]
pub(crate) fn thread_number() -> usize {
    0
}

/// Counts up for the whole process: no number is given twice.
#[expect(clippy::disallowed_types, reason = "a number for each who asks; no other memory is ordered by it")]
pub(crate) fn next_number() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
