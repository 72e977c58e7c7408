//! Answers that a client has already: `ETag`, `If-None-Match`, `Cache-Control`.
//!
//! A route whose answer has a name of its own (a file under its hash) sets its tag itself. The others get
//! a weak tag made of the body, so that two nodes with the same answer give the same tag.

use std::hash::Hasher as _;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::errors::ApiError;

/// Longest body that gets a tag; longer ones are streamed anyway.
const TAGGED: u64 = 8 * 1024 * 1024;

/// Ask before you use it again.
const ASK: HeaderValue = HeaderValue::from_static("no-cache");

/// What changes by itself all the time is not worth keeping.
const NEVER: HeaderValue = HeaderValue::from_static("no-store");

/// It is what its name says. Only for a day: what owners forget should not be kept elsewhere for years.
pub(super) const A_DAY: HeaderValue = HeaderValue::from_static("public, max-age=86400, immutable");

/// An answer of this moment.
pub(super) fn momentary(mut response: Response) -> Response {
    response.extensions_mut().insert(Momentary);
    response
}

/// Marks an answer that is of this moment only.
#[derive(Debug, Clone, Copy)]
struct Momentary;

/// Gives cacheable answers their tag, and answers 304 to who has them.
pub(super) async fn answer(request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let mut response = next.run(request).await;
    if response.status() != StatusCode::OK {
        return response;
    }
    if response.extensions().get::<Momentary>().is_some() {
        response.headers_mut().insert(header::CACHE_CONTROL, NEVER);
        return response;
    }
    if !response.headers().contains_key(header::ETAG) {
        response = match tagged(response).await {
            Ok(response) => response,
            Err(error) => return axum::response::IntoResponse::into_response(error),
        };
    }
    let headers = response.headers_mut();
    if headers.contains_key(header::ETAG) {
        headers.entry(header::CACHE_CONTROL).or_insert(ASK);
    }
    let tag = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
    if tag.is_some_and(|tag| names(known.as_ref(), tag)) { unchanged(response) } else { response }
}

/// The answer with a tag made of its body, if the body is there as a whole.
async fn tagged(response: Response) -> Result<Response, ApiError> {
    if response.body().size_hint().exact().is_none_or(|size| size > TAGGED) {
        return Ok(response);
    }
    let (mut head, body) = response.into_parts();
    // The body is one piece in memory: this copies nothing.
    let bytes = axum::body::to_bytes(body, usize::MAX).await.map_err(|error| ApiError::internal(&error))?;
    let mut hasher = SipHasher13::new();
    hasher.write(&bytes);
    let tag = format!("W/\"{:032x}\"", hasher.finish128().as_u128());
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        head.headers.insert(header::ETAG, tag);
    }
    Ok(Response::from_parts(head, Body::from(bytes)))
}

/// Whether `If-None-Match` names `tag`, by the weak comparison (RFC 9110 §13.1.2).
pub(super) fn names(known: Option<&HeaderValue>, tag: &str) -> bool {
    let tag = tag.trim_start_matches("W/");
    known.and_then(|known| known.to_str().ok()).is_some_and(|text| {
        text.split(',').map(|one| one.trim().trim_start_matches("W/")).any(|one| one == "*" || one == tag)
    })
}

/// 304 with the headers that keep a stored answer up to date.
fn unchanged(response: Response) -> Response {
    let (mut head, _) = response.into_parts();
    head.status = StatusCode::NOT_MODIFIED;
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_RANGE] {
        head.headers.remove(name);
    }
    Response::from_parts(head, Body::empty())
}

/// A tag says which bytes; compressed on the way they are others. The weak form says "the same answer".
pub(super) fn weaken(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CONTENT_ENCODING) {
        return;
    }
    let weak = headers
        .get(header::ETAG)
        .and_then(|tag| tag.to_str().ok())
        .filter(|tag| !tag.starts_with("W/"))
        .and_then(|tag| HeaderValue::from_str(&format!("W/{tag}")).ok());
    if let Some(weak) = weak {
        headers.insert(header::ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let known = HeaderValue::from_static("\"x\", W/\"abc\"");
        assert!(names(Some(&known), "\"abc\""));
        assert!(names(Some(&known), "W/\"x\""));
        assert!(!names(Some(&known), "\"ab\""));
        assert!(names(Some(&HeaderValue::from_static("*")), "\"ab\""));
        assert!(!names(None, "\"ab\""));
    }
}
