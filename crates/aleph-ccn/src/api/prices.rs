//! What resources cost (`spec: ccn-api.md §9`). Zero until the ledger is there: shapes and refusals are
//! those of the reference.

use std::sync::Arc;

use aleph_store::queries::MessageFate;
use aleph_types::{MessageType, json, limits};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json as json_of};

use super::Api;
use super::body;
use super::errors::{ApiError, json_value};
use super::openapi::shapes::{Price, PriceRequest};

fn free(payment_type: &str, charged: &str) -> Response {
    json_value(&json_of!({
        "required_tokens": 0.0,
        "payment_type": payment_type,
        "cost": "0.000000000000000000",
        "detail": [],
        "charged_address": charged,
    }))
}

/// Whether messages of this type cost something.
fn has_price(message_type: MessageType) -> bool {
    matches!(
        message_type,
        MessageType::Store | MessageType::Program | MessageType::Instance | MessageType::VProgram
    )
}

/// What the resource of a message costs.
#[utoipa::path(
    get,
    path = "/api/v0/price/{item_hash}",
    tag = "prices",
    operation_id = "prices_of_message",
    params(("item_hash" = String, Path, description = "Item hash of a STORE, PROGRAM, INSTANCE or V-PROGRAM")),
    responses(
        (status = 200, description = "The answer", body = Price),
        (status = 410, description = "The message is gone"),
    ),
)]
pub(super) async fn of_message(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
) -> Result<Response, ApiError> {
    let hash = super::message::item_hash(&hash)?;
    let refuse = |status, text: String| Err(ApiError::text(status, text));
    match api.node.store.message_fate(hash.clone()).await? {
        None => refuse(StatusCode::NOT_FOUND, format!("Message not found with hash: {hash}")),
        Some(MessageFate::Pending { .. }) => {
            refuse(StatusCode::NOT_FOUND, format!("Message still pending: {hash}"))
        }
        Some(MessageFate::Rejected { .. }) => {
            refuse(StatusCode::NOT_FOUND, format!("This message was rejected: {hash}"))
        }
        Some(
            MessageFate::Forgotten { skeleton, .. } | MessageFate::Removed { skeleton: Some(skeleton), .. },
        ) if skeleton.message_type == MessageType::Store && skeleton.size.is_some() => {
            Ok(free(&skeleton.payment_type, skeleton.owner.as_str()))
        }
        Some(MessageFate::Forgotten { .. }) => {
            refuse(StatusCode::GONE, format!("This message has been forgotten: {hash}"))
        }
        Some(MessageFate::Removed { .. }) => {
            refuse(StatusCode::GONE, format!("This message has been removed: {hash}"))
        }
        Some(MessageFate::Processed { message, .. } | MessageFate::Removing { message, .. }) => {
            if !has_price(message.message.message_type) {
                let text = format!("Message is not an executable or store message: {hash}");
                return refuse(StatusCode::BAD_REQUEST, text);
            }
            Ok(free(message.payment_type.as_deref().unwrap_or("hold"), message.owner.as_str()))
        }
    }
}

/// The payment type and the address of a content that may not be published yet.
fn payer(content: &Value) -> Option<(&str, &str)> {
    let payment = content.get("payment").and_then(|payment| payment.get("type")).and_then(Value::as_str);
    Some((payment.unwrap_or("hold"), content.get("address")?.as_str()?))
}

/// What a message would cost.
#[utoipa::path(
    post,
    path = "/api/v0/price/estimate",
    tag = "prices",
    operation_id = "prices_estimate",
    request_body = PriceRequest,
    responses(
        (status = 200, description = "The answer", body = Price),
        (status = 413, description = "The body is longer than 1 MiB"),
    ),
)]
pub(super) async fn estimate(body: Body) -> Result<Response, ApiError> {
    let bytes = body::whole(body, limits::BUFFERED_BODY).await?;
    let request = json::parse(&bytes).map_err(|_| ApiError::standard(StatusCode::UNPROCESSABLE_ENTITY))?;
    let invalid = |why: &str| ApiError::unprocessable(format!("InvalidMessageFormat: {why}"));
    let message = request.get("message").ok_or_else(|| invalid("'message' is required"))?;
    let message_type = message.get("type").and_then(Value::as_str).and_then(|text| text.parse().ok());
    if !message_type.is_some_and(has_price) {
        return Err(invalid("'type' must be STORE, PROGRAM, INSTANCE or V-PROGRAM"));
    }
    let text = message.get("item_content").and_then(Value::as_str);
    let text =
        text.ok_or_else(|| invalid("'item_content' is required: only inline messages can be estimated"))?;
    let content = json::parse(text.as_bytes()).map_err(|error| invalid(&error.to_string()))?;
    let (payment_type, charged) = payer(&content).ok_or_else(|| invalid("the content has no 'address'"))?;
    Ok(free(payment_type, charged))
}

/// What an instance would cost: the body is its content.
#[utoipa::path(
    post,
    path = "/api/v0/price/estimate/instance",
    tag = "prices",
    operation_id = "prices_estimate_instance",
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "The answer", body = Price),
        (status = 413, description = "The body is longer than 1 MiB"),
    ),
)]
pub(super) async fn estimate_instance(body: Body) -> Result<Response, ApiError> {
    let bytes = body::whole(body, limits::BUFFERED_BODY).await?;
    let content =
        json::parse(&bytes).map_err(|_| ApiError::reason(StatusCode::BAD_REQUEST, "Invalid JSON body"))?;
    let (payment_type, charged) =
        payer(&content).ok_or_else(|| ApiError::unprocessable("address: Field required"))?;
    Ok(free(payment_type, charged))
}
