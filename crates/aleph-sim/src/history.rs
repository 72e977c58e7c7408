//! What clients publish: signed messages of all common types that build on each other. Any order of their
//! arrival leads to one state (`docs/adr/0003-order-independence.md`): what is forgotten is nothing that
//! others build on.

use aleph_crypto::EvmKey;
use aleph_types::{Address, Chain, ItemHash, ItemType, Message, MessageType, Timestamp};
use serde_json::{Map, Value, json};

use crate::dice::Dice;

const AUTHORS: usize = 4;
const FILES: usize = 12;
/// Documents of each author that are written to again and again.
const KEYS: usize = 3;
/// Seconds since 1970 of the first message.
pub(crate) const BEGINNING: f64 = 1_700_000_000.0;

/// What a client hands over: a message, and the file that it uploads before.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) hash: ItemHash,
    pub(crate) text: String,
    pub(crate) file: Option<Vec<u8>>,
}

/// An author and a message of his.
type Own = (usize, ItemHash);

struct Author {
    keys: Vec<EvmKey>,
    items: Vec<Item>,
    posts: Vec<Own>,
    stores: Vec<Own>,
    /// What may be forgotten.
    loose: Vec<Own>,
    time: f64,
}

/// The key of somebody whom nobody knows.
pub(crate) fn stranger() -> Option<EvmKey> {
    EvmKey::from_bytes([99; 32]).ok()
}

/// `count` messages in the order of their times.
pub(crate) fn history(seed: u64, count: usize) -> Vec<Item> {
    let keys = (1..=AUTHORS).filter_map(|byte| EvmKey::from_bytes([byte as u8; 32]).ok()).collect();
    let mut author = Author {
        keys,
        items: Vec::with_capacity(count),
        posts: Vec::new(),
        stores: Vec::new(),
        loose: Vec::new(),
        time: BEGINNING,
    };
    let mut dice = Dice::new(seed);
    while author.items.len() < count {
        author.step(&mut dice);
    }
    author.items
}

fn file_bytes(number: usize) -> Vec<u8> {
    let mut dice = Dice::new(number as u64);
    (0..300 + 40 * number).map(|_| dice.roll(256) as u8).collect()
}

/// A message of this key with this content.
pub(crate) fn signed(key: &EvmKey, message_type: MessageType, mut content: Value, time: f64) -> Message {
    let sender = Address::from(key.address().to_string());
    content["address"] = sender.as_str().into();
    content["time"] = time.into();
    let text = content.to_string();
    let mut message = Message {
        item_hash: ItemHash::sha256(text.as_bytes()),
        message_type,
        chain: Chain::Eth,
        sender,
        signature: None,
        item_type: ItemType::Inline,
        item_content: Some(text.into()),
        time: Timestamp::from_secs_f64(time).unwrap_or(Timestamp::EPOCH),
        channel: Some("SIMULATION".into()),
    };
    message.signature = Some(key.sign_message(&message));
    message
}

impl Author {
    fn publish(
        &mut self,
        author: usize,
        message_type: MessageType,
        content: Value,
        file: Option<Vec<u8>>,
    ) -> ItemHash {
        let message = signed(&self.keys[author], message_type, content, self.time);
        let text = serde_json::to_string(&message.to_wire()).unwrap_or_default();
        self.items.push(Item { hash: message.item_hash.clone(), text, file });
        message.item_hash
    }

    fn step(&mut self, dice: &mut Dice) {
        let number = self.items.len();
        let author = dice.roll(AUTHORS);
        // often not at all: equal times are contests
        self.time += dice.roll(3) as f64;
        match dice.roll(20) {
            0..=5 => {
                let content = json!({ "type": "note", "content": { "n": number } });
                let hash = self.publish(author, MessageType::Post, content, None);
                self.posts.push((author, hash));
            }
            6..=8 => {
                let Some((author, original)) = dice.pick(&self.posts) else { return };
                let content = json!({ "type": "amend", "ref": original, "content": { "n": number } });
                let hash = self.publish(author, MessageType::Post, content, None);
                self.loose.push((author, hash));
            }
            9..=12 => {
                let set: Map<String, Value> =
                    (0..1 + dice.roll(3)).map(|_| (format!("f{}", dice.roll(8)), number.into())).collect();
                let content = json!({ "key": format!("k{}", dice.roll(KEYS)), "content": set });
                let hash = self.publish(author, MessageType::Aggregate, content, None);
                self.loose.push((author, hash));
            }
            13..=15 => self.store(author, number, dice),
            16 => {
                let (Some((_, code)), Some((_, runtime))) =
                    (dice.pick(&self.stores), dice.pick(&self.stores))
                else {
                    return;
                };
                let content = json!({
                    "type": "vm-function", "allow_amend": true, "metadata": { "n": number },
                    "code": { "encoding": "zip", "entrypoint": "main:app", "ref": code },
                    "runtime": { "ref": runtime, "comment": "", "use_latest": dice.roll(2) == 0 },
                    "on": { "http": true }, "environment": {}, "resources": {},
                });
                let hash = self.publish(author, MessageType::Program, content, None);
                self.loose.push((author, hash));
            }
            _ => {
                if !self.loose.is_empty() {
                    let (author, target) = self.loose.swap_remove(dice.roll(self.loose.len()));
                    let content = json!({ "hashes": [target], "reason": "" });
                    self.publish(author, MessageType::Forget, content, None);
                }
            }
        }
    }

    /// A new file, a new version of one, or a version of a name.
    fn store(&mut self, author: usize, number: usize, dice: &mut Dice) {
        let bytes = file_bytes(dice.roll(FILES));
        let mut content = json!({
            "item_type": "storage", "item_hash": ItemHash::sha256(&bytes), "metadata": { "n": number },
        });
        let (author, loose) = match dice.roll(3) {
            0 => {
                content["ref"] = format!("name{}", dice.roll(3)).into();
                (author, true)
            }
            1 => match dice.pick(&self.stores) {
                Some((author, first)) => {
                    content["ref"] = first.as_str().into();
                    (author, true)
                }
                None => (author, false),
            },
            _ => (author, false),
        };
        let hash = self.publish(author, MessageType::Store, content, Some(bytes));
        if loose { self.loose.push((author, hash)) } else { self.stores.push((author, hash)) }
    }
}
