//! What an admitted request reports, and how it is settled.

use std::{fmt, sync::Arc};

use super::{layer::Settings, service::Charge};
use crate::{
    decision::{Denial, Receipt},
    id::Identity,
    limiter::{Caller, Reservation},
    meter::{Cost, MAX_METERS, Meter},
    sync::{AtomicU64, Ordering},
};

/// An admitted request, in its extensions: where a handler, or what streams its body, reports what it really takes.
///
/// Meters of which something is reported are settled with that, the others as reserved. `Clone`; all clones are of the same
/// request. What is reported after the body has ended is lost.
///
/// ```
/// # use tollgate::{Meter, http::Admitted};
/// fn stream(admitted: Admitted, output_tokens: Meter, answer: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
///     admitted.report(output_tokens, 0); // nothing yet: who goes away now pays for nothing
///     answer.inspect(move |_token| admitted.add(output_tokens, 1))
/// }
/// ```
#[derive(Clone)]
pub struct Admitted {
    request: Arc<Request>,
}

/// All that is kept of an admitted request, in one allocation. What is reported is written by whoever serves the request, and
/// read when it is settled. *Orderings*: a mark is stored with Release after its
/// amount and loaded with Acquire before it, so that a meter that is marked has an amount that was reported.
struct Request {
    settings: Arc<Settings>,
    identity: Identity,
    reservation: Reservation,
    amounts: [AtomicU64; MAX_METERS],
    /// A bit for each meter of which something was reported.
    told: AtomicU64,
}

impl Admitted {
    /// What was used of `meter` in all so far, in place of what was reported before.
    pub fn report(&self, meter: Meter, amount: u64) {
        if let Some(place) = self.request.amounts.get(meter.index()) {
            place.store(amount, Ordering::Relaxed);
            self.request.told.fetch_or(1 << meter.index(), Ordering::Release);
        }
    }

    /// What was used of `meter` besides what was reported before; 2^64 - 1 at most in all.
    pub fn add(&self, meter: Meter, amount: u64) {
        if let Some(place) = self.request.amounts.get(meter.index()) {
            let add = |sum: u64| Some(sum.saturating_add(amount));
            let _ = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
            self.request.told.fetch_or(1 << meter.index(), Ordering::Release);
        }
    }

    /// Who makes the request.
    pub fn identity(&self) -> &Identity {
        &self.request.identity
    }

    /// The receipt of the reservation: whether a soft threshold was passed, say.
    pub fn receipt(&self) -> Receipt {
        self.request.reservation.receipt()
    }
}

impl Request {
    /// What was reported, and what was reserved where nothing was; `None` where nothing was of any meter.
    fn actual(&self, reserved: &Cost) -> Option<Cost> {
        let told = self.told.load(Ordering::Acquire);
        let meters = (0..MAX_METERS).filter(|index| told >> index & 1 == 1).filter_map(Meter::from_index);
        let amount =
            |meter: Meter| self.amounts.get(meter.index()).map_or(0, |place| place.load(Ordering::Relaxed));
        (told != 0).then(|| meters.fold(*reserved, |cost, meter| cost.and(meter, amount(meter))))
    }

    /// Settles what was reserved. `ended`, or else the response has not and never will.
    fn settle(&self, ended: bool) {
        let (limiter, reservation) = (&self.settings.limiter, &self.reservation);
        let actual = match self.actual(reservation.reserved()) {
            Some(actual) => actual,
            None if ended => *reservation.reserved(),
            None => limiter.used_if_dropped(reservation),
        };
        let settlement = limiter.settle_apart(reservation, &actual);
        if let Some(audit) = &self.settings.audit {
            audit.settled(&self.identity, &actual, &settlement);
        }
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Admitted").field("receipt", &self.receipt()).finish_non_exhaustive()
    }
}

/// Settles one request: by [`finish`](Held::finish), or else by being dropped. There is one of it, whoever else looks at the
/// request.
pub(super) struct Held {
    request: Arc<Request>,
    settled: bool,
}

impl Charge for Held {
    #[inline]
    fn new(settings: &Arc<Settings>, caller: &impl Caller, cost: &Cost) -> Result<Held, Denial> {
        let mut reservation = Reservation::of(caller.identity());
        settings.limiter.reserve_apart(caller, cost, &mut reservation)?;
        let (settings, identity) = (Arc::clone(settings), *caller.identity());
        let (amounts, told) = (Default::default(), AtomicU64::new(0));
        let request = Request { settings, identity, reservation, amounts, told };
        Ok(Held { request: Arc::new(request), settled: false })
    }

    fn receipt(&self) -> Receipt {
        self.request.reservation.receipt()
    }
}

impl Held {
    pub(super) fn admitted(&self) -> Admitted {
        Admitted { request: Arc::clone(&self.request) }
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.request.identity
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.request.settings
    }

    /// The response has ended.
    pub(super) fn finish(mut self) {
        self.settled = true;
        self.request.settle(true);
    }
}

impl Drop for Held {
    /// The response has not ended and never will.
    fn drop(&mut self) {
        if !self.settled {
            self.request.settle(false);
        }
    }
}
