//! What an admitted request reports, and how it is settled.

use std::{fmt, sync::Arc};

use super::layer::Settings;
use crate::{
    decision::Receipt,
    id::Identity,
    limiter::Permit,
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
    report: Arc<Report>,
}

/// Written by whoever serves the request, read when it is settled. *Orderings*: a mark is stored with Release after its
/// amount and loaded with Acquire before it, so that a meter that is marked has an amount that was reported.
struct Report {
    identity: Identity,
    receipt: Receipt,
    amounts: [AtomicU64; MAX_METERS],
    /// A bit for each meter of which something was reported.
    told: AtomicU64,
}

impl Admitted {
    /// What was used of `meter` in all so far, in place of what was reported before.
    pub fn report(&self, meter: Meter, amount: u64) {
        if let Some(place) = self.report.amounts.get(meter.index()) {
            place.store(amount, Ordering::Relaxed);
            self.report.told.fetch_or(1 << meter.index(), Ordering::Release);
        }
    }

    /// What was used of `meter` besides what was reported before.
    pub fn add(&self, meter: Meter, amount: u64) {
        if let Some(place) = self.report.amounts.get(meter.index()) {
            place.fetch_add(amount, Ordering::Relaxed);
            self.report.told.fetch_or(1 << meter.index(), Ordering::Release);
        }
    }

    /// Who makes the request.
    pub fn identity(&self) -> &Identity {
        &self.report.identity
    }

    /// The receipt of the reservation: whether a soft threshold was passed, say.
    pub fn receipt(&self) -> Receipt {
        self.report.receipt
    }

    /// What was reported, and what was reserved where nothing was; `None` where nothing was of any meter.
    fn actual(&self, reserved: &Cost) -> Option<Cost> {
        let told = self.report.told.load(Ordering::Acquire);
        let meters = (0..MAX_METERS).filter(|index| told >> index & 1 == 1).filter_map(Meter::from_index);
        let amount = |meter: Meter| {
            self.report.amounts.get(meter.index()).map_or(0, |place| place.load(Ordering::Relaxed))
        };
        (told != 0).then(|| meters.fold(*reserved, |cost, meter| cost.and(meter, amount(meter))))
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Admitted").field("receipt", &self.report.receipt).finish_non_exhaustive()
    }
}

/// The reservation of one request, until it is settled: by [`finish`](Held::finish), or else by being dropped.
pub(super) struct Held {
    permit: Option<Permit<'static>>,
    admitted: Admitted,
    settings: Arc<Settings>,
}

impl Held {
    /// Of what was charged finally, there is no permit.
    pub(super) fn new(
        permit: Option<Permit<'static>>,
        (identity, receipt): (Identity, Receipt),
        settings: Arc<Settings>,
    ) -> Held {
        let (amounts, told) = (Default::default(), AtomicU64::new(0));
        let report = Report { identity, receipt, amounts, told };
        Held { permit, admitted: Admitted { report: Arc::new(report) }, settings }
    }

    pub(super) fn admitted(&self) -> Admitted {
        self.admitted.clone()
    }

    pub(super) fn identity(&self) -> &Identity {
        self.admitted.identity()
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The response has ended.
    pub(super) fn finish(mut self: Box<Self>) {
        if let Some(permit) = self.permit.take() {
            let actual = self.admitted.actual(permit.reserved()).unwrap_or(*permit.reserved());
            self.settle(permit, &actual);
        }
    }

    fn settle(&self, permit: Permit<'static>, actual: &Cost) {
        let settlement = permit.settle(actual);
        if let Some(audit) = &self.settings.audit {
            audit.settled(self.admitted.identity(), actual, &settlement);
        }
    }
}

impl Drop for Held {
    /// The response has not ended and never will.
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let actual = match self.admitted.actual(permit.reserved()) {
                Some(actual) => actual,
                None => permit.if_dropped(),
            };
            self.settle(permit, &actual);
        }
    }
}
