//! Decisions that are observed: what is known about each request goes into a ring, which somebody empties or nobody does.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use tollgate::{Attributes, Caller, Cost, Identity, Limiter, Subject};

use super::{
    READ, Random, Run, admits, cost, kept, limiter, plan_of, quantile, scaled,
    tail::{Measure, alone},
    threads::{Work, each, work},
    tier,
};

/// Accounts whose requests are observed, in a random order.
const ACCOUNTS: u64 = 1024;

/// A limiter that observes, with callers of it.
pub struct Observed {
    limiter: Limiter,
    identities: Vec<Identity>,
    subjects: Vec<Subject>,
    attributes: Attributes,
    cost: Cost,
}

impl Observed {
    fn new() -> &'static Observed {
        let evidence = "[evidence]\nattributes = [\"address\", \"payment\", \"client\", \"template\"]\n";
        let limiter = limiter(plan_of(1, &["business"], (10_000, 10_000), evidence));
        let tier = tier(&limiter, "business");
        let attributes =
            ["address", "payment", "client", "template"].into_iter().fold(Attributes::NONE, |all, name| {
                all.and(
                    limiter.attribute(name).expect("an attribute of the policy"),
                    limiter.attribute_value(name),
                )
            });
        let identities: Vec<Identity> = (0..ACCOUNTS)
            .map(|id| {
                let account = limiter.identity(tier, format!("acct_{id:012x}").as_str());
                account.in_organization(limiter.organization(format!("org_{id:010x}").as_str()))
            })
            .collect();
        let subjects = identities.iter().map(|identity| limiter.subject(identity)).collect();
        let cost = cost(&limiter, 1);
        kept(Observed { limiter, identities, subjects, attributes, cost })
    }
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Subject,
    Identity,
}

/// What becomes of the observations: `None` are made, nobody takes them out, or a thread does, and sleeps for so many
/// milliseconds. `Beside`: none are made, and a thread shares nothing but the processors, for as long as `Emptied` took.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    None,
    Full,
    Emptied(u64),
    Beside(u64),
}

/// How long a call of `maintain` took on average, in the turn before; nanoseconds.
static MAINTAINED: AtomicU64 = AtomicU64::new(0);

/// Decisions on `THREADS` threads.
pub fn checks<const THREADS: usize>(who: Who, ring: Ring) -> Run {
    let observed = Observed::new();
    let Observed { limiter, identities, subjects, attributes, cost } = observed;
    let now = limiter.now();
    let one = move |seed: u64| -> Work {
        let mut random = Random(seed);
        work(move || {
            let at = random.below(ACCOUNTS) as usize;
            match (who, ring) {
                (Who::Subject, Ring::None | Ring::Beside(_)) => {
                    admits::<READ>(limiter, &subjects[at], cost, now)
                }
                (Who::Subject, _) => admits::<READ>(limiter, &subjects[at].with(attributes), cost, now),
                (Who::Identity, Ring::None | Ring::Beside(_)) => {
                    admits::<READ>(limiter, &identities[at], cost, now)
                }
                (Who::Identity, _) => admits::<READ>(limiter, &identities[at].with(attributes), cost, now),
            }
        })
    };
    let mut run = each::<THREADS>(one);
    match ring {
        Ring::None | Ring::Full => run,
        Ring::Emptied(pause) => Box::new(move |count| while_maintained(limiter, pause, || run(count))),
        Ring::Beside(pause) => Box::new(move |count| {
            let nanos = MAINTAINED.load(Ordering::Relaxed);
            let busy = || {
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_nanos(nanos) {
                    black_box(nanos);
                }
            };
            while_busy(&busy, pause, || run(count))
        }),
    }
}

/// What `work` answers, while a thread calls `maintain` and sleeps for so many milliseconds; a server's timer rings more
/// seldom.
fn while_maintained<T>(limiter: &Limiter, pause: u64, work: impl FnOnce() -> T) -> T {
    let (calls, nanos) = (AtomicU64::new(0), AtomicU64::new(0));
    let maintain = || {
        let begin = Instant::now();
        limiter.maintain();
        nanos.fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
        calls.fetch_add(1, Ordering::Relaxed);
    };
    let answer = while_busy(&maintain, pause, work);
    let mean = nanos.load(Ordering::Relaxed) / calls.load(Ordering::Relaxed).max(1);
    MAINTAINED.store(mean, Ordering::Relaxed);
    answer
}

/// What `work` answers, while a thread is `busy`, and sleeps for so many milliseconds.
fn while_busy<T>(busy: &(impl Fn() + Sync), pause: u64, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                busy();
                thread::sleep(Duration::from_millis(pause));
            }
        });
        let answer = work();
        done.store(true, Ordering::Relaxed);
        answer
    })
}

/// A quantile of observed decisions, each timed by itself, while they are taken in, and while nobody takes them.
pub fn slowest(share: f64) -> Measure {
    let Observed { limiter, subjects, attributes, cost, .. } = Observed::new();
    let now = limiter.now();
    let mut random = Random(7);
    let mut decisions = move || {
        let mut taken: Vec<u32> = (0..scaled(400_000, 100))
            .map(|_| {
                let subject = &subjects[random.below(ACCOUNTS) as usize];
                alone(|| admits::<READ>(limiter, &subject.with(attributes), cost, now))
            })
            .collect();
        quantile(&mut taken, share)
    };
    Box::new(move || (while_maintained(limiter, 1, &mut decisions), decisions()))
}
