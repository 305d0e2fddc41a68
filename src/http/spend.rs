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

use super::{fields, layer::Settings, service::Verdict, usage::Held};

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
            // Where fields are to be put into the response.
            held: Option<Held>,
        },
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
        let held = match self.settings.judge(&parts) {
            Verdict::Pass => None,
            Verdict::Admit(held) => Some(held),
            Verdict::Answer(response) => {
                return SpendFuture { state: State::Answer { response: Some(response.map(B::from)) } };
            }
        };
        let future = self.inner.call(Request::from_parts(parts, body));
        SpendFuture { state: State::Inner { future, held } }
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
            StateProjection::Inner { future, held: None } => future.poll(context),
            StateProjection::Inner { future, held } => {
                let mut response = ready!(future.poll(context));
                if let (Some(held), Ok(response)) = (held.take(), &mut response) {
                    fields::on_success(&held, response.headers_mut());
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
