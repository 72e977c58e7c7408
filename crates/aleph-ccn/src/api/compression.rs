//! Answers made smaller on their way, for clients that ask for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{Response as HttpResponse, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::CompressionLevel;
use tower_http::compression::{CompressionLayer, Predicate};

/// Answers that are compressed at once. Each holds some hundred kilobytes; who comes when all places are
/// taken gets the answer as it is.
const AT_ONCE: usize = 256;

/// Smaller bodies fit a packet anyway.
const WORTH: u64 = 1024;

/// What is worth it: JSON and texts of some length, whole. Files are what they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Worth;

impl Predicate for Worth {
    fn should_compress<B: HttpBody>(&self, response: &HttpResponse<B>) -> bool {
        let headers = response.headers();
        if headers.contains_key(header::CONTENT_RANGE) {
            return false;
        }
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_text = kind.starts_with("application/json")
            || (kind.starts_with("text/") && !kind.starts_with("text/event-stream"));
        is_text && response.body().size_hint().exact().is_none_or(|size| size >= WORTH)
    }
}

/// The layer that compresses.
pub(super) fn layer() -> CompressionLayer<Worth> {
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(Worth)
}

/// Places for answers that are being compressed.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// Holds a place for as long as a compressed answer is on its way.
pub(super) async fn bounded(State(places): State<Places>, mut request: Request, next: Next) -> Response {
    if !request.headers().contains_key(header::ACCEPT_ENCODING) {
        return next.run(request).await;
    }
    let place = Arc::clone(&places.0).try_acquire_owned().ok();
    if place.is_none() {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    let mut response = next.run(request).await;
    super::conditional::weaken(response.headers_mut());
    match place.filter(|_| response.headers().contains_key(header::CONTENT_ENCODING)) {
        Some(place) => response.map(|body| Body::new(Held { body, _place: place })),
        None => response,
    }
}

/// A body with the place that it holds.
struct Held {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
