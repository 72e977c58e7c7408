//! Messages, and what becomes of them.

use serde_json::Value;
use utoipa::ToSchema;

use super::super::params::{StatusWord, TypeWord};

/// A transaction that holds the message.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Confirmation {
    chain: String,
    hash: String,
    height: u64,
}

/// A message with its content.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Message {
    sender: String,
    /// Code of the chain whose key signed.
    chain: String,
    #[schema(required)]
    signature: Option<String>,
    #[schema(inline)]
    r#type: TypeWord,
    item_hash: String,
    /// `inline`, `storage` or `ipfs`.
    item_type: String,
    /// The signed text of the content, if it is inline.
    #[schema(required)]
    item_content: Option<String>,
    /// Seconds since 1970.
    time: f64,
    #[schema(required)]
    channel: Option<String>,
    /// Bytes of the content; in lists.
    size: Option<u64>,
    /// By the message's type; absent with `contentFormat=none`.
    content: Option<Value>,
    confirmed: Option<bool>,
    confirmations: Option<Vec<Confirmation>>,
}

/// A page of messages.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct MessagesPage {
    /// Messages; skeletons without content with `msgStatuses=forgotten` or `removed`.
    messages: Vec<Value>,
    pagination_per_page: u64,
    pagination_page: Option<u64>,
    /// At most five minutes old.
    pagination_total: Option<u64>,
    pagination_item: Option<String>,
    /// With a cursor: where the next page starts; null at the end.
    next_cursor: Option<String>,
}

/// A page of item hashes.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct HashesPage {
    /// Hashes, or objects with `status`, `item_hash` and `reception_time`.
    hashes: Vec<Value>,
    pagination_per_page: u64,
    pagination_page: u64,
    pagination_total: u64,
    pagination_item: String,
}

/// What became of a message.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct MessageStatusAnswer {
    #[schema(inline)]
    status: StatusWord,
    item_hash: String,
    /// When it came here, ISO 8601.
    reception_time: String,
}

/// A message and what became of it.
#[derive(Debug, ToSchema)]
#[schema(as = MessageFate)]
pub(in crate::api) struct MessageFateAnswer {
    #[schema(inline)]
    status: StatusWord,
    item_hash: String,
    reception_time: String,
    /// Unless it is pending.
    message: Option<Value>,
    /// Of a pending message: its copies, one for each sender and signature.
    messages: Option<Vec<Value>>,
    /// Of a forgotten message.
    forgotten_by: Option<Vec<String>>,
    /// Of a rejected message: see the list of codes in the reference.
    error_code: Option<i64>,
    /// Of a rejected message.
    details: Option<Value>,
    /// Of a message that is not paid for any more.
    reason: Option<String>,
    /// Seconds since 1970.
    removed_at: Option<f64>,
    /// Bytes of the file of a removed message.
    size: Option<u64>,
}

/// A message to publish.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PublishRequest {
    message: NewMessage,
    /// Wait until its fate is final, for 30 seconds at most.
    #[schema(default = false)]
    sync: Option<bool>,
}

/// A signed message.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct NewMessage {
    sender: String,
    chain: String,
    signature: Option<String>,
    #[schema(inline)]
    r#type: TypeWord,
    /// sha256 of `item_content`, in hexadecimal; or the hash of the content elsewhere.
    item_hash: String,
    item_type: Option<String>,
    /// JSON, at most 200,000 characters.
    item_content: Option<String>,
    /// Seconds since 1970.
    time: f64,
    channel: Option<String>,
}

/// How the publication went.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Publication {
    /// `success`, `warning` or `error`.
    status: String,
    failed: Vec<String>,
}

/// How the publication went, and what became of the message so far.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PublishAnswer {
    publication_status: Publication,
    #[schema(inline, required)]
    message_status: Option<StatusWord>,
    /// Of a rejected message: the code of the refusal.
    error_code: Option<i16>,
    /// Of a rejected message: what and where, `{"errors": […]}` as a rule.
    details: Option<Value>,
    /// Of a rejected message: the refusal in words.
    explanation: Option<String>,
}

/// A message for the peer-to-peer network, as old clients send it.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PubSubRequest {
    /// The network's topic.
    topic: String,
    /// The message as JSON text.
    data: String,
}
