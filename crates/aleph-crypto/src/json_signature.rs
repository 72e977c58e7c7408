//! Signatures that travel as a JSON object inside a string.

use aleph_types::json;
use serde_json::{Map, Value};

use crate::SignatureError::{self, Malformed};

/// Longest signature text that is looked at: genuine ones have less than 1 KiB.
const MOST_BYTES: usize = 16 * 1024;

/// The keys of the object.
pub(crate) struct JsonSignature(Map<String, Value>);

impl JsonSignature {
    pub(crate) fn parse(text: &str) -> Result<Self, SignatureError> {
        if text.len() > MOST_BYTES {
            return Err(Malformed("too long"));
        }
        match json::parse(text.as_bytes()) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Malformed("not a JSON object")),
            Err(_) => Err(Malformed("not JSON")),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// A key that must be there and hold a text.
    pub(crate) fn text(&self, key: &str) -> Result<&str, SignatureError> {
        self.get(key).and_then(Value::as_str).ok_or(Malformed("a required key is missing or no string"))
    }
}
