//! How long the slowest decisions take: each is timed by itself.

use std::{hint::black_box, sync::Barrier, thread, time::Instant};

use super::{
    exchange::Exchange,
    full::{Full, Held},
    governor::Levels,
    hot::Hot,
    kept,
    many::organizations,
    quantile, scaled,
};

/// One run of a row: our number, and what it is held against.
pub type Measure = Box<dyn FnMut() -> (f64, f64)>;

/// Nanoseconds of one decision.
#[inline]
pub fn alone(decide: impl FnOnce() -> bool) -> u32 {
    let start = Instant::now();
    let answer = decide();
    let taken = start.elapsed();
    assert!(answer, "a decision that the case is not about");
    u32::try_from(taken.as_nanos()).unwrap_or(u32::MAX)
}

/// What [`alone`] takes around nothing.
fn timer() -> f64 {
    let mut empty: Vec<u32> = (0..scaled(10_000, 10)).map(|_| alone(|| black_box(true))).collect();
    quantile(&mut empty, 0.5)
}

/// A quantile of `count` decisions on each of `threads` threads at once.
fn crowded(threads: usize, count: u64, share: f64, decide: &(impl Fn() -> bool + Sync)) -> f64 {
    let barrier = Barrier::new(threads);
    let once = || {
        let mut taken = vec![0; count as usize];
        barrier.wait();
        for place in &mut taken {
            *place = alone(decide);
        }
        taken
    };
    let mut all: Vec<u32> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(once)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no thread panics")).collect()
    });
    quantile(&mut all, share)
}

/// Eight threads on one account, ours beside a compare-exchange for each level; the clock is read before either.
pub fn eight_threads(share: f64) -> Measure {
    let hot = Hot::new(1, 1);
    let exchange = kept(Exchange::new());
    let count = scaled(400_000, 100);
    let ours = move || hot.limiter.check_at(&hot.subject, &hot.cost, hot.now).is_ok();
    let now = hot.now.as_u64();
    let peer = move || black_box(exchange).charge(black_box(1), now);
    // Twice each, in turn.
    Box::new(move || {
        let pairs = [(); 2].map(|()| (crowded(8, count, share, &ours), crowded(8, count, share, &peer)));
        let [(ours, peer), (ours_again, peer_again)] = pairs;
        ((ours + ours_again) / 2.0, (peer + peer_again) / 2.0)
    })
}

/// A newcomer to a full table at the 99.9th percentile, beside the median hit on a million; the timer is taken off.
pub fn insertion(full: &'static Full) -> Measure {
    let (mut newcomers, mut held) = (full.newcomers(2), Held::new());
    Box::new(move || {
        full.indebt(&mut newcomers);
        let timer = timer();
        let count = scaled(20_000, 20);
        let (mut slow, mut usual) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let newcomer = newcomers.next();
            slow.push(alone(|| full.limiter.check(&newcomer, &full.cost).is_ok()));
            let known = held.next();
            usual.push(alone(|| held.limiter.check(&known, &held.cost).is_ok()));
        }
        (quantile(&mut slow, 0.999) - timer, quantile(&mut usual, 0.5) - timer)
    })
}

/// A newcomer to a full table beside a newcomer to governor's three growing maps, both at the 99.9th percentile.
pub fn insertion_beside_governor(full: &'static Full) -> Measure {
    let (mut newcomers, organizations) = (full.newcomers(3), organizations());
    Box::new(move || {
        let timer = timer();
        let levels = Levels::<u64>::new();
        let mut random = super::Random(9);
        let count = scaled(200_000, 20);
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let newcomer = newcomers.next();
            ours.push(alone(|| full.limiter.check(&newcomer, &full.cost).is_ok()));
            let keys = [random.next(), random.below(organizations), 1];
            peer.push(alone(|| levels.admit(keys.each_ref())));
        }
        (quantile(&mut ours, 0.999) - timer, quantile(&mut peer, 0.999) - timer)
    })
}
