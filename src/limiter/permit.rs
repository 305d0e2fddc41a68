//! Permits: what was reserved and is settled later.

use std::{fmt, sync::Arc};

use super::{
    Caller, Limiter, Shared,
    dry::{Beside, BesideHold},
    observe::hash_of,
};
use crate::{
    decision::{Denial, Receipt, Told},
    evidence::Member,
    id::{Identity, Zone},
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
    /// Until it is settled, which consumes the permit.
    reservation: Option<Reservation>,
}

/// What a permit is of, without the limiter. Whoever has it settles it once, or it stays charged and in flight.
pub(crate) struct Reservation {
    receipt: Receipt,
    reserved: Cost,
    hold: Hold,
    /// The hash of the organization, 0 for none, where the request was observed.
    organization: u64,
    observed: bool,
    /// What the caller's quotas follow.
    zone: Zone,
    /// What decides beside has reserved.
    beside: Option<Box<BesideHold>>,
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

impl Limiter {
    /// [`reserve`](Limiter::reserve), for who keeps the limiter by itself.
    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn reserve_apart(
        &self,
        caller: &impl Caller,
        estimate: &Cost,
        reservation: &mut Reservation,
    ) -> Result<(), Denial> {
        reservation.reserve(&self.shared, caller, estimate, || self.now())
    }

    /// Settles what was reserved apart.
    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn settle_apart(&self, reservation: &Reservation, actual: &Cost) -> Settlement {
        reservation.settle(&self.shared, actual, Some(actual), None)
    }

    /// What it is settled with where nobody knows what was used.
    #[cfg(feature = "tower")]
    pub(crate) fn used_if_dropped(&self, reservation: &Reservation) -> Cost {
        reservation.if_dropped(&self.shared)
    }
}

impl Reservation {
    /// Of nothing yet, to be [made](Reservation::reserve) where it stays: it is large.
    #[inline]
    pub(crate) fn of(identity: &Identity) -> Reservation {
        Reservation {
            receipt: Receipt { at: 0, told: Told::default() },
            reserved: Cost::FREE,
            hold: Hold::new(identity),
            organization: 0,
            observed: false,
            zone: identity.zone,
            beside: None,
        }
    }

    /// Reserves for the caller that it was made of.
    #[inline]
    fn reserve(
        &mut self,
        shared: &Shared,
        caller: &impl Caller,
        estimate: &Cost,
        now: impl FnOnce() -> Nanos,
    ) -> Result<(), Denial> {
        self.receipt = shared.decide_for(caller, estimate, now, &mut self.hold)?;
        self.reserved = *estimate;
        if caller.attributes().is_some() {
            self.observed = true;
            self.organization = hash_of(caller.identity().organization.as_ref());
        }
        let beside = self.hold.book().filter(|book| book.beside.is_some()).and_then(Beside::of);
        self.beside =
            beside.and_then(|beside| beside.reserve(caller.identity(), estimate, self.receipt.at()));
        Ok(())
    }

    #[cfg(feature = "tower")]
    pub(crate) fn receipt(&self) -> Receipt {
        self.receipt
    }

    #[cfg(feature = "tower")]
    pub(crate) fn reserved(&self) -> &Cost {
        &self.reserved
    }

    fn if_dropped(&self, shared: &Shared) -> Cost {
        shared.books.with(|book| book.plan.on_drop).used(&self.reserved)
    }

    /// Settles it with `actual`, what decides beside with `told`; at the earliest at `now`.
    fn settle(&self, shared: &Shared, actual: &Cost, told: Option<&Cost>, now: Option<Nanos>) -> Settlement {
        if let Some(beside) = &self.beside {
            beside.settle(told, now);
        }
        let (amounts, clock) = ((&self.reserved, actual), || shared.now().as_u64());
        let book = shared.books.take();
        let moment = shared.moment_in(&book, self.zone, now.unwrap_or(Nanos::new(0)));
        let settlement =
            self.hold.settle(&shared.lines, (&book, || shared.books.copy()), amounts, &moment, clock);
        shared.books.keep(book);
        if let (true, Some((slot, generation))) = (self.observed, self.hold.account()) {
            let member = Member { slot, generation };
            let now = now.unwrap_or_else(|| shared.now());
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

impl<'a> Permit<'a> {
    #[inline]
    pub(super) fn reserve(
        shared: &'a Arc<Shared>,
        caller: &impl Caller,
        estimate: &Cost,
        now: impl FnOnce() -> Nanos,
    ) -> Result<Permit<'a>, Denial> {
        let mut reservation = Reservation::of(caller.identity());
        reservation.reserve(shared, caller, estimate, now)?;
        Ok(Permit { limiter: Handle::Borrowed(shared), reservation: Some(reservation) })
    }

    /// The receipt of the reservation.
    pub fn receipt(&self) -> Receipt {
        let none = Receipt { at: 0, told: Told::default() };
        self.reservation.as_ref().map_or(none, |reservation| reservation.receipt)
    }

    /// What was reserved.
    pub fn reserved(&self) -> &Cost {
        self.reservation.as_ref().map_or(&Cost::FREE, |reservation| &reservation.reserved)
    }

    /// The same permit, keeping the limiter alive by itself: for a stream that outlives its request handler.
    pub fn detach(mut self) -> Permit<'static> {
        let limiter = Handle::Owned(Arc::clone(self.limiter.shared()));
        Permit { limiter, reservation: self.reservation.take() }
    }

    /// Replaces the reservation by what was really used, on every line that was charged.
    ///
    /// Less than was reserved is given back, to a rate bucket as far as that mints nothing, to a quota only in the
    /// window that was charged. More is charged whatever the limits say, to a rate bucket down to `max_debt` below
    /// empty. What could not be done to the token is in the answer.
    pub fn settle(mut self, actual: &Cost) -> Settlement {
        self.close(actual, None)
    }

    /// [`settle`](Permit::settle) by a clock that was read before, or by the limiter's where that is later: what is given
    /// back depends on it.
    pub fn settle_at(mut self, actual: &Cost, now: Nanos) -> Settlement {
        self.close(actual, Some(now))
    }

    fn close(&mut self, actual: &Cost, now: Option<Nanos>) -> Settlement {
        let Some(reservation) = &self.reservation else { return Settlement::default() };
        let settlement = reservation.settle(self.limiter.shared(), actual, Some(actual), now);
        // In its place: it is large.
        self.reservation = None;
        settlement
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(reservation) = &self.reservation {
            let shared = self.limiter.shared();
            reservation.settle(shared, &reservation.if_dropped(shared), None, None);
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Permit")
            .field("receipt", &self.receipt())
            .field("reserved", self.reserved())
            .finish_non_exhaustive()
    }
}
