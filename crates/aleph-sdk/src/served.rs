//! Messages as nodes serve them.

use aleph_types::{Address, Chain, ItemHash, MessageStatus, Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A message as a node serves it: the fields that programs use, and the whole document.
///
/// Reading is lenient, because one message of an unknown kind must not spoil a page: types and chains that
/// this library does not know are kept as text.
#[derive(Debug, Clone, PartialEq)]
pub struct ServedMessage {
    /// Identity.
    pub item_hash: ItemHash,
    /// Word of the type, as in `POST`.
    pub message_type: String,
    /// Code of the chain.
    pub chain: String,
    /// Who signed.
    pub sender: Address,
    /// Envelope time; `None` when it is no time.
    pub time: Option<Timestamp>,
    /// Free label.
    pub channel: Option<String>,
    /// The decoded content; `None` where the listing leaves it out or the message is gone.
    pub content: Option<Value>,
    /// Bytes of the content, in listings.
    pub size: Option<u64>,
    /// Whether the message is anchored on a chain.
    pub confirmed: bool,
    /// All of it, as served.
    pub document: Value,
}

impl ServedMessage {
    /// On whose behalf the message speaks: `content.address`, else the sender.
    pub fn owner(&self) -> Address {
        self.content
            .as_ref()
            .and_then(|content| content.get("address"))
            .and_then(Value::as_str)
            .map_or_else(|| self.sender.clone(), Address::from)
    }

    /// The chain, if this library knows it.
    pub fn known_chain(&self) -> Option<Chain> {
        self.chain.parse().ok()
    }

    pub(crate) fn from_document(document: Value) -> Result<Self, String> {
        let text = |key: &str| document.get(key).and_then(Value::as_str);
        let hash = text("item_hash").ok_or("a message without item_hash")?;
        let item_hash = ItemHash::recognise(hash).map_err(|error| error.to_string())?;
        Ok(Self {
            item_hash,
            message_type: text("type").unwrap_or_default().to_owned(),
            chain: text("chain").unwrap_or_default().to_owned(),
            sender: Address::from(text("sender").unwrap_or_default()),
            time: document.get("time").and_then(time_of),
            channel: text("channel").map(str::to_owned),
            content: document.get("content").filter(|content| !content.is_null()).cloned(),
            size: document.get("size").and_then(Value::as_u64),
            confirmed: document.get("confirmed").and_then(Value::as_bool).unwrap_or(false),
            document,
        })
    }
}

/// Times are seconds in most places and ISO 8601 in pending messages (`spec: ccn-api.md §1.2`); of the
/// latter only the document keeps the text.
fn time_of(value: &Value) -> Option<Timestamp> {
    value.as_f64().and_then(|seconds| Timestamp::from_secs_f64(seconds).ok())
}

impl<'de> Deserialize<'de> for ServedMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_document(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A message together with what a node made of it (`spec: ccn-api.md §3.5`).
#[derive(Debug, Clone, PartialEq)]
pub struct MessageState {
    /// Where it is in its life.
    pub status: MessageStatus,
    /// Identity.
    pub item_hash: ItemHash,
    /// ISO 8601 time at which the node received it first.
    pub reception_time: Option<String>,
    /// The message; of pending ones the first copy, of forgotten ones the skeleton.
    pub message: Option<ServedMessage>,
    /// Why it was rejected: the number on the wire.
    pub error_code: Option<i64>,
    /// More about the rejection.
    pub details: Option<Value>,
    /// The FORGET messages that deleted it.
    pub forgotten_by: Vec<String>,
    /// All of it, as served.
    pub document: Value,
}

impl<'de> Deserialize<'de> for MessageState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let document = Value::deserialize(deserializer)?;
        let text = |key: &str| document.get(key).and_then(Value::as_str);
        let status = text("status")
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| D::Error::custom("no status that is known"))?;
        let item_hash = text("item_hash").ok_or_else(|| D::Error::missing_field("item_hash"))?;
        let item_hash = ItemHash::recognise(item_hash).map_err(D::Error::custom)?;
        let message = document.get("message").or_else(|| document.get("messages").and_then(|all| all.get(0)));
        let message = message.cloned().and_then(|message| ServedMessage::from_document(message).ok());
        let forgotten_by = document
            .get("forgotten_by")
            .and_then(Value::as_array)
            .map(|all| all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default();
        Ok(Self {
            status,
            item_hash,
            reception_time: text("reception_time").map(str::to_owned),
            message,
            error_code: document.get("error_code").and_then(Value::as_i64),
            details: document.get("details").filter(|details| !details.is_null()).cloned(),
            forgotten_by,
            document,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_of_all_kinds_are_read() {
        let hash = ItemHash::sha256(b"m");
        let message = json!({"item_hash": hash, "type": "POST", "chain": "ETH", "sender": "0xA", "time": 1.5,
            "channel": null, "content": {"address": "0xB"}, "confirmed": false});
        let processed: MessageState = serde_json::from_value(
            json!({"status": "processed", "item_hash": hash, "reception_time": "t", "message": message}),
        )
        .unwrap();
        let read = processed.message.unwrap();
        assert_eq!(read.owner(), Address::from("0xB"));
        assert_eq!(read.time, Some(Timestamp::from_micros(1_500_000)));

        let pending: MessageState =
            serde_json::from_value(json!({"status": "pending", "item_hash": hash, "messages": [message]}))
                .unwrap();
        assert!(pending.message.is_some());

        let rejected: MessageState = serde_json::from_value(json!({"status": "rejected", "item_hash": hash,
            "message": message, "error_code": 5, "details": null}))
        .unwrap();
        assert_eq!((rejected.error_code, rejected.details), (Some(5), None));

        assert!(serde_json::from_value::<MessageState>(json!({"status": "odd", "item_hash": hash})).is_err());
    }

    #[test]
    fn messages_of_unknown_types_and_chains_are_kept() {
        let hash = ItemHash::sha256(b"m");
        let odd: ServedMessage = serde_json::from_value(
            json!({"item_hash": hash, "type": "NEW", "chain": "NEWCHAIN", "sender": "x", "time": "soon"}),
        )
        .unwrap();
        assert_eq!(odd.message_type, "NEW");
        assert_eq!(odd.known_chain(), None);
        assert_eq!(odd.time, None);
    }
}
