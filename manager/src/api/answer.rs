//! An answer that is under way, and what is kept until its end.

use http::response::Parts;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::body::Body;

/// An answer that is under way.
pub(super) type Answer<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

/// What is kept until an answer has been sent or given up; it is dropped then.
pub(super) trait Kept: Send + Unpin + 'static {
    /// Hears the trailers, when the answer has come to them.
    fn hear(&mut self, _trailers: &HeaderMap) {}
}

/// The answer of these parts, until whose end `kept` is kept.
pub(super) fn keeping(head: Parts, body: Body, kept: impl Kept) -> Response<Body> {
    Response::from_parts(head, Body::new(Keeping { body, kept }))
}

struct Keeping<K> {
    body: Body,
    kept: K,
}

impl<K: Kept> HttpBody for Keeping<K> {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            self.kept.hear(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
