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
    decision::Receipt,
    limiter::{Caller, Permit},
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
    Admit(Box<Held>),
    Answer(Response<Bytes>),
}

/// How what a request asked for was charged.
#[expect(clippy::large_enum_variant, reason = "on its way to where it is kept")]
enum Charged {
    Finally(Receipt),
    Reserved(Permit<'static>),
}

impl Charged {
    fn of(permit: Permit<'_>) -> Charged {
        Charged::Reserved(permit.detach())
    }

    fn receipt(&self) -> Receipt {
        match self {
            Charged::Finally(receipt) => *receipt,
            Charged::Reserved(permit) => permit.receipt(),
        }
    }

    fn into_permit(self) -> Option<Permit<'static>> {
        match self {
            Charged::Finally(_) => None,
            Charged::Reserved(permit) => Some(permit),
        }
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
        let limiter = &settings.limiter;
        let decided = match (settings.spends, &wanted.attributes) {
            (false, Some(known)) => {
                limiter.reserve(&wanted.identity.with(known), &wanted.cost).map(Charged::of)
            }
            (false, None) => limiter.reserve(&wanted.identity, &wanted.cost).map(Charged::of),
            (true, Some(known)) => {
                limiter.check(&wanted.identity.with(known), &wanted.cost).map(Charged::Finally)
            }
            (true, None) => limiter.check(&wanted.identity, &wanted.cost).map(Charged::Finally),
        };
        match decided {
            Ok(charged) => {
                let receipt = charged.receipt();
                if let Some(audit) = &settings.audit {
                    audit.admitted(&wanted.identity, &wanted.cost, &receipt);
                }
                match charged {
                    Charged::Finally(_) if !settings.fields_on_success => Verdict::Pass,
                    charged => {
                        let permit = charged.into_permit();
                        let held = Held::new(permit, (wanted.identity, receipt), Arc::clone(settings));
                        Verdict::Admit(Box::new(held))
                    }
                }
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
