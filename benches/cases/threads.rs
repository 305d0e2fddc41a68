//! The same work on one thread and on two at once.

use std::{
    hint::black_box,
    num::NonZeroU32,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tollgate::Cost;

use super::{
    READ, Random, Run, admits, cost,
    full::Full,
    governor::{Levels, hot_keys, spent},
    hot::Hot,
    kept, limiter, many, plan, tier,
};

/// What one thread does, so many times.
pub type Work = Box<dyn FnMut(u64) + Send>;

pub fn work(mut decide: impl FnMut() -> bool + Send + 'static) -> Work {
    Box::new(move |count| {
        let answered: u64 = (0..count).map(|_| u64::from(decide())).sum();
        assert_eq!(answered, count, "decisions that the case is not about");
    })
}

/// All of `works` at once, `count` decisions each: the time from the first's begin to the last's end.
fn together(mut works: Vec<Work>) -> Run {
    Box::new(move |count| {
        let barrier = Barrier::new(works.len());
        let once = |work: &mut Work| {
            barrier.wait();
            let begin = Instant::now();
            work(count);
            (begin, Instant::now())
        };
        let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
            let threads: Vec<_> = works.iter_mut().map(|work| scope.spawn(|| once(work))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        });
        let begin = spans.iter().map(|(begin, _)| *begin).min();
        let end = spans.iter().map(|(_, end)| *end).max();
        begin.zip(end).map_or(Duration::ZERO, |(begin, end)| end - begin)
    })
}

/// What `work` makes for each of so many threads.
pub fn each<const THREADS: usize>(work: impl Fn(u64) -> Work) -> Run {
    together((0..THREADS as u64).map(work).collect())
}

/// Arithmetic that shares nothing: what the machine gives two threads at this moment, at best.
pub fn arithmetic<const THREADS: usize>() -> Run {
    each::<THREADS>(|thread| {
        let mut random = Random(thread);
        work(move || (0..16).all(|_| black_box(random.next()) != 0))
    })
}

/// Accounts and organizations of their own; they share their tier.
pub fn distinct<const THREADS: usize>() -> Run {
    let hot = Hot::new(1, 1);
    each::<THREADS>(|thread| {
        let organization = hot.limiter.organization(thread);
        let caller = hot.limiter.identity(hot.tier, thread).in_organization(organization);
        let subject = hot.limiter.subject(&caller);
        work(move || admits::<READ>(&hot.limiter, &subject, &hot.cost, hot.now))
    })
}

/// Accounts of their own in one organization.
pub fn colleagues<const THREADS: usize>() -> Run {
    let hot = Hot::new(1, 1);
    each::<THREADS>(|thread| {
        let organization = hot.limiter.organization(0_u64);
        let caller = hot.limiter.identity(hot.tier, thread).in_organization(organization);
        let subject = hot.limiter.subject(&caller);
        work(move || admits::<READ>(&hot.limiter, &subject, &hot.cost, hot.now))
    })
}

/// What reserves, and gives all back at once, has an account and an organization of its own; a tier too, or one for all.
pub fn reserving<const THREADS: usize, const ONE_TIER: bool>() -> Run {
    let limiter = kept(limiter(plan(1, &["one", "two"], 10_000, 1_000)));
    let one = cost(limiter, 1);
    each::<THREADS>(|thread| {
        let tier = tier(limiter, if ONE_TIER || thread == 0 { "one" } else { "two" });
        let organization = limiter.organization(thread);
        let subject = limiter.subject(&limiter.identity(tier, thread).in_organization(organization));
        work(move || {
            let permit = limiter.reserve(black_box(&subject), &one);
            permit.map(|permit| permit.settle(&Cost::FREE)).is_ok()
        })
    })
}

/// One account for all.
pub fn same<const THREADS: usize>() -> Run {
    let hot = Hot::new(1, 1);
    each::<THREADS>(|_| work(|| admits::<READ>(&hot.limiter, &hot.subject, &hot.cost, hot.now)))
}

/// The tier refuses; one account for all.
pub fn denied<const THREADS: usize>() -> Run {
    let hot = Hot::spent(1);
    each::<THREADS>(|_| work(|| !admits::<READ>(&hot.limiter, &hot.subject, &hot.cost, hot.now)))
}

/// governor's three keyed limiters in sequence, the same keys for all.
pub fn governor_same<const THREADS: usize>() -> Run {
    let levels = kept(Levels::<String>::new());
    let keys = kept(hot_keys());
    each::<THREADS>(|_| work(|| levels.admit(black_box(keys.each_ref()))))
}

/// The same with accounts and organizations of their own.
pub fn governor_distinct<const THREADS: usize>() -> Run {
    let levels = kept(Levels::<String>::new());
    each::<THREADS>(|thread| {
        let keys = [format!("acct_{thread}"), format!("org_{thread}"), "business".to_owned()];
        work(move || levels.admit(black_box(keys.each_ref())))
    })
}

/// A million accounts in a random order, which every thread begins elsewhere.
pub fn million<const DRAW: bool, const THREADS: usize>() -> Run {
    each::<THREADS>(|thread| work(many::on_thread::<DRAW>(thread)))
}

/// The same, of governor's three keyed limiters in sequence.
pub fn governor_million<const DRAW: bool, const THREADS: usize>() -> Run {
    each::<THREADS>(|thread| work(many::governor_on_thread::<DRAW>(thread)))
}

/// governor without a key, refusing.
pub fn governor_denied<const THREADS: usize>() -> Run {
    let limiter = kept(spent());
    each::<THREADS>(|_| work(|| limiter.check_n(black_box(NonZeroU32::MIN)).is_ok_and(|fits| fits.is_err())))
}

/// A known account, alone or while another thread floods the full table with new ones.
pub fn beside_flood<const FLOOD: bool>() -> Run {
    let full = Full::of_idle();
    let known = full.newcomers(4).next();
    let done = kept(AtomicBool::new(false));
    let mut hits = work(move || full.admits(&known));
    let hits: Work = Box::new(move |count| {
        hits(count);
        done.store(true, Ordering::Relaxed);
    });
    let mut newcomers = full.newcomers(5);
    let flood: Work = Box::new(move |_| {
        while !done.load(Ordering::Relaxed) {
            black_box(full.admits(&newcomers.next()));
        }
    });
    let mut run = together(if FLOOD { vec![hits, flood] } else { vec![hits] });
    Box::new(move |count| {
        done.store(false, Ordering::Relaxed);
        run(count)
    })
}
