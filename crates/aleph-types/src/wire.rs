//! The lenient shape of a message on the wire.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::INLINE_CHARS;
use crate::{
    Address, Chain, Channel, FormatError, HashKind, Issue, ItemHash, ItemType, Loc, Message, MessageType,
    Signature, Timestamp,
};

/// A message as it is published: the keys that travel, in the order of the Python SDK.
///
/// Unknown keys are dropped when reading and never written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Code of the chain.
    pub chain: String,
    /// Address of the signer.
    pub sender: String,
    /// Type of the message.
    #[serde(rename = "type")]
    pub message_type: String,
    /// Free label.
    #[serde(default)]
    pub channel: Option<String>,
    /// Text of the signature.
    #[serde(default)]
    pub signature: Option<String>,
    /// Seconds since the epoch.
    pub time: f64,
    /// `inline`, `storage` or `ipfs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_type: Option<String>,
    /// The content's text when inline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_content: Option<String>,
    /// Hash of the content.
    pub item_hash: String,
}

impl From<&Message> for Envelope {
    fn from(message: &Message) -> Self {
        Self {
            chain: message.chain.as_str().to_owned(),
            sender: message.sender.as_str().to_owned(),
            message_type: message.message_type.as_str().to_owned(),
            channel: message.channel.as_ref().map(|channel| channel.as_str().to_owned()),
            signature: message.signature.as_ref().map(|signature| signature.as_str().to_owned()),
            time: message.time.as_secs_f64(),
            item_type: Some(message.item_type.as_str().to_owned()),
            item_content: message.item_content.as_ref().map(|text| text.to_string()),
            item_hash: message.item_hash.as_str().to_owned(),
        }
    }
}

/// Collects what is wrong with an envelope's fields.
struct Fields<'a> {
    object: &'a serde_json::Map<String, Value>,
    issues: Vec<Issue>,
}

impl<'a> Fields<'a> {
    fn wrong(&mut self, key: &str, kind: &'static str, msg: impl Into<String>) {
        self.issues.push(Issue { kind, loc: vec![Loc::from(key)], msg: msg.into() });
    }

    /// No database of the network can hold NUL in a text, and no content may hold it either.
    fn without_nul(&mut self, key: &str, text: &'a str) -> Option<&'a str> {
        if text.contains('\0') {
            self.wrong(key, "value_error", "must not hold the character NUL");
            return None;
        }
        Some(text)
    }

    fn required_text(&mut self, key: &str) -> Option<&'a str> {
        match self.object.get(key) {
            Some(Value::String(text)) => self.without_nul(key, text),
            Some(_) => {
                self.wrong(key, "string_type", "must be a string");
                None
            }
            None => {
                self.wrong(key, "missing", "Field required");
                None
            }
        }
    }

    fn optional_text(&mut self, key: &str) -> Option<&'a str> {
        match self.object.get(key) {
            // What stands in a content is said by who reads it.
            Some(Value::String(text)) if key == "item_content" => Some(text),
            Some(Value::String(text)) => self.without_nul(key, text),
            None | Some(Value::Null) => None,
            Some(_) => {
                self.wrong(key, "string_type", "must be a string or null");
                None
            }
        }
    }

    fn word<T: std::str::FromStr>(&mut self, key: &str, text: &str, what: &str) -> Option<T> {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.wrong(key, "enum", format!("not a known {what}"));
        }
        parsed
    }
}

impl Envelope {
    /// Reads an envelope and checks its rules of form, the hash of inline content included
    /// (`spec: messages.md §§2, 3`).
    pub fn read(value: &Value) -> Result<Message, FormatError> {
        let Value::Object(object) = value else {
            return Err(FormatError::text("a message must be a JSON object"));
        };
        let mut fields = Fields { object, issues: Vec::new() };

        let sender = fields.required_text("sender");
        let chain =
            fields.required_text("chain").and_then(|text| fields.word::<Chain>("chain", text, "chain"));
        let message_type = fields
            .required_text("type")
            .and_then(|text| fields.word::<MessageType>("type", text, "message type"));
        let hash_text = fields.required_text("item_hash");
        let signature = fields.optional_text("signature");
        let channel = fields.optional_text("channel");
        let declared = fields
            .optional_text("item_type")
            .and_then(|text| fields.word::<ItemType>("item_type", text, "item type"));
        let item_content = fields.optional_text("item_content");
        let time = match object.get("time") {
            Some(Value::Number(number)) => {
                let parsed = number.as_f64().and_then(|seconds| Timestamp::from_secs_f64(seconds).ok());
                if parsed.is_none() {
                    fields.wrong("time", "datetime", "outside the range of times");
                }
                parsed
            }
            Some(_) => {
                fields.wrong("time", "number_type", "must be a number of seconds since the epoch");
                None
            }
            None => {
                fields.wrong("time", "missing", "Field required");
                None
            }
        };
        let recognised = hash_text.and_then(|text| match ItemHash::recognise(text) {
            Ok(hash) => Some(hash),
            Err(error) => {
                fields.wrong("item_hash", "value_error", error.to_string());
                None
            }
        });
        let (Some(sender), Some(chain), Some(message_type), Some(item_hash), Some(time), true) =
            (sender, chain, message_type, recognised, time, fields.issues.is_empty())
        else {
            return Err(FormatError::Issues(fields.issues));
        };

        let of_hash = match item_hash.kind() {
            HashKind::Storage => ItemType::Storage,
            HashKind::Ipfs => ItemType::Ipfs,
        };
        let item_type = match (declared, item_content) {
            (Some(declared), _) => declared,
            (None, Some(_)) => ItemType::Inline,
            (None, None) => of_hash,
        };
        match (item_type, item_content) {
            (ItemType::Inline, None) => {
                return Err(FormatError::text("Could not find inline item content"));
            }
            (ItemType::Inline, Some(text)) => {
                // A character takes at most four bytes: most texts need no count.
                if text.len() > INLINE_CHARS && text.chars().count() > INLINE_CHARS {
                    return Err(FormatError::text(format!(
                        "Message too long: inline content is limited to {INLINE_CHARS} characters"
                    )));
                }
                let computed = ItemHash::sha256(text.as_bytes());
                if computed != item_hash {
                    return Err(FormatError::text(format!(
                        "'item_hash' does not match 'sha256(item_content)', expecting {computed}"
                    )));
                }
            }
            (_, Some(_)) => {
                return Err(FormatError::text(format!("{item_type} messages cannot define 'item_content'")));
            }
            (_, None) if item_type != of_hash => {
                return Err(FormatError::text(format!(
                    "'item_type' is {item_type}, but the hash is one of {of_hash}"
                )));
            }
            (_, None) => {}
        }

        Ok(Message {
            item_hash,
            message_type,
            chain,
            sender: Address::from(sender),
            signature: signature.filter(|text| !text.is_empty()).map(Signature::from),
            item_type,
            item_content: item_content.map(Arc::from),
            time,
            channel: channel.map(Channel::from),
        })
    }
}
