//! JSON, contents and envelopes.

use aleph_types::content::Content;
use aleph_types::json::{JsonError, parse};
use aleph_types::{ItemHash, MessageType, ParsedMessage, Rejection};
use serde_json::Value;

/// Keys that `serde_json` does not take for keys.
const PRIVATE: &str = "$serde_json::private::";
/// A refusal repeats little of what was sent: details of more bytes than these are a way to fill disks.
const MOST_TOLD: usize = 64 * 1024;

/// Our parser and `serde_json` agree, except that ours goes deeper.
pub(crate) fn json(bytes: &[u8]) {
    let ours = parse(bytes);
    if ours.as_ref().is_ok_and(|value| value.to_string().contains(PRIVATE)) {
        return;
    }
    match (&ours, serde_json::from_slice::<Value>(bytes)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(*ours, theirs),
        (Ok(ours), Err(error)) => {
            assert!(error.to_string().contains("recursion limit"), "{error}");
            let _ = ours.to_string();
        }
        (Err(error), Ok(_)) => assert_eq!(*error, JsonError::TooDeep),
        (Err(_), Err(_)) => {}
    }
}

/// Any document is a content of the type that the first byte names, or refused with a bounded reason.
pub(crate) fn content(bytes: &[u8]) {
    let Some((&first, text)) = bytes.split_first() else { return };
    let kind = MessageType::ALL[usize::from(first) % MessageType::ALL.len()];
    match Content::parse_text(kind, &ItemHash::sha256(text), text) {
        Ok(content) => {
            assert_eq!(content.message_type(), kind);
            assert!((0..=9_223_372_036_000_000).contains(&content.time().as_micros()));
            let _ = (content.owner(), content.tags());
            match &content {
                Content::Program(program) => {
                    let _ = (program.references().count(), program.code.interface());
                }
                Content::Instance(instance) => {
                    let _ = instance.references().count();
                }
                Content::VProgram(program) => {
                    let _ = program.references().count();
                }
                _ => {}
            }
        }
        Err(error) => {
            let rejection = Rejection::from(error);
            let told = rejection.details.expect("a refusal says why").to_string();
            assert!(told.len() < MOST_TOLD, "{} bytes are told", told.len());
        }
    }
}

/// Whatever arrives as a message is read or refused with a reason; what is read survives being published.
pub(crate) fn envelope(bytes: &[u8]) {
    match ParsedMessage::from_json(bytes) {
        Ok(parsed) => {
            let published = serde_json::to_vec(&parsed.message.to_wire()).expect("a message is JSON");
            let again = ParsedMessage::from_json(&published).expect("what we publish is accepted");
            assert_eq!(again, parsed);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let told = Value::Array(error.to_json_errors()).to_string();
            assert!(told.len() < MOST_TOLD, "{} bytes are told", told.len());
        }
    }
}
