//! Refusals as the API's clients know them (`spec: ccn-api.md §1`).

use std::borrow::Cow;

use aleph_blobs::BlobError;
use aleph_store::{StoreError, StoreErrorKind};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// `application/json` as the API sends it.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Plain text as the API sends it.
pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An answer that refuses: a status and what the body says.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    body: Cow<'static, str>,
    json: bool,
    retry_after: Option<u64>,
}

impl ApiError {
    /// A refusal with a text of its own.
    pub(super) fn text(status: StatusCode, body: impl Into<Cow<'static, str>>) -> Self {
        Self { status, body: body.into(), json: false, retry_after: None }
    }

    /// A refusal whose text is `<code>: <reason>`.
    pub(super) fn reason(status: StatusCode, reason: &str) -> Self {
        Self::text(status, format!("{}: {reason}", status.as_u16()))
    }

    /// A refusal whose text is `<code>: <standard phrase>`.
    pub(super) fn standard(status: StatusCode) -> Self {
        Self::reason(status, phrase(status))
    }

    /// Unprocessable parameters: 422 with the list of what is wrong with which.
    pub(super) fn parameters(problems: Vec<Value>, json: bool) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            body: Value::Array(problems).to_string().into(),
            json,
            retry_after: None,
        }
    }

    /// 422 with a text of its own.
    pub(super) fn unprocessable(body: impl Into<Cow<'static, str>>) -> Self {
        Self::text(StatusCode::UNPROCESSABLE_ENTITY, body)
    }

    /// 404 with the standard text.
    pub(super) fn not_found() -> Self {
        Self::text(StatusCode::NOT_FOUND, "404: Not Found")
    }

    /// 413: the body is longer than `limit` bytes.
    pub(super) fn too_large(limit: u64, actual: Option<u64>) -> Self {
        let text = match actual {
            Some(actual) => {
                format!("Maximum request body size {limit} exceeded, actual body size {actual}.")
            }
            None => format!("Maximum request body size {limit} exceeded."),
        };
        Self::text(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// A passing failure of this node.
    pub(super) fn unavailable(error: &dyn std::error::Error) -> Self {
        tracing::warn!(%error, "request can't be served now");
        Self::text(StatusCode::SERVICE_UNAVAILABLE, format!("503: {error}")).retry_after(SOON)
    }

    /// A failure that only the log explains.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "request failed");
        Self::text(StatusCode::INTERNAL_SERVER_ERROR, TROUBLE)
    }

    /// Whether the body was too long.
    pub(super) fn is_too_large(&self) -> bool {
        self.status == StatusCode::PAYLOAD_TOO_LARGE
    }

    /// Whether the same request would be refused again, by any node.
    pub(super) fn is_final(&self) -> bool {
        self.status.is_client_error()
    }

    /// The same refusal with the seconds after which it is worth trying again.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The same refusal with another content type: the body is JSON.
    pub(super) fn in_json(mut self) -> Self {
        self.json = true;
        self
    }
}

/// Seconds after which a passing failure may be over.
const SOON: u64 = 5;

/// What clients read when a handler failed.
pub(super) const TROUBLE: &str = "500 Internal Server Error\n\nServer got itself in trouble";

/// The phrases that the reference uses where they differ from ours.
fn phrase(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Entity",
        StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large",
        status => status.canonical_reason().unwrap_or("Error"),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body.into_owned()));
        *response.status_mut() = self.status;
        let content_type = if self.json { JSON } else { TEXT };
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Unavailable => Self::unavailable(&error),
            StoreErrorKind::Unusable | StoreErrorKind::Bug => Self::internal(&error),
        }
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        match error.kind() {
            aleph_blobs::ErrorKind::Rejected => Self::unprocessable(format!("422: {error}")),
            aleph_blobs::ErrorKind::NoSpace => {
                tracing::error!(%error, "upload refused");
                Self::text(StatusCode::INSUFFICIENT_STORAGE, format!("507: {error}"))
            }
            aleph_blobs::ErrorKind::Unavailable => Self::unavailable(&error),
            aleph_blobs::ErrorKind::Bug => Self::internal(&error),
        }
    }
}

/// The answer to a handler's panic; the panic itself goes to the log.
pub(super) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    tracing::error!(panic = text, "a handler panicked");
    let mut response = ApiError::text(StatusCode::INTERNAL_SERVER_ERROR, TROUBLE).into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Gives the router's refusal of a method its text.
pub(super) fn method_not_allowed(response: &mut Response, is_head: bool) {
    const WORDS: &str = "405: Method Not Allowed";
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, TEXT);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(WORDS.len()));
    if !is_head {
        *response.body_mut() = Body::from(WORDS);
    }
}

/// An answer in JSON.
pub(super) fn json_answer(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// 200 with `value` as JSON.
pub(super) fn json_value(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => json_answer(StatusCode::OK, body),
        Err(error) => ApiError::internal(&error).into_response(),
    }
}
