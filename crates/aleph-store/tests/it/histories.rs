//! Many generated histories, each in several orders of arrival, cuts of batches and with restarts: the
//! state's digest is the same (`docs/adr/0003-order-independence.md`).
//!
//! This drives rules and database as the pipeline does, on one thread and without signatures, so that
//! thousands of histories take a minute; `aleph-ccn/tests/it/order.rs` does a few through the pipeline.

use std::path::{Path, PathBuf};

use aleph_crypto::{TrustedSource, Verified};
use aleph_rules::{Candidate, Decision, FileInfo, FileKind, Network, decide};
use aleph_store::{NewMessage, Store, Writer};
use aleph_types::{ItemHash, MessageStatus, ParsedMessage, Timestamp};
use serde_json::{Value, json};

const HISTORIES: u64 = 2000;
/// Orders of arrival of each history beside that of its times.
const ORDERS: u64 = 2;
const OWNERS: [&str; 3] = ["0xAa", "0xBb", "0xCc"];

/// A small generator of numbers, so that a failing history can be named by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for index in (1..list.len()).rev() {
            list.swap(index, self.roll(index + 1));
        }
    }
}

#[derive(Default)]
struct Author {
    messages: Vec<ParsedMessage>,
    posts: Vec<(usize, ItemHash)>,
    stores: Vec<(usize, ItemHash)>,
    /// What may be forgotten without touching what others build on: the network itself decides that by
    /// what it has seen first.
    loose: Vec<(usize, ItemHash)>,
    time: u64,
}

impl Author {
    fn publish(&mut self, owner: usize, message_type: &str, mut content: Value) -> ItemHash {
        content["address"] = OWNERS[owner].into();
        content["time"] = self.time.into();
        let text = content.to_string();
        let hash = ItemHash::sha256(text.as_bytes());
        let envelope = json!({
            "chain": "ETH", "sender": OWNERS[owner], "signature": "0x", "type": message_type,
            "time": self.time, "item_hash": hash, "item_content": text,
        });
        self.messages.push(ParsedMessage::from_value(&envelope).unwrap());
        hash
    }

    fn pick(list: &[(usize, ItemHash)], dice: &mut Dice) -> Option<(usize, ItemHash)> {
        if list.is_empty() { None } else { Some(list[dice.roll(list.len())].clone()) }
    }

    fn step(&mut self, dice: &mut Dice) {
        // Often not at all: equal times are the interesting ones.
        self.time += dice.roll(3) as u64;
        let owner = dice.roll(OWNERS.len());
        let number = self.messages.len();
        let file = ItemHash::sha256(&[dice.roll(4) as u8]);
        match dice.roll(20) {
            0..=3 => {
                let content = json!({ "type": "note", "content": { "n": number, "tags": ["a"] } });
                let hash = self.publish(owner, "POST", content);
                self.posts.push((owner, hash));
            }
            4..=6 => {
                if let Some((owner, original)) = Self::pick(&self.posts, dice) {
                    let content = json!({ "type": "amend", "ref": original, "content": number });
                    let hash = self.publish(owner, "POST", content);
                    self.loose.push((owner, hash));
                }
            }
            7..=10 => {
                let fields: serde_json::Map<String, Value> = (0..3)
                    .filter(|_| dice.roll(2) == 0)
                    .map(|field| (format!("f{field}"), number.into()))
                    .collect();
                let content = json!({ "key": format!("k{}", dice.roll(2)), "content": fields });
                let hash = self.publish(owner, "AGGREGATE", content);
                self.loose.push((owner, hash));
            }
            11 | 12 => {
                let content = json!({
                    "item_type": "storage", "item_hash": file, "metadata": { "n": number },
                });
                let hash = self.publish(owner, "STORE", content);
                self.stores.push((owner, hash));
            }
            13 => {
                if let Some((owner, first)) = Self::pick(&self.stores, dice) {
                    let content = json!({
                        "item_type": "storage", "item_hash": file, "ref": first, "metadata": { "n": number },
                    });
                    let hash = self.publish(owner, "STORE", content);
                    self.loose.push((owner, hash));
                }
            }
            14 => {
                let content = json!({
                    "item_type": "storage", "item_hash": file, "ref": format!("name{}", dice.roll(2)),
                    "metadata": { "n": number },
                });
                let hash = self.publish(owner, "STORE", content);
                self.loose.push((owner, hash));
            }
            15 | 16 => {
                if let (Some((_, code)), Some((_, runtime))) =
                    (Self::pick(&self.stores, dice), Self::pick(&self.stores, dice))
                {
                    let content = json!({
                        "type": "vm-function", "allow_amend": true, "metadata": { "n": number },
                        "code": { "encoding": "zip", "entrypoint": "main:app", "ref": code },
                        "runtime": { "ref": runtime, "comment": "", "use_latest": dice.roll(2) == 0 },
                        "on": { "http": true }, "environment": {}, "resources": {},
                    });
                    let hash = self.publish(owner, "PROGRAM", content);
                    self.loose.push((owner, hash));
                }
            }
            _ => {
                if !self.loose.is_empty() {
                    let index = dice.roll(self.loose.len());
                    let (owner, target) = self.loose.swap_remove(index);
                    self.publish(owner, "FORGET", json!({ "hashes": [target] }));
                }
            }
        }
    }
}

fn history(seed: u64) -> Vec<ParsedMessage> {
    let mut dice = Dice(seed);
    let mut author = Author { time: 1_700_000_000, ..Author::default() };
    for _ in 0..5 + dice.roll(25) {
        author.step(&mut dice);
    }
    author.messages
}

/// The pipeline's behaviour in short: decide in the order of arrival, try what waits again after each
/// message that was processed.
struct Node {
    path: PathBuf,
    store: Store,
    writer: Writer,
    waiting: Vec<ParsedMessage>,
}

impl Node {
    fn open(path: &Path) -> Self {
        let (store, writer) = Store::open(path).unwrap();
        Self { path: path.to_owned(), store, writer, waiting: Vec::new() }
    }

    fn restart(self) -> Self {
        let Self { path, store, writer, waiting } = self;
        drop((store, writer));
        Self { waiting, ..Self::open(&path) }
    }

    fn take_batch(&mut self, batch: Vec<ParsedMessage>) {
        let mut transaction = self.writer.begin().unwrap();
        let mut queue: std::collections::VecDeque<ParsedMessage> = batch.into();
        while let Some(parsed) = queue.pop_front() {
            let status = transaction.status(&parsed.message.item_hash).unwrap();
            if matches!(status, Some(MessageStatus::Processed | MessageStatus::Forgotten)) {
                continue;
            }
            let verified = Verified::trusted(parsed, TrustedSource::Genesis);
            let file = Some(FileInfo { size: 1000, kind: FileKind::File });
            let decision = {
                let candidate = Candidate::new(&verified, None, 1, file);
                decide(&candidate, &Network::default(), &mut transaction.facts()).unwrap()
            };
            match decision {
                Decision::Process(effects) => {
                    let new = NewMessage {
                        message: &verified.message,
                        content: verified.content.as_ref().unwrap(),
                        document: None,
                        size: 1,
                        reception_time: Timestamp::EPOCH,
                        origin: "http",
                    };
                    transaction.process(new, &effects).unwrap();
                    queue.extend(self.waiting.drain(..));
                }
                Decision::Wait { .. } => self.waiting.push(verified.into_inner()),
                Decision::Reject(rejection) => panic!("rejected: {rejection:?} {verified:?}"),
            }
        }
        transaction.commit().unwrap();
    }
}

fn digest_after(template: &Path, folder: &Path, messages: Vec<ParsedMessage>, dice: &mut Dice) -> String {
    let path = folder.join("node.sqlite3");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("node.sqlite3{suffix}")));
    }
    std::fs::copy(template, &path).unwrap();
    let mut node = Node::open(&path);
    let mut messages = messages.into_iter().peekable();
    while messages.peek().is_some() {
        let batch: Vec<ParsedMessage> = messages.by_ref().take(1 + dice.roll(12)).collect();
        // Now and then a copy comes again.
        let again = if dice.roll(4) == 0 { batch.first().cloned() } else { None };
        node.take_batch(batch.into_iter().chain(again).collect());
        if dice.roll(12) == 0 {
            node = node.restart();
        }
    }
    assert!(node.waiting.is_empty(), "messages still wait after everything arrived: {:?}", node.waiting);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(node.store.digest()).unwrap().digest
}

#[test]
fn thousands_of_histories_lead_to_one_state_each() {
    // No disk: durability is not what is tested here.
    let shared_memory = Path::new("/dev/shm");
    let folder = || match shared_memory.is_dir() {
        true => tempfile::tempdir_in(shared_memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let template_folder = folder();
    let template = template_folder.path().join("empty.sqlite3");
    {
        let (_store, writer) = Store::open(&template).unwrap();
        writer.checkpoint().unwrap();
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let messages: usize = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|thread| {
                let template = &template;
                let folder = folder();
                scope.spawn(move || {
                    let mut count = 0;
                    for seed in (thread..HISTORIES).step_by(threads as usize) {
                        let in_order = history(seed);
                        count += in_order.len();
                        let mut dice = Dice(seed ^ 0xD1CE);
                        let expected = digest_after(template, folder.path(), in_order.clone(), &mut dice);
                        for order in 0..ORDERS {
                            let mut shuffled = in_order.clone();
                            dice.shuffle(&mut shuffled);
                            let digest = digest_after(template, folder.path(), shuffled, &mut dice);
                            assert_eq!(digest, expected, "history {seed}, order {order}");
                        }
                    }
                    count
                })
            })
            .collect();
        parts.into_iter().map(|part| part.join().unwrap()).sum()
    });
    println!("{HISTORIES} histories of {messages} messages, each in {} orders", ORDERS + 1);
}
