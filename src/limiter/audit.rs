//! Where decisions are told, for whoever keeps a trail of them or counts them.

use crate::{
    decision::{Denial, Receipt},
    id::Identity,
    meter::Cost,
    path::Settlement,
};

/// Is told of decisions after they were made, by the layer of [`http`](crate::http) or by a server's own code.
///
/// The limiter itself calls nobody: a decision costs the same with and without. Each method is called on the thread that
/// serves the request, and must not block; what a trail stores is best put into a queue.
pub trait Audit: Send + Sync + 'static {
    /// A request was admitted, and `cost` charged or reserved.
    fn admitted(&self, caller: &Identity, cost: &Cost, receipt: &Receipt) {
        let _ = (caller, cost, receipt);
    }

    /// A request was denied; nothing was charged.
    fn denied(&self, caller: &Identity, cost: &Cost, denial: &Denial) {
        let _ = (caller, cost, denial);
    }

    /// A reservation came to `actual`.
    fn settled(&self, caller: &Identity, actual: &Cost, settlement: &Settlement) {
        let _ = (caller, actual, settlement);
    }
}

/// Both are told.
impl<A: Audit, B: Audit> Audit for (A, B) {
    fn admitted(&self, caller: &Identity, cost: &Cost, receipt: &Receipt) {
        self.0.admitted(caller, cost, receipt);
        self.1.admitted(caller, cost, receipt);
    }

    fn denied(&self, caller: &Identity, cost: &Cost, denial: &Denial) {
        self.0.denied(caller, cost, denial);
        self.1.denied(caller, cost, denial);
    }

    fn settled(&self, caller: &Identity, actual: &Cost, settlement: &Settlement) {
        self.0.settled(caller, actual, settlement);
        self.1.settled(caller, actual, settlement);
    }
}

impl<A: Audit + ?Sized> Audit for std::sync::Arc<A> {
    fn admitted(&self, caller: &Identity, cost: &Cost, receipt: &Receipt) {
        (**self).admitted(caller, cost, receipt);
    }

    fn denied(&self, caller: &Identity, cost: &Cost, denial: &Denial) {
        (**self).denied(caller, cost, denial);
    }

    fn settled(&self, caller: &Identity, actual: &Cost, settlement: &Settlement) {
        (**self).settled(caller, actual, settlement);
    }
}
