//! Any document is a content of the type that the first byte names, or refused with a bounded reason.
#![no_main]

use aleph_types::content::Content;
use aleph_types::{ItemHash, MessageType, Rejection};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
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
            assert!(told.len() < 64 * 1024, "{} bytes are told", told.len());
        }
    }
});
