//! Permits: what was reserved and is settled later.

use std::{fmt, sync::Arc};

use super::{
    Caller, Shared,
    dry::{Beside, BesideHold},
    observe::hash_of,
};
use crate::{
    decision::{Denial, Receipt},
    evidence::Member,
    meter::Cost,
    path::{Hold, Settlement},
    sync::Ordering,
    time::Nanos,
};

/// A reservation, to be settled when the real cost is known.
///
/// Dropped without a word, it does what the policy's `on_drop` says: gives back all it can, as [`settle`](Permit::settle)
/// with [`Cost::FREE`] does, or leaves all of it charged, as one with [`reserved`](Permit::reserved) does. What it holds in
/// flight it lets go either way. While it is open it keeps its account's and organization's place in the tables.
///
/// At most 512 bytes (`limiter::tests::sizes`), without a heap: one for each stream that is open.
#[must_use = "a permit that is dropped is settled as the policy's `on_drop` says"]
pub struct Permit<'a> {
    limiter: Handle<'a>,
    receipt: Receipt,
    reserved: Cost,
    hold: Hold,
    /// The hash of the organization, 0 for none, where the request was observed.
    organization: u64,
    observed: bool,
    /// What decides beside has reserved.
    beside: Option<Box<BesideHold>>,
    open: bool,
}

/// The limiter, borrowed or kept alive.
enum Handle<'a> {
    Borrowed(&'a Arc<Shared>),
    Owned(Arc<Shared>),
}

impl Handle<'_> {
    fn shared(&self) -> &Arc<Shared> {
        match self {
            Handle::Borrowed(shared) => shared,
            Handle::Owned(shared) => shared,
        }
    }
}

impl<'a> Permit<'a> {
    pub(super) fn reserve(
        shared: &'a Arc<Shared>,
        caller: &impl Caller,
        estimate: &Cost,
        now: impl FnOnce() -> Nanos,
    ) -> Result<Permit<'a>, Denial> {
        let mut hold = Hold::new(caller.identity());
        let receipt = shared.decide_for(caller, estimate, now, &mut hold)?;
        let observed = caller.attributes().is_some();
        let organization = if observed { hash_of(caller.identity().organization.as_ref()) } else { 0 };
        let limiter = Handle::Borrowed(shared);
        let beside = hold.book().filter(|book| book.beside.is_some()).and_then(Beside::of);
        let beside = beside.and_then(|beside| beside.reserve(caller.identity(), estimate, receipt.at()));
        Ok(Permit { limiter, receipt, reserved: *estimate, hold, organization, observed, beside, open: true })
    }

    /// The receipt of the reservation.
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }

    /// What was reserved.
    pub fn reserved(&self) -> &Cost {
        &self.reserved
    }

    /// The same permit, keeping the limiter alive by itself: for a stream that outlives its request handler.
    pub fn detach(mut self) -> Permit<'static> {
        self.open = false;
        Permit {
            limiter: Handle::Owned(Arc::clone(self.limiter.shared())),
            receipt: self.receipt,
            reserved: self.reserved,
            hold: self.hold.clone(),
            organization: self.organization,
            observed: self.observed,
            beside: self.beside.take(),
            open: true,
        }
    }

    /// Replaces the reservation by what was really used, on every line that was charged.
    ///
    /// Less than was reserved is given back, to a rate bucket as far as that mints nothing, to a quota only in the
    /// window that was charged. More is charged whatever the limits say, to a rate bucket down to `max_debt` below
    /// empty. What could not be done to the token is in the answer.
    pub fn settle(self, actual: &Cost) -> Settlement {
        let now = self.limiter.shared().now();
        self.settle_at(actual, now)
    }

    /// [`settle`](Permit::settle) by a clock that was read before, or by the limiter's where that is later: what is given
    /// back depends on it.
    pub fn settle_at(mut self, actual: &Cost, now: Nanos) -> Settlement {
        if let Some(beside) = self.beside.take() {
            beside.settle(Some(actual), now);
        }
        self.close(actual, now)
    }

    /// What it would be settled with if it were dropped.
    pub(crate) fn if_dropped(&self) -> Cost {
        self.limiter.shared().books.with(|book| book.plan.on_drop).used(&self.reserved)
    }

    fn close(&mut self, actual: &Cost, now: Nanos) -> Settlement {
        if !std::mem::replace(&mut self.open, false) {
            return Settlement::default();
        }
        let shared = self.limiter.shared();
        let (amounts, clock) = ((&self.reserved, actual), || shared.now().as_u64());
        let settlement = shared.books.with(|book| {
            let latest = || if book.is_latest() { Arc::clone(book) } else { shared.books.copy() };
            self.hold.settle(&shared.lines, latest, amounts, &shared.moment(book, now), clock)
        });
        if let (true, Some((slot, generation))) = (self.observed, self.hold.account()) {
            let member = Member { slot, generation };
            shared.observe_settled(member, self.organization, actual, now.as_u64());
        }
        let counters = &shared.counters;
        for (happened, counter) in [
            (settlement.any_clipped(), &counters.clipped_refunds),
            (settlement.any_cut(), &counters.cut_overages),
            (settlement.stale(), &counters.stale_settles),
        ] {
            if happened {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
        settlement
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.open {
            let (actual, now) = (self.if_dropped(), self.limiter.shared().now());
            if let Some(beside) = self.beside.take() {
                beside.settle(None, now);
            }
            self.close(&actual, now);
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Permit")
            .field("receipt", &self.receipt)
            .field("reserved", &self.reserved)
            .finish_non_exhaustive()
    }
}
