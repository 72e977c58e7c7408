use serde_json::Value;

use super::reader::{Object, check_tags};
use crate::{Address, FormatError, ItemHash, Timestamp};

/// A POST: a document, or the replacement of one (`spec: messages.md §12`).
#[derive(Debug, Clone, PartialEq)]
pub struct PostContent {
    /// Owner.
    pub address: Address,
    /// When the author wrote it; orders amends.
    pub time: Timestamp,
    /// Free type; `amend` replaces the post named by `reference`.
    pub post_type: String,
    /// The payload: any JSON.
    pub content: Value,
    /// `ref`: free text, or the hash of the amended post.
    pub reference: Option<String>,
}

impl PostContent {
    /// The reserved type of replacements.
    pub const AMEND: &'static str = "amend";

    /// Whether this post replaces another.
    pub fn is_amend(&self) -> bool {
        self.post_type == Self::AMEND
    }

    /// The post that this one replaces, if it is an amend that names an item hash.
    pub fn amended(&self) -> Option<ItemHash> {
        if !self.is_amend() {
            return None;
        }
        ItemHash::parse(self.reference.as_deref()?).ok()
    }

    pub(super) fn read(mut object: Object) -> Result<Self, FormatError> {
        let address = object.address();
        let time = object.time();
        let post_type = object.required_indexed_string("type");
        let content = object.take("content").unwrap_or(Value::Null);
        check_tags(&mut object, &content);
        let reference = object.post_reference("ref");
        object.refuse_extra();
        if post_type.as_deref() == Some(Self::AMEND) && reference.as_deref().unwrap_or_default().is_empty() {
            object.issue("value_error", "ref", "an amend must name the amended post");
        }
        object.finish(|| {
            Some(Self { address: address?, time: time?, post_type: post_type?, content, reference })
        })
    }
}
