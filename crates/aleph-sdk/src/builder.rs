use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aleph_types::content::Content;
use aleph_types::{Address, Channel, HashKind, ItemHash, ItemType, Message, MessageType, Timestamp};
use serde_json::{Map, Value, json};

use crate::account::Account;
use crate::error::{Error, Result};
use crate::program::ProgramSpec;

/// Content of fewer bytes travels inside its message, as in the official clients (`spec: clients.md §8`).
pub const INLINE_BYTES: usize = 50_000;

/// How a resource is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PaymentMethod {
    /// By credits: the one way that the network takes for every resource.
    #[default]
    Credit,
    /// By holding tokens; refused for files and programs from 2027 on (`spec: messages.md §23`).
    Hold,
}

impl PaymentMethod {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credit => "credit",
            Self::Hold => "hold",
        }
    }

    pub(crate) fn to_json(self) -> Value {
        match self {
            Self::Credit => json!({ "type": "credit" }),
            Self::Hold => json!({ "chain": "ETH", "type": "hold" }),
        }
    }
}

/// A message in the making.
///
/// Contents are written as compact JSON in raw UTF-8, `address` and `time` first and the other keys in the
/// order of the Python SDK (`spec: clients.md §8`). That text is hashed and signed; nothing on its way may
/// write it anew.
///
/// ```
/// use aleph_sdk::MessageBuilder;
///
/// let note = MessageBuilder::post("note", serde_json::json!({"body": "hello"})).channel("demo");
/// ```
#[derive(Debug, Clone)]
pub struct MessageBuilder {
    message_type: MessageType,
    /// What follows `address` and `time`.
    body: Map<String, Value>,
    owner: Option<Address>,
    channel: Option<Channel>,
    time: Option<Timestamp>,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

impl MessageBuilder {
    fn new(message_type: MessageType, body: Value) -> Self {
        Self { message_type, body: object(body), owner: None, channel: None, time: None }
    }

    /// A POST of a free type with any JSON as payload.
    pub fn post(post_type: &str, content: Value) -> Self {
        Self::new(MessageType::Post, json!({ "content": content, "type": post_type }))
    }

    /// A POST that refers to something: a hash, or any text.
    pub fn post_about(post_type: &str, content: Value, reference: &str) -> Self {
        Self::new(MessageType::Post, json!({ "content": content, "ref": reference, "type": post_type }))
    }

    /// A POST that replaces the payload of an earlier one.
    pub fn amend(original: &ItemHash, content: Value) -> Self {
        Self::post_about("amend", content, original.as_str())
    }

    /// An AGGREGATE: `content`'s keys overwrite those of the owner's document `key`.
    pub fn aggregate(key: &str, content: Map<String, Value>) -> Self {
        Self::new(MessageType::Aggregate, json!({ "key": key, "content": content }))
    }

    /// A STORE of the file with that hash; `reference` makes it a new version (`spec: messages.md §15`).
    pub fn store(
        file: &ItemHash,
        reference: Option<&str>,
        metadata: Option<Map<String, Value>>,
        payment: PaymentMethod,
    ) -> Self {
        let engine = match file.kind() {
            HashKind::Storage => ItemType::Storage,
            HashKind::Ipfs => ItemType::Ipfs,
        };
        let mut body = object(json!({ "item_type": engine, "item_hash": file }));
        if let Some(reference) = reference {
            body.insert("ref".into(), reference.into());
        }
        if let Some(metadata) = metadata {
            body.insert("metadata".into(), Value::Object(metadata));
        }
        body.insert("payment".into(), payment.to_json());
        Self::new(MessageType::Store, Value::Object(body))
    }

    /// A FORGET of messages.
    pub fn forget(hashes: &[ItemHash], reason: Option<&str>) -> Self {
        let mut body = object(json!({ "hashes": hashes, "aggregates": [] }));
        if let Some(reason) = reason {
            body.insert("reason".into(), reason.into());
        }
        Self::new(MessageType::Forget, Value::Object(body))
    }

    /// A PROGRAM whose code was stored by the STORE message `code`.
    pub fn program(spec: &ProgramSpec, code: &ItemHash) -> Self {
        Self::new(MessageType::Program, spec.content(code))
    }

    /// Any type with a body of one's own; `address` and `time` are added.
    pub fn custom(message_type: MessageType, body: Map<String, Value>) -> Self {
        Self::new(message_type, Value::Object(body))
    }

    /// Puts a free label on the message. Without it the message has none.
    pub fn channel(mut self, channel: impl Into<Channel>) -> Self {
        self.channel = Some(channel.into());
        self
    }

    /// The same, when there is one.
    pub fn maybe_channel(mut self, channel: Option<&str>) -> Self {
        self.channel = channel.map(Channel::from);
        self
    }

    /// Speaks for another account, which must allow it in its `security` aggregate.
    pub fn on_behalf_of(mut self, owner: impl Into<Address>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// The same, when there is one.
    pub fn maybe_on_behalf_of(mut self, owner: Option<&Address>) -> Self {
        self.owner = owner.cloned();
        self
    }

    /// Fixes the time of content and envelope; else it is the moment of [`MessageBuilder::build`].
    pub fn at(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    /// Writes the content and checks it by the rules of its type.
    ///
    /// # Errors
    /// [`Error::Content`] when every node would refuse it.
    pub fn build(self, account: &Account) -> Result<Unsigned> {
        let time = match self.time {
            Some(time) => time,
            None => now()?,
        };
        let owner = self.owner.unwrap_or_else(|| account.address().clone());
        let mut content = Map::with_capacity(self.body.len() + 2);
        content.insert("address".into(), owner.as_str().into());
        content.insert("time".into(), time.as_secs_f64().into());
        content.extend(self.body);
        let content = Value::Object(content).to_string();
        let item_hash = ItemHash::sha256(content.as_bytes());
        Content::parse_text(self.message_type, &item_hash, content.as_bytes())
            .map_err(|source| Error::Content { message_type: self.message_type.as_str(), source })?;
        Ok(Unsigned {
            message_type: self.message_type,
            item_type: ItemType::Inline,
            item_hash,
            content,
            channel: self.channel,
            time,
        })
    }
}

/// The time of this machine's clock.
pub(crate) fn now() -> Result<Timestamp> {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| Error::input("this machine's clock stands before 1970"))?;
    Ok(Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)))
}

/// A message whose content is written and checked, waiting for its signature.
#[derive(Debug, Clone)]
pub struct Unsigned {
    message_type: MessageType,
    item_type: ItemType,
    item_hash: ItemHash,
    content: String,
    channel: Option<Channel>,
    time: Timestamp,
}

impl Unsigned {
    /// The text that is hashed.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// Bytes of that text.
    pub fn content_len(&self) -> usize {
        self.content.len()
    }

    /// The identity of the message to come.
    pub fn item_hash(&self) -> &ItemHash {
        &self.item_hash
    }

    /// Refers to the content as a file of the network instead of carrying it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the file that was stored is not this content.
    pub fn stored_as(mut self, file: ItemHash) -> Result<Self> {
        if file != self.item_hash {
            return Err(Error::Corrupt {
                expected: self.item_hash,
                computed: file,
                node: "the node that stored the content".into(),
            });
        }
        self.item_type = ItemType::Storage;
        Ok(self)
    }

    /// Signs for `account`, which becomes the sender.
    pub fn sign(self, account: &Account) -> Result<Message> {
        let mut message = Message {
            item_hash: self.item_hash,
            message_type: self.message_type,
            chain: account.chain(),
            sender: account.address().clone(),
            signature: None,
            item_type: self.item_type,
            item_content: matches!(self.item_type, ItemType::Inline).then(|| Arc::from(self.content)),
            time: self.time,
            channel: self.channel,
        };
        message.signature = Some(account.sign(&message.verification_buffer())?);
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use aleph_types::content::Encoding;

    use super::*;

    const SECRET: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    const ADDRESS: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

    fn account() -> Account {
        Account::from_hex(aleph_types::Chain::Eth, SECRET).unwrap()
    }

    fn text(builder: MessageBuilder) -> String {
        let time = Timestamp::from_micros(1_712_345_678_250_000);
        builder.at(time).build(&account()).unwrap().content().to_owned()
    }

    fn after_time(builder: MessageBuilder) -> String {
        let start = format!(r#"{{"address":"{ADDRESS}","time":1712345678.25,"#);
        text(builder).strip_prefix(&start).expect("address and time come first").to_owned()
    }

    #[test]
    fn contents_have_the_key_order_of_the_python_sdk() {
        let hash = ItemHash::sha256(b"f");
        assert_eq!(
            after_time(MessageBuilder::post("note", json!({"b": "é", "a": [1, 2.5]}))),
            r#""content":{"b":"é","a":[1,2.5]},"type":"note"}"#
        );
        assert_eq!(
            after_time(MessageBuilder::amend(&hash, json!(null))),
            format!(r#""content":null,"ref":"{hash}","type":"amend"}}"#)
        );
        assert_eq!(
            after_time(MessageBuilder::aggregate("profile", object(json!({"name": "x"})))),
            r#""key":"profile","content":{"name":"x"}}"#
        );
        assert_eq!(
            after_time(MessageBuilder::store(&hash, Some("logo"), None, PaymentMethod::Hold)),
            format!(
                r#""item_type":"storage","item_hash":"{hash}","ref":"logo","payment":{{"chain":"ETH","type":"hold"}}}}"#
            )
        );
        assert_eq!(
            after_time(MessageBuilder::forget(std::slice::from_ref(&hash), Some("old"))),
            format!(r#""hashes":["{hash}"],"aggregates":[],"reason":"old"}}"#)
        );
    }

    #[test]
    fn programs_spell_every_default() {
        let (runtime, code) = (ItemHash::sha256(b"r"), ItemHash::sha256(b"c"));
        let mut spec = ProgramSpec::new("main:app", Encoding::Zip, runtime.clone());
        spec.name = Some("guestbook".into());
        spec.variables.insert("KEY".into(), "value".into());
        assert_eq!(
            after_time(MessageBuilder::program(&spec, &code)),
            format!(
                concat!(
                    r#""allow_amend":false,"metadata":{{"name":"guestbook"}},"authorized_keys":[],"#,
                    r#""variables":{{"KEY":"value"}},"environment":{{"reproducible":false,"internet":false,"#,
                    r#""aleph_api":true,"shared_cache":false}},"resources":{{"vcpus":1,"memory":256,"seconds":30}},"#,
                    r#""payment":{{"type":"credit"}},"volumes":[],"type":"vm-function","code":{{"encoding":"zip","#,
                    r#""entrypoint":"main:app","ref":"{}","use_latest":false}},"runtime":{{"ref":"{}","#,
                    r#""use_latest":true,"comment":""}},"on":{{"http":true,"persistent":false}}}}"#
                ),
                code, runtime
            )
        );
    }

    #[test]
    fn hash_and_signature_cover_the_text() {
        let time = Timestamp::from_micros(1_712_345_678_250_000);
        let builder = MessageBuilder::post("note", json!("hi")).channel("demo").at(time);
        let message = builder.build(&account()).unwrap().sign(&account()).unwrap();
        let content = message.item_content.as_deref().unwrap();
        assert_eq!(message.item_hash, ItemHash::sha256(content.as_bytes()));
        assert_eq!(message.sender, Address::from(ADDRESS));
        let wire = serde_json::to_value(message.to_wire()).unwrap();
        let parsed = aleph_types::ParsedMessage::from_value(&wire).unwrap();
        assert_eq!(parsed.message, message);
        aleph_crypto::check(&parsed.message).unwrap();
    }

    #[test]
    fn large_contents_are_referred_to() {
        let unsigned =
            MessageBuilder::post("note", json!("x".repeat(INLINE_BYTES))).build(&account()).unwrap();
        assert!(unsigned.content_len() >= INLINE_BYTES);
        assert!(matches!(unsigned.clone().stored_as(ItemHash::sha256(b"other")), Err(Error::Corrupt { .. })));
        let hash = unsigned.item_hash().clone();
        let message = unsigned.stored_as(hash).unwrap().sign(&account()).unwrap();
        assert_eq!((message.item_type, message.item_content.as_ref()), (ItemType::Storage, None));
        aleph_crypto::check(&message).unwrap();
    }

    #[test]
    fn what_every_node_would_refuse_is_not_signed() {
        let refused =
            |builder: MessageBuilder| matches!(builder.build(&account()), Err(Error::Content { .. }));
        assert!(refused(MessageBuilder::post("note", json!("a\u{0}b"))));
        assert!(refused(MessageBuilder::post_about("amend", json!(1), "")));
        assert!(refused(MessageBuilder::forget(&[], Some(&"x".repeat(2000)))));
        assert!(refused(MessageBuilder::custom(MessageType::Post, object(json!({"type": "t", "odd": 1})))));
    }
}
