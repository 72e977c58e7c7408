use serde_json::{Map, Value};

use super::executable::PaymentType;
use super::reader::Object;
use crate::{Address, Chain, FormatError, HashKind, ItemHash, ItemType, Timestamp};

/// A STORE: keep a file (`spec: messages.md §15`).
#[derive(Debug, Clone, PartialEq)]
pub struct StoreContent {
    /// Owner, who pays.
    pub address: Address,
    /// Orders the versions of a file.
    pub time: Timestamp,
    /// The engine that holds the file: `Storage` or `Ipfs`.
    pub engine: ItemType,
    /// Hash of the file.
    pub item_hash: ItemHash,
    /// Absent for a first version; else the first version's message hash, or a name of the owner's choice.
    pub reference: Option<String>,
    /// Labels for search.
    pub tags: Option<Vec<String>>,
    /// Free object.
    pub metadata: Option<Map<String, Value>>,
    /// Absent means hold.
    pub payment: Option<StorePayment>,
}

/// How a file is paid for; streams are refused.
#[derive(Debug, Clone, PartialEq)]
pub struct StorePayment {
    /// Hold or credit.
    pub payment_type: PaymentType,
    /// Chain of the tokens.
    pub chain: Option<Chain>,
    /// Unused by files; kept as sent.
    pub receiver: Option<String>,
}

impl StoreContent {
    /// The tag that names the latest version of this file (`spec: messages.md §15`), given the hash of
    /// the STORE message itself.
    pub fn tag(&self, message_hash: &ItemHash) -> String {
        match &self.reference {
            None => message_hash.as_str().to_owned(),
            Some(reference) => Self::tag_of_reference(&self.address, reference),
        }
    }

    /// The tag that `reference` means for files of `owner`.
    pub fn tag_of_reference(owner: &Address, reference: &str) -> String {
        match ItemHash::parse(reference) {
            Ok(hash) => hash.as_str().to_owned(),
            Err(_) => format!("{owner}/{reference}"),
        }
    }

    /// The STORE message that this one updates, when `ref` is an item hash.
    pub fn updated(&self) -> Option<ItemHash> {
        ItemHash::parse(self.reference.as_deref()?).ok()
    }

    pub(super) fn read(mut object: Object) -> Result<Self, FormatError> {
        let address = object.address();
        let time = object.time();
        let engine = object.required_word::<ItemType>("item_type", "item type");
        let item_hash = object.required_hash("item_hash");
        let reference = object.optional_indexed_string("ref");
        let tags = object.optional_tags("tags");
        let metadata = object.optional_object("metadata");
        let _informative_size = object.optional_integer("size");
        let _informative_type = object.optional_string("content_type");
        let payment = object.optional_child("payment").and_then(|mut payment| {
            let payment_type = payment.required_word::<PaymentType>("type", "payment type");
            let chain = payment.optional_word::<Chain>("chain", "chain");
            let receiver = payment.optional_string("receiver");
            if payment_type == Some(PaymentType::Superfluid) {
                payment.issue("value_error", "type", "files are paid by hold or credit");
            }
            object.absorb(
                payment,
                payment_type.map(|payment_type| StorePayment { payment_type, chain, receiver }),
            )
        });
        if let (Some(engine), Some(hash)) = (engine, &item_hash) {
            let expected = match hash.kind() {
                HashKind::Storage => ItemType::Storage,
                HashKind::Ipfs => ItemType::Ipfs,
            };
            if engine != expected {
                object.issue(
                    "value_error",
                    "item_hash",
                    format!("Item hash '{hash}' is not of the expected type ('{engine}')"),
                );
            }
        }
        object.finish(|| {
            Some(Self {
                address: address?,
                time: time?,
                engine: engine?,
                item_hash: item_hash?,
                reference,
                tags,
                metadata,
                payment,
            })
        })
    }
}
