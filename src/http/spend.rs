//! A gate that charges finally. With nothing to settle when a response ends, responses stay as the service makes them: their
//! bodies are not wrapped, and frameworks that put bodies into boxes need no second one.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    fields,
    layer::Settings,
    service::{Charge, Verdict},
};
use crate::{
    decision::{Denial, Receipt},
    id::Identity,
    limiter::Caller,
    meter::Cost,
};

/// Puts a [`Spend`] before a service; made by [`GateLayer::spends`](super::GateLayer::spends). Cheap to clone.
#[derive(Clone)]
pub struct SpendLayer {
    settings: Arc<Settings>,
}

/// A service behind a limiter that charges each request finally; made by [`SpendLayer`].
///
/// An answer of ours is a body of the service's type, which is made of [`Bytes`], as that of axum can be.
#[derive(Clone)]
pub struct Spend<S> {
    inner: S,
    settings: Arc<Settings>,
}

pin_project! {
    /// The future of a [`Spend`]'s response.
    pub struct SpendFuture<F, B> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B> {
        Answer { response: Option<Response<B>> },
        Inner {
            #[pin]
            future: F,
            fields: Fields,
        },
    }
}

/// Where fields are to be put into the response: whose. Boxed, since futures are moved about.
type Fields = Option<Box<(Arc<Settings>, Identity)>>;

/// A request that was charged finally.
struct Spent {
    receipt: Receipt,
    fields: Fields,
}

impl Charge for Spent {
    #[inline]
    fn new(settings: &Arc<Settings>, caller: &impl Caller, cost: &Cost) -> Result<Spent, Denial> {
        let receipt = settings.limiter.check(caller, cost)?;
        let whose = || Box::new((Arc::clone(settings), *caller.identity()));
        Ok(Spent { receipt, fields: settings.fields_on_success.then(whose) })
    }

    fn receipt(&self) -> Receipt {
        self.receipt
    }
}

impl SpendLayer {
    pub(super) fn new(settings: Arc<Settings>) -> SpendLayer {
        SpendLayer { settings }
    }
}

impl<S> Layer<S> for SpendLayer {
    type Service = Spend<S>;

    fn layer(&self, inner: S) -> Spend<S> {
        Spend { inner, settings: Arc::clone(&self.settings) }
    }
}

impl<S, A, B> Service<Request<A>> for Spend<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: From<Bytes>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = SpendFuture<S::Future, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> SpendFuture<S::Future, B> {
        let (parts, body) = request.into_parts();
        let fields = match self.settings.judge::<Spent>(&parts) {
            Verdict::Pass => None,
            Verdict::Admit(spent) => spent.fields,
            Verdict::Answer(response) => {
                return SpendFuture { state: State::Answer { response: Some(response.map(B::from)) } };
            }
        };
        let future = self.inner.call(Request::from_parts(parts, body));
        SpendFuture { state: State::Inner { future, fields } }
    }
}

impl<F, B, E> Future for SpendFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().state.project() {
            // Polled after it was ready, which a future need not answer.
            StateProjection::Answer { response } => {
                response.take().map_or(Poll::Pending, |own| Poll::Ready(Ok(own)))
            }
            StateProjection::Inner { future, fields: None } => future.poll(context),
            StateProjection::Inner { future, fields } => {
                let mut response = ready!(future.poll(context));
                if let (Some(whose), Ok(response)) = (fields.take(), &mut response) {
                    fields::on_success(&whose.0, &whose.1, response.headers_mut());
                }
                Poll::Ready(response)
            }
        }
    }
}

impl fmt::Debug for SpendLayer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SpendLayer").field("limiter", &self.settings.limiter).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for Spend<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Spend").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<F, B> fmt::Debug for SpendFuture<F, B> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SpendFuture").finish_non_exhaustive()
    }
}
