//! The service: asks, reserves, and lets pass or answers.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, request::Parts};
use http_body::Body;
use tower_service::Service;

use super::{
    answer::{self, Protocol},
    body::GateBody,
    extract::Ask,
    future::ResponseFuture,
    layer::Settings,
    usage::Held,
};
use crate::{
    decision::{Denial, Receipt},
    limiter::{Caller, Reservation},
    meter::Cost,
};

/// A service behind a limiter; made by [`GateLayer`](super::GateLayer).
#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    settings: Arc<Settings>,
}

/// What becomes of a request.
enum Verdict {
    Pass,
    Admit(Held),
    Answer(Response<Bytes>),
}

impl Settings {
    /// Charges what a request asks for, finally or by a permit.
    fn charge(&self, caller: &impl Caller, cost: &Cost) -> Result<(Receipt, Option<Reservation>), Denial> {
        if self.spends {
            return self.limiter.check(caller, cost).map(|receipt| (receipt, None));
        }
        let reservation = self.limiter.reserve_apart(caller, cost)?;
        Ok((reservation.receipt(), Some(reservation)))
    }
}

impl<S> Gate<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Gate<S> {
        Gate { inner, settings }
    }

    fn judge(&self, parts: &Parts) -> Verdict {
        let settings = &self.settings;
        let wanted = match settings.extract.extract(parts).map(Ask::into_wanted) {
            Ok(Some(wanted)) => wanted,
            Ok(None) => return Verdict::Pass,
            Err(rejection) => return Verdict::Answer(answer::rejected(&rejection, Protocol::of(parts))),
        };
        let decided = match &wanted.attributes {
            Some(known) => settings.charge(&wanted.identity.with(known), &wanted.cost),
            None => settings.charge(&wanted.identity, &wanted.cost),
        };
        match decided {
            Ok((receipt, reservation)) => {
                if let Some(audit) = &settings.audit {
                    audit.admitted(&wanted.identity, &wanted.cost, &receipt);
                }
                if reservation.is_none() && !settings.fields_on_success {
                    return Verdict::Pass;
                }
                Verdict::Admit(Held::new(reservation, (wanted.identity, receipt), Arc::clone(settings)))
            }
            Err(denial) => {
                if let Some(audit) = &settings.audit {
                    audit.denied(&wanted.identity, &wanted.cost, &denial);
                }
                Verdict::Answer(answer::denied(settings, &denial, &wanted, Protocol::of(parts)))
            }
        }
    }
}

impl<S, A, B> Service<Request<A>> for Gate<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body,
    B::Data: From<Bytes>,
{
    type Response = Response<GateBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> ResponseFuture<S::Future> {
        let (mut parts, body) = request.into_parts();
        let held = match self.judge(&parts) {
            Verdict::Pass => None,
            Verdict::Admit(held) => {
                parts.extensions.insert(held.admitted());
                Some(held)
            }
            Verdict::Answer(response) => return ResponseFuture::answer(response),
        };
        let is_head = parts.method == Method::HEAD;
        ResponseFuture::inner(self.inner.call(Request::from_parts(parts, body)), held, is_head)
    }
}

impl<S: fmt::Debug> fmt::Debug for Gate<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gate").field("inner", &self.inner).finish_non_exhaustive()
    }
}
