//! The contents of price estimates: those of messages, with guessed sizes (`spec: ccn-api.md §9.3`).

use aleph_types::content::Content;
use aleph_types::{FormatError, Loc, MessageType, Timestamp};
use serde_json::{Map, Value};

use crate::Estimates;

/// The field that estimates add.
const FIELD: &str = "estimated_size_mib";
/// Largest estimate, MiB: that of the largest disk, 1,953,125, a thousand times.
const MOST_MIB: u64 = 1_953_125_000;

/// A message's content as somebody asks for its price.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// The content without the guesses.
    pub content: Content,
    /// The guesses.
    pub sizes: Estimates,
}

impl Estimate {
    /// Reads an estimate's content; `now` stands in for an absent `time` of INSTANCE and V-PROGRAM.
    ///
    /// # Errors
    /// [`FormatError`] as for a message of that type, and for sizes that are none.
    pub fn read(message_type: MessageType, document: Value, now: Timestamp) -> Result<Self, FormatError> {
        let Value::Object(mut object) = document else {
            return Err(FormatError::text("Content must be a JSON object"));
        };
        let mut sizes = Estimates::default();
        match message_type {
            MessageType::Store => sizes.file = take_file(&mut object)?,
            MessageType::Program => {
                sizes.code = take_inside(&mut object, "code")?;
                sizes.runtime = take_inside(&mut object, "runtime")?;
                sizes.data = take_inside(&mut object, "data")?;
                sizes.volumes = take_volumes(&mut object)?;
            }
            MessageType::Instance | MessageType::VProgram => {
                sizes.volumes = take_volumes(&mut object)?;
                if object.get("time").is_none_or(Value::is_null) {
                    object.insert("time".into(), now.as_secs_f64().into());
                }
                if !object.contains_key("allow_amend") {
                    object.insert("allow_amend".into(), false.into());
                }
            }
            MessageType::Post | MessageType::Aggregate | MessageType::Forget => {
                return Err(FormatError::text(format!("{message_type} messages have no price")));
            }
        }
        let content = Content::parse_value(message_type, Value::Object(object))?;
        Ok(Self { content, sizes })
    }
}

fn wrong(mut path: Vec<Loc>) -> FormatError {
    path.push(FIELD.into());
    FormatError::field("int_type", path, "must be a number of MiB, 0 or more")
}

/// Whole MiB; absent, null and 0 are nothing.
fn take_whole(
    object: &mut Map<String, Value>,
    path: impl Fn() -> Vec<Loc>,
) -> Result<Option<u64>, FormatError> {
    match object.shift_remove(FIELD) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|&size| size <= MOST_MIB) {
            Some(size) => Ok(Some(size).filter(|&size| size > 0)),
            None => Err(wrong(path())),
        },
    }
}

fn take_file(object: &mut Map<String, Value>) -> Result<Option<f64>, FormatError> {
    match object.shift_remove(FIELD) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64().filter(|size| (0.0..=MOST_MIB as f64).contains(size)) {
            Some(size) => Ok(Some(size).filter(|&size| size > 0.0)),
            None => Err(wrong(Vec::new())),
        },
    }
}

fn take_inside(object: &mut Map<String, Value>, key: &'static str) -> Result<Option<u64>, FormatError> {
    match object.get_mut(key) {
        Some(Value::Object(child)) => take_whole(child, || vec![key.into()]),
        _ => Ok(None),
    }
}

/// Only volumes that name a file have one; on others the field stays and is refused as a foreign key.
fn take_volumes(object: &mut Map<String, Value>) -> Result<Vec<Option<u64>>, FormatError> {
    let Some(Value::Array(volumes)) = object.get_mut("volumes") else { return Ok(Vec::new()) };
    let mut sizes = Vec::new();
    for (place, volume) in volumes.iter_mut().enumerate() {
        sizes.push(match volume {
            Value::Object(child) if child.contains_key("ref") => {
                take_whole(child, || vec!["volumes".into(), place.into()])?
            }
            _ => None,
        });
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn store(size: Value) -> Result<Estimate, FormatError> {
        let content = json!({
            "address": "0xA", "time": 1, "item_type": "storage", "item_hash": "a".repeat(64),
            FIELD: size,
        });
        Estimate::read(MessageType::Store, content, Timestamp::EPOCH)
    }

    #[test]
    fn sizes_of_files() {
        assert_eq!(store(json!(26.5)).unwrap().sizes.file, Some(26.5));
        assert_eq!(store(json!(0)).unwrap().sizes.file, None);
        for bad in [json!(-1), json!("5"), json!(1e30), json!([])] {
            assert!(store(bad.clone()).is_err(), "{bad}");
        }
        let post = Estimate::read(MessageType::Post, json!({}), Timestamp::EPOCH);
        assert!(post.unwrap_err().to_string().contains("no price"));
    }
}
