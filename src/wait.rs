//! Waiting until a request is admitted, on any runtime. Needs the feature `wait`.
//!
//! A denial says to the nanosecond when its refusal passes, so there is nothing to poll: a [`Queue`] sleeps until then. It
//! takes its timer from whoever makes it, and starts no task and no thread.
//!
//! Those who were refused on the same meter by limits of the same account, organization, pool or tier wait in turn, as they
//! came. Only the first of them has a time to come back at; when it is admitted, or gives up, it wakes the next. So a thousand
//! that wait for one account cost one decision for each admission, and not a thousand at once whenever a token comes. Who wants
//! nothing of that meter is not held up; nor, by those whom a total's `light_reserve` refuses, who has taken little.
//!
//! ```
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! # runtime.block_on(async {
//! use std::time::Duration;
//! use tollgate::{Cost, Limiter, Plan, wait::Queue};
//! # let plan = Plan::from_toml(
//! #     r#"
//! #     version = 1
//! #     meters = ["requests"]
//! #     tiers.free = { total = "unlimited", account.requests = { rate = "100/s", burst = 1 } }
//! #     "#,
//! # )?;
//!
//! let limiter = Limiter::builder(plan).build()?;
//! let queue = Queue::new(limiter.clone(), tokio::time::sleep);
//! let caller = limiter.identity(limiter.tier("free").unwrap(), "acct_17");
//! let cost = Cost::of(limiter.meter("requests").unwrap(), 1);
//!
//! for _ in 0..3 {
//!     queue.until_admitted(&caller, &cost, Duration::from_secs(1)).await?;
//! }
//! // What can't be in time is said at once.
//! assert!(queue.until_admitted(&caller, &cost, Duration::ZERO).await.is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```

// The tests' policy is text.
#[cfg(all(test, feature = "toml"))]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    decision::{Denial, Level, Receipt, Retry},
    id::{Identity, Key},
    limiter::{Caller, Limiter, Permit},
    meter::{Cost, Meter},
    sync::Mutex,
};

/// What waits for a permit in flight looks again after so long, then after twice that, up to [`SLOWEST_LOOK`]: no clock
/// tells when one is let go.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const SLOWEST_LOOK: Duration = Duration::from_millis(256);

/// Where those wait who were denied.
///
/// Clones are the same queue. Its memory is by how many wait. `sleep` makes a future that is ready after so long, such as
/// `tokio::time::sleep`.
#[derive(Clone)]
pub struct Queue<S> {
    limiter: Limiter,
    sleep: S,
    lines: Arc<Mutex<Lines>>,
}

/// Whose limits refused, an account's, an organization's, a tier's; on which meter; and whether they had so much and kept it.
type Place = (Level, [u64; 2], u8, Option<Meter>, bool);

#[derive(Default)]
struct Lines {
    /// By place, who waits there, as they came. None is empty.
    waiting: HashMap<Place, VecDeque<Waiter>>,
    next: u64,
}

struct Waiter {
    number: u64,
    waker: Option<Waker>,
}

impl<S, T> Queue<S>
where
    S: Fn(Duration) -> T,
    T: Future<Output = ()>,
{
    /// A queue before `limiter`.
    pub fn new(limiter: Limiter, sleep: S) -> Queue<S> {
        Queue { limiter, sleep, lines: Arc::default() }
    }

    /// Waits until `cost` has been charged ([`Limiter::check`]), for `deadline` from now at most.
    ///
    /// Dropped before it is ready, it has charged nothing.
    ///
    /// # Errors
    ///
    /// The latest denial, as soon as it is certain that there is none but a denial in time. Who stands behind others is told when
    /// its turn comes, or at its deadline.
    pub async fn until_admitted(
        &self,
        caller: &impl Caller,
        cost: &Cost,
        deadline: Duration,
    ) -> Result<Receipt, Denial> {
        self.until(caller.identity(), cost, deadline, || self.limiter.check(caller, cost)).await
    }

    /// Waits until `estimate` has been reserved ([`Limiter::reserve`]), for `deadline` from now at most.
    ///
    /// Dropped before it is ready, it holds nothing.
    ///
    /// # Errors
    ///
    /// As for [`until_admitted`](Queue::until_admitted).
    pub async fn until_reserved(
        &self,
        caller: &impl Caller,
        estimate: &Cost,
        deadline: Duration,
    ) -> Result<Permit<'static>, Denial> {
        let reserve = || self.limiter.reserve(caller, estimate).map(Permit::detach);
        self.until(caller.identity(), estimate, deadline, reserve).await
    }

    async fn until<A>(
        &self,
        caller: &Identity,
        cost: &Cost,
        deadline: Duration,
        decide: impl Fn() -> Result<A, Denial>,
    ) -> Result<A, Denial> {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let end = self.limiter.now().as_u64().saturating_add(nanos(deadline));
        let left = || Duration::from_nanos(end.saturating_sub(self.limiter.now().as_u64()));
        let mut look = FIRST_LOOK;
        // Who comes while others wait for the same stands behind them.
        let mut turn = self.behind_others(caller, cost);
        loop {
            if let Some(turn) = &turn
                && !turn.comes_before((self.sleep)(left())).await
            {
                return decide();
            }
            let denial = match decide() {
                Ok(admitted) => return Ok(admitted),
                Err(denial) => denial,
            };
            let wait = match denial.retry() {
                Retry::After(wait) => wait,
                Retry::OnRelease => {
                    let next = SLOWEST_LOOK.min(2 * look);
                    std::mem::replace(&mut look, next)
                }
                Retry::Never => return Err(denial),
            };
            if wait > left() {
                return Err(denial);
            }
            let place = self.place_of(&denial, caller);
            if turn.as_ref().is_none_or(|turn| turn.place != place) {
                let (next, is_first) = self.join(place);
                turn = Some(next);
                if !is_first {
                    continue;
                }
            }
            (self.sleep)(wait).await;
        }
    }

    /// A place behind those who wait for what the caller will want too.
    fn behind_others(&self, caller: &Identity, cost: &Cost) -> Option<Turn<'_>> {
        let mut lines = self.lines.lock();
        if lines.waiting.is_empty() {
            return None;
        }
        let levels = [Level::Account, Level::Organization, Level::Pool, Level::Tier].into_iter();
        let levels = levels.filter(|level| *level != Level::Pool || self.limiter.pays_pool(caller));
        // What was withheld from others may not be from this one: it asks.
        let places = |level| cost.spent().map(move |meter| place(level, caller, Some(meter), false));
        let place = levels.flat_map(places).find(|place| lines.waiting.contains_key(place))?;
        Some(self.stand(&mut lines, place).0)
    }

    fn place_of(&self, denial: &Denial, caller: &Identity) -> Place {
        let meter = self.limiter.meter(denial.meter().as_str());
        place(denial.level(), caller, meter, denial.withheld())
    }

    fn join(&self, place: Place) -> (Turn<'_>, bool) {
        self.stand(&mut self.lines.lock(), place)
    }

    fn stand(&self, lines: &mut Lines, place: Place) -> (Turn<'_>, bool) {
        let number = lines.next;
        lines.next += 1;
        let line = lines.waiting.entry(place).or_default();
        line.push_back(Waiter { number, waker: None });
        (Turn { lines: &self.lines, place, number }, line.len() == 1)
    }
}

fn place(level: Level, caller: &Identity, meter: Option<Meter>, withheld: bool) -> Place {
    let of = |level, key: &Key| (level, key.words, key.kind, meter, withheld);
    match (level, &caller.organization) {
        (Level::Organization, Some(key)) => of(level, key),
        (Level::Pool | Level::Tier, _) => (level, [0; 2], caller.tier.as_u8(), meter, withheld),
        // Of a cohort nobody knows the others.
        _ => of(Level::Account, &caller.account),
    }
}

/// A place in a line; given up when it is dropped.
struct Turn<'a> {
    lines: &'a Mutex<Lines>,
    place: Place,
    number: u64,
}

impl Turn<'_> {
    /// Whether one is the first in line before `end` is ready.
    async fn comes_before(&self, end: impl Future<Output = ()>) -> bool {
        let mut end = pin!(end);
        poll_fn(|context| match self.poll_first(context) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => end.as_mut().poll(context).map(|()| false),
        })
        .await
    }

    fn poll_first(&self, context: &Context<'_>) -> Poll<()> {
        let mut lines = self.lines.lock();
        let line = lines.waiting.entry(self.place).or_default();
        match line.binary_search_by_key(&self.number, |waiter| waiter.number) {
            Ok(before) if before > 0 => {
                if let Some(waiter) = line.get_mut(before) {
                    waiter.waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
            Ok(_) | Err(_) => Poll::Ready(()),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        let Some(line) = lines.waiting.get_mut(&self.place) else { return };
        if let Ok(before) = line.binary_search_by_key(&self.number, |waiter| waiter.number) {
            line.remove(before);
            let next = if before == 0 { line.front_mut().and_then(|next| next.waker.take()) } else { None };
            if line.is_empty() {
                lines.waiting.remove(&self.place);
            }
            drop(lines);
            if let Some(next) = next {
                next.wake();
            }
        }
    }
}

impl<S> fmt::Debug for Queue<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting: usize = self.lines.lock().waiting.values().map(VecDeque::len).sum();
        out.debug_struct("Queue").field("waiting", &waiting).finish_non_exhaustive()
    }
}
