//! Cross-origin requests, on the routes that browsers call (`spec: crn-api.md §1`, row CORS).

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::respond::error;

/// Whether browsers of any origin may call `path`.
fn is_open(path: &str) -> bool {
    ["/about/", "/v2/about/", "/status/", "/control/machine/", "/api/v1/executions"]
        .iter()
        .any(|folder| path.starts_with(folder))
        || path == "/control/allocation/notify"
}

/// Answers preflights and marks answers for the origin that asked.
pub(super) async fn allow(request: Request, next: Next) -> Response {
    if !is_open(request.uri().path()) {
        return next.run(request).await;
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    if request.method() == Method::OPTIONS {
        return preflight(origin, request.headers());
    }
    let mut response = next.run(request).await;
    if let Some(origin) = origin {
        let names: Vec<&str> = response.headers().keys().map(|name| name.as_str()).collect();
        let exposed = HeaderValue::from_str(&names.join(","));
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        if let Ok(exposed) = exposed {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
    response
}

fn preflight(origin: Option<HeaderValue>, headers: &HeaderMap) -> Response {
    let refused = |why: &str| error(StatusCode::FORBIDDEN, format!("CORS preflight request failed: {why}"));
    let Some(origin) = origin else { return refused("origin header is not specified in the request") };
    let Some(method) = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD) else {
        return refused("'Access-Control-Request-Method' header is not specified");
    };
    if !matches!(method.as_bytes(), b"GET" | b"POST" | b"DELETE" | b"HEAD") {
        return refused("request method is not allowed");
    }
    let mut response = StatusCode::OK.into_response();
    let allowed = response.headers_mut();
    allowed.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    allowed.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    allowed.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
    let names = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).and_then(|names| names.to_str().ok());
    if let Some(Ok(names)) = names.map(|names| HeaderValue::from_str(&names.to_ascii_uppercase())) {
        allowed.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    response
}
