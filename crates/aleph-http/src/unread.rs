//! Bodies that a handler did not read to their end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::oneshot;

/// Most bytes of an unread body that are thrown away so that the client reads the answer.
const MOST: u64 = 64 * 1024 * 1024;

/// Longest time for it.
const LONGEST: Duration = Duration::from_secs(10);

/// A request's body that is handed back if it is dropped before its end.
pub(crate) struct Watched {
    body: Option<Incoming>,
    back: Option<oneshot::Sender<Incoming>>,
}

/// Where the unread rest of a body arrives.
pub(crate) struct Rest(oneshot::Receiver<Incoming>);

pub(crate) fn watch(request: Request<Incoming>) -> (Request<Watched>, Rest) {
    let (back, rest) = oneshot::channel();
    (request.map(|body| Watched { body: Some(body), back: Some(back) }), Rest(rest))
}

impl Rest {
    /// Reads what is left, within bounds; nothing to do when the body was read, or is still being read by
    /// the answer.
    pub(crate) async fn discard(mut self) {
        let Ok(mut body) = self.0.try_recv() else { return };
        let reading = async {
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, |data| data.len() as u64);
                if read > MOST {
                    break;
                }
            }
        };
        // Time-out and broken connections end it alike: the answer is tried in any case.
        let _ = tokio::time::timeout(LONGEST, reading).await;
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !body.is_end_stream()
        {
            // Nobody waits any more when the connection is gone.
            let _ = back.send(body);
        }
    }
}
