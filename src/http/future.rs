//! The response on its way: ours, or the inner service's with what was reserved for it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{body::GateBody, fields, usage::Held};

pin_project! {
    /// The future of a [`Gate`](super::Gate)'s response. Dropped before it is ready, it settles as the module says.
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Answer { response: Option<Response<Bytes>> },
        Inner {
            #[pin]
            future: F,
            held: Option<Held>,
            is_head: bool,
        },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn answer(response: Response<Bytes>) -> ResponseFuture<F> {
        ResponseFuture { state: State::Answer { response: Some(response) } }
    }

    pub(super) fn inner(future: F, held: Option<Held>, is_head: bool) -> ResponseFuture<F> {
        ResponseFuture { state: State::Inner { future, held, is_head } }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    B::Data: From<Bytes>,
{
    type Output = Result<Response<GateBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Answer { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response.map(GateBody::own))),
                // Polled after it was ready, which a future need not answer.
                None => Poll::Pending,
            },
            StateProjection::Inner { future, held, is_head } => {
                let response = ready!(future.poll(context));
                let held = held.take();
                // Where the service failed, what was held is dropped here, and so settled.
                let mut response = response?;
                if let Some(held) = &held {
                    fields::on_success(held.settings(), held.identity(), response.headers_mut());
                }
                let length = match &held {
                    // Nothing is to be settled at its end.
                    None => None,
                    Some(_) if *is_head => Some(0),
                    // What the body knows of itself is sooner asked than a field.
                    Some(_) => {
                        let exact = response.body().size_hint().exact();
                        exact.or_else(|| fields::content_length(response.headers()))
                    }
                };
                Poll::Ready(Ok(response.map(|body| GateBody::inner(body, held, length))))
            }
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
