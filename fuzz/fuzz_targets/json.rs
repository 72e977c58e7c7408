//! Our parser and `serde_json` agree, except that ours goes deeper.
#![no_main]

use aleph_types::json::{JsonError, parse};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Keys that `serde_json` does not take for keys.
const PRIVATE: &str = "$serde_json::private::";

fuzz_target!(|bytes: &[u8]| {
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
});
