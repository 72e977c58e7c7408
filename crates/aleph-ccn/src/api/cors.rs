//! Cross-origin requests: any origin, GET and POST, all headers (`spec: ccn-api.md §1.1`).

use axum::body::Body;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use super::errors::{ApiError, TEXT};

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

/// Lets scripts of any origin read the answer, and gives wrong methods and unknown paths their texts.
pub(super) async fn finish_answer(request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let is_head = request.method() == Method::HEAD;
    let mut response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED && !is_head {
        *response.body_mut() = Body::from("405: Method Not Allowed");
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    }
    let Some(origin) = origin else {
        return response;
    };
    let headers = response.headers_mut();
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
    response
}
