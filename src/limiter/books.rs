//! The book that decisions go by: published by few, read by all without a lock.
//!
//! Each thread keeps a copy of the latest book of the limiter that it last used, and looks at one number to know that it is
//! still that. So a decision takes no reference count that other threads take too, and a permit, which outlives a
//! decision, counts on its thread's copy. A copy is made once for each stripe of threads when a book is published, so that
//! a thread which goes from one limiter to another allocates nothing; it then takes a lock, which few others want. (`arc_swap::ArcSwap::load` takes two exchanges, which are as much as a guard each;
//! measured by `cargo bench --bench instructions` this way costs a decision some 45 instructions, the comparison of rules included.)

use std::{cell::Cell, sync::Arc};

use crate::{
    policy::book::Book,
    sync::{AtomicU64, Mutex, Ordering, stripes, thread_number},
};

thread_local! {
    static KEPT: Cell<Option<Arc<Book>>> = const { Cell::new(None) };
}

/// The latest book of a limiter.
#[derive(Debug)]
pub(super) struct Books {
    number: Arc<AtomicU64>,
    /// By stripe, a power of two of them, so that threads count references apart.
    copies: Box<[Mutex<Arc<Book>>]>,
}

impl Books {
    pub(super) fn new(book: Book) -> Books {
        let copy = |_| Mutex::new(Arc::new(book.clone()));
        Books { number: Arc::clone(book.latest()), copies: (0..stripes()).map(copy).collect() }
    }

    /// Takes the thread's copy of the latest book, for [`keep`](Books::keep) to put back; whoever asks in between makes one.
    #[inline(always)]
    pub(super) fn take(&self) -> Arc<Book> {
        match KEPT.try_with(Cell::take) {
            // Pairs with the store in `Book::publish`.
            Ok(Some(book)) if book.number() == self.number.load(Ordering::Acquire) => book,
            _ => self.copy(),
        }
    }

    /// Keeps a copy for the thread.
    #[inline(always)]
    pub(super) fn keep(&self, book: Arc<Book>) {
        // A thread that is ending keeps none.
        let _ = KEPT.try_with(|kept| kept.set(Some(book)));
    }

    /// Runs `act` with the latest book.
    pub(super) fn with<T>(&self, act: impl FnOnce(&Arc<Book>) -> T) -> T {
        let book = self.take();
        let done = act(&book);
        self.keep(book);
        done
    }

    /// A copy of the latest book.
    #[cold]
    #[inline(never)]
    pub(super) fn copy(&self) -> Arc<Book> {
        Arc::clone(&self.copies[thread_number() & (self.copies.len() - 1)].lock())
    }

    /// Makes `next` the latest.
    pub(super) fn publish(&self, next: Book) {
        // All at once, so that nobody has a book that is not yet the latest.
        let mut copies: Vec<_> = self.copies.iter().map(|copy| copy.lock()).collect();
        copies.iter_mut().for_each(|copy| **copy = Arc::new(next.clone()));
        next.publish();
    }
}
