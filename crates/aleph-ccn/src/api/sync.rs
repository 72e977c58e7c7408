//! What other nodes read to catch up: this node's order of processing, and the messages in it.

use std::sync::Arc;

use aleph_types::limits;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::Value;

use super::Api;
use super::body;
use super::errors::{ApiError, json_value};
use super::openapi::shapes::{LackingMessages, Log, PublishedMessages};
use super::params::Params;
use crate::intake::catch_up::{LOG_PAGE, LogPage, MESSAGES_PAGE, MessagesAnswer, MessagesRequest};

/// Processed messages in this node's order, for other nodes.
#[utoipa::path(
    get,
    path = "/api/v1/sync/log",
    tag = "node",
    operation_id = "sync_log",
    params(("after" = Option<i64>, Query, description = "Place in the order", minimum = 0), ("limit" = Option<i64>, Query, description = "Entries at most", minimum = 1, maximum = 5000)),
    responses(
        (status = 200, description = "The answer", body = Log),
    ),
)]
pub(super) async fn log(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut params = Params::read(query.as_deref());
    let after = params.integer(&["after"], 0, 0);
    let limit = params.bounded_integer(&["limit"], LOG_PAGE as u64, 1, LOG_PAGE as u64);
    params.finish()?;
    let database = api.node.store.meta("database").await?.unwrap_or_default();
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let entries = api.node.store.log_after(after, usize::try_from(limit).unwrap_or(LOG_PAGE)).await?;
    Ok(json_value(&LogPage { database, entries }))
}

/// Messages that another node lacks.
#[utoipa::path(
    post,
    path = "/api/v1/sync/messages",
    tag = "node",
    operation_id = "sync_messages",
    request_body = LackingMessages,
    responses(
        (status = 200, description = "The answer", body = PublishedMessages),
        (status = 413, description = "The body is longer than 1 MiB"),
    ),
)]
pub(super) async fn messages(State(api): State<Arc<Api>>, body: Body) -> Result<Response, ApiError> {
    let bytes = body::whole(body, limits::BUFFERED_BODY).await?;
    let request: MessagesRequest =
        serde_json::from_slice(&bytes).map_err(|error| ApiError::unprocessable(format!("422: {error}")))?;
    if request.hashes.len() > MESSAGES_PAGE {
        return Err(ApiError::unprocessable(format!("422: at most {MESSAGES_PAGE} hashes at once")));
    }
    let envelopes = api.node.store.envelopes(request.hashes).await?;
    let messages = envelopes
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<Vec<Value>, _>>()
        .map_err(|error| ApiError::internal(&error))?;
    Ok(json_value(&MessagesAnswer { messages }))
}
