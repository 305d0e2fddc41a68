//! The same by a task of tokio's.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use super::{Running, Upkeep, pause};
use crate::{
    limiter::{Limiter, Maintenance},
    sync::Mutex,
};

pub(super) struct Stop(JoinHandle<()>);

impl Upkeep {
    /// By a task on the runtime that this is called on, as [`thread`](Upkeep::thread) does it; each call of `maintain` is on a
    /// thread for what blocks.
    ///
    /// Dropped, it begins no more calls; one that is under way goes to its end. Panics where there is no runtime, as tokio
    /// does.
    pub fn task(
        limiter: &Limiter,
        period: Duration,
        then: impl FnMut(&Limiter, &Maintenance) + Send + 'static,
    ) -> Upkeep {
        let kept = limiter.clone();
        let limiter = limiter.clone();
        // One call at a time holds it; there is never a wait.
        let then = Arc::new(Mutex::new(then));
        let run = async move {
            loop {
                let (limiter, then) = (limiter.clone(), Arc::clone(&then));
                let call = tokio::task::spawn_blocking(move || {
                    let done = limiter.maintain();
                    (*then.lock())(&limiter, &done);
                    done
                });
                let Ok(done) = call.await else { break };
                tokio::time::sleep(pause(&done, period)).await;
            }
        };
        Upkeep { running: Running::Task { _stop: Stop(tokio::spawn(run)) }, limiter: kept }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
