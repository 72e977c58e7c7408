use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{Chain, FormatError, ItemHash, ParsedMessage, Timestamp};

/// A transaction of a chain that carries messages: what confirms them (`spec: messages.md §25`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainTx {
    /// The chain.
    pub chain: Chain,
    /// The transaction's hash, as the chain writes it.
    pub hash: String,
    /// Number of its block.
    pub height: u64,
    /// Time of its block.
    pub time: Timestamp,
    /// Who sent it: an account, or the contract that emitted the event.
    pub publisher: String,
}

/// The type of events that stand for a STORE of an IPFS file and bring its CID only.
const STORE_IPFS: &str = "STORE_IPFS";

/// An event of a smart contract that speaks for its caller: a message without a signature
/// (`spec: messages.md §25`, `chains.md §10.1`).
#[derive(Debug, Clone, PartialEq)]
pub struct ContractEvent {
    /// Who called the contract; becomes the sender.
    pub address: String,
    /// Name of a message type, or `STORE_IPFS`.
    pub message_type: String,
    /// The content's text; the CID for `STORE_IPFS`.
    pub content: String,
    /// Seconds since the epoch, as the event tells them.
    pub time_secs: f64,
}

impl ContractEvent {
    /// Reads the payload of an event as the indexers write it: that of Tezos in seconds, with `addr`,
    /// `msgtype` or `message_type`, `msgcontent` or `message_content`; that of other chains in
    /// milliseconds, with `address`, `type`, `content`.
    ///
    /// # Errors
    /// Which fields are missing or of a wrong type.
    pub fn from_payload(chain: Chain, payload: &Value) -> Result<Self, FormatError> {
        let text = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| payload.get(*name).and_then(Value::as_str))
                .map(str::to_owned)
                .ok_or_else(|| FormatError::text(format!("the event has no text '{}'", names.join("' or '"))))
        };
        let timestamp = match payload.get("timestamp") {
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            _ => None,
        }
        .filter(|seconds| seconds.is_finite())
        .ok_or_else(|| FormatError::text("the event has no number 'timestamp'"))?;
        Ok(if chain == Chain::Tezos {
            Self {
                address: text(&["addr"])?,
                message_type: text(&["msgtype", "message_type"])?,
                content: text(&["msgcontent", "message_content"])?,
                time_secs: timestamp,
            }
        } else {
            Self {
                address: text(&["address"])?,
                message_type: text(&["type"])?,
                content: text(&["content"])?,
                time_secs: timestamp / 1000.0,
            }
        })
    }

    /// The message that the event stands for, as it would travel. Whether it is valid is another question.
    pub fn to_document(&self, tx: &ChainTx) -> Value {
        let (message_type, item_content) = if self.message_type == STORE_IPFS {
            ("STORE", self.store_text())
        } else {
            (self.message_type.as_str(), self.content.clone())
        };
        json!({
            "sender": self.address,
            "chain": tx.chain.as_str(),
            "signature": null,
            "item_type": "inline",
            "time": tx.time.as_secs_f64(),
            "item_hash": ItemHash::sha256(item_content.as_bytes()),
            "type": message_type,
            "item_content": item_content,
        })
    }

    /// The same, read.
    ///
    /// # Errors
    /// As [`ParsedMessage::from_value`].
    pub fn to_message(&self, tx: &ChainTx) -> Result<ParsedMessage, FormatError> {
        ParsedMessage::from_value(&self.to_document(tx))
    }

    /// The content that all nodes make of a `STORE_IPFS`: its bytes are the message's identity, so they are
    /// those of Python's `json.dumps`.
    fn store_text(&self) -> String {
        let mut text = String::from("{\"address\": ");
        push_python_text(&mut text, &self.address);
        text.push_str(", \"time\": ");
        text.push_str(&python_float(self.time_secs));
        text.push_str(", \"item_type\": \"ipfs\", \"item_hash\": ");
        push_python_text(&mut text, &self.content);
        text.push('}');
        text
    }
}

/// A JSON string with everything beyond ASCII escaped.
fn push_python_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='\u{7f}' => out.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a String can't fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// The shortest text that reads back as the number, in Python's form: `5.0`, `1e-05`, `1e+16`.
fn python_float(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_have_pythons_form() {
        for (number, text) in [
            (1_668_611_900.0, "1668611900.0"),
            (1_668_611_900.123, "1668611900.123"),
            (0.0, "0.0"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (-2.5e120, "-2.5e+120"),
        ] {
            assert_eq!(python_float(number), text);
        }
        let mut text = String::new();
        push_python_text(&mut text, "a\"\\\n\u{1}\u{7f}é😀/");
        assert_eq!(text, "\"a\\\"\\\\\\n\\u0001\u{7f}\\u00e9\\ud83d\\ude00/\"");
    }

    #[test]
    fn payloads_without_their_fields_are_refused() {
        let whole = json!({ "timestamp": 1, "addr": "tz1", "msgtype": "POST", "msgcontent": "{}" });
        assert!(ContractEvent::from_payload(Chain::Tezos, &whole).is_ok());
        assert!(ContractEvent::from_payload(Chain::Eth, &whole).is_err());
        for missing in ["timestamp", "addr", "msgtype", "msgcontent"] {
            let mut part = whole.clone();
            part.as_object_mut().unwrap().swap_remove(missing);
            assert!(ContractEvent::from_payload(Chain::Tezos, &part).is_err(), "{missing}");
        }
        assert!(ContractEvent::from_payload(Chain::Tezos, &json!([])).is_err());
    }
}
