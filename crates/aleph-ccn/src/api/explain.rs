//! `GET /api/v1/messages/{item_hash}/explain`: a message's life on this node, as JSON and in words.

use std::sync::Arc;

use aleph_rules::{Dependency, Publishers, Unheeded};
use aleph_store::queries::{
    HeldFile, MessageFate, MessageStory, Permission, Skeleton, StoredMessage, Trace, Waiting,
};
use aleph_types::{
    Chain, ChainTx, ErrorCode, ItemHash, Message, MessageStatus, MessageType, SignatureFamily,
};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Api;
use super::errors::{ApiError, json_value};
use super::json::{fields, text_field};
use super::message::item_hash;

/// A message's life on this node, as JSON and in words.
#[utoipa::path(
    get,
    path = "/api/v1/messages/{item_hash}/explain",
    tag = "messages",
    operation_id = "explain_get",
    params(("item_hash" = String, Path, description = "Item hash of the message")),
    responses(
        (status = 200, description = "The answer", body = serde_json::Value),
    ),
)]
pub(super) async fn get(State(api): State<Arc<Api>>, Path(hash): Path<String>) -> Result<Response, ApiError> {
    let hash = item_hash(&hash)?;
    let Some(story) = api.node.store.message_story(hash.clone()).await? else {
        return Err(ApiError::text(
            StatusCode::NOT_FOUND,
            format!(
                "This node never met message {hash}: it did not arrive here, or no copy had the form and the \
                 sender, signature and hash that a message must have"
            ),
        ));
    };
    Ok(json_value(&Telling::of(&hash, &story, api.node.money.publishers())))
}

/// An explanation as it grows: fields, and the same in sentences.
struct Telling {
    fields: Map<String, Value>,
    words: Vec<String>,
}

impl Telling {
    fn of(hash: &ItemHash, story: &MessageStory, publishers: &Publishers) -> Value {
        let mut telling = Self { fields: Map::new(), words: Vec::new() };
        let (status, met) = (story.fate.status(), story.fate.reception_time().iso_z().to_string());
        telling.field("item_hash", hash.to_string());
        telling.field("status", status.as_str());
        telling.field("met_at", met.clone());
        telling.say(format!("This node met the message at {met}{}.", came(story.origin.as_deref())));
        telling.field("origin", story.origin.clone());
        match &story.fate {
            MessageFate::Pending { copies, .. } => {
                telling.waits(copies.len(), &story.waiting);
                telling.confirmed(&story.confirmations);
            }
            MessageFate::Processed { message, .. } => telling.stored(message, story),
            MessageFate::Removing { message, .. } => {
                telling.stored(message, story);
                telling
                    .say("Its owner can't pay for it any more: it is removed when the grace time is over.");
            }
            MessageFate::Forgotten { skeleton, .. } => telling.gone(skeleton),
            MessageFate::Removed { skeleton: Some(skeleton), .. } => telling.gone(skeleton),
            MessageFate::Removed { skeleton: None, .. } => {
                telling.say("It was removed because its owner could not pay for it.");
            }
            MessageFate::Rejected { code, details, .. } => telling.refused(*code, details.as_deref()),
        }
        if let MessageFate::Processed { message, .. } = &story.fate {
            telling.unheeded(message, publishers);
        }
        telling.holds(&story.holds);
        telling.fields.insert("words".to_owned(), telling.words.into());
        Value::Object(telling.fields)
    }

    fn field(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    fn say(&mut self, sentence: impl Into<String>) {
        self.words.push(sentence.into());
    }

    fn waits(&mut self, copies: usize, waiting: &[Waiting]) {
        let list: Vec<Value> = waiting
            .iter()
            .map(|waiting| {
                json!({
                    "on": waiting.on,
                    "until": waiting.until.iso_z().to_string(),
                    "origin": waiting.origin,
                    "otherwise": refusal(waiting.otherwise.code, waiting.otherwise.details.clone()),
                })
            })
            .collect();
        self.field("waits", list);
        if copies > 1 {
            self.say(format!("{copies} copies of it, with different senders or signatures, wait."));
        }
        for waiting in waiting {
            self.say(format!(
                "It waits for {}, until {}; then it is rejected with code {}: {}.",
                awaited(&waiting.on),
                waiting.until.iso_z(),
                waiting.otherwise.code.as_i16(),
                waiting.otherwise.code.explanation()
            ));
        }
    }

    fn refused(&mut self, code: i64, details: Option<&str>) {
        let details: Option<Value> = details.and_then(|text| serde_json::from_str(text).ok());
        let known = i16::try_from(code).ok().and_then(ErrorCode::from_i16);
        match known {
            Some(known) => {
                self.say(format!("It was rejected with code {code}: {}.", known.explanation()));
                self.field("refusal", refusal(known, details.clone()));
            }
            None => {
                self.say(format!("It was rejected with code {code}."));
                self.field("refusal", json!({ "code": code, "explanation": null, "details": details }));
            }
        }
        for error in details.iter().filter_map(|details| details["errors"].as_array()).flatten() {
            let text = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
            self.say(format!("The details say: {text}"));
        }
        self.say("It can be sent again, and is then decided anew.");
    }

    fn stored(&mut self, stored: &StoredMessage, story: &MessageStory) {
        let message = &stored.message;
        self.about(message, stored.owner.as_str());
        self.field("size", stored.size);
        let origin = story.origin.as_deref();
        let trusted = matches!(origin, Some("genesis" | "contract"));
        let family = family(message.chain);
        self.field(
            "signature",
            json!({ "chain": message.chain.as_str(), "family": family, "checked": !trusted }),
        );
        self.say(match origin {
            Some("genesis") => {
                "It is of the genesis of this private network, which is trusted without signatures."
                    .to_owned()
            }
            Some("contract") => format!(
                "A smart contract on {} told it and stands for its sender: it needs no signature.",
                message.chain
            ),
            _ => format!("Its signature is of {} ({family} keys) and was checked.", message.chain),
        });
        self.confirmed(&stored.confirmations);
        if let Some(permission) = &story.permission {
            self.permission(message, stored.owner.as_str(), permission);
        }
        self.trace(&message.item_hash, &story.trace);
        if let (MessageType::VProgram, Trace::Vm { needs, .. }) = (message.message_type, &story.trace) {
            // What it needs without naming it, the manifest names.
            let bundle = needs.iter().find(|needed| !stored.content().contains(needed.as_str()));
            if let Some(bundle) = bundle {
                self.say(format!("The manifest of its runtime names the bundle {bundle}."));
            }
            self.field("bundle", bundle.map(ItemHash::as_str));
        }
    }

    /// Transactions of chains that carry the message.
    fn confirmed(&mut self, confirmations: &[ChainTx]) {
        let list: Vec<Value> = confirmations
            .iter()
            .map(|tx| {
                json!({
                    "chain": tx.chain.as_str(),
                    "hash": tx.hash,
                    "height": tx.height,
                    "time": tx.time.iso_z().to_string(),
                    "publisher": tx.publisher,
                })
            })
            .collect();
        self.field("confirmations", list);
        for tx in confirmations {
            self.say(format!(
                "Transaction {} of {} carries it, in block {} at {}, sent by {}.",
                tx.hash,
                tx.chain,
                tx.height,
                tx.time.iso_z(),
                tx.publisher
            ));
        }
    }

    /// Why a post that looks like an order to nodes is none.
    fn unheeded(&mut self, stored: &StoredMessage, publishers: &Publishers) {
        if stored.message.message_type != MessageType::Post {
            return;
        }
        let content = fields(stored.content());
        let Some(post_type) = text_field(&content, "type") else { return };
        let channel = stored.message.channel.as_ref();
        let why = Unheeded::of(&post_type, &stored.owner, channel, publishers);
        let (word, words) = match why {
            None => return,
            Some(Unheeded::Publisher) => (
                "publisher",
                format!(
                    "Nodes act upon posts of type '{post_type}', but not upon this one: {} is none of the \
                     publishers that this node is configured with.",
                    stored.owner
                ),
            ),
            Some(Unheeded::Channel) => (
                "channel",
                format!(
                    "Nodes act upon posts of type '{post_type}', but not upon this one: it was sent on \
                     another channel than they count on."
                ),
            ),
        };
        self.field("unheeded_because_of", word);
        self.say(words);
    }

    /// Files that are kept because of the message.
    fn holds(&mut self, holds: &[HeldFile]) {
        let list: Vec<Value> = holds
            .iter()
            .map(|held| {
                let until = held.until.map(|until| until.iso_z().to_string());
                json!({ "file": held.file, "pin": held.kind, "until": until })
            })
            .collect();
        self.field("holds", list);
        for held in holds {
            match held.until {
                Some(until) => self.say(format!(
                    "Nothing holds the file {} any more; it is kept until {}, then collected.",
                    held.file,
                    until.iso_z()
                )),
                None if held.kind == "content" => {
                    self.say(format!("Its content is kept as the file {}.", held.file));
                }
                None => {}
            }
        }
    }

    fn about(&mut self, message: &Message, owner: &str) {
        self.field(
            "message",
            json!({
                "type": message.message_type.as_str(),
                "chain": message.chain.as_str(),
                "sender": message.sender.as_str(),
                "owner": owner,
                "channel": message.channel.as_ref().map(|channel| channel.as_str()),
                "item_type": message.item_type.as_str(),
                "time": message.time.iso_z().to_string(),
            }),
        );
        self.say(format!(
            "It is of type {} and of {owner}, dated {}.",
            message.message_type,
            message.time.iso_z()
        ));
    }

    fn permission(&mut self, message: &Message, owner: &str, permission: &Permission) {
        let sender = &message.sender;
        let (basis, entry, words) = match permission {
            Permission::Owner => ("owner", None, "Its owner sent it.".to_owned()),
            Permission::Delegate(entry) => (
                "delegate",
                Some(entry.clone()),
                format!("{sender} sent it and may: the 'security' aggregate of {owner} holds {entry}."),
            ),
            Permission::Withdrawn => (
                "withdrawn",
                None,
                format!(
                    "{sender} sent it. Nothing in the 'security' aggregate of {owner} allows that now; it did \
                     when the message was processed, and what was accepted stays."
                ),
            ),
            Permission::OfTargets => (
                "targets",
                None,
                format!("{sender} sent it and may forget what it names: each owner allows it."),
            ),
        };
        self.field("permission", json!({ "basis": basis, "entry": entry }));
        self.say(words);
    }

    fn trace(&mut self, hash: &ItemHash, trace: &Trace) {
        let mut superseded: Option<&ItemHash> = None;
        let effects = match trace {
            Trace::Post { shown, amends } => {
                superseded = Some(shown).filter(|shown| *shown != hash);
                self.say(match superseded {
                    None if *amends == 0 => "Readers see this text; nobody amended it.".to_owned(),
                    None => format!("Readers see this text, though it has amends: {amends}."),
                    Some(shown) => {
                        format!("Readers see the text of {shown} in its place (amends: {amends}).")
                    }
                });
                json!({ "post": hash, "shown": shown, "amends": amends })
            }
            Trace::Amend { original, shown } => {
                superseded = shown.as_ref().filter(|shown| *shown != hash);
                self.say(match shown {
                    Some(shown) if shown == hash => {
                        format!("It amends {original}, and readers see its text.")
                    }
                    Some(shown) => {
                        format!("It amends {original}, but readers see {shown}, which is ahead of it.")
                    }
                    None => format!("It amends {original}, which is not here any more."),
                });
                json!({ "amends": original, "shown": shown })
            }
            Trace::Aggregate { key, won, lost, more } => {
                self.say(format!(
                    "It is an element of the aggregate '{key}'; {} of its fields stand.",
                    won.len()
                ));
                for (field, by) in lost {
                    self.say(format!("The field '{field}' was set by {by}, which is ahead of it."));
                }
                let lost: Map<String, Value> =
                    lost.iter().map(|(field, by)| (field.clone(), by.as_str().into())).collect();
                json!({ "aggregate": key, "fields": won, "fields_set_by_others": lost, "fields_not_told": more })
            }
            Trace::File { file, size, tag, current, used_by } => {
                superseded = current.as_ref().filter(|current| *current != hash);
                self.say(format!("It keeps the file {file} of {size} bytes on the network."));
                self.say(match superseded {
                    None => format!("The tag '{tag}' points to it."),
                    Some(newer) => format!("The tag '{tag}' points to {newer}, a newer version."),
                });
                if !used_by.is_empty() {
                    self.say(format!("It can't be forgotten: needed by {}.", listed(used_by)));
                }
                json!({ "file": file, "size": size, "tag": tag, "tag_points_to": current, "needed_by": used_by })
            }
            Trace::Vm { replaces, newest, needs } => {
                superseded = newest.as_ref();
                if let Some(original) = replaces {
                    self.say(format!("It is an update of {original}."));
                }
                if let Some(newest) = newest {
                    self.say(format!("Its newest update is {newest}."));
                }
                if !needs.is_empty() {
                    self.say(format!("It needs {}.", listed(needs)));
                }
                json!({ "replaces": replaces, "newest_update": newest, "needs": needs })
            }
            Trace::Forget { targets, aggregates, more } => {
                for (target, status) in targets {
                    let status = status.map_or("unknown here", MessageStatus::as_str);
                    self.say(format!("It names {target}, which is {status}."));
                }
                for key in aggregates {
                    self.say(format!("It forgot the elements of the aggregate '{key}'."));
                }
                let targets: Map<String, Value> = targets
                    .iter()
                    .map(|(target, status)| (target.to_string(), status.map(MessageStatus::as_str).into()))
                    .collect();
                json!({ "forgets": targets, "forgets_aggregates": aggregates, "targets_not_told": more })
            }
            Trace::Nothing => Value::Null,
        };
        self.field("effects", effects);
        self.field("superseded_by", superseded.map(ItemHash::as_str));
    }

    fn gone(&mut self, skeleton: &Skeleton) {
        let message = Message {
            item_hash: skeleton.item_hash.clone(),
            message_type: skeleton.message_type,
            chain: skeleton.chain,
            sender: skeleton.sender.clone(),
            signature: skeleton.signature.clone(),
            item_type: skeleton.item_type,
            item_content: None,
            time: skeleton.time,
            channel: skeleton.channel.clone(),
        };
        self.about(&message, skeleton.owner.as_str());
        let by: Vec<String> = serde_json::from_str(&skeleton.forgotten_by).unwrap_or_default();
        let at = skeleton.gone_at.iso_z().to_string();
        self.say(match skeleton.status {
            MessageStatus::Forgotten => format!("It was forgotten by {}, dated {at}.", by.join(", ")),
            _ => format!("It was removed at {at} because its owner could not pay for it."),
        });
        self.say("Its content is gone, and it can't come back.");
        self.field("forgotten_by", by);
        self.field("gone_at", at);
    }
}

fn refusal(code: ErrorCode, details: Option<Value>) -> Value {
    json!({ "code": code.as_i16(), "explanation": code.explanation(), "details": details })
}

fn came(origin: Option<&str>) -> &'static str {
    match origin {
        Some("http") => "; a client published it here",
        Some("gossip") => "; it came by gossip",
        Some("catch-up") => "; another node had it when this one caught up",
        Some("genesis") => "; it stands in the genesis file",
        Some("chain") => "; an archive on a chain holds it",
        Some("contract") => "; a contract on a chain told it",
        _ => "",
    }
}

/// A dependency's key in words.
fn awaited(key: &str) -> String {
    match Dependency::from_key(key) {
        Some(Dependency::Content(hash)) => format!("its content {hash}, which no reachable node had yet"),
        Some(Dependency::File(hash)) => format!("the file {hash}, which no reachable node had yet"),
        Some(Dependency::Message(hash)) => format!("message {hash}"),
        Some(Dependency::Tag(tag)) => format!("a STORE that sets the tag '{tag}'"),
        Some(Dependency::Aggregate(owner, name)) => format!("the aggregate '{name}' of {owner}"),
        None => format!("'{key}'"),
    }
}

fn listed(hashes: &[ItemHash]) -> String {
    hashes.iter().map(ItemHash::as_str).collect::<Vec<_>>().join(", ")
}

fn family(chain: Chain) -> &'static str {
    match chain.family() {
        SignatureFamily::Evm => "evm",
        SignatureFamily::Solana => "solana",
        SignatureFamily::Tezos => "tezos",
        SignatureFamily::Cosmos => "cosmos",
        SignatureFamily::Substrate => "substrate",
        SignatureFamily::Avalanche => "avalanche",
        SignatureFamily::Nuls2 => "nuls2",
        SignatureFamily::Nuls => "nuls",
        SignatureFamily::None => "none",
    }
}
