use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

use crate::content::Content;
use crate::wire::Envelope;
use crate::{Address, Chain, Channel, FormatError, ItemHash, Timestamp, json};

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the wire's")]
pub enum MessageType {
    Post,
    Aggregate,
    Store,
    Program,
    Instance,
    VProgram,
    Forget,
}

impl MessageType {
    /// Every type.
    pub const ALL: [MessageType; 7] = [
        MessageType::Post,
        MessageType::Aggregate,
        MessageType::Store,
        MessageType::Program,
        MessageType::Instance,
        MessageType::VProgram,
        MessageType::Forget,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageType::Post => "POST",
            MessageType::Aggregate => "AGGREGATE",
            MessageType::Store => "STORE",
            MessageType::Program => "PROGRAM",
            MessageType::Instance => "INSTANCE",
            MessageType::VProgram => "V-PROGRAM",
            MessageType::Forget => "FORGET",
        }
    }
}

/// Where the content of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ItemType {
    /// In the envelope itself.
    Inline,
    /// In a file addressed by its SHA-256.
    Storage,
    /// In a file addressed by its CID.
    Ipfs,
}

impl ItemType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ItemType::Inline => "inline",
            ItemType::Storage => "storage",
            ItemType::Ipfs => "ipfs",
        }
    }
}

macro_rules! word {
    ($name:ident, [$($variant:ident),*]) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ();

            /// Case counts.
            fn from_str(text: &str) -> Result<Self, ()> {
                [$($name::$variant),*].into_iter().find(|word| word.as_str() == text).ok_or(())
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(|()| serde::de::Error::custom(format!("unknown value '{text}'")))
            }
        }
    };
}

word!(MessageType, [Post, Aggregate, Store, Program, Instance, VProgram, Forget]);
word!(ItemType, [Inline, Storage, Ipfs]);

/// The signature text of a message, opaque until a verifier reads it (`spec: signatures.md §1`).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Signature(Arc<str>);

impl Signature {
    /// The text as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Signature {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Signature {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An envelope that keeps every rule of form; its signature is not checked yet (`spec: messages.md §§2, 3`).
///
/// For inline messages `item_content` is the exact text whose SHA-256 is `item_hash`.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Identity: hash of the content.
    pub item_hash: ItemHash,
    /// What the message is about.
    pub message_type: MessageType,
    /// The chain of the sender's key.
    pub chain: Chain,
    /// Who signed.
    pub sender: Address,
    /// `None` or empty only in trusted messages.
    pub signature: Option<Signature>,
    /// Where the content is.
    pub item_type: ItemType,
    /// The content's text, exactly as it was hashed; present iff inline.
    pub item_content: Option<Arc<str>>,
    /// Envelope time.
    pub time: Timestamp,
    /// Free label.
    pub channel: Option<Channel>,
}

impl Message {
    /// The bytes that every chain's signature covers (`spec: signatures.md §1`).
    pub fn verification_buffer(&self) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(160);
        buffer.extend_from_slice(self.chain.as_str().as_bytes());
        buffer.push(b'\n');
        buffer.extend_from_slice(self.sender.as_str().as_bytes());
        buffer.push(b'\n');
        buffer.extend_from_slice(self.message_type.as_str().as_bytes());
        buffer.push(b'\n');
        buffer.extend_from_slice(self.item_hash.as_str().as_bytes());
        buffer
    }

    /// The envelope as JSON, in the form that is published and shown (no `content`).
    pub fn to_wire(&self) -> Envelope {
        Envelope::from(self)
    }
}

/// An envelope together with its content where that is inline.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedMessage {
    /// The envelope.
    pub message: Message,
    /// The content; `None` when it must still be fetched by hash.
    pub content: Option<Content>,
}

impl ParsedMessage {
    /// Parses a message as a client or a peer sends it: envelope, hash, inline content.
    pub fn from_json(bytes: &[u8]) -> Result<Self, FormatError> {
        let value = json::parse(bytes).map_err(|error| FormatError::text(error.to_string()))?;
        Self::from_value(&value)
    }

    /// The same for a document that is already JSON.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, FormatError> {
        let message = Envelope::read(value)?;
        let of_envelope = |error: FormatError| error.below("content");
        let content = match &message.item_content {
            Some(text) => Some(
                Content::parse_text(message.message_type, &message.item_hash, text.as_bytes())
                    .map_err(of_envelope)?,
            ),
            None => {
                // Content beside a hash counts for nothing, but the reference holds it against the schema.
                if let Some(sent) = value.get("content").filter(|sent| !sent.is_null()) {
                    Content::parse_value(message.message_type, sent.clone()).map_err(of_envelope)?;
                }
                None
            }
        };
        Ok(Self { message, content })
    }
}
