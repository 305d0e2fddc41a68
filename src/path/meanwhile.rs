//! What a test does between look and commit.

use std::cell::RefCell;

thread_local! {
    /// What this thread does then, once.
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Called between look and commit.
pub(super) fn happens() {
    // Taken out first: what runs here comes by here again.
    let meanwhile = MEANWHILE.with(|slot| slot.borrow_mut().take());
    if let Some(meanwhile) = meanwhile {
        meanwhile();
    }
}

pub(crate) fn meanwhile(act: impl FnOnce() + 'static) {
    MEANWHILE.with(|slot| *slot.borrow_mut() = Some(Box::new(act)));
}
