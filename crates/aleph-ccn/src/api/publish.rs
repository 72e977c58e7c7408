//! Publishing messages (`spec: ccn-api.md §4`): the hot way in.

use std::sync::Arc;
use std::time::Duration;

use aleph_rules::Dependency;
use aleph_types::{FormatError, ItemHash, ParsedMessage, Rejection, json, limits};
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json as json_of};
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use super::body;
use super::errors::{ApiError, json_answer};
use super::openapi::shapes::{PubSubRequest, Publication, PublishAnswer, PublishRequest};
use crate::{Origin, Outcome, PipelineError};

/// Longest wait of a synchronous publication.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    /// It does not have the required form.
    #[error("InvalidMessageFormat: {0}")]
    Format(#[from] FormatError),
    /// It could not be stored now.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        match error {
            // Clients know the word; what comes after it is for people.
            PublishError::Format(_) => ApiError::unprocessable(error.to_string()),
            PublishError::Pipeline(error) => error.into(),
        }
    }
}

impl From<PipelineError> for ApiError {
    fn from(error: PipelineError) -> Self {
        ApiError::unavailable(&error)
    }
}

/// A signature of Solana may come as an object: it becomes the text form before anything is stored or
/// spread.
pub(super) fn signature_as_text(message: &mut Value) {
    if let Some(signature) = message.get_mut("signature").filter(|signature| signature.is_object()) {
        *signature = Value::String(signature.to_string());
    }
}

/// Reads a message as clients send it.
pub(super) fn read_message(document: &mut Value) -> Result<ParsedMessage, FormatError> {
    signature_as_text(document);
    ParsedMessage::from_value(document)
}

/// Gives a message to the pipeline; with `sync` waits for a while until its fate is final, unless it lacks
/// another message.
///
/// `room` is what the reader of a body took before: it is free again when the message is durable.
pub(super) async fn publish(
    api: &Api,
    parsed: ParsedMessage,
    sync: bool,
    room: Option<OwnedSemaphorePermit>,
) -> Result<Outcome, PublishError> {
    let outcome = submit(api, parsed, sync, room).await?;
    // Clients that don't wait are told no more than that it is safe here.
    Ok(if sync { outcome } else { Outcome::Pending })
}

/// [`publish`] for who must know more than its client is told.
pub(super) async fn submit(
    api: &Api,
    parsed: ParsedMessage,
    sync: bool,
    room: Option<OwnedSemaphorePermit>,
) -> Result<Outcome, PublishError> {
    let hash = sync.then(|| parsed.message.item_hash.clone());
    let outcome = api.node.pipeline.submit_within(parsed, Origin::Http, room).await?;
    match (hash, outcome) {
        (Some(hash), Outcome::Pending) if comes_by_itself(api, &hash).await? => {
            Ok(api.node.pipeline.wait_for(&hash, PATIENCE).await?)
        }
        (_, outcome) => Ok(outcome),
    }
}

/// Whether what a pending message waits for is a file that this node is fetching: worth waiting for. When
/// another message comes, nobody knows (`spec: ccn-api.md §4.1`, "will be retried").
async fn comes_by_itself(api: &Api, hash: &ItemHash) -> Result<bool, PipelineError> {
    let awaited = api.node.store.awaited(hash.clone()).await?;
    let is_file = |key: &String| Dependency::from_key(key).is_some_and(|on| on.fetchable().is_some());
    // It waits no more, or one of its copies waits for a file.
    Ok(awaited.is_empty() || awaited.iter().any(is_file))
}

/// The code for a message's status (`spec: ccn-api.md §4.1`).
pub(super) fn status_code(outcome: &Outcome) -> StatusCode {
    match outcome {
        Outcome::Processed | Outcome::Removing => StatusCode::OK,
        Outcome::Pending => StatusCode::ACCEPTED,
        Outcome::Rejected(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Outcome::Forgotten | Outcome::Removed => StatusCode::GONE,
    }
}

/// The word for a message's status.
pub(super) fn status_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Processed => "processed",
        Outcome::Pending => "pending",
        Outcome::Rejected(_) => "rejected",
        Outcome::Forgotten => "forgotten",
        Outcome::Removed => "removed",
        Outcome::Removing => "removing",
    }
}

macro_rules! published {
    ($status:literal) => {
        concat!(
            r#"{"publication_status":{"status":"success","failed":[]},"message_status":""#,
            $status,
            r#""}"#
        )
    };
}

fn answer(outcome: &Outcome) -> Response {
    let body = match outcome {
        Outcome::Processed => published!("processed"),
        Outcome::Pending => published!("pending"),
        Outcome::Rejected(rejection) => return refusal(outcome, rejection),
        Outcome::Forgotten => published!("forgotten"),
        Outcome::Removed => published!("removed"),
        Outcome::Removing => published!("removing"),
    };
    json_answer(status_code(outcome), body)
}

/// The reference says no more than `rejected` here, and clients show their users what is answered: so it
/// says why, in the words of `GET /api/v0/messages/{item_hash}` and in those of people.
fn refusal(outcome: &Outcome, rejection: &Rejection) -> Response {
    let body = json_of!({
        "publication_status": { "status": "success", "failed": [] },
        "message_status": status_word(outcome),
        "error_code": rejection.code.as_i16(),
        "details": rejection.details,
        "explanation": rejection.code.explanation(),
    });
    json_answer(status_code(outcome), body.to_string())
}

fn missing(field: &str, kind: &str, msg: &str) -> ApiError {
    ApiError::parameters(vec![json_of!({ "type": kind, "loc": [field], "msg": msg })], false)
}

/// The flag `sync` of a body; `None` when it is no flag.
pub(super) fn sync_flag(value: Option<&Value>) -> Option<Option<bool>> {
    match value {
        None => Some(None),
        Some(Value::Bool(flag)) => Some(Some(*flag)),
        Some(Value::Number(number)) if number.as_f64() == Some(1.0) => Some(Some(true)),
        Some(Value::Number(number)) if number.as_f64() == Some(0.0) => Some(Some(false)),
        Some(Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "y" | "t" => Some(Some(true)),
            "false" | "0" | "no" | "off" | "n" | "f" => Some(Some(false)),
            _ => None,
        },
        Some(_) => None,
    }
}

/// Publishes a message. It is on this node's disk when the answer comes.
#[utoipa::path(
    post,
    path = "/api/v0/messages",
    tag = "messages",
    operation_id = "publish_post",
    request_body = PublishRequest,
    responses(
        (status = 200, description = "The message is processed", body = PublishAnswer),
        (status = 202, description = "The message waits", body = PublishAnswer),
        (status = 410, description = "The message was forgotten or removed", body = PublishAnswer),
        (
            status = 422,
            description = "Rejected, or of a wrong form: then a text",
            content((PublishAnswer = "application/json"), (String = "text/plain")),
        ),
        (status = 413, description = "The body is longer than 1 MiB"),
    ),
)]
pub(super) async fn post(State(api): State<Arc<Api>>, body: Body) -> Result<Response, ApiError> {
    let bytes = body::whole(body, limits::BUFFERED_BODY).await?;
    let room = api.node.pipeline.room(bytes.len()).await?;
    let mut request =
        json::parse(&bytes).map_err(|_| ApiError::standard(StatusCode::UNPROCESSABLE_ENTITY))?;
    let Some(sync) = sync_flag(request.get("sync")) else {
        return Err(missing("sync", "bool_parsing", "Input should be a valid boolean"));
    };
    let message = match request.get_mut("message") {
        Some(message @ Value::Object(_)) => message,
        Some(_) => return Err(missing("message", "dict_type", "Input should be a valid dictionary")),
        None => return Err(missing("message", "missing", "Field required")),
    };
    let parsed = read_message(message).map_err(PublishError::Format)?;
    drop(request);
    let outcome = publish(&api, parsed, sync.unwrap_or(false), Some(room)).await?;
    Ok(answer(&outcome))
}

/// Publishes a message as old clients do.
#[utoipa::path(
    post,
    path = "/api/v0/p2p/pubsub/pub",
    tag = "messages",
    operation_id = "publish_post_legacy",
    request_body = PubSubRequest,
    responses(
        (status = 200, description = "The answer", body = Publication),
        (status = 403, description = "Another topic than the network's"),
        (status = 413, description = "The body is longer than 1 MiB"),
    ),
)]
pub(super) async fn post_legacy(State(api): State<Arc<Api>>, body: Body) -> Result<Response, ApiError> {
    let bytes = body::whole(body, limits::BUFFERED_BODY).await?;
    let room = api.node.pipeline.room(bytes.len()).await?;
    let request = json::parse(&bytes).map_err(|_| ApiError::standard(StatusCode::UNPROCESSABLE_ENTITY))?;
    let expected = api.node.config.p2p.topic.as_str();
    match request.get("topic").and_then(Value::as_str) {
        Some(topic) if topic == expected => {}
        topic => {
            let text = format!("Unauthorized P2P topic: {}. Use {expected}.", topic.unwrap_or("None"));
            return Err(ApiError::reason(StatusCode::FORBIDDEN, &text));
        }
    }
    let reason = |text| ApiError::reason(StatusCode::UNPROCESSABLE_ENTITY, text);
    let Some(Value::String(data)) = request.get("data") else {
        return Err(reason("'data': expected a serialized JSON string."));
    };
    let mut document =
        json::parse(data.as_bytes()).map_err(|_| reason("'data': must be deserializable as JSON."))?;
    let parsed = read_message(&mut document).map_err(PublishError::Format)?;
    publish(&api, parsed, false, Some(room)).await?;
    Ok(json_answer(StatusCode::OK, r#"{"status":"success","failed":[]}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_signature_becomes_text() {
        let content = r#"{"address":"A","time":1,"type":"note","content":1}"#;
        let mut document = json_of!({
            "chain": "SOL", "sender": "A", "type": "POST", "time": 1, "item_content": content,
            "item_hash": ItemHash::sha256(content.as_bytes()).as_str(),
            "signature": {"signature": "abc", "publicKey": "A"},
        });
        let parsed = read_message(&mut document).unwrap();
        assert_eq!(parsed.message.signature.unwrap().as_str(), r#"{"signature":"abc","publicKey":"A"}"#);
    }

    #[test]
    fn flags_of_bodies() {
        assert_eq!(sync_flag(None), Some(None));
        assert_eq!(sync_flag(Some(&json_of!("True"))), Some(Some(true)));
        assert_eq!(sync_flag(Some(&json_of!(0))), Some(Some(false)));
        assert_eq!(sync_flag(Some(&json_of!([]))), None);
        assert_eq!(sync_flag(Some(&json_of!(null))), None);
    }
}
