//! The document of the API, and the page that shows it to people.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::errors::ApiError;

/// What the node's own pages are made of. Nothing comes from elsewhere.
const PAGE: &str = include_str!("docs/page.html");
const SCRIPT: &str = include_str!("docs/docs.js");
const STYLE: &str = include_str!("docs/docs.css");

/// This document.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    tag = "node",
    operation_id = "docs_document",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)),
)]
pub(super) async fn document(State(api): State<Arc<Api>>) -> Response {
    api.document.answer()
}

/// This document, for people.
#[utoipa::path(
    get,
    path = "/api/docs",
    tag = "node",
    operation_id = "docs_page",
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
)]
pub(super) async fn page() -> Response {
    asset("text/html; charset=utf-8", PAGE)
}

/// What the node's own pages load.
#[utoipa::path(
    get,
    path = "/static/{name}",
    tag = "node",
    operation_id = "docs_static",
    params(("name" = String, Path, description = "docs.js or docs.css")),
    responses((status = 200, description = "A script or a style sheet", body = String, content_type = "text/plain")),
)]
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, ApiError> {
    match name.as_str() {
        "docs.js" => Ok(asset("text/javascript; charset=utf-8", SCRIPT)),
        "docs.css" => Ok(asset("text/css; charset=utf-8", STYLE)),
        _ => Err(ApiError::not_found()),
    }
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    let content_type = HeaderValue::from_static(content_type);
    (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], text).into_response()
}
