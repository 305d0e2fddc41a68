//! The road of batches: one thread reads or generates, and as many decide as ask.
//!
//! Whatever the threads' order, each consumer sees the same batches in the same order, so the outcome does not
//! depend on it.

use std::sync::{
    Arc,
    mpsc::{Receiver, SyncSender},
};

use crate::{
    failure::Failure,
    row::{Batch, Source},
};

/// Batches under way to one consumer: enough to keep both sides busy.
pub(crate) const DEPTH: usize = 8;

/// One message: a batch, or why there is no more.
pub(crate) type Parcel = Result<Arc<Batch>, Failure>;

/// Sends all of `source` to the first consumer, and every batch to the `others`, until the first one hangs up.
pub(crate) fn produce(
    mut source: Box<dyn Source + Send>,
    first: &SyncSender<Parcel>,
    others: &[SyncSender<Arc<Batch>>],
) {
    loop {
        match source.next_batch() {
            Ok(batch) if batch.rows.is_empty() => return,
            Ok(batch) => {
                let batch = Arc::new(batch);
                if first.send(Ok(Arc::clone(&batch))).is_err() {
                    return;
                }
                for other in others {
                    // Another consumer that ended early has nothing to say about the trace.
                    let _ = other.send(Arc::clone(&batch));
                }
            }
            Err(failure) => {
                let _ = first.send(Err(failure));
                return;
            }
        }
    }
}

/// All batches, one after another.
pub(crate) fn consume(batches: &Receiver<Arc<Batch>>, mut each: impl FnMut(&Batch)) {
    while let Ok(batch) = batches.recv() {
        each(&batch);
    }
}
