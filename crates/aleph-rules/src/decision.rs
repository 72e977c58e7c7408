use aleph_ledger::Costing;
use aleph_ledger::credit::CreditEffect;
use aleph_types::{Address, Channel, ItemHash, MessageType, Rejection, Timestamp};
use serde_json::Value;

use crate::{AggregateFact, BalanceEntry, Dependency, FileInfo, Stamp};

/// The fate of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Store the message and apply the effects, all or nothing.
    Process(Vec<Effect>),
    /// Try again when `on` is there; if it does not come in time, reject with `otherwise`.
    Wait {
        /// What is missing (the first thing, if several are).
        on: Dependency,
        /// The refusal when patience ends.
        otherwise: Rejection,
    },
    /// Refuse at once.
    Reject(Rejection),
}

impl Decision {
    /// Wait for `on`, else `otherwise`.
    pub fn wait(on: Dependency, otherwise: Rejection) -> Self {
        Self::Wait { on, otherwise }
    }
}

/// Which version a post shows.
#[derive(Debug, Clone, PartialEq)]
pub struct PostVersion {
    /// The original post.
    pub original: ItemHash,
    /// The message that is shown.
    pub latest: Stamp,
}

/// A field of an aggregate and the element that set it.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldValue {
    /// Top-level key.
    pub field: String,
    /// Its value.
    pub value: Value,
    /// The element.
    pub stamp: Stamp,
}

/// A field that a new element wins.
#[derive(Debug, Clone, PartialEq)]
pub struct WonField {
    /// The field as it is from now on.
    pub field: FieldValue,
    /// The element that set it until now, and that the new one hides.
    pub over: Option<Stamp>,
}

/// What an element says of a field for which another element counts.
#[derive(Debug, Clone, PartialEq)]
pub struct HiddenField {
    /// Top-level key.
    pub field: String,
    /// The element that does not count.
    pub stamp: Stamp,
}

/// The head of an aggregate.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateState {
    /// Owner.
    pub owner: Address,
    /// Key.
    pub key: String,
    /// What is known of its elements.
    pub head: AggregateFact,
}

/// A file pinned by a STORE.
#[derive(Debug, Clone, PartialEq)]
pub struct PinnedFile {
    /// The file.
    pub file: ItemHash,
    /// Its size and kind.
    pub info: FileInfo,
    /// Who stores it.
    pub owner: Address,
    /// The STORE message.
    pub message: ItemHash,
    /// `content.ref`.
    pub reference: Option<String>,
    /// The tag whose version this is.
    pub tag: String,
    /// `content.time`.
    pub created: Timestamp,
}

/// Where a tag points now.
#[derive(Debug, Clone, PartialEq)]
pub struct TagTarget {
    /// The tag.
    pub tag: String,
    /// Its owner.
    pub owner: Address,
    /// The file.
    pub file: ItemHash,
    /// The STORE that set it.
    pub stamp: Stamp,
}

/// A program, instance or verifiable program.
#[derive(Debug, Clone, PartialEq)]
pub struct VmRecord {
    /// Its message.
    pub item_hash: ItemHash,
    /// Its kind.
    pub message_type: MessageType,
    /// Its owner.
    pub owner: Address,
    /// `content.time`.
    pub created: Timestamp,
    /// The program that it names as the one it replaces; nothing follows from it.
    pub replaces: Option<ItemHash>,
    /// Whether others may name it in `replaces`.
    pub allow_amend: bool,
    /// Whether messages start it.
    pub on_message: bool,
    /// Whether it runs without being asked.
    pub persistent: bool,
    /// STORE messages that it needs.
    pub references: Vec<ItemHash>,
}

/// A message that a FORGET deletes.
#[derive(Debug, Clone, PartialEq)]
pub struct Forgotten {
    /// The target.
    pub target: ItemHash,
    /// The FORGET.
    pub by: ItemHash,
    /// Envelope time of the FORGET.
    pub at: Timestamp,
}

/// One change of the database. The message's own row is stored with every [`Decision::Process`].
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Keep the content of a message that is not inline.
    PinContent {
        /// The content's file.
        file: ItemHash,
        /// Bytes.
        size: u64,
        /// Who signed the message.
        owner: Address,
        /// `content.time`.
        created: Timestamp,
    },
    /// A new post, showing itself.
    CreatePost {
        /// The message.
        original: Stamp,
        /// Owner.
        owner: Address,
        /// `content.type`.
        post_type: String,
        /// `content.ref`.
        reference: Option<String>,
        /// Label.
        channel: Option<Channel>,
    },
    /// Remember an amend.
    AddAmend {
        /// The amended post.
        original: ItemHash,
        /// The amend.
        amend: Stamp,
    },
    /// Show another version of a post.
    ShowVersion(PostVersion),
    /// Delete a post and its amends' records.
    RemovePost(ItemHash),
    /// Forget one amend's record.
    RemoveAmend {
        /// The amended post.
        original: ItemHash,
        /// The amend.
        amend: Stamp,
    },
    /// Create or update an aggregate's head for a new element.
    MergeAggregate {
        /// The head.
        state: AggregateState,
        /// The head before; `None` for the first element.
        before: Option<AggregateFact>,
        /// Fields that the element wins.
        won: Vec<WonField>,
        /// Its fields for which a newer element counts.
        lost: Vec<HiddenField>,
    },
    /// Take some of its elements out of an aggregate.
    ReduceAggregate {
        /// The new head.
        state: AggregateState,
        /// The head before.
        before: AggregateFact,
        /// Fields that the elements had won, as the elements set them that were hidden behind them.
        fields: Vec<FieldValue>,
        /// Fields that nobody else sets.
        dropped: Vec<String>,
        /// What is hidden no longer: it counts now, or its element is gone.
        unhidden: Vec<HiddenField>,
    },
    /// Delete an aggregate that has no element left.
    RemoveAggregate {
        /// Owner.
        owner: Address,
        /// Key.
        key: String,
    },
    /// Pin a file for a STORE.
    PinFile(PinnedFile),
    /// Let a tag point to another version.
    SetTag(TagTarget),
    /// Delete a tag that has no version left.
    RemoveTag(String),
    /// Release the pin of a STORE; with `grace`, nothing else holds the file and it may be collected later.
    Unpin {
        /// The file.
        file: ItemHash,
        /// The STORE.
        message: ItemHash,
        /// Start the file's grace time.
        grace: bool,
    },
    /// A new program or machine.
    CreateVm(VmRecord),
    /// Delete a program or machine.
    RemoveVm(ItemHash),
    /// Delete a message's content and keep its skeleton.
    Forget(Forgotten),
    /// Token balances as of a block.
    SetBalances {
        /// Chain code.
        chain: String,
        /// Empty for none.
        dapp: String,
        /// Block height; older ones change nothing.
        height: i64,
        /// The balances.
        entries: Vec<BalanceEntry>,
        /// The post: of equal heights the smaller hash counts.
        source: ItemHash,
    },
    /// Changes of the credit ledger, in order.
    Credits(Vec<CreditEffect>),
    /// What the message costs; in place of costs that are stored already.
    SetCosts {
        /// The message.
        message: ItemHash,
        /// Who pays.
        owner: Address,
        /// The lines.
        costing: Box<Costing>,
    },
}

impl Effect {
    /// The dependency that this effect satisfies beside the message itself.
    pub fn provides(&self) -> Option<Dependency> {
        match self {
            Effect::SetTag(target) => Some(Dependency::Tag(target.tag.clone())),
            Effect::MergeAggregate { state, .. } => {
                Some(Dependency::Aggregate(state.owner.clone(), state.key.clone()))
            }
            _ => None,
        }
    }
}
