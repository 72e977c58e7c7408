use std::collections::BTreeSet;
use std::sync::Arc;

use aleph_ledger::credit::CreditFacts;
use aleph_ledger::{AccountFacts, FileSizes};
use aleph_types::{Address, Chain, Channel, ItemHash, MessageType, Timestamp};
use serde_json::{Map, Value};

use crate::{Stamp, Tariff};

/// What the node knows of an item hash.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// Never heard of it.
    Unknown,
    /// Known, waiting for something.
    Pending,
    /// Refused.
    Rejected,
    /// Deleted by a FORGET, or for lack of funds.
    Gone,
    /// Processed (or removing).
    Stored(Box<StoredMessage>),
}

/// What rules may ask about a stored message.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    /// Identity.
    pub item_hash: ItemHash,
    /// Type.
    pub message_type: MessageType,
    /// Chain of the sender's key.
    pub chain: Chain,
    /// Who signed.
    pub sender: Address,
    /// `content.address`.
    pub owner: Address,
    /// Label.
    pub channel: Option<Channel>,
    /// `content.time`.
    pub content_time: Timestamp,
    /// `content.type` of a POST.
    pub post_type: Option<String>,
    /// `content.key` of an AGGREGATE.
    pub aggregate_key: Option<String>,
    /// `content.ref` of a POST or STORE.
    pub reference: Option<String>,
    /// `content.item_hash` of a STORE.
    pub file: Option<ItemHash>,
}

/// A post as readers see it.
#[derive(Debug, Clone, PartialEq)]
pub struct PostFact {
    /// Owner of the original.
    pub owner: Address,
    /// `content.time` of the original.
    pub created: Timestamp,
    /// The version shown now: the original, or an amend.
    pub latest: Stamp,
}

/// One amend of a post.
#[derive(Debug, Clone, PartialEq)]
pub struct AmendFact {
    /// The amend's place.
    pub stamp: Stamp,
}

/// The head of an aggregate.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateFact {
    /// Oldest element.
    pub first: Stamp,
    /// Newest element.
    pub last: Stamp,
    /// How many elements there are.
    pub elements: u64,
}

/// One element of an aggregate.
#[derive(Debug, Clone, PartialEq)]
pub struct ElementFact {
    /// The message.
    pub stamp: Stamp,
    /// What it merges.
    pub content: Map<String, Value>,
}

/// The pin of a STORE message.
#[derive(Debug, Clone, PartialEq)]
pub struct PinFact {
    /// The pinned file.
    pub file: ItemHash,
    /// Who stores it.
    pub owner: Address,
    /// Bytes of the file.
    pub size: u64,
    /// `content.ref` of the STORE.
    pub reference: Option<String>,
    /// The tag whose version it is.
    pub tag: String,
}

/// Where a tag points.
#[derive(Debug, Clone, PartialEq)]
pub struct TagFact {
    /// Who owns the tag.
    pub owner: Address,
    /// The file.
    pub file: ItemHash,
    /// Bytes of the file.
    pub size: u64,
    /// The STORE that set it.
    pub stamp: Stamp,
}

/// One version of a tagged file.
#[derive(Debug, Clone, PartialEq)]
pub struct TagVersion {
    /// Who stored it.
    pub owner: Address,
    /// The file.
    pub file: ItemHash,
    /// The STORE.
    pub stamp: Stamp,
}

/// A virtual machine or program.
#[derive(Debug, Clone, PartialEq)]
pub struct VmFact {
    /// Its message.
    pub item_hash: ItemHash,
    /// PROGRAM, INSTANCE or V-PROGRAM.
    pub message_type: MessageType,
    /// Who owns it.
    pub owner: Address,
    /// `content.time`.
    pub created: Timestamp,
    /// The program that it names as the one it replaces.
    pub replaces: Option<ItemHash>,
    /// Whether others may name it in `replaces`.
    pub allow_amend: bool,
}

/// What the store answers to the rules. All answers belong to one instant: that of the writer.
pub trait Facts {
    /// Why an answer can't be had.
    type Error;

    /// The fate of a hash.
    fn fate(&mut self, hash: &ItemHash) -> Result<Fate, Self::Error>;
    /// Whether a hash is known to be forgotten by this FORGET, although it was not decided here yet: another
    /// node told what is left of the message.
    fn is_forgotten_by(&mut self, target: &ItemHash, forget: &ItemHash) -> Result<bool, Self::Error>;
    /// One field of an aggregate as it is merged now. Shared, because it may be large and asked for often: an
    /// owner's rights are asked for by every message of a delegate.
    fn aggregate_field(
        &mut self,
        owner: &Address,
        key: &str,
        field: &str,
    ) -> Result<Option<(Arc<Value>, Stamp)>, Self::Error>;
    /// Which element set each of these fields.
    fn field_stamps(
        &mut self,
        owner: &Address,
        key: &str,
        fields: &[&str],
    ) -> Result<Vec<Option<Stamp>>, Self::Error>;
    /// The head of an aggregate.
    fn aggregate(&mut self, owner: &Address, key: &str) -> Result<Option<AggregateFact>, Self::Error>;
    /// Elements of an aggregate after this one, in the order of times, then of hashes: the first `most`.
    fn elements(
        &mut self,
        owner: &Address,
        key: &str,
        after: Option<&Stamp>,
        most: usize,
    ) -> Result<Vec<Stamp>, Self::Error>;
    /// The oldest element of an aggregate (of equal times the one with the smallest hash) that is not
    /// `gone`. What it costs may grow with the elements that are gone, not with those that are left.
    fn oldest_element(
        &mut self,
        owner: &Address,
        key: &str,
        gone: &BTreeSet<ItemHash>,
    ) -> Result<Option<Stamp>, Self::Error>;
    /// The newest one, in the same way (of equal times again the smallest hash).
    fn newest_element(
        &mut self,
        owner: &Address,
        key: &str,
        gone: &BTreeSet<ItemHash>,
    ) -> Result<Option<Stamp>, Self::Error>;
    /// The best of the elements that set a field, do not count for it, and are not `gone`; at the same cost.
    fn hidden(
        &mut self,
        owner: &Address,
        key: &str,
        field: &str,
        gone: &BTreeSet<ItemHash>,
    ) -> Result<Option<Stamp>, Self::Error>;
    /// What a stored element merges.
    fn element(&mut self, hash: &ItemHash) -> Result<Map<String, Value>, Self::Error>;
    /// A post by its original.
    fn post(&mut self, original: &ItemHash) -> Result<Option<PostFact>, Self::Error>;
    /// Every amend of a post, in any order.
    fn amends(&mut self, original: &ItemHash) -> Result<Vec<AmendFact>, Self::Error>;
    /// The live pin of a STORE message.
    fn message_pin(&mut self, store: &ItemHash) -> Result<Option<PinFact>, Self::Error>;
    /// How many pins other than that of `store` hold `file`.
    fn other_pins(&mut self, file: &ItemHash, store: &ItemHash) -> Result<u64, Self::Error>;
    /// Where a tag points.
    fn tag(&mut self, tag: &str) -> Result<Option<TagFact>, Self::Error>;
    /// Every pinned version of a tag, in any order.
    fn tag_versions(&mut self, tag: &str) -> Result<Vec<TagVersion>, Self::Error>;
    /// A virtual machine that needs this STORE message, if there is one.
    fn vm_using(&mut self, store: &ItemHash) -> Result<Option<ItemHash>, Self::Error>;
    /// A virtual machine.
    fn vm(&mut self, hash: &ItemHash) -> Result<Option<VmFact>, Self::Error>;
    /// Every virtual machine that names this one in `replaces`, in any order.
    fn vm_updates(&mut self, original: &ItemHash) -> Result<Vec<VmFact>, Self::Error>;
    /// The prices and settings that `publisher` published.
    fn tariff(&mut self, publisher: &Address) -> Result<Arc<Tariff>, Self::Error>;
    /// What is known of money and of files' sizes; `now` says which credits have expired.
    fn ledger(
        &mut self,
        now: Timestamp,
    ) -> impl CreditFacts<Error = Self::Error> + AccountFacts<Error = Self::Error> + FileSizes<Error = Self::Error>;
}
