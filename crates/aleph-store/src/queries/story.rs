//! A message's life as far as this node knows it: for people who ask why.

use aleph_rules::{Facts, Fate, Subject, granting_entry};
use aleph_types::{Address, ChainTx, ItemHash, MessageStatus, MessageType, Rejection, Timestamp};
use serde_json::Value;

use super::fate::{self, MessageFate};
use super::messages::StoredMessage;
use crate::engine::{Session, values};
use crate::facts::StoredFacts;
use crate::statuses::status_of;
use crate::{Store, StoreError, confirmations, sync};

/// Entries of a list that are told one by one.
const TOLD: usize = 50;

/// What one copy of a pending message waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Key of the dependency.
    pub on: String,
    /// When patience ends.
    pub until: Timestamp,
    /// Where the copy came from.
    pub origin: String,
    /// The refusal that then applies.
    pub otherwise: Rejection,
}

/// Why a message's sender may act for its owner.
#[derive(Debug, Clone, PartialEq)]
pub enum Permission {
    /// They are the same.
    Owner,
    /// An entry of the owner's `security` aggregate allows it.
    Delegate(Value),
    /// No entry does now: one did when the message was processed.
    Withdrawn,
    /// A FORGET needs the permission of each target's owner.
    OfTargets,
}

/// What is left of a processed message's effects.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum Trace {
    /// A post, the message that it shows, and how many amends it has.
    Post { shown: ItemHash, amends: u64 },
    /// An amend, and the message that the post shows.
    Amend { original: ItemHash, shown: Option<ItemHash> },
    /// An element of an aggregate: fields that it set and that stand, and those that another element took.
    Aggregate { key: String, won: Vec<String>, lost: Vec<(String, ItemHash)>, more: usize },
    /// A stored file; `current` is the STORE that its tag points to.
    File { file: ItemHash, size: u64, tag: String, current: Option<ItemHash>, used_by: Vec<ItemHash> },
    /// A program or machine, what it replaces, its newest update, and STOREs that it needs.
    Vm { replaces: Option<ItemHash>, newest: Option<ItemHash>, needs: Vec<ItemHash> },
    /// Named targets and their status now, and how many more there are.
    Forget { targets: Vec<(ItemHash, Option<MessageStatus>)>, aggregates: Vec<String>, more: usize },
    /// Nothing is on record.
    Nothing,
}

/// A file that is kept because of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldFile {
    /// The file.
    pub file: ItemHash,
    /// `message`, `content` or `grace_period`.
    pub kind: String,
    /// When the grace time ends.
    pub until: Option<Timestamp>,
}

/// A message's life on this node, all at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageStory {
    /// What became of it.
    pub fate: MessageFate,
    /// Where it came from, if it is stored and that was noted.
    pub origin: Option<String>,
    /// What its copies wait for.
    pub waiting: Vec<Waiting>,
    /// While it is stored: why its sender might.
    pub permission: Option<Permission>,
    /// While it is stored: what it did.
    pub trace: Trace,
    /// Files that are kept because of it, also after it was forgotten.
    pub holds: Vec<HeldFile>,
    /// While it waits: transactions of chains that carry it. A stored message has its own list.
    pub confirmations: Vec<ChainTx>,
}

fn story(session: &Session, hash: &ItemHash) -> Result<Option<MessageStory>, StoreError> {
    let session = session.snapshot()?;
    let Some(fate) = fate::fate(&session, hash)? else { return Ok(None) };
    let mut story = MessageStory {
        fate,
        origin: None,
        waiting: Vec::new(),
        permission: None,
        trace: Trace::Nothing,
        holds: held(&session, hash)?,
        confirmations: Vec::new(),
    };
    match &story.fate {
        MessageFate::Pending { .. } => {
            story.waiting = waiting(&session, hash)?;
            story.confirmations = confirmations::of_message(&session, hash)?;
        }
        MessageFate::Processed { message, .. } | MessageFate::Removing { message, .. } => {
            let content = aleph_types::json::parse(message.content().as_bytes())
                .map_err(|_| StoreError::corrupt("content of message", hash.as_str()))?;
            let origin = "SELECT origin FROM messages WHERE seq = ?1";
            story.origin = session.first(origin, values![message.seq], |row| row.opt_string(0))?.flatten();
            let mut facts = StoredFacts { session: &session, tariff: &mut None, parsed: None };
            story.permission = Some(permission(message, &content, &mut facts)?);
            story.trace = trace(&session, message, &content, &mut facts)?;
        }
        _ => {}
    }
    Ok(Some(story))
}

fn held(session: &Session, hash: &ItemHash) -> Result<Vec<HeldFile>, StoreError> {
    session.rows(
        "SELECT file, kind, delete_by FROM file_pins WHERE pinned_by = ?1 ORDER BY kind, file",
        values![hash.as_str()],
        |row| {
            let until = row.opt_int(2)?.map(Timestamp::from_micros);
            Ok(HeldFile { file: row.hash(0)?, kind: row.string(1)?, until })
        },
    )
}

fn waiting(session: &Session, hash: &ItemHash) -> Result<Vec<Waiting>, StoreError> {
    session.rows(
        "SELECT waits_on, deadline, origin, error_code, details FROM pending WHERE item_hash = ?1 ORDER BY id",
        values![hash.as_str()],
        |row| {
            Ok(Waiting {
                on: row.string(0)?,
                until: row.time(1)?,
                origin: row.string(2)?,
                otherwise: sync::read_rejection(row.int(3)?, row.opt_string(4)?)?,
            })
        },
    )
}

fn amended(content: &Value) -> Option<ItemHash> {
    let is_amend = content["type"] == "amend";
    content["ref"].as_str().filter(|_| is_amend).and_then(|text| ItemHash::parse(text).ok())
}

fn permission(
    stored: &StoredMessage,
    content: &Value,
    facts: &mut StoredFacts<'_>,
) -> Result<Permission, StoreError> {
    let message = &stored.message;
    if message.message_type == MessageType::Forget {
        return Ok(Permission::OfTargets);
    }
    if message.sender.is_same_as(&stored.owner) {
        return Ok(Permission::Owner);
    }
    // An amend is allowed by what the owner grants for the post that it amends.
    let original = match amended(content).filter(|_| message.message_type == MessageType::Post) {
        Some(original) => match facts.fate(&original)? {
            Fate::Stored(original) => Some(original),
            _ => None,
        },
        None => None,
    };
    let subject = match &original {
        Some(original) => Subject {
            message_type: MessageType::Post,
            chain: original.chain,
            channel: original.channel.as_ref(),
            post_type: original.post_type.as_deref(),
            aggregate_key: None,
        },
        None => Subject {
            message_type: message.message_type,
            chain: message.chain,
            channel: message.channel.as_ref(),
            post_type: content["type"].as_str(),
            aggregate_key: content["key"].as_str(),
        },
    };
    let entry = granting_entry(&message.sender, &stored.owner, &subject, facts)?;
    Ok(entry.map_or(Permission::Withdrawn, Permission::Delegate))
}

fn trace(
    session: &Session,
    stored: &StoredMessage,
    content: &Value,
    facts: &mut StoredFacts<'_>,
) -> Result<Trace, StoreError> {
    let hash = &stored.message.item_hash;
    Ok(match stored.message.message_type {
        MessageType::Post => match amended(content) {
            Some(original) => {
                let shown = facts.post(&original)?.map(|post| post.latest.hash);
                Trace::Amend { original, shown }
            }
            None => match facts.post(hash)? {
                Some(post) => {
                    let amends = facts.amends(hash)?.len() as u64;
                    Trace::Post { shown: post.latest.hash, amends }
                }
                None => Trace::Nothing,
            },
        },
        MessageType::Aggregate => fields(hash, &stored.owner, content, facts)?,
        MessageType::Store => match facts.message_pin(hash)? {
            Some(pin) => Trace::File {
                current: facts.tag(&pin.tag)?.map(|tag| tag.stamp.hash),
                used_by: hashes(
                    session,
                    "SELECT vm FROM vm_references WHERE reference = ?1 ORDER BY vm",
                    hash,
                )?,
                file: pin.file,
                size: pin.size,
                tag: pin.tag,
            },
            None => Trace::Nothing,
        },
        MessageType::Program | MessageType::Instance | MessageType::VProgram => match facts.vm(hash)? {
            Some(vm) => Trace::Vm {
                newest: facts
                    .vm_updates(hash)?
                    .into_iter()
                    .max_by(|one, other| {
                        (one.created, &one.item_hash).cmp(&(other.created, &other.item_hash))
                    })
                    .map(|update| update.item_hash),
                needs: hashes(
                    session,
                    "SELECT reference FROM vm_references WHERE vm = ?1 ORDER BY reference",
                    hash,
                )?,
                replaces: vm.replaces,
            },
            None => Trace::Nothing,
        },
        MessageType::Forget => targets(session, content)?,
    })
}

fn fields(
    hash: &ItemHash,
    owner: &Address,
    content: &Value,
    facts: &mut StoredFacts<'_>,
) -> Result<Trace, StoreError> {
    let key = content["key"].as_str().unwrap_or_default().to_owned();
    let names: Vec<&str> =
        content["content"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let told = &names[..names.len().min(TOLD)];
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for (name, stamp) in told.iter().zip(facts.field_stamps(owner, &key, told)?) {
        match stamp {
            Some(stamp) if stamp.hash != *hash => lost.push(((*name).to_owned(), stamp.hash)),
            Some(_) => won.push((*name).to_owned()),
            None => {}
        }
    }
    Ok(Trace::Aggregate { key, won, lost, more: names.len() - told.len() })
}

fn targets(session: &Session, content: &Value) -> Result<Trace, StoreError> {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let named = texts(&content["hashes"]);
    let mut targets = Vec::new();
    for text in named.iter().take(TOLD) {
        let Ok(target) = ItemHash::recognise(text) else { continue };
        let status = status_of(session, text)?.map(|(status, _)| status);
        targets.push((target, status));
    }
    let mut aggregates = texts(&content["aggregates"]);
    let more = named.len().saturating_sub(TOLD) + aggregates.len().saturating_sub(TOLD);
    aggregates.truncate(TOLD);
    Ok(Trace::Forget { targets, aggregates, more })
}

fn hashes(session: &Session, sql: &str, of: &ItemHash) -> Result<Vec<ItemHash>, StoreError> {
    session.rows(&format!("{sql} LIMIT {TOLD}"), values![of.as_str()], |row| row.hash(0))
}

impl Store {
    /// Everything this node knows about a message's life; `None` when it never met it.
    pub async fn message_story(&self, hash: ItemHash) -> Result<Option<MessageStory>, StoreError> {
        self.read(move |session| story(session, &hash)).await
    }
}
