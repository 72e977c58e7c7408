//! Whatever arrives as a message is read or refused with a reason; what is read survives being published.
#![no_main]

use aleph_types::ParsedMessage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match ParsedMessage::from_json(bytes) {
        Ok(parsed) => {
            let published = serde_json::to_vec(&parsed.message.to_wire()).expect("a message is JSON");
            let again = ParsedMessage::from_json(&published).expect("what we publish is accepted");
            assert_eq!(again, parsed);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            // A refusal repeats little of what was sent.
            let told = serde_json::Value::Array(error.to_json_errors()).to_string();
            assert!(told.len() < 64 * 1024, "{} bytes are told", told.len());
        }
    }
});
