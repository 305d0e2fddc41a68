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
    limiter::Caller,
    meter::Cost,
};

/// What a gate keeps of a request that it has charged.
pub(super) trait Charge: Sized {
    fn new(settings: &Arc<Settings>, caller: &impl Caller, cost: &Cost) -> Result<Self, Denial>;

    fn receipt(&self) -> Receipt;
}

/// A service behind a limiter; made by [`GateLayer`](super::GateLayer).
#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    settings: Arc<Settings>,
}

/// What becomes of a request.
pub(super) enum Verdict<C> {
    Pass,
    Admit(C),
    Answer(Response<Bytes>),
}

impl Settings {
    pub(super) fn judge<C: Charge>(self: &Arc<Self>, parts: &Parts) -> Verdict<C> {
        let asked = self.extract.extract(parts);
        let wanted = match asked.as_ref().map(Ask::wanted) {
            Ok(Some(wanted)) => wanted,
            Ok(None) => return Verdict::Pass,
            Err(rejection) => return Verdict::Answer(answer::rejected(rejection, Protocol::of(parts))),
        };
        let decided = match &wanted.attributes {
            Some(known) => C::new(self, &wanted.identity.with(known), &wanted.cost),
            None => C::new(self, &wanted.identity, &wanted.cost),
        };
        match decided {
            Ok(charge) => {
                if let Some(audit) = &self.audit {
                    audit.admitted(&wanted.identity, &wanted.cost, &charge.receipt());
                }
                Verdict::Admit(charge)
            }
            Err(denial) => {
                if let Some(audit) = &self.audit {
                    audit.denied(&wanted.identity, &wanted.cost, &denial);
                }
                Verdict::Answer(answer::denied(self, &denial, wanted, Protocol::of(parts)))
            }
        }
    }
}

impl<S> Gate<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Gate<S> {
        Gate { inner, settings }
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
        let held = match self.settings.judge::<Held>(&parts) {
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
