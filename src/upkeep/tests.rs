//! By a thread and by a task: `maintain` is called again and again, dropped it is called no more, and a shutdown writes the last
//! checkpoint.

use std::{sync::mpsc, time::Duration};

use super::Upkeep;
use crate::{
    checkpoint::MemoryStore,
    id::Identity,
    limiter::{Checkpointing, Limiter, Maintenance, Whom},
    meter::Cost,
    policy::plan::Plan,
};

const POLICY: &str = r#"
    version = 1
    meters = ["requests"]
    capacity = { accounts = 100, organizations = 1 }
    tiers.free = { total = "unlimited", account.requests = { budget = 10 } }
"#;
/// Shorter than that it is not called.
const SHORT: Duration = Duration::ZERO;
/// No call but the first comes in a test.
const LONG: Duration = Duration::from_secs(3_600);

fn limiter(store: MemoryStore) -> Limiter {
    let builder = Limiter::builder(Plan::from_toml(POLICY).unwrap());
    builder.store(store, LONG).build().unwrap()
}

fn spend(limiter: &Limiter) -> Identity {
    let who = limiter.identity(limiter.tier("free").unwrap(), 17);
    assert!(limiter.check(&who, &Cost::of(limiter.meter("requests").unwrap(), 3)).is_ok());
    who
}

/// What a process finds that starts now.
fn kept(store: &MemoryStore, who: &Identity) -> u64 {
    let limiter = limiter(store.copy());
    let requests = limiter.meter("requests").unwrap();
    limiter.usage(Whom::Account(who), requests, None).first().map_or(0, |counted| counted.used)
}

#[test]
fn a_thread_calls_until_it_is_dropped() {
    let (told, calls) = mpsc::channel();
    let limiter = limiter(MemoryStore::new());
    let upkeep = Upkeep::thread(&limiter, SHORT, move |_, _| told.send(()).unwrap()).unwrap();
    (0..3).for_each(|_| calls.recv().unwrap());
    drop(upkeep);
    // What is left is of calls from before; nobody is there who could add to it.
    assert!(calls.try_iter().count() < 100);
    assert_eq!(calls.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

#[test]
fn a_thread_that_is_shut_down_writes_the_last_checkpoint() {
    let store = MemoryStore::new();
    let limiter = limiter(store.clone());
    let (told, calls) = mpsc::channel();
    let done = move |_: &Limiter, done: &Maintenance| {
        if done.checkpoint == Checkpointing::Done {
            told.send(()).unwrap();
        }
    };
    let upkeep = Upkeep::thread(&limiter, LONG, done).unwrap();
    calls.recv().unwrap();
    // The next is due in half an hour.
    let who = spend(&limiter);
    assert_eq!(kept(&store, &who), 0);
    upkeep.shut_down().unwrap();
    assert_eq!(kept(&store, &who), 3);
}

#[cfg(feature = "tokio")]
#[test]
fn a_task_does_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let store = MemoryStore::new();
        let limiter = limiter(store.clone());
        let (told, mut calls) = tokio::sync::mpsc::unbounded_channel();
        let upkeep = Upkeep::task(&limiter, SHORT, move |_, _| _ = told.send(()));
        for _ in 0..3 {
            calls.recv().await.unwrap();
        }
        drop(upkeep);
        // Ends, since what calls is gone.
        while calls.recv().await.is_some() {}

        let upkeep = Upkeep::task(&limiter, LONG, |_, _| {});
        let who = spend(&limiter);
        upkeep.shut_down().unwrap();
        assert_eq!(kept(&store, &who), 3);
    });
}
