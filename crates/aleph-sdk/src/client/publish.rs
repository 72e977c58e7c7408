use std::time::Duration;

use aleph_types::{ItemHash, Message, MessageStatus};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Client, read_json, status_error};
use crate::account::Account;
use crate::builder::{INLINE_BYTES, MessageBuilder, Unsigned};
use crate::error::{Error, RejectedMessage, Result};

/// What became of a message that was handed to a node.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishOutcome {
    /// The message.
    pub item_hash: ItemHash,
    /// Its status on that node when it answered: `Processed` is durable, `Pending` is on its way.
    pub status: MessageStatus,
    /// How the spreading to other nodes went.
    pub publication: Publication,
}

/// Whether a node could hand the message on (`spec: ccn-api.md §4.1`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publication {
    /// To every network it takes part in.
    Success,
    /// To some; the names of the others.
    Warning(Vec<String>),
}

#[derive(Deserialize)]
struct Answer {
    publication_status: AnswerPublication,
    message_status: Option<MessageStatus>,
}

#[derive(Deserialize)]
struct AnswerPublication {
    status: String,
    #[serde(default)]
    failed: Vec<String>,
}

impl Client {
    /// Signs `builder`'s message for `account` and publishes it.
    ///
    /// Content of [`INLINE_BYTES`] or more is stored on the node first. With `sync` the node answers when
    /// it has processed the message, or after 30 s.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the network refuses the message.
    pub async fn publish(
        &self,
        account: &Account,
        builder: MessageBuilder,
        sync: bool,
    ) -> Result<PublishOutcome> {
        let message = self.sign(account, builder).await?;
        self.publish_message(&message, sync).await
    }

    /// Builds and signs a message; stores its content on the node when that is too large to be inline.
    pub async fn sign(&self, account: &Account, builder: MessageBuilder) -> Result<Message> {
        let unsigned = builder.build(account)?;
        let unsigned = if unsigned.content_len() < INLINE_BYTES {
            unsigned
        } else {
            self.store_content(unsigned).await?
        };
        unsigned.sign(account)
    }

    /// Puts a large content on the node as a file. The node decides how the JSON is written before it is
    /// hashed (`spec: ccn-api.md §10.1`), so its bytes are sent as a file, whose hash is ours.
    async fn store_content(&self, unsigned: Unsigned) -> Result<Unsigned> {
        let hash = self.add_bytes(Bytes::from(unsigned.content().to_owned())).await?;
        unsigned.stored_as(hash)
    }

    /// Publishes a signed message. Publishing it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the network refuses the message, with the node's reasons where it keeps them.
    pub async fn publish_message(&self, message: &Message, sync: bool) -> Result<PublishOutcome> {
        let body = json!({ "message": message.to_wire(), "sync": sync }).to_string();
        let (url, response) = self.post_json("/api/v0/messages", Bytes::from(body)).await?;
        let status = response.status().as_u16();
        match status {
            200 | 202 => {
                let answer: Answer = read_json(&url, response, "the status of a publication").await?;
                let publication = match answer.publication_status.status.as_str() {
                    "success" => Publication::Success,
                    _ => Publication::Warning(answer.publication_status.failed),
                };
                match answer.message_status {
                    Some(MessageStatus::Rejected) => Err(self.why_rejected(&message.item_hash, None).await),
                    Some(status) => {
                        Ok(PublishOutcome { item_hash: message.item_hash.clone(), status, publication })
                    }
                    None => Err(Error::strange_answer(url, "the status of the message")),
                }
            }
            422 => {
                let answer = status_error(&url, response).await;
                Err(self.why_rejected(&message.item_hash, Some(answer)).await)
            }
            410 => Err(Error::Rejected(Box::new(RejectedMessage {
                item_hash: message.item_hash.clone(),
                code: Some(i64::from(aleph_types::ErrorCode::ForgottenDuplicate.as_i16())),
                details: None,
            }))),
            _ => Err(status_error(&url, response).await),
        }
    }

    /// Asks the node for the reasons of a refusal. `answer` is the HTTP answer that announced it.
    pub(crate) async fn why_rejected(&self, hash: &ItemHash, answer: Option<Error>) -> Error {
        if let Ok(Some(state)) = self.find_message(hash).await
            && state.status == MessageStatus::Rejected
        {
            return Error::Rejected(Box::new(RejectedMessage {
                item_hash: hash.clone(),
                code: state.error_code,
                details: state.details,
            }));
        }
        // A message that the door refused is kept nowhere; the answer's own text is all there is.
        let details = match answer {
            Some(Error::Status { body, .. }) => Some(json!({ "errors": errors_of_body(&body) })),
            _ => None,
        };
        let code = details.is_some().then(|| i64::from(aleph_types::ErrorCode::InvalidFormat.as_i16()));
        Error::Rejected(Box::new(RejectedMessage { item_hash: hash.clone(), code, details }))
    }

    /// Waits until this node has processed the message: asks again with growing pauses, up to `patience`.
    ///
    /// # Errors
    /// [`Error::Rejected`] when it was refused meanwhile, [`Error::TimedOut`] when it is still pending or
    /// unknown.
    pub async fn wait_processed(&self, hash: &ItemHash, patience: Duration) -> Result<()> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(10);
        loop {
            match self.message_status(hash).await? {
                Some(MessageStatus::Processed | MessageStatus::Removing) => return Ok(()),
                Some(MessageStatus::Rejected) => return Err(self.why_rejected(hash, None).await),
                Some(status @ (MessageStatus::Forgotten | MessageStatus::Removed)) => {
                    return Err(Error::NotFound {
                        what: format!("message {hash} was {status}: it"),
                        node: self.base_url().to_owned(),
                    });
                }
                Some(MessageStatus::Pending) | None => {}
            }
            if started.elapsed() + pause > patience {
                return Err(Error::TimedOut {
                    what: format!("{} did not process message {hash}", self.base_url()),
                    after: patience,
                });
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }
}

/// A refusal's body: the reference sends a bare word, a sentence, or a list of validation objects.
fn errors_of_body(body: &str) -> Vec<Value> {
    match serde_json::from_str::<Value>(body) {
        Ok(Value::Array(entries)) => entries,
        Ok(Value::Object(object)) => vec![Value::Object(object)],
        _ => vec![Value::String(body.trim().to_owned())],
    }
}
