//! Request bodies that are read whole, with a bound.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::errors::ApiError;

/// Longest time for the whole of such a body.
const READING: Duration = Duration::from_secs(60);

/// The whole body, of at most `limit` bytes.
pub(super) async fn whole(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let slow = |_| ApiError::text(StatusCode::REQUEST_TIMEOUT, "408: the request body took too long");
    tokio::time::timeout(READING, read(body, limit)).await.map_err(slow)?
}

async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let most = limit as u64;
    let announced = body.size_hint().lower();
    if announced > most {
        return Err(ApiError::too_large(most, Some(announced)));
    }
    let mut chunks = body.into_data_stream();
    let Some(first) = chunks.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(broken)?;
    if first.len() > limit {
        return Err(ApiError::too_large(most, None));
    }
    let Some(second) = chunks.next().await else {
        // The usual case: one piece, no copy.
        return Ok(first);
    };
    let mut whole = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        let chunk = chunk.map_err(broken)?;
        if whole.len() + chunk.len() > limit {
            return Err(ApiError::too_large(most, None));
        }
        whole.extend_from_slice(&chunk);
        next = chunks.next().await;
    }
    Ok(whole.freeze())
}

/// The client stopped in the middle.
pub(super) fn broken(error: axum::Error) -> ApiError {
    ApiError::text(StatusCode::BAD_REQUEST, format!("400: the request body broke off: {error}"))
}
