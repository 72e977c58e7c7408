//! Cross-origin requests: any origin, GET and POST, all headers (`spec: ccn-api.md §1.1`).

use axum::body::Body;
use axum::handler::Handler;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use super::errors::ApiError;

/// Response headers that scripts may read without permission.
const SAFELISTED: [HeaderName; 6] = [
    header::CACHE_CONTROL,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::PRAGMA,
];

/// A route for GET and HEAD that answers preflights.
pub(super) fn on_get<H, T, S>(handler: H) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    get(handler).options(|headers: HeaderMap| std::future::ready(preflight(&headers, "GET")))
}

/// A route for POST that answers preflights.
pub(super) fn on_post<H, T, S>(handler: H) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    post(handler).options(|headers: HeaderMap| std::future::ready(preflight(&headers, "POST")))
}

fn preflight(headers: &HeaderMap, method: &'static str) -> Response {
    match allowed(headers, method) {
        Ok(mut response) => {
            if let Some(origin) = headers.get(header::ORIGIN) {
                response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
            response
        }
        Err(why) => {
            let text = format!("CORS preflight request failed: {why}");
            ApiError::text(StatusCode::FORBIDDEN, text).into_response()
        }
    }
}

fn allowed(headers: &HeaderMap, method: &'static str) -> Result<Response, String> {
    if !headers.contains_key(header::ORIGIN) {
        return Err("origin header is not specified in the request".to_owned());
    }
    let asked = headers
        .get(header::ACCESS_CONTROL_REQUEST_METHOD)
        .ok_or("'Access-Control-Request-Method' header is not specified")?;
    if asked.as_bytes() != method.as_bytes() {
        return Err(format!("request method '{}' is not allowed here", asked.to_str().unwrap_or("?")));
    }
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(method));
    if let Some(names) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        let names = names.to_str().map_err(|_| "unreadable 'Access-Control-Request-Headers'")?;
        let names: Vec<String> = names
            .split(',')
            .map(|name| name.trim().to_ascii_uppercase())
            .filter(|name| !name.is_empty())
            .collect();
        if let Ok(names) = HeaderValue::from_str(&names.join(",")) {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
    }
    Ok(response)
}

/// Lets scripts of `origin` read the answer.
pub(super) fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_METHODS) {
        let mut exposed = String::new();
        for name in headers.keys().filter(|name| !SAFELISTED.contains(name)) {
            if !exposed.is_empty() {
                exposed.push(',');
            }
            exposed.push_str(name.as_str());
        }
        if let Ok(exposed) = HeaderValue::from_str(&exposed) {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
}
