//! Bodies of errors: JSON with `error`, as clients read it (`spec: crn-api.md §1.1`).

use std::sync::Arc;

use aleph_types::ItemHash;
use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::json;

use crate::failure::Failure;
use crate::node::Node;

/// `{"error": text}`.
pub(super) fn error(status: StatusCode, text: impl Into<String>) -> Response {
    (status, Json(json!({"error": text.into()}))).into_response()
}

/// Text, as some refusals and every success of an operation are.
pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into()).into_response()
}

impl IntoResponse for Failure {
    /// `error` is the reference's text with cause and next step; `code` is stable.
    fn into_response(self) -> Response {
        let body = Json(json!({"error": self.to_string(), "code": self.code()}));
        let mut response = (self.status(), body).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A whole body within the node's limit, or the reference's 413.
pub(super) async fn whole_body(node: &Arc<Node>, body: axum::body::Body) -> Result<Bytes, Response> {
    let most = node.config.limits.request_body_bytes;
    let limited = Limited::new(body, usize::try_from(most).unwrap_or(usize::MAX));
    match limited.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(cause) if cause.is::<LengthLimitError>() => Err(too_large(most, None)),
        Err(cause) => Err(error(StatusCode::BAD_REQUEST, format!("the request's body broke off: {cause}"))),
    }
}

/// The reference's words for a body over the limit.
pub(super) fn too_large(most: u64, size: Option<u64>) -> Response {
    let size = size.map_or_else(|| "larger".to_owned(), |size| size.to_string());
    error(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("Maximum request body size {most} exceeded, actual body size {size}"),
    )
}

/// The hash in a path.
#[expect(clippy::result_large_err, reason = "the error is the response itself and goes out at once")]
pub(super) fn hash_of(reference: &str) -> Result<ItemHash, Response> {
    ItemHash::parse(reference)
        .map_err(|_| error(StatusCode::BAD_REQUEST, format!("Invalid ref: '{reference}'")))
}
