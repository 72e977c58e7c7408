//! A core node without threads, sockets and clock: what the simulation steps (`docs/adr/0020-simulation.md`).
//!
//! Database, files, both stages of the pipeline, the rules, the set of known messages, its comparison and
//! what is believed of forgotten messages are the node's own. What carries bytes from node to node, and when
//! a step is made, is the caller's affair: two runs with the same calls do the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

pub use aleph_blobs::BlobError;
use aleph_blobs::BlobStore;
use aleph_p2p::decode_payload;
use aleph_rules::{Dependency, Network};
use aleph_store::{RecomputedDigest, Skeleton, Store, StoreError};
use aleph_types::wire::Envelope;
use aleph_types::{ItemHash, MessageStatus, ParsedMessage, Timestamp};
use negentropy::Negentropy;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::broadcast::error::TryRecvError;

use crate::clock;
use crate::config::IpfsConfig;
use crate::files::Files;
use crate::intake::exchange::FRAME;
use crate::intake::known::{KnownSet, hashes_of, id_of};
use crate::intake::tombstones::{Tombstone, judge};
use crate::node::NodeError;
use crate::pipeline::{
    AfterCommit, Command, CommandEnd, Job, Origin, Outcome, PipelineError, PipelineOptions, Steps, Waiting,
};

/// What all nodes of a simulation stand on.
#[derive(Debug, Clone)]
pub struct Ground {
    runtime: Arc<Runtime>,
    client: reqwest::Client,
}

impl Ground {
    /// A runtime for this thread. A TLS provider must be installed.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn new() -> Result<Self, NodeError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = Arc::new(runtime.map_err(|_| NodeError::Pipeline(PipelineError::Stopped))?);
        let client = reqwest::Client::builder().build().map_err(NodeError::Client)?;
        Ok(Self { runtime, client })
    }
}

/// One node; see the module.
pub struct SteppedNode {
    runtime: Arc<Runtime>,
    store: Store,
    blobs: BlobStore,
    steps: Steps,
    known: KnownSet,
    waiting: Vec<(ItemHash, Waiting)>,
}

impl std::fmt::Debug for SteppedNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteppedNode").field("queued", &self.steps.queued()).finish_non_exhaustive()
    }
}

/// What a node thinks of a gossip payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gossiped {
    /// It can't be valid for anyone: not passed on.
    Invalid,
    /// Its fate is known here: not passed on.
    Settled,
    /// It is passed on, and decided in a later step.
    Taken,
}

/// What a step led to.
#[derive(Debug, Default)]
pub struct Stepped {
    /// Fates of messages that were submitted here, on disk: callers are answered now.
    pub acknowledged: Vec<(ItemHash, Outcome)>,
    /// Messages whose callers are told that nothing was stored.
    pub failed: Vec<ItemHash>,
    /// Messages that were applied, in order.
    pub processed: Vec<ItemHash>,
    /// Texts of messages to spread.
    pub publish: Vec<String>,
    /// Files that messages wait for.
    pub fetch: Vec<ItemHash>,
}

/// A comparison of sets that is under way.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Elements that the other node has and this one lacks, as far as it was compared.
    pub lacking: BTreeSet<[u8; 32]>,
    /// The next frame; none when it came to its end.
    pub frame: Option<Vec<u8>>,
}

impl SteppedNode {
    /// Opens the node in `folder`, or makes it.
    ///
    /// # Errors
    /// When database or files can't be opened.
    pub fn open(ground: &Ground, folder: &Path, network: Network) -> Result<Self, NodeError> {
        let location = aleph_store::Location::Sqlite(folder.join("node.sqlite3"));
        let (store, writer) =
            Store::open(&location).map_err(|source| NodeError::Database { location, source })?;
        let blobs = BlobStore::open(folder.join("files")).map_err(crate::files::OpenError::from)?;
        let files = Files::new(blobs.clone(), &IpfsConfig::default(), &ground.client);
        let options = PipelineOptions { network, ..PipelineOptions::default() };
        let steps = Steps::new(options, writer, files)?;
        Ok(Self {
            runtime: Arc::clone(&ground.runtime),
            store,
            blobs,
            steps,
            known: KnownSet::default(),
            waiting: Vec::new(),
        })
    }

    /// Lets the clock of this thread, and so of all nodes that are stepped on it, show `now`.
    pub fn set_clock(now: Timestamp) {
        clock::set(now);
    }

    /// Takes a message of a client; its fate is told by a later step.
    pub fn publish(&mut self, text: &str) -> Option<ItemHash> {
        let parsed = read(text)?;
        let hash = parsed.message.item_hash.clone();
        self.submit(parsed, Origin::Http);
        Some(hash)
    }

    fn submit(&mut self, parsed: ParsedMessage, origin: Origin) {
        let hash = parsed.message.item_hash.clone();
        self.waiting.push((hash, self.steps.submit(parsed, origin)));
    }

    /// Takes what a peer gossiped.
    ///
    /// # Errors
    /// Those of the database.
    pub fn gossip(&mut self, payload: &[u8]) -> Result<Gossiped, StoreError> {
        let Some(parsed) = decode_payload(payload).find_map(|text| read(&text)) else {
            return Ok(Gossiped::Invalid);
        };
        let hash = parsed.message.item_hash.clone();
        if !self.runtime.block_on(self.store.settled(vec![hash]))?.is_empty() {
            return Ok(Gossiped::Settled);
        }
        if aleph_crypto::check(&parsed.message).is_err() {
            return Ok(Gossiped::Invalid);
        }
        self.submit(parsed, Origin::Gossip);
        Ok(Gossiped::Taken)
    }

    /// Takes a file.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn put_file(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let stored = self.blobs.put_bytes_sync(bytes)?;
        self.steps.arrived(&stored.hash);
        Ok(())
    }

    /// A file that is here.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn file(&self, hash: &ItemHash) -> Result<Option<Vec<u8>>, BlobError> {
        Ok(self.blobs.read_sync(hash, u64::from(u32::MAX))?.map(|bytes| bytes.to_vec()))
    }

    /// Pieces of work that wait for a step.
    pub fn queued(&self) -> usize {
        self.steps.queued()
    }

    /// Takes up to `most` pieces of work through the pipeline, in one transaction.
    pub fn step(&mut self, most: usize) -> Stepped {
        self.steps.run(most);
        let mut stepped = Stepped::default();
        let mut open = Vec::with_capacity(self.waiting.len());
        for (hash, mut waiting) in std::mem::take(&mut self.waiting) {
            match waiting.try_recv() {
                Ok(Ok(outcome)) => stepped.acknowledged.push((hash, outcome)),
                Ok(Err(_)) | Err(tokio::sync::oneshot::error::TryRecvError::Closed) => {
                    stepped.failed.push(hash)
                }
                Err(tokio::sync::oneshot::error::TryRecvError::Empty) => open.push((hash, waiting)),
            }
        }
        self.waiting = open;
        loop {
            match self.steps.feed.try_recv() {
                Ok(processed) => stepped.processed.push(processed.message.item_hash.clone()),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        while let Ok(after) = self.steps.after.try_recv() {
            match after {
                AfterCommit::Publish(message) => {
                    stepped.publish.push(serde_json::to_string(&message.to_wire()).unwrap_or_default());
                }
                AfterCommit::Fetch(hash) => stepped.fetch.push(hash),
            }
        }
        stepped
    }

    /// From now on every transaction fails at its end, as if the disk were full; or none does. Pages are not
    /// counted for that: how many a change takes does not follow from the calls alone.
    pub fn set_full(&mut self, full: bool) {
        self.steps.set_full(full);
    }

    /// Looks after what waits, as a node does each second: after trouble this shows whether it is over.
    pub fn wake(&mut self) {
        self.steps.queue(Job::Expire);
    }

    /// Begins to compare the set of messages here with that of another node.
    ///
    /// # Errors
    /// Those of the database.
    pub fn compare(&mut self) -> Result<Comparison, StoreError> {
        self.runtime.block_on(self.known.refresh(&self.store))?;
        let mut side = Negentropy::borrowed(&self.known, FRAME);
        let frame = side.as_mut().ok().and_then(|side| side.initiate().ok());
        Ok(Comparison { lacking: BTreeSet::new(), frame })
    }

    /// The answer to a frame of another node; none when it is no frame.
    ///
    /// # Errors
    /// Those of the database.
    pub fn answer(&mut self, frame: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.runtime.block_on(self.known.refresh(&self.store))?;
        Ok(Negentropy::borrowed(&self.known, FRAME).and_then(|mut side| side.reconcile(frame)).ok())
    }

    /// Goes on with the answer of the other node. False when it can't be read.
    ///
    /// # Errors
    /// Those of the database.
    pub fn go_on(&mut self, comparison: &mut Comparison, answer: &[u8]) -> Result<bool, StoreError> {
        self.runtime.block_on(self.known.refresh(&self.store))?;
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let next = Negentropy::borrowed(&self.known, FRAME).and_then(|mut side| {
            side.set_initiator();
            side.reconcile_with_ids(answer, &mut have, &mut need)
        });
        let Ok(next) = next else {
            comparison.frame = None;
            return Ok(false);
        };
        comparison.frame = next;
        let need: Vec<[u8; 32]> = need.into_iter().map(negentropy::Id::to_bytes).collect();
        let candidates = need.iter().flat_map(hashes_of).collect();
        let unknown: BTreeSet<ItemHash> =
            self.runtime.block_on(self.store.missing(candidates))?.into_iter().collect();
        let lacks = |id: &[u8; 32]| hashes_of(id).iter().all(|hash| unknown.contains(hash));
        comparison.lacking.extend(need.into_iter().filter(lacks));
        Ok(true)
    }

    /// What this node hands on of these elements, as a text.
    ///
    /// # Errors
    /// Those of the database.
    pub fn hand_on(&self, elements: &[[u8; 32]]) -> Result<String, StoreError> {
        let hashes: Vec<ItemHash> = elements.iter().flat_map(hashes_of).collect();
        let messages = self.runtime.block_on(self.store.envelopes(hashes.clone()))?;
        let forgotten = self.runtime.block_on(self.store.skeletons(hashes))?;
        let by: BTreeSet<ItemHash> =
            forgotten.iter().filter_map(|skeleton| skeleton.forgotten_by.first().cloned()).collect();
        let forgets = self.runtime.block_on(self.store.envelopes(by.into_iter().collect()))?;
        Ok(json!({ "messages": messages, "forgotten": forgotten, "forgets": forgets }).to_string())
    }

    /// Takes what another node handed on of the elements that were asked for. `trusted`: the operator named
    /// that node. False when it can't be read.
    pub fn take(&mut self, asked: &BTreeSet<[u8; 32]>, text: &str, trusted: bool) -> bool {
        let Ok(told) = aleph_types::json::parse(text.as_bytes()) else { return false };
        let list = |name: &str| told[name].as_array().cloned().unwrap_or_default();
        let is_asked = |hash: &ItemHash| id_of(hash).is_some_and(|id| asked.contains(&id));
        let parsed = |values: Vec<Value>| -> Vec<ParsedMessage> {
            values.iter().filter_map(|value| ParsedMessage::from_value(value).ok()).collect()
        };
        let mut messages = parsed(list("messages"));
        messages.retain(|message| is_asked(&message.message.item_hash));
        messages.sort_by_key(|message| message.message.time);
        let forgets: HashMap<String, ParsedMessage> = parsed(list("forgets"))
            .into_iter()
            .map(|forget| (forget.message.item_hash.as_str().to_owned(), forget))
            .collect();
        let skeletons = list("forgotten").into_iter().filter_map(|value| serde_json::from_value(value).ok());
        let buried: Vec<Tombstone> = skeletons
            .filter(|skeleton: &Skeleton| {
                ItemHash::parse(&skeleton.envelope.item_hash).is_ok_and(|hash| is_asked(&hash))
            })
            .filter_map(|skeleton| judge(&skeleton, &forgets, trusted).ok())
            .collect();
        for message in messages {
            self.submit(message, Origin::CatchUp);
        }
        self.bury(buried);
        true
    }

    fn bury(&mut self, tombstones: Vec<Tombstone>) {
        if tombstones.is_empty() {
            return;
        }
        let hashes: Vec<ItemHash> =
            tombstones.iter().map(|tombstone| tombstone.message.item_hash.clone()).collect();
        let forgets: BTreeMap<String, ParsedMessage> = tombstones
            .iter()
            .map(|tombstone| (tombstone.forget.message.item_hash.to_string(), tombstone.forget.clone()))
            .collect();
        let now = clock::now();
        let command: Command = Box::new(move |transaction| {
            for Tombstone { message, item_type, owner, forget } in tombstones {
                let gone_at =
                    forget.content.as_ref().map_or(forget.message.time, aleph_types::content::Content::time);
                let by = [forget.message.item_hash];
                transaction.remember_forgotten(&message, item_type, &owner, &by, gone_at, now)?;
            }
            let end: CommandEnd = Box::new(|_| ());
            Ok(end)
        });
        self.steps.queue(Job::Command(command));
        for hash in hashes {
            self.steps.retry(Dependency::Message(hash).to_string());
        }
        for forget in forgets.into_values() {
            self.submit(forget, Origin::CatchUp);
        }
    }

    /// The digest of the state as it is kept, and as the tables give it.
    ///
    /// # Errors
    /// Those of the database.
    pub fn digest(&self) -> Result<RecomputedDigest, StoreError> {
        self.runtime.block_on(self.store.recompute_digest())
    }

    /// The digest of the state as it is kept.
    ///
    /// # Errors
    /// Those of the database.
    pub fn kept_digest(&self) -> Result<String, StoreError> {
        Ok(self.runtime.block_on(self.store.digest())?.digest)
    }

    /// The fate of a message.
    ///
    /// # Errors
    /// Those of the database.
    pub fn status(&self, hash: &ItemHash) -> Result<Option<MessageStatus>, StoreError> {
        Ok(self.runtime.block_on(self.store.fate_summary(hash))?.map(|(status, _)| status))
    }

    /// The messages that this node has accepted, as its comparisons see them.
    ///
    /// # Errors
    /// Those of the database.
    pub fn accepted(&self) -> Result<BTreeSet<ItemHash>, StoreError> {
        let (_, page) = self.runtime.block_on(self.store.accepted_after(0, usize::from(u16::MAX)))?;
        Ok(page.into_iter().map(|item| item.item_hash).collect())
    }

    /// The messages that a text of [`SteppedNode::hand_on`] holds, for a peer that changes them.
    pub fn envelopes(text: &str) -> Vec<Envelope> {
        let told: Value = serde_json::from_str(text).unwrap_or_default();
        let list = told["messages"].as_array().cloned().unwrap_or_default();
        list.into_iter().filter_map(|value| serde_json::from_value(value).ok()).collect()
    }
}

fn read(text: &str) -> Option<ParsedMessage> {
    let document = aleph_types::json::parse(text.as_bytes()).ok()?;
    ParsedMessage::from_value(&document).ok()
}
