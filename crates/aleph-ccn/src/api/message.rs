//! One message: its fate, content and status (`spec: ccn-api.md §§3.5–3.7`).

use std::borrow::Cow;
use std::sync::Arc;

use aleph_store::queries::{MessageFate, StoredMessage};
use aleph_types::{ItemHash, MessageStatus, MessageType, Timestamp, json};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use super::Api;
use super::errors::{ApiError, json_answer};
use super::json::{Object, fields, push_list};
use super::message_json::{ContentFormat, push_message, push_pending, push_skeleton_fields};
use super::openapi::shapes::{MessageFateAnswer, MessageStatusAnswer};

/// The item hash in a path, by the strict rule.
pub(super) fn item_hash(text: &str) -> Result<ItemHash, ApiError> {
    ItemHash::parse(text)
        .map_err(|_| ApiError::text(StatusCode::BAD_REQUEST, format!("Invalid message hash: {text}")))
}

async fn fate(api: &Api, hash: &ItemHash) -> Result<MessageFate, ApiError> {
    api.node.store.message_fate(hash.clone()).await?.ok_or_else(ApiError::not_found)
}

/// Why the owner of such a message can't pay for it.
fn removal_reason(payment_type: Option<&str>) -> &'static str {
    if payment_type == Some("credit") { "credit_insufficient" } else { "balance_insufficient" }
}

fn gone(hash: &ItemHash) -> ApiError {
    ApiError::text(StatusCode::GONE, format!("This message has been removed: {hash}"))
}

/// A message and what became of it.
#[utoipa::path(
    get,
    path = "/api/v0/messages/{item_hash}",
    tag = "messages",
    operation_id = "message_get",
    params(("item_hash" = String, Path, description = "Item hash of the message")),
    responses(
        (status = 200, description = "The answer", body = MessageFateAnswer),
        (status = 410, description = "The message was removed and nothing of it is kept"),
    ),
)]
pub(super) async fn get(State(api): State<Arc<Api>>, Path(hash): Path<String>) -> Result<Response, ApiError> {
    let hash = item_hash(&hash)?;
    let fate = fate(&api, &hash).await?;
    let mut body = Vec::with_capacity(1024);
    let mut object = Object::new(&mut body);
    push_status(&mut object, fate.status(), &hash, fate.reception_time());
    let push_stored = |object: &mut Object<'_>, stored: &StoredMessage| {
        push_message(
            object.field("message"),
            &stored.message,
            stored.content(),
            None,
            ContentFormat::Full,
            &stored.confirmations,
        );
    };
    match &fate {
        MessageFate::Pending { copies, .. } => {
            push_list(object.field("messages"), copies, |out, copy| push_pending(out, &hash, copy));
        }
        MessageFate::Processed { message, .. } => push_stored(&mut object, message),
        MessageFate::Removing { message, .. } => {
            push_stored(&mut object, message);
            object.text("reason", removal_reason(message.payment_type.as_deref()));
        }
        MessageFate::Forgotten { skeleton, .. } => {
            let mut message = Object::new(object.field("message"));
            push_skeleton_fields(&mut message, skeleton);
            message.end();
            object.raw("forgotten_by", &skeleton.forgotten_by);
        }
        MessageFate::Removed { skeleton: Some(skeleton), .. } => {
            let mut message = Object::new(object.field("message"));
            push_skeleton_fields(&mut message, skeleton);
            message.end();
            object
                .text("reason", removal_reason(Some(&skeleton.payment_type)))
                .time("removed_at", skeleton.gone_at)
                .optional_number("size", skeleton.size);
        }
        MessageFate::Removed { skeleton: None, .. } => return Err(gone(&hash)),
        MessageFate::Rejected { message, code, details, .. } => {
            object.raw("message", &refused_message(message)).raw("error_code", &code.to_string());
            object.raw("details", details.as_deref().unwrap_or("null"));
        }
    }
    object.end();
    Ok(json_answer(StatusCode::OK, body))
}

/// A refused message with its `content`: clients read it as any other message, and show nothing of the
/// refusal when they can't (`spec: ccn-api.md §3.5`).
fn refused_message(stored: &str) -> Cow<'_, str> {
    let Ok(Value::Object(message)) = json::parse(stored.as_bytes()) else { return stored.into() };
    let Some(open) = stored.trim_end().strip_suffix('}') else { return stored.into() };
    if message.is_empty() || message.contains_key("content") {
        return stored.into();
    }
    // as it was sent: numbers keep their form
    let inline = message.get("item_content").and_then(Value::as_str);
    let content = inline.filter(|text| json::parse(text.as_bytes()).is_ok()).unwrap_or("null");
    format!(r#"{open},"content":{content}}}"#).into()
}

fn push_status(object: &mut Object<'_>, status: MessageStatus, hash: &ItemHash, reception_time: Timestamp) {
    object
        .text("status", status.as_str())
        .text("item_hash", hash.as_str())
        .iso_z("reception_time", reception_time);
}

/// What a message holds: of a POST its own content, of others all of it.
#[utoipa::path(
    get,
    path = "/api/v0/messages/{item_hash}/content",
    tag = "messages",
    operation_id = "message_content",
    params(("item_hash" = String, Path, description = "Item hash of the message")),
    responses(
        (status = 200, description = "The answer", body = serde_json::Value),
        (status = 410, description = "The message was removed and nothing of it is kept"),
    ),
)]
pub(super) async fn content(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
) -> Result<Response, ApiError> {
    let hash = item_hash(&hash)?;
    match fate(&api, &hash).await? {
        MessageFate::Processed { message, .. } => {
            let document = message.content();
            let shown = match message.message.message_type {
                MessageType::Post => {
                    fields(document).get("content").map_or("null", |content| content.get()).to_owned()
                }
                _ => document.to_owned(),
            };
            let mut answer = json_answer(StatusCode::OK, shown);
            // What a hash names never changes.
            if let Ok(tag) = HeaderValue::from_str(&format!("\"{hash}\"")) {
                answer.headers_mut().insert(header::ETAG, tag);
            }
            Ok(answer)
        }
        MessageFate::Removed { skeleton: None, .. } => Err(gone(&hash)),
        other => Err(ApiError::unprocessable(format!(
            "Message {hash} is not processed (status: {})",
            other.status()
        ))),
    }
}

/// What became of a message.
#[utoipa::path(
    get,
    path = "/api/v0/messages/{item_hash}/status",
    tag = "messages",
    operation_id = "message_status",
    params(("item_hash" = String, Path, description = "Item hash of the message")),
    responses(
        (status = 200, description = "The answer", body = MessageStatusAnswer),
    ),
)]
pub(super) async fn status(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
) -> Result<Response, ApiError> {
    let hash = item_hash(&hash)?;
    let (status, reception_time) =
        api.node.store.message_status(hash.clone()).await?.ok_or_else(ApiError::not_found)?;
    let mut body = Vec::with_capacity(192);
    let mut object = Object::new(&mut body);
    push_status(&mut object, status, &hash, reception_time);
    object.end();
    Ok(json_answer(StatusCode::OK, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_message_has_its_content() {
        let refused = r#"{"item_content":"{\"time\":1.50}","type":"POST"}"#;
        let shown = refused_message(refused);
        assert_eq!(shown, r#"{"item_content":"{\"time\":1.50}","type":"POST","content":{"time":1.50}}"#);
        assert_eq!(refused_message(&shown), shown);
        assert_eq!(
            refused_message(r#"{"item_type":"storage"}"#),
            r#"{"item_type":"storage","content":null}"#
        );
        let broken = refused_message(r#"{"item_content":"{"}"#);
        assert_eq!(broken, r#"{"item_content":"{","content":null}"#);
        assert_eq!(refused_message("{}"), "{}");
        assert_eq!(refused_message("17"), "17");
    }
}
