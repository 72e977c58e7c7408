use std::collections::BTreeSet;

use aleph_types::content::{Content, PaymentType};
use aleph_types::{Chain, ItemHash, Message, MessageType, Timestamp};

use super::SortOrder;
use crate::writer::{indexed_fields, payment_type};

/// Which of the stored messages: those in force, those whose grace time runs, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoredStatuses {
    /// Messages that are processed.
    pub processed: bool,
    /// Messages that are being removed.
    pub removing: bool,
}

impl Default for StoredStatuses {
    fn default() -> Self {
        Self { processed: true, removing: true }
    }
}

/// Filters of the message lists (`spec: ccn-api.md §3.1`): all must hold; a list holds if any of its
/// values does, and an empty list never does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct MessageFilter {
    pub types: Option<Vec<MessageType>>,
    pub senders: Option<Vec<String>>,
    pub owners: Option<Vec<String>>,
    pub references: Option<Vec<String>>,
    pub content_hashes: Option<Vec<ItemHash>>,
    pub content_keys: Option<Vec<String>>,
    pub content_types: Option<Vec<String>>,
    pub chains: Option<Vec<Chain>>,
    pub channels: Option<Vec<String>>,
    pub tags: Option<Vec<String>>,
    pub hashes: Option<Vec<ItemHash>>,
    pub payment_types: Option<Vec<PaymentType>>,
    /// First envelope time.
    pub start: Option<Timestamp>,
    /// First envelope time that is too late.
    pub end: Option<Timestamp>,
    /// Lowest height of the first confirmation; messages without one pass.
    pub start_block: Option<u64>,
    /// First height that is too high; messages without a confirmation don't pass.
    pub end_block: Option<u64>,
    pub statuses: StoredStatuses,
}

impl MessageFilter {
    /// Whether a message that was just processed is one that the filter selects.
    pub fn matches(&self, message: &Message, content: &Content) -> bool {
        fn is_one<T: PartialEq>(values: &Option<Vec<T>>, value: Option<&T>) -> bool {
            values.as_ref().is_none_or(|values| value.is_some_and(|value| values.contains(value)))
        }
        fn names(values: &Option<Vec<String>>, text: Option<&str>) -> bool {
            values
                .as_ref()
                .is_none_or(|values| text.is_some_and(|text| values.iter().any(|value| value == text)))
        }
        let (content_type, reference, key, file) = indexed_fields(content);
        self.statuses.processed
            && is_one(&self.types, Some(&message.message_type))
            && names(&self.senders, Some(message.sender.as_str()))
            && names(&self.owners, Some(content.owner().as_str()))
            && names(&self.references, reference)
            && names(&self.content_keys, key)
            && names(&self.content_types, content_type)
            && names(&self.channels, message.channel.as_ref().map(|channel| channel.as_str()))
            && is_one(&self.chains, Some(&message.chain))
            && is_one(&self.hashes, Some(&message.item_hash))
            && is_one(&self.payment_types, payment_type(content).as_ref())
            && self
                .content_hashes
                .as_ref()
                .is_none_or(|hashes| file.is_some_and(|file| hashes.iter().any(|hash| hash.as_str() == file)))
            && self.tags.as_ref().is_none_or(|tags| content.tags().iter().any(|tag| tags.contains(tag)))
            && self.start.is_none_or(|start| message.time >= start)
            && self.end.is_none_or(|end| message.time < end)
            && self.end_block.is_none()
    }
}

/// Where a page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// After this many rows.
    Offset(u64),
    /// After the row with this time and hash.
    After(Timestamp, ItemHash),
}

/// A page of messages, by envelope time, ties by hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageQuery {
    /// Which.
    pub filter: MessageFilter,
    /// Direction.
    pub order: SortOrder,
    /// First row.
    pub start: Start,
    /// Most rows.
    pub limit: u64,
}

/// The same filters as texts without repetitions, ready to be bound.
#[derive(Debug, Clone, Default)]
pub(super) struct FilterTexts {
    pub(super) types: Option<Vec<String>>,
    pub(super) senders: Option<Vec<String>>,
    pub(super) owners: Option<Vec<String>>,
    pub(super) references: Option<Vec<String>>,
    pub(super) content_hashes: Option<Vec<String>>,
    pub(super) content_keys: Option<Vec<String>>,
    pub(super) content_types: Option<Vec<String>>,
    pub(super) chains: Option<Vec<String>>,
    pub(super) channels: Option<Vec<String>>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) hashes: Option<Vec<String>>,
    pub(super) payment_types: Option<Vec<String>>,
}

pub(super) fn distinct<T: ToString>(values: &Option<Vec<T>>) -> Option<Vec<String>> {
    let texts: BTreeSet<String> = values.as_ref()?.iter().map(T::to_string).collect();
    Some(texts.into_iter().collect())
}

impl From<&MessageFilter> for FilterTexts {
    fn from(filter: &MessageFilter) -> Self {
        Self {
            types: distinct(&filter.types),
            senders: distinct(&filter.senders),
            owners: distinct(&filter.owners),
            references: distinct(&filter.references),
            content_hashes: distinct(&filter.content_hashes),
            content_keys: distinct(&filter.content_keys),
            content_types: distinct(&filter.content_types),
            chains: distinct(&filter.chains),
            channels: distinct(&filter.channels),
            tags: distinct(&filter.tags),
            hashes: distinct(&filter.hashes),
            payment_types: distinct(&filter.payment_types),
        }
    }
}

impl FilterTexts {
    /// Whether some list is empty, so that nothing can match.
    pub(super) fn matches_nothing(&self) -> bool {
        [
            &self.types,
            &self.senders,
            &self.owners,
            &self.references,
            &self.content_hashes,
            &self.content_keys,
            &self.content_types,
            &self.chains,
            &self.channels,
            &self.tags,
            &self.hashes,
            &self.payment_types,
        ]
        .into_iter()
        .any(|values| values.as_ref().is_some_and(Vec::is_empty))
    }
}
