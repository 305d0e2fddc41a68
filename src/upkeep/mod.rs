//! Keeping a limiter maintained: a thread, or a task of tokio's (feature `tokio`), that lives as long as its handle.

#[cfg(feature = "tokio")]
mod task;
// The tests' policy is text.
#[cfg(all(test, feature = "toml"))]
mod tests;

use std::{
    fmt, io,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    checkpoint::CheckpointError,
    limiter::{Limiter, Maintenance},
};

/// How soon to come back where a call had more to do than it does at once.
const SOON: Duration = Duration::from_millis(10);

/// Calls [`Limiter::maintain`] again and again until it is dropped.
///
/// ```
/// # let plan = tollgate::Plan::from_toml(include_str!("../../examples/policy.toml"))?;
/// # let limiter = tollgate::Limiter::builder(plan).build()?;
/// use std::time::Duration;
/// use tollgate::Upkeep;
///
/// let upkeep = Upkeep::thread(&limiter, Duration::from_secs(60), |_limiter, _done| {})?;
/// // ... serve ...
/// upkeep.shut_down()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropped, it stops"]
pub struct Upkeep {
    /// Dropped, it stops; after which there is no more call.
    running: Running,
    limiter: Limiter,
}

enum Running {
    Thread {
        _stop: Stop,
    },
    #[cfg(feature = "tokio")]
    Task {
        _stop: task::Stop,
    },
}

struct Stop {
    sender: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upkeep {
    /// By a thread of its own: now, and every `period`, which is a minute where nothing else is wanted, and 10 ms at the least;
    /// sooner where a call had more to do than it does at once, or a checkpoint is due. After each call, `then` is told what
    /// was done: to write metrics, say. Where `then` panics, nothing is called any more: watch the age of the last call.
    ///
    /// Dropping it waits for a call that is under way, so that `then` must not be what drops it.
    ///
    /// # Errors
    ///
    /// If the system has no thread to give.
    pub fn thread(
        limiter: &Limiter,
        period: Duration,
        mut then: impl FnMut(&Limiter, &Maintenance) + Send + 'static,
    ) -> io::Result<Upkeep> {
        let kept = limiter.clone();
        let limiter = limiter.clone();
        let (sender, receiver) = mpsc::channel();
        let run = move || {
            loop {
                let done = limiter.maintain();
                then(&limiter, &done);
                match receiver.recv_timeout(pause(&done, period)) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        };
        let thread = thread::Builder::new().name("tollgate upkeep".to_owned()).spawn(run)?;
        let stop = Stop { sender: Some(sender), thread: Some(thread) };
        Ok(Upkeep { running: Running::Thread { _stop: stop }, limiter: kept })
    }

    /// Stops, and writes the last checkpoint: at a shutdown, after the last request. Takes as long as that takes, and blocks the
    /// thread meanwhile, which at the end of `main` keeps nobody waiting. Without a store it only stops.
    ///
    /// # Errors
    ///
    /// Where the store fails; what it had before is as it was.
    pub fn shut_down(self) -> Result<(), CheckpointError> {
        let Upkeep { running, limiter } = self;
        drop(running);
        limiter.checkpoint()
    }
}

/// How long to wait after a call that did so much.
fn pause(done: &Maintenance, period: Duration) -> Duration {
    let period = done.next_checkpoint.map_or(period, |due| period.min(due)).max(SOON);
    if done.behind || done.has_more() { period.min(SOON) } else { period }
}

impl Drop for Stop {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            // Where `then` has panicked, that has been reported.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Upkeep").finish_non_exhaustive()
    }
}
