use serde_json::{Map, Value};

use super::reader::{Object, check_tags};
use crate::limits::INDEXED_TEXT;
use crate::{Address, FormatError, Timestamp};

/// An AGGREGATE: keys to merge into one of the owner's documents (`spec: messages.md §14`).
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateContent {
    /// Owner.
    pub address: Address,
    /// Orders the merges.
    pub time: Timestamp,
    /// Which document.
    pub key: String,
    /// Top-level keys that overwrite older ones.
    pub content: Map<String, Value>,
}

impl AggregateContent {
    pub(super) fn read(mut object: Object) -> Result<Self, FormatError> {
        let address = object.address();
        let time = object.time();
        // The schema of the reference also takes {"name": text}, which it then can't process
        // (`spec: messages.md §29`): refused here, like everything that is no text.
        let key = object.required_indexed_string("key");
        let content = match object.take("content") {
            Some(content @ Value::Object(_)) => {
                check_tags(&mut object, &content);
                match content {
                    Value::Object(map) => {
                        if map.keys().any(|field| field.len() > INDEXED_TEXT) {
                            let problem = format!("names of fields have at most {INDEXED_TEXT} bytes");
                            object.issue("string_too_long", "content", problem);
                        }
                        Some(map)
                    }
                    _ => None,
                }
            }
            Some(_) => {
                object.issue("dict_type", "content", "must be an object");
                None
            }
            None => {
                object.issue("missing", "content", "Field required");
                None
            }
        };
        object.refuse_extra();
        object.finish(|| Some(Self { address: address?, time: time?, key: key?, content: content? }))
    }
}
