//! Generated traffic: signed messages of all common types that build on each other.
//!
//! Every history can be taken in any order: what is forgotten is nothing that others build on
//! (`docs/adr/0003-order-independence.md`), so nodes that got all of it agree on one state digest.

use aleph_crypto::EvmKey;
use aleph_types::{Address, Chain, ItemHash, ItemType, Message, MessageType, Timestamp};
use serde_json::{Map, Value, json};

const AUTHORS: u8 = 4;
const FILES: usize = 24;
/// Keys of aggregates that each author writes to again and again.
const KEYS: usize = 4;
/// Seconds since 1970 of the first message.
const BEGINNING: f64 = 1_700_000_000.0;

/// A small generator of numbers: a run can be repeated by its seed.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for index in (1..list.len()).rev() {
            list.swap(index, self.roll(index + 1));
        }
    }
}

/// What a client publishes: a signed message, and the file that it uploads before.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) hash: ItemHash,
    /// Body of `POST /api/v0/messages`.
    pub(crate) body: String,
    pub(crate) file: Option<Vec<u8>>,
}

/// An author and a message of his.
type Own = (usize, ItemHash);

struct Writer {
    keys: Vec<EvmKey>,
    items: Vec<Item>,
    posts: Vec<Own>,
    stores: Vec<Own>,
    /// What may be forgotten.
    loose: Vec<Own>,
    time: f64,
}

/// `count` messages in the order of their times.
pub(crate) fn history(seed: u64, count: usize) -> Vec<Item> {
    let keys = (1..=AUTHORS).map(|byte| EvmKey::from_bytes([byte; 32]).expect("a key")).collect();
    let mut writer = Writer {
        keys,
        items: Vec::with_capacity(count),
        posts: Vec::new(),
        stores: Vec::new(),
        loose: Vec::new(),
        time: BEGINNING,
    };
    let mut dice = Dice::new(seed);
    while writer.items.len() < count {
        writer.step(&mut dice);
    }
    writer.items
}

/// The bytes of a generated file: a few kilobytes that differ from all others.
fn file_bytes(number: usize) -> Vec<u8> {
    let mut dice = Dice::new(number as u64);
    (0..1_000 + 997 * number).map(|_| dice.roll(256) as u8).collect()
}

fn pick(list: &[Own], dice: &mut Dice) -> Option<Own> {
    (!list.is_empty()).then(|| list[dice.roll(list.len())].clone())
}

impl Writer {
    fn publish(
        &mut self,
        author: usize,
        message_type: MessageType,
        mut content: Value,
        file: Option<Vec<u8>>,
    ) -> ItemHash {
        let sender = Address::from(self.keys[author].address().to_string());
        content["address"] = sender.as_str().into();
        content["time"] = self.time.into();
        let text = content.to_string();
        let mut message = Message {
            item_hash: ItemHash::sha256(text.as_bytes()),
            message_type,
            chain: Chain::Eth,
            sender,
            signature: None,
            item_type: ItemType::Inline,
            item_content: Some(text.into()),
            time: Timestamp::from_secs_f64(self.time).expect("a time"),
            channel: Some("FAULTS".into()),
        };
        message.signature = Some(self.keys[author].sign_message(&message));
        let hash = message.item_hash.clone();
        let body = json!({ "message": message.to_wire(), "sync": false }).to_string();
        self.items.push(Item { hash: hash.clone(), body, file });
        hash
    }

    fn step(&mut self, dice: &mut Dice) {
        let number = self.items.len();
        let author = dice.roll(usize::from(AUTHORS));
        // often not at all: equal times are contests
        self.time += dice.roll(3) as f64;
        match dice.roll(20) {
            0..=5 => {
                let content = json!({ "type": "note", "content": { "n": number, "text": "x".repeat(600) } });
                let hash = self.publish(author, MessageType::Post, content, None);
                self.posts.push((author, hash));
            }
            6..=8 => {
                let Some((author, original)) = pick(&self.posts, dice) else { return };
                let content = json!({ "type": "amend", "ref": original, "content": { "n": number } });
                let hash = self.publish(author, MessageType::Post, content, None);
                self.loose.push((author, hash));
            }
            9..=11 => {
                let set: Map<String, Value> =
                    (0..1 + dice.roll(3)).map(|_| (format!("f{}", dice.roll(8)), number.into())).collect();
                let content = json!({ "key": format!("k{}", dice.roll(KEYS)), "content": set });
                let hash = self.publish(author, MessageType::Aggregate, content, None);
                self.loose.push((author, hash));
            }
            12..=15 => self.store(author, number, dice),
            16 => {
                let (Some((_, code)), Some((_, runtime))) =
                    (pick(&self.stores, dice), pick(&self.stores, dice))
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
            1 => match pick(&self.stores, dice) {
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
