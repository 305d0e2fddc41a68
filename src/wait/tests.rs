//! On a runtime of a few lines and a clock that moves when the first timer is due: nothing here sleeps.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use super::Queue;
use crate::{
    decision::Denial,
    id::Identity,
    limiter::Limiter,
    meter::Cost,
    policy::plan::Plan,
    sync::{AtomicU64, Ordering},
    time::{Clock, ManualClock},
};

const POLICY: &str = r#"
    version = 1
    meters = ["requests", "images"]
    capacity = { accounts = 1000, organizations = 10 }
    [tiers.free]
    account.requests = [{ rate = "10/s", burst = 1 }, { in_flight = 1 }]
    total.images = { rate = "2/s", burst = 1 }

    [tiers.shared]
    light_reserve = { share = 0.5, below = 0.1 }
    account.requests = { quota = "1000/day" }
    pool.requests = { rate = "1/s", burst = 1 }
    total.requests = { rate = "1/s", burst = 200 }
    ramp = { age = "30d", start = 0.9 }
"#;

struct Flag(AtomicU64);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(1, Ordering::SeqCst);
    }
}

struct Task<'a> {
    future: Pin<Box<dyn Future<Output = ()> + 'a>>,
    flag: Arc<Flag>,
}

/// Runs futures, and moves the clock to the first timer when none can go on.
struct World {
    limiter: Limiter,
    clock: ManualClock,
    timers: RefCell<Vec<(u64, Waker)>>,
    polls: Cell<usize>,
}

impl World {
    fn new() -> Rc<World> {
        let clock = ManualClock::new();
        let plan = Plan::from_toml(POLICY).expect("a policy");
        let limiter = Limiter::builder(plan).clock(clock.clone()).build().expect("a limiter");
        Rc::new(World { limiter, clock, timers: RefCell::default(), polls: Cell::new(0) })
    }

    fn queue(self: &Rc<World>) -> Queue<impl Fn(Duration) -> Sleep + Clone + use<>> {
        let world = Rc::clone(self);
        let sleep = move |span: Duration| Sleep {
            until: world.clock.elapsed() + u64::try_from(span.as_nanos()).unwrap(),
            world: Rc::clone(&world),
        };
        Queue::new(self.limiter.clone(), sleep)
    }

    fn caller(&self, account: u64) -> Identity {
        self.limiter.identity(self.limiter.tier("free").unwrap(), account)
    }

    fn one(&self, meter: &str) -> Cost {
        Cost::of(self.limiter.meter(meter).unwrap(), 1)
    }

    fn run(&self, futures: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>) {
        let task = |future| Task { future, flag: Arc::new(Flag(AtomicU64::new(1))) };
        let mut tasks: Vec<Task<'_>> = futures.into_iter().map(task).collect();
        while !tasks.is_empty() {
            let mut progress = false;
            tasks.retain_mut(|task| {
                if task.flag.0.swap(0, Ordering::SeqCst) == 0 {
                    return true;
                }
                progress = true;
                self.polls.set(self.polls.get() + 1);
                let waker = Waker::from(Arc::clone(&task.flag));
                task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
            });
            if !progress {
                let mut timers = self.timers.borrow_mut();
                timers.sort_by_key(|(until, _)| *until);
                assert!(!timers.is_empty(), "{} hang", tasks.len());
                let (until, waker) = timers.remove(0);
                self.clock.advance_to(until);
                waker.wake();
            }
        }
    }
}

struct Sleep {
    until: u64,
    world: Rc<World>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.world.clock.elapsed() >= self.until {
            return Poll::Ready(());
        }
        self.world.timers.borrow_mut().push((self.until, context.waker().clone()));
        Poll::Pending
    }
}

#[test]
fn all_are_admitted_in_turn_at_the_rate_with_a_decision_each() {
    let world = World::new();
    let queue = world.queue();
    let (caller, cost) = (world.caller(1), world.one("requests"));
    let order = RefCell::new(Vec::new());
    let waiter = |number: usize| {
        let (queue, order, world) = (&queue, &order, &world);
        Box::pin(async move {
            queue.until_admitted(&caller, &cost, Duration::from_secs(60)).await.expect("in time");
            order.borrow_mut().push((number, world.clock.elapsed() / 1_000_000));
        }) as Pin<Box<dyn Future<Output = ()>>>
    };
    world.run((0..200).map(waiter).collect());
    let expected: Vec<(usize, u64)> = (0..200).map(|number| (number, 100 * number as u64)).collect();
    assert_eq!(*order.borrow(), expected);
    assert!(queue.lines.lock().waiting.is_empty());
    // First, woken as the next, timer; their deadlines' timers are never due.
    assert!(world.polls.get() <= 3 * 200, "{} polls", world.polls.get());
}

#[test]
fn who_gives_up_passes_the_turn_on() {
    let world = World::new();
    let queue = world.queue();
    let (caller, cost) = (world.caller(1), world.one("requests"));
    world.limiter.check(&caller, &cost).expect("the burst");
    let flag = Arc::new(Flag(AtomicU64::new(0)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    let mut first = Box::pin(queue.until_admitted(&caller, &cost, Duration::from_secs(60)));
    let mut second = Box::pin(queue.until_admitted(&caller, &cost, Duration::from_secs(60)));
    let mut third = Box::pin(queue.until_admitted(&caller, &cost, Duration::from_secs(60)));
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending());
    assert!(third.as_mut().poll(&mut context).is_pending());
    drop(second);
    assert_eq!(flag.0.load(Ordering::SeqCst), 0, "it was not the first");
    drop(first);
    assert_eq!(flag.0.load(Ordering::SeqCst), 1, "the third is woken");
    world.run(vec![Box::pin(async { third.await.map(drop).expect("its turn") })]);
    assert_eq!(world.clock.elapsed() / 1_000_000, 100, "those who gave up took nothing");
    assert!(queue.lines.lock().waiting.is_empty());
}

#[test]
fn what_cannot_be_in_time_is_said_at_once() {
    let world = World::new();
    let queue = world.queue();
    let (caller, cost) = (world.caller(1), world.one("requests"));
    let wait = |span| {
        let (queue, answer) = (&queue, Rc::new(RefCell::new(None)));
        let told = Rc::clone(&answer);
        world.run(vec![Box::pin(async move {
            *told.borrow_mut() = Some(queue.until_admitted(&caller, &cost, span).await.map(drop));
        })]);
        let answer: Option<Result<(), Denial>> = answer.borrow_mut().take();
        answer.expect("an answer")
    };
    assert!(wait(Duration::ZERO).is_ok());
    assert!(wait(Duration::from_millis(99)).is_err());
    assert_eq!(world.clock.elapsed(), 0, "nobody waited");
    assert!(wait(Duration::from_millis(101)).is_ok());
}

#[test]
fn who_stands_behind_others_gives_up_at_its_deadline() {
    let world = World::new();
    let queue = world.queue();
    let cost = world.one("images");
    let admitted = Cell::new(0);
    let waiter = |account: u64| {
        let (queue, admitted, caller) = (&queue, &admitted, world.caller(account));
        Box::pin(async move {
            if queue.until_admitted(&caller, &cost, Duration::from_millis(1_600)).await.is_ok() {
                admitted.set(admitted.get() + 1);
            }
        }) as Pin<Box<dyn Future<Output = ()>>>
    };
    // A limit that all accounts share: at 0, 0.5, 1 and 1.5 seconds.
    world.run((0..100).map(waiter).collect());
    assert_eq!(admitted.get(), 4);
    assert!(queue.lines.lock().waiting.is_empty());
}

/// Who stands in line wants images; who comes wants requests, of the same account and of others.
#[test]
fn who_wants_something_else_is_not_held_up() {
    let world = World::new();
    let queue = world.queue();
    let (image, request) = (world.one("images"), world.one("requests"));
    world.limiter.check(&world.caller(1), &image).expect("the burst");
    let when = RefCell::new(Vec::new());
    let waiter = |account: u64, cost: Cost| {
        let (queue, when, world, caller) = (&queue, &when, &world, world.caller(account));
        Box::pin(async move {
            queue.until_admitted(&caller, &cost, Duration::from_secs(60)).await.expect("in time");
            when.borrow_mut().push((account, world.clock.elapsed() / 1_000_000));
        }) as Pin<Box<dyn Future<Output = ()>>>
    };
    world.run(vec![waiter(1, image), waiter(2, image), waiter(1, request), waiter(3, request)]);
    assert_eq!(*when.borrow(), [(1, 0), (3, 0), (1, 500), (2, 1_000)]);
}

/// An account that is not new does not stand behind those that wait for the pool, nor one that has taken little behind those
/// from whom the rest of a total is withheld.
#[test]
fn who_is_not_meant_is_not_held_up() {
    let world = World::new();
    let queue = world.queue();
    let (tier, cost) = (world.limiter.tier("shared").unwrap(), world.limiter.meter("requests").unwrap());
    let of = |account: u64| world.limiter.identity(tier, account);
    let new = |account: u64| of(account).since(crate::time::Clock::unix(&world.clock));
    let when = RefCell::new(Vec::new());
    let waiter = |name: &'static str, caller: Identity, amount: u64| {
        let (queue, when, world) = (&queue, &when, &world);
        Box::pin(async move {
            queue
                .until_admitted(&caller, &Cost::of(cost, amount), Duration::from_secs(600))
                .await
                .expect("in time");
            when.borrow_mut().push((name, world.clock.elapsed() / 1_000_000_000));
        }) as Pin<Box<dyn Future<Output = ()>>>
    };
    // The first has taken a tenth of its day, and half of the total is not for it any more.
    world.run(vec![
        waiter("heavy", of(1), 100),
        waiter("heavy", of(1), 5),
        waiter("light", of(2), 1),
        waiter("new", new(3), 1),
        waiter("new", new(4), 1),
        waiter("old", of(5), 1),
    ]);
    let order: Vec<&str> = when.borrow().iter().map(|(name, _)| *name).collect();
    assert_eq!(order[..4], ["heavy", "light", "new", "old"], "{:?}", when.borrow());
    assert_eq!(when.borrow()[3].1, 0);
}

#[test]
fn what_is_in_flight_is_waited_for() {
    let world = World::new();
    let queue = world.queue();
    let (caller, cost) = (world.caller(1), world.one("requests"));
    let permit = RefCell::new(Some(world.limiter.reserve(&caller, &cost).expect("a permit")));
    let holder = async {
        (queue.sleep)(Duration::from_millis(700)).await;
        let _ = permit.take().map(|permit| permit.settle(&cost));
    };
    let waiter = async {
        let reserved = queue.until_reserved(&caller, &cost, Duration::from_secs(60)).await;
        assert!(permit.borrow().is_none());
        let _ = reserved.expect("a permit").settle(&cost);
    };
    world.run(vec![Box::pin(holder), Box::pin(waiter)]);
    assert!(world.clock.elapsed() < 1_000_000_000, "looked at every quarter of a second");
}
