//! What other nodes of this kind ask to catch up, where they can't ask over libp2p.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;

use super::Api;
use super::body;
use super::errors::ApiError;
use crate::intake::exchange::QUESTION_MAX;

/// A question of another node that catches up, in bytes ([ADR 15](docs/adr/0015-reconciliation.md)).
#[utoipa::path(
    post,
    path = "/api/v1/sync/exchange",
    tag = "node",
    operation_id = "sync_exchange",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "The answer; a refusal is one that starts with a byte 0", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 413, description = "The question is longer than 257 KiB"),
    ),
)]
pub(super) async fn exchange(State(api): State<Arc<Api>>, body: Body) -> Result<Response, ApiError> {
    let question = body::whole(body, QUESTION_MAX).await?;
    let answer = api.node.exchange.answer(&question).await?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], answer).into_response())
}
