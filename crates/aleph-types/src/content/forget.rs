use super::reader::Object;
use crate::limits::{FORGET_REASON_CHARS, FORGET_TARGETS};
use crate::{Address, FormatError, ItemHash, Timestamp};

/// A FORGET: delete messages (`spec: messages.md §17`).
#[derive(Debug, Clone, PartialEq)]
pub struct ForgetContent {
    /// Whose aggregates are meant by `aggregates`; else irrelevant.
    pub address: Address,
    /// When the author wrote it.
    pub time: Timestamp,
    /// Messages to delete.
    pub hashes: Vec<ItemHash>,
    /// Keys of aggregates of `address` whose every element is deleted; they look like item hashes.
    pub aggregates: Vec<ItemHash>,
    /// Why.
    pub reason: Option<String>,
}

impl ForgetContent {
    pub(super) fn read(mut object: Object) -> Result<Self, FormatError> {
        let address = object.address();
        let time = object.time();
        let hashes = object.required_hashes("hashes", FORGET_TARGETS);
        let aggregates = object.defaulted_hashes("aggregates", FORGET_TARGETS);
        let reason = object.optional_string("reason");
        if reason.as_ref().is_some_and(|text| text.chars().count() > FORGET_REASON_CHARS) {
            object.issue("string_too_long", "reason", format!("at most {FORGET_REASON_CHARS} characters"));
        }
        object.refuse_extra();
        object.finish(|| {
            Some(Self { address: address?, time: time?, hashes: hashes?, aggregates: aggregates?, reason })
        })
    }
}
