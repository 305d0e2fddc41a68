//! The response's body, whose end is where a request is settled.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::usage::Held;

pin_project! {
    /// The body of a [`Gate`](super::Gate)'s response: the inner service's, or an answer.
    pub struct GateBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        Own { bytes: Option<Bytes> },
        Inner {
            #[pin]
            body: B,
            held: Option<Held>,
            // Bytes that the response says are still to come. A server asks a body for no more than that, and does not
            // poll it to its end.
            left: Option<u64>,
        },
    }
}

impl<B: Body> GateBody<B> {
    pub(super) fn own(bytes: Bytes) -> GateBody<B> {
        GateBody { kind: Kind::Own { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()) } }
    }

    pub(super) fn inner(body: B, mut held: Option<Held>, left: Option<u64>) -> GateBody<B> {
        // No server polls a body that is at its end from the start.
        if left == Some(0) || body.is_end_stream() {
            finish(&mut held);
        }
        GateBody { kind: Kind::Inner { body, held, left } }
    }
}

fn finish(held: &mut Option<Held>) {
    if let Some(held) = held.take() {
        held.finish();
    }
}

impl<B> Body for GateBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Own { bytes } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(B::Data::from(bytes)))))
            }
            KindProjection::Inner { mut body, held, left } => {
                let frame = ready!(body.as_mut().poll_frame(context));
                match &frame {
                    None => finish(held),
                    Some(Ok(frame)) => {
                        if let (Some(left), Some(data)) = (left.as_mut(), frame.data_ref()) {
                            *left = left.saturating_sub(data.remaining() as u64);
                        }
                        if *left == Some(0) || body.is_end_stream() {
                            finish(held);
                        }
                    }
                    // A body that fails has not ended: what is held is settled as one that was abandoned.
                    Some(Err(_)) => *held = None,
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own { bytes } => bytes.is_none(),
            Kind::Inner { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own { bytes } => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Inner { body, .. } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for GateBody<B> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("GateBody").finish_non_exhaustive()
    }
}
