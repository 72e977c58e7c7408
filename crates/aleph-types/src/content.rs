//! What messages say: one typed model per message type (`spec: messages.md §§12–21`).
//!
//! Models are read from JSON by hand-written readers, because the network's schema is lax in ways that
//! no derive macro knows (text `"2"` counts as 2, `"false"` as false, but not where a field is strict)
//! and because every refusal must say what is wrong and where.

#[macro_use]
mod words;

mod aggregate;
mod credit;
mod executable;
mod forget;
mod instance;
mod number;
mod post;
mod program;
mod reader;
mod runtime_manifest;
mod store;
mod v_program;

pub use aggregate::AggregateContent;
pub use credit::{CreditCharge, CreditDistribution, CreditExpense, CreditGrant, CreditMove, CreditTransfer};
pub use executable::{
    Architecture, CpuRequirements, ExecutableBase, FunctionEnvironment, GpuArchitecture, GpuClass,
    GpuRequirement, Hypervisor, InstanceEnvironment, Measurement, NodeRequirements, ParentVolume, Payment,
    PaymentType, Persistence, PortProtocol, PublishedPort, Registers, Requirements, Resources,
    TrustedExecution, TrustedExecutionGpu, TrustedExecutionMode, TrustedPlatform, Volume, VolumeKind,
};
pub use forget::ForgetContent;
pub use instance::{InstanceContent, RootfsVolume};
pub use number::{lax_float, lax_integer};
pub use post::PostContent;
pub use program::{
    CodeContent, DataContent, Encoding, ExportContent, FunctionTriggers, Interface, ProgramContent,
    ProgramEnvironment, RuntimeContent,
};
pub use runtime_manifest::RuntimeManifest;
pub use store::{StoreContent, StorePayment};
pub use v_program::{VProgramContent, VProgramRuntime, VProgramVolume, VProgramWorkload, Verification};

use serde_json::Value;

use crate::{Address, FormatError, ItemHash, Message, MessageType, Timestamp, json};
use reader::Object;

/// The bytes that no content may hold (`spec: messages.md §4`).
const FORBIDDEN: &[u8] = b"\\u0000";

/// The content of a message, valid for its type.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "one variant a message type")]
pub enum Content {
    Post(PostContent),
    Aggregate(AggregateContent),
    Store(StoreContent),
    Program(Box<ProgramContent>),
    Instance(Box<InstanceContent>),
    VProgram(Box<VProgramContent>),
    Forget(ForgetContent),
}

impl Content {
    /// Reads the text of an inline content.
    pub fn parse_text(
        message_type: MessageType,
        item_hash: &ItemHash,
        text: &[u8],
    ) -> Result<Self, FormatError> {
        Self::parse_value(message_type, Self::document(item_hash, text)?)
    }

    /// Reads content that was fetched by hash: an absent `address` or `time` is taken from the envelope
    /// (`spec: messages.md §5`). Also returns the document as it is served, if that differs from the file.
    pub fn parse_fetched(message: &Message, bytes: &[u8]) -> Result<(Self, Value), FormatError> {
        let document = Self::fetched(message, bytes)?;
        Ok((Self::parse_value(message.message_type, document.clone())?, document))
    }

    /// The same with the text of that document. A document takes up to thirty times the length of its text:
    /// whoever has no use for a second one is better off with this.
    pub fn parse_fetched_text(message: &Message, bytes: &[u8]) -> Result<(Self, String), FormatError> {
        let document = Self::fetched(message, bytes)?;
        let text = document.to_string();
        Ok((Self::parse_value(message.message_type, document)?, text))
    }

    fn fetched(message: &Message, bytes: &[u8]) -> Result<Value, FormatError> {
        let mut document = Self::document(&message.item_hash, bytes)?;
        if let Value::Object(object) = &mut document {
            if object.get("address").is_none_or(Value::is_null) {
                object.insert("address".into(), message.sender.as_str().into());
            }
            if object.get("time").is_none_or(Value::is_null) {
                object.insert("time".into(), message.time.as_secs_f64().into());
            }
        }
        Ok(document)
    }

    /// The JSON object in `bytes`, with the checks that precede every schema.
    fn document(item_hash: &ItemHash, bytes: &[u8]) -> Result<Value, FormatError> {
        if memchr::memmem::find(bytes, FORBIDDEN).is_some() {
            return Err(FormatError::text(format!(
                "Invalid message content for {item_hash}: Unsupported character in message: \\u0000"
            )));
        }
        match json::parse(bytes) {
            Ok(Value::Object(object)) => Ok(Value::Object(object)),
            Ok(_) => Err(FormatError::text("Content must be a JSON object")),
            Err(error) => Err(FormatError::text(format!("Could not load JSON: {error}"))),
        }
    }

    /// Reads a content document.
    pub fn parse_value(message_type: MessageType, document: Value) -> Result<Self, FormatError> {
        let object = Object::root(document)?;
        match message_type {
            MessageType::Post => PostContent::read(object).map(Self::Post),
            MessageType::Aggregate => AggregateContent::read(object).map(Self::Aggregate),
            MessageType::Store => StoreContent::read(object).map(Self::Store),
            MessageType::Program => ProgramContent::read(object).map(Box::new).map(Self::Program),
            MessageType::Instance => InstanceContent::read(object).map(Box::new).map(Self::Instance),
            MessageType::VProgram => VProgramContent::read(object).map(Box::new).map(Self::VProgram),
            MessageType::Forget => ForgetContent::read(object).map(Self::Forget),
        }
    }

    /// The type of message that has this content.
    pub fn message_type(&self) -> MessageType {
        match self {
            Content::Post(_) => MessageType::Post,
            Content::Aggregate(_) => MessageType::Aggregate,
            Content::Store(_) => MessageType::Store,
            Content::Program(_) => MessageType::Program,
            Content::Instance(_) => MessageType::Instance,
            Content::VProgram(_) => MessageType::VProgram,
            Content::Forget(_) => MessageType::Forget,
        }
    }

    /// The address on whose behalf the message speaks: `content.address`.
    pub fn owner(&self) -> &Address {
        match self {
            Content::Post(content) => &content.address,
            Content::Aggregate(content) => &content.address,
            Content::Store(content) => &content.address,
            Content::Program(content) => &content.base.address,
            Content::Instance(content) => &content.base.address,
            Content::VProgram(content) => &content.base.address,
            Content::Forget(content) => &content.address,
        }
    }

    /// `content.time`, which orders amends, aggregate elements and file versions.
    pub fn time(&self) -> Timestamp {
        match self {
            Content::Post(content) => content.time,
            Content::Aggregate(content) => content.time,
            Content::Store(content) => content.time,
            Content::Program(content) => content.base.time,
            Content::Instance(content) => content.base.time,
            Content::VProgram(content) => content.base.time,
            Content::Forget(content) => content.time,
        }
    }

    /// The tags that the node indexes (`spec: messages.md §27`): text items only.
    pub fn tags(&self) -> Vec<String> {
        let of = |value: Option<&Value>| -> Vec<String> {
            value
                .and_then(Value::as_array)
                .map(|tags| tags.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                .unwrap_or_default()
        };
        match self {
            Content::Post(content) => of(content.content.get("tags")),
            Content::Aggregate(content) => of(content.content.get("tags")),
            Content::Store(content) => content.tags.clone().unwrap_or_default(),
            Content::Program(content) => of(content.base.metadata.as_ref().and_then(|m| m.get("tags"))),
            Content::Instance(content) => of(content.base.metadata.as_ref().and_then(|m| m.get("tags"))),
            Content::VProgram(content) => of(content.base.metadata.as_ref().and_then(|m| m.get("tags"))),
            Content::Forget(_) => Vec::new(),
        }
    }
}
