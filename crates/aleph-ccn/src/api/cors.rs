//! Cross-origin requests: any origin, every method that a route has, all headers (`spec: ccn-api.md §1.1`).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

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

/// The answer to a script's question whether it may use one of `methods` here.
pub(super) fn preflight(headers: &HeaderMap, methods: &[Method]) -> Response {
    match allowed(headers, methods) {
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

fn allowed(headers: &HeaderMap, methods: &[Method]) -> Result<Response, String> {
    if !headers.contains_key(header::ORIGIN) {
        return Err("origin header is not specified in the request".to_owned());
    }
    let asked = headers
        .get(header::ACCESS_CONTROL_REQUEST_METHOD)
        .ok_or("'Access-Control-Request-Method' header is not specified")?;
    if !methods.iter().any(|method| method.as_str().as_bytes() == asked.as_bytes()) {
        return Err(format!("request method '{}' is not allowed here", asked.to_str().unwrap_or("?")));
    }
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, asked.clone());
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

/// What is kept on the way is kept for one origin: the answer names it.
pub(super) fn vary_by_origin(headers: &mut HeaderMap) {
    let kept =
        headers.get(header::CACHE_CONTROL).is_some_and(|value| value.as_bytes().starts_with(b"public"));
    if kept {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}
