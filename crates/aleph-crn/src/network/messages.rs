//! Messages by hash, and which file a reference means now (`spec: crn-vm.md §2`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use aleph_crypto::SignatureError;
use aleph_types::content::{Content, ProgramContent, StoreContent};
use aleph_types::{Address, FormatError, ItemHash, Message, MessageType, ParsedMessage, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::core_nodes::{CoreNodes, Unreachable, escaped};
use super::files::{FileError, Files};
use crate::defaults::{CONTENT_BYTES, LATEST_TTL};
use crate::failure::Failure;

/// Entries of the cache of latest versions; cleared as a whole when full.
const LATEST_ENTRIES: usize = 4096;

/// A processed PROGRAM message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Program {
    pub(crate) hash: ItemHash,
    /// As the core node gave it: envelope with its content where that is not inline.
    pub(crate) document: Value,
    pub(crate) content: ProgramContent,
}

/// What a reference of a program means now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredFile {
    /// The reference in the message.
    pub(crate) reference: ItemHash,
    /// Whether a newer version replaces this one.
    pub(crate) use_latest: bool,
    /// The STORE message that was chosen.
    pub(crate) store: ItemHash,
    /// Who owns the referenced file: only their new versions count.
    pub(crate) owner: Address,
    /// Hash of the bytes.
    pub(crate) file: ItemHash,
}

/// What a core node says about a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// Valid and applied; hash checked here.
    Processed(Box<ParsedMessage>, Value),
    /// A positive answer that the message is no more: forgotten or removed.
    Gone(String),
    /// Pending or rejected.
    NotProcessed { status: String, detail: String },
    /// No core node knows it.
    Unknown,
}

/// Reads messages from core nodes.
#[derive(Debug)]
pub(crate) struct Messages {
    core_nodes: Arc<CoreNodes>,
    files: Arc<Files>,
    latest: Mutex<HashMap<ItemHash, (Instant, StoredFile)>>,
}

impl Messages {
    pub(crate) fn new(core_nodes: Arc<CoreNodes>, files: Arc<Files>) -> Self {
        Self { core_nodes, files, latest: Mutex::new(HashMap::new()) }
    }

    /// Where a message stands.
    pub(crate) async fn standing(&self, hash: &ItemHash) -> Result<Standing, Failure> {
        let unreachable = |error: Unreachable| Failure::CoreNodesUnreachable(error.0);
        let Some(answer) =
            self.core_nodes.get_json(&format!("api/v0/messages/{hash}")).await.map_err(unreachable)?
        else {
            return Ok(Standing::Unknown);
        };
        let status = answer.get("status").and_then(Value::as_str).unwrap_or("unknown").to_owned();
        match status.as_str() {
            "processed" | "removing" => {
                let document = answer.get("message").cloned().unwrap_or_default();
                let parsed = parse_as(hash, &document).map_err(|error| {
                    Failure::CoreNodesUnreachable(format!(
                        "a core node sent a wrong message for {hash}: {error}"
                    ))
                })?;
                Ok(Standing::Processed(Box::new(parsed), document))
            }
            "forgotten" | "removed" => Ok(Standing::Gone(status)),
            _ => {
                let code = answer.get("error_code").and_then(Value::as_i64);
                let detail = match (code, answer.get("details")) {
                    (Some(code), Some(details)) if !details.is_null() => format!("error {code}, {details}"),
                    (Some(code), _) => format!("error {code}"),
                    (None, _) => "wait for it, or ask for its status on a core node".to_owned(),
                };
                Ok(Standing::NotProcessed { status, detail })
            }
        }
    }

    /// A processed PROGRAM message.
    pub(crate) async fn program(&self, hash: &ItemHash) -> Result<Program, Failure> {
        let (parsed, mut document) = self.processed(hash).await?;
        let content = self.content(&parsed, &mut document).await?;
        Program::new(hash.clone(), document, content)
    }

    async fn processed(&self, hash: &ItemHash) -> Result<(ParsedMessage, Value), Failure> {
        match self.standing(hash).await? {
            Standing::Processed(parsed, document) => Ok((*parsed, document)),
            Standing::Gone(status) => Err(Failure::MessageGone { hash: hash.clone(), status }),
            Standing::NotProcessed { status, detail } => {
                Err(Failure::MessageNotProcessed { hash: hash.clone(), status, detail })
            }
            Standing::Unknown => Err(Failure::MessageNotFound(hash.clone())),
        }
    }

    /// The content, fetched by its hash when the envelope does not hold it. The fetched text is put into
    /// the document, so that the document alone is enough later.
    async fn content(&self, parsed: &ParsedMessage, document: &mut Value) -> Result<Content, Failure> {
        if let Some(content) = &parsed.content {
            return Ok(content.clone());
        }
        let hash = &parsed.message.item_hash;
        let bytes = self.files.bytes(hash, CONTENT_BYTES).await.map_err(|error| match error {
            FileError::Unreachable(cause) => Failure::CoreNodesUnreachable(cause),
            other => Failure::FileUnavailable {
                what: "content of message",
                reference: hash.to_string(),
                cause: other.to_string(),
            },
        })?;
        let (content, value) = content_of(&parsed.message, &bytes).map_err(|error| {
            Failure::CoreNodesUnreachable(format!("the content of {hash} is not valid: {error}"))
        })?;
        if let Value::Object(object) = document {
            object.insert("content".to_owned(), value);
        }
        Ok(content)
    }

    async fn store(&self, hash: &ItemHash) -> Result<StoreContent, Failure> {
        let (parsed, mut document) = self.processed(hash).await?;
        match self.content(&parsed, &mut document).await? {
            Content::Store(content) => Ok(content),
            other => Err(Failure::FileUnavailable {
                what: "reference",
                reference: hash.to_string(),
                cause: format!("it is a {} message, not a STORE", other.message_type()),
            }),
        }
    }

    /// Which file `reference` means: the one stored by that message, or with `use_latest` its newest
    /// version by the same owner.
    pub(crate) async fn file_of(
        &self,
        what: &'static str,
        reference: &ItemHash,
        use_latest: bool,
    ) -> Result<StoredFile, Failure> {
        if use_latest
            && let Some((at, known)) = self.latest.lock().get(reference)
            && at.elapsed() < LATEST_TTL
        {
            return Ok(known.clone());
        }
        let original =
            self.store(reference).await.map_err(|failure| absent_file(what, reference, failure))?;
        let mut chosen = StoredFile {
            reference: reference.clone(),
            use_latest,
            store: reference.clone(),
            owner: original.address.clone(),
            file: original.item_hash,
        };
        if use_latest {
            if let Some((store, file)) =
                self.newest_version(reference, &original.address, original.time).await?
            {
                chosen.store = store;
                chosen.file = file;
            }
            let mut latest = self.latest.lock();
            if latest.len() >= LATEST_ENTRIES {
                latest.clear();
            }
            latest.insert(reference.clone(), (Instant::now(), chosen.clone()));
        }
        Ok(chosen)
    }

    /// The newest STORE by `owner` that names `reference`, if one is newer than `since`.
    async fn newest_version(
        &self,
        reference: &ItemHash,
        owner: &Address,
        since: Timestamp,
    ) -> Result<Option<(ItemHash, ItemHash)>, Failure> {
        let path = format!(
            "api/v0/messages.json?msgType=STORE&sortOrder=-1&pagination=20&refs={reference}&owners={}",
            escaped(owner.as_str())
        );
        let answer =
            self.core_nodes.get_json(&path).await.map_err(|error| Failure::CoreNodesUnreachable(error.0))?;
        let mut newest: Option<(Timestamp, ItemHash, ItemHash)> = None;
        let listed = answer.as_ref().and_then(|answer| answer.get("messages")).and_then(Value::as_array);
        for document in listed.into_iter().flatten() {
            let Ok(parsed) = ParsedMessage::from_value(document) else { continue };
            let content = match parsed.content {
                Some(content) => content,
                None => {
                    let mut document = document.clone();
                    self.content(&parsed, &mut document).await?
                }
            };
            let Content::Store(content) = content else { continue };
            let names_it = content.reference.as_deref() == Some(reference.as_str());
            if names_it
                && content.address.is_same_as(owner)
                && content.time > newest.as_ref().map_or(since, |(time, _, _)| *time)
            {
                newest = Some((content.time, parsed.message.item_hash, content.item_hash));
            }
        }
        Ok(newest.map(|(_, store, file)| (store, file)))
    }

    /// A new version of `reference` was published.
    pub(crate) fn forget_latest(&self, reference: &ItemHash) {
        self.latest.lock().remove(reference);
    }

    /// One key of an account's aggregate; `None` when there is none.
    pub(crate) async fn aggregate(&self, owner: &Address, key: &str) -> Result<Option<Value>, Unreachable> {
        let answer = self
            .core_nodes
            .get_json(&format!("api/v0/aggregates/{}.json?keys={key}", escaped(owner.as_str())))
            .await?;
        Ok(answer.and_then(|mut answer| {
            let data = answer.get_mut("data")?.get_mut(key)?.take();
            (!data.is_null()).then_some(data)
        }))
    }
}

impl Program {
    fn new(hash: ItemHash, document: Value, content: Content) -> Result<Self, Failure> {
        let what = match content {
            Content::Program(content) => return Ok(Self { hash, document, content: *content }),
            Content::Instance(_) => "an instance",
            Content::VProgram(_) => "a V-PROGRAM: executions are scheduler-controlled",
            _ => "another kind of message",
        };
        Err(Failure::NotAProgram { hash, what })
    }

    /// A program from the document that was kept.
    pub(crate) fn from_document(hash: &ItemHash, document: Value) -> Option<Self> {
        let parsed = parse_as(hash, &document).ok()?;
        let content = match parsed.content {
            Some(content) => content,
            // It was checked against its hash when it was fetched.
            None => Content::parse_value(MessageType::Program, document.get("content")?.clone()).ok()?,
        };
        Self::new(hash.clone(), document, content).ok()
    }
}

/// Parses an envelope and checks that it is the one that was asked for.
fn parse_as(hash: &ItemHash, document: &Value) -> Result<ParsedMessage, FormatError> {
    let parsed = ParsedMessage::from_value(document)?;
    if parsed.message.item_hash != *hash {
        return Err(FormatError::text(format!("it is {}", parsed.message.item_hash)));
    }
    match aleph_crypto::check(&parsed.message) {
        Ok(()) => {}
        // The messages that a private network was seeded with have none; the core node's word counts.
        Err(SignatureError::Missing) => {}
        Err(error) => return Err(FormatError::text(format!("its signature is wrong: {error}"))),
    }
    Ok(parsed)
}

fn content_of(message: &Message, bytes: &[u8]) -> Result<(Content, Value), FormatError> {
    Content::parse_fetched(message, bytes)
}

/// A missing STORE message is a missing file for whoever needs it.
fn absent_file(what: &'static str, reference: &ItemHash, failure: Failure) -> Failure {
    match failure {
        Failure::MessageNotFound(_) => Failure::FileUnavailable {
            what,
            reference: reference.to_string(),
            cause: "no core node knows this STORE message; publish it, or correct the reference".to_owned(),
        },
        Failure::MessageGone { status, .. } => Failure::FileUnavailable {
            what,
            reference: reference.to_string(),
            cause: format!("the STORE message was {status}"),
        },
        Failure::MessageNotProcessed { status, detail, .. } => Failure::FileUnavailable {
            what,
            reference: reference.to_string(),
            cause: format!("the STORE message is {status}: {detail}"),
        },
        other => other,
    }
}
