//! Messages as lists, single answers and sockets show them (`spec: ccn-api.md §3`).

use aleph_store::queries::{MessageRow, PendingCopy, Skeleton, StoredMessage};
use aleph_types::{ChainTx, ItemHash, Message, MessageStatus, MessageType};

use super::json::{Object, fields, push_list, push_text};

/// How much of the content is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum ContentFormat {
    /// All of it.
    #[default]
    Full,
    /// The owner and what the message is about.
    Headers,
    /// No key `content`.
    None,
}

impl std::str::FromStr for ContentFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "full" => Ok(Self::Full),
            "headers" => Ok(Self::Headers),
            "none" => Ok(Self::None),
            _ => Err(()),
        }
    }
}

/// The fields that every form of a message has, in the reference's order.
fn push_envelope(object: &mut Object<'_>, message: &MessageRow<'_>) {
    object
        .text("chain", message.chain)
        .optional_text("channel", message.channel)
        .text("sender", message.sender)
        .optional_text("signature", message.signature)
        .text("type", message.message_type)
        .text("item_type", message.item_type)
        .optional_text("item_content", message.item_content)
        .text("item_hash", message.item_hash)
        .time("time", message.time);
}

/// A stored or freshly applied message; `size` is shown in lists only.
pub(super) fn push_message(
    out: &mut Vec<u8>,
    message: &Message,
    content: &str,
    size: Option<u64>,
    format: ContentFormat,
    confirmations: &[ChainTx],
) {
    let row = MessageRow::new(message, content, size.unwrap_or_default(), confirmations.to_vec());
    push(out, &row, size.is_some(), format);
}

/// A message of a list.
pub(super) fn push_row(out: &mut Vec<u8>, message: &MessageRow<'_>, format: ContentFormat) {
    push(out, message, true, format);
}

fn push(out: &mut Vec<u8>, message: &MessageRow<'_>, with_size: bool, format: ContentFormat) {
    let mut object = Object::new(out);
    push_envelope(&mut object, message);
    if with_size {
        object.number("size", message.size);
    }
    match format {
        ContentFormat::Full => {
            object.raw("content", message.content);
        }
        ContentFormat::Headers => {
            push_headers(object.field("content"), message.message_type, message.content);
        }
        ContentFormat::None => {}
    }
    object.raw("confirmed", if message.confirmations.is_empty() { "false" } else { "true" });
    push_confirmations(&mut object, &message.confirmations);
    object.end();
}

/// The key `confirmations`: transactions that carry the message.
pub(super) fn push_confirmations(object: &mut Object<'_>, confirmations: &[ChainTx]) {
    push_list(object.field("confirmations"), confirmations, |out, tx| {
        let mut confirmation = Object::new(out);
        confirmation
            .text("chain", tx.chain.as_str())
            .text("hash", &tx.hash)
            .number("height", tx.height)
            .end();
    });
}

/// A message of a list.
pub(super) fn push_stored(out: &mut Vec<u8>, stored: &StoredMessage, format: ContentFormat) {
    push_message(out, &stored.message, stored.content(), Some(stored.size), format, &stored.confirmations);
}

/// The owner, and what the message is about.
fn push_headers(out: &mut Vec<u8>, message_type: &str, content: &str) {
    let names: &[&str] = match message_type.parse() {
        Ok(MessageType::Post) => &["type", "ref"],
        Ok(MessageType::Aggregate) => &["key"],
        Ok(MessageType::Store) => &["item_hash", "ref"],
        _ => &[],
    };
    let fields = fields(content);
    let mut object = Object::new(out);
    object.raw("address", fields.get("address").map_or("null", |address| address.get()));
    for name in names {
        if let Some(value) = fields.get(*name).filter(|value| value.get() != "null") {
            object.raw(name, value.get());
        }
    }
    object.end();
}

/// A gone message in a list; `with` adds what only lists show.
pub(super) fn push_skeleton(out: &mut Vec<u8>, skeleton: &Skeleton) {
    let mut object = Object::new(out);
    push_skeleton_fields(&mut object, skeleton);
    object.text("status", skeleton.status.as_str());
    if skeleton.status == MessageStatus::Forgotten {
        object.raw("forgotten_by", &skeleton.forgotten_by);
    }
    object.end();
}

/// A gone message as the single answer holds it.
pub(super) fn push_skeleton_fields(object: &mut Object<'_>, skeleton: &Skeleton) {
    let gone = if skeleton.status == MessageStatus::Removed { "removed_at" } else { "forgotten_at" };
    object
        .text("chain", skeleton.chain.as_str())
        .optional_text("channel", skeleton.channel.as_ref().map(|channel| channel.as_str()))
        .text("item_hash", skeleton.item_hash.as_str())
        .text("item_type", skeleton.item_type.as_str())
        .text("owner", skeleton.owner.as_str())
        .text("payment_type", &skeleton.payment_type)
        .text("sender", skeleton.sender.as_str())
        .optional_text("signature", skeleton.signature.as_ref().map(|signature| signature.as_str()))
        .optional_number("size", skeleton.size)
        .time("time", skeleton.time)
        .text("type", skeleton.message_type.as_str())
        .time(gone, skeleton.gone_at);
}

/// A copy of a message that waits: times are ISO texts here.
pub(super) fn push_pending(out: &mut Vec<u8>, hash: &ItemHash, copy: &PendingCopy) {
    let envelope = fields(&copy.envelope);
    let raw = |name: &str| envelope.get(name).map_or("null", |value| value.get());
    let time = envelope
        .get("time")
        .and_then(|value| value.get().parse::<f64>().ok())
        .and_then(|seconds| aleph_types::Timestamp::from_secs_f64(seconds).ok())
        .unwrap_or(copy.reception_time);
    let item_content = envelope
        .get("item_content")
        .and_then(|value| serde_json::from_str::<Option<String>>(value.get()).ok().flatten());
    let mut object = Object::new(out);
    for name in ["sender", "chain", "signature", "type", "item_content", "item_type"] {
        object.raw(name, raw(name));
    }
    object.text("item_hash", hash.as_str()).iso_z("time", time).raw("channel", raw("channel"));
    object.raw("content", item_content.as_deref().unwrap_or("null"));
    object.iso_z("reception_time", copy.reception_time).end();
}

/// The words of one hash: `["…"]` and so on.
pub(super) fn push_hash(out: &mut Vec<u8>, hash: &ItemHash) {
    push_text(out, hash.as_str());
}

#[cfg(test)]
mod tests {
    use aleph_types::{ParsedMessage, Timestamp};
    use serde_json::{Value, json};

    use super::*;

    fn message(content: &str) -> Message {
        let envelope = json!({
            "chain": "ETH", "sender": "0xA", "signature": "0x1", "type": "POST", "time": 1714564800.25,
            "item_content": content, "item_hash": ItemHash::sha256(content.as_bytes()).as_str(), "channel": null,
        });
        ParsedMessage::from_json(envelope.to_string().as_bytes()).unwrap().message
    }

    #[test]
    fn contents_pass_through_as_they_were_signed() {
        let content = r#"{"address":"0xA","time":1.50, "type":"note","content":{"x":1e2},"ref":null}"#;
        let message = message(content);
        let mut out = Vec::new();
        push_message(&mut out, &message, content, Some(7), ContentFormat::Full, &[]);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(content), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["time"], json!(1714564800.25));
        assert_eq!(value["size"], 7);
        assert_eq!(value["item_content"], content);
        assert_eq!(value["channel"], Value::Null);
        assert_eq!(value["confirmations"], json!([]));

        let mut out = Vec::new();
        push_message(&mut out, &message, content, None, ContentFormat::Headers, &[]);
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["content"], json!({"address": "0xA", "type": "note"}));
        assert_eq!(value.get("size"), None);

        let mut out = Vec::new();
        push_message(&mut out, &message, content, None, ContentFormat::None, &[]);
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap().get("content"), None);
    }

    #[test]
    fn pending_messages_have_iso_times() {
        let content = r#"{"address":"0xA","time":1,"type":"note"}"#;
        let message = message(content);
        let copy = PendingCopy {
            envelope: serde_json::to_string(&message.to_wire()).unwrap(),
            reception_time: Timestamp::from_secs(5),
        };
        let mut out = Vec::new();
        push_pending(&mut out, &message.item_hash, &copy);
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["time"], "2024-05-01T12:00:00.250000Z");
        assert_eq!(value["reception_time"], "1970-01-01T00:00:05Z");
        assert_eq!(value["content"]["type"], "note");
        assert_eq!(value["sender"], "0xA");
    }
}
