//! Nodes, the network between them, clients, and trouble: one queue of events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use aleph_ccn::stepped::{BlobError, Comparison, Gossiped, Ground, SteppedNode};
use aleph_ccn::{NodeError, Outcome};
use aleph_p2p::{encode_payload, gossip_id};
use aleph_rules::Network;
use aleph_rules::invariants::{self, Violation};
use aleph_store::StoreError;
use aleph_types::{ItemHash, MessageStatus, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::dice::Dice;
use crate::history::{BEGINNING, Item, history};
use crate::liar::lie;

/// Millisecond of the simulation's time.
const MS: u64 = 1_000;
const SECOND: u64 = 1_000 * MS;
/// Clients publish, and trouble comes, for so long.
const TROUBLE: u64 = 60 * SECOND;
/// After the trouble honest nodes have this long to come to one state.
const REST: u64 = 180 * SECOND;
/// How often that is looked at.
const LOOK: u64 = 3 * SECOND;
/// Peers that a node gossips with.
const MESH: usize = 6;
/// A node compares its set with that of another one so often, at least and at most.
const ROUND: (u64, u64) = (4 * SECOND, 8 * SECOND);
/// A talk with another node that takes longer is given up.
const TALK: u64 = 10 * SECOND;
/// A client that has no answer by then asks another node.
const CALL: u64 = 5 * SECOND;
/// Elements that are asked for at once.
const PAGE: usize = 100;

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// How many nodes; a few of them are slow, and a few lie.
    pub nodes: usize,
    /// Every so-manieth of them lies.
    pub liar_every: usize,
    /// How many messages clients publish.
    pub messages: usize,
    /// A wrong behaviour of nodes, which must be found.
    pub broken: Option<Broken>,
}

impl Options {
    /// Fifty nodes and a hundred messages.
    pub fn new(seed: u64) -> Self {
        Self { seed, nodes: 50, liar_every: 12, messages: 100, broken: None }
    }
}

/// Wrong behaviours, to see that the simulation finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Nodes acknowledge what clients send before it is on disk.
    AcknowledgesEarly,
    /// A document takes a change only if it is newer than the last one that arrived.
    DecidesByArrival,
    /// Nodes never compare their sets: what gossip loses is lost.
    NeverCatchesUp,
    /// Nodes believe whatever a peer says was forgotten.
    BelievesTombstones,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// SHA-256 over every event and every fate in their order: equal for equal runs.
    pub trace: String,
    /// The state of all honest nodes.
    pub digest: String,
    /// Messages that were acknowledged.
    pub acknowledged: usize,
    /// Events.
    pub events: u64,
    /// Crashes; full disks; cuts.
    pub troubles: (u32, u32, u32),
    /// Packets that were sent; lost; doubled; lies.
    pub packets: (u64, u64, u64, u64),
    /// Simulated time from the end of the trouble to one state, in seconds.
    pub rest: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (crashes, full, cuts) = self.troubles;
        let (sent, lost, doubled, lies) = self.packets;
        write!(
            f,
            "seed {}: {} messages, {} events, {sent} packets ({lost} lost, {doubled} doubled, {lies} lies), {crashes} \
             crashes, {full} full disks, {cuts} cuts; one state {} s after; trace {}",
            self.seed,
            self.acknowledged,
            self.events,
            self.rest,
            &self.trace[..16]
        )
    }
}

/// A run that went wrong. `SEED=…` replays it.
#[derive(Debug, thiserror::Error)]
#[error(
    "seed {seed}, {} ms after the beginning{}: {wrong}; SEED={seed} replays it", at / MS,
    node.map_or_else(String::new, |node| format!(", on node {node}"))
)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Microseconds of the simulation's time.
    pub at: u64,
    /// Where, if on one node.
    pub node: Option<usize>,
    /// What.
    #[source]
    pub wrong: Box<Wrong>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// An invariant.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// Clients could not publish everything, though all nodes were up again.
    #[error("{0} messages were never acknowledged")]
    Unanswered(usize),
    /// A node can't be opened.
    #[error("a node can't be opened: {0}")]
    Node(#[from] NodeError),
    /// A database.
    #[error("a database fails: {0}")]
    Store(#[from] StoreError),
    /// A disk.
    #[error("files can't be kept: {0}")]
    Files(#[from] BlobError),
    /// The system.
    #[error("no folder: {0}")]
    Io(#[from] std::io::Error),
}

/// What travels between nodes.
#[derive(Debug, Clone)]
pub(crate) enum Packet {
    /// A gossip payload.
    Gossip(Arc<[u8]>),
    /// A frame of a comparison.
    Frame { talk: u64, frame: Vec<u8> },
    /// The answer to it.
    FrameAnswer { talk: u64, frame: Vec<u8> },
    /// The question for messages.
    Wanted { talk: u64, elements: Vec<[u8; 32]> },
    /// The answer to it.
    Parcel { talk: u64, text: String },
    /// The question for a file.
    FileWanted(ItemHash),
    /// The answer to it.
    File(Vec<u8>),
}

impl Packet {
    fn letter(&self) -> u8 {
        match self {
            Self::Gossip(_) => b'g',
            Self::Frame { .. } => b'q',
            Self::FrameAnswer { .. } => b'a',
            Self::Wanted { .. } => b'w',
            Self::Parcel { .. } => b'p',
            Self::FileWanted(_) => b'?',
            Self::File(_) => b'f',
        }
    }
}

#[derive(Debug)]
enum Event {
    /// A client hands item number so-and-so to a node.
    Client(usize),
    /// A client has no answer.
    NoAnswer(usize),
    Arrive {
        from: usize,
        to: usize,
        packet: Packet,
    },
    /// A node takes what it has through its pipeline. The second number says in which of its lives.
    Step(usize, u32),
    /// A node compares its set with that of another.
    Round(usize),
    /// A node gives a talk up.
    GiveUp(usize, u64),
    /// A node asks again for a file.
    Fetch(usize, u32, ItemHash),
    Crash(usize),
    Restart(usize),
    Full(usize, bool),
    Cut(u64),
    Heal,
    /// The trouble is over.
    Rest,
    Look,
}

impl Event {
    fn letter(&self) -> u8 {
        match self {
            Self::Client(_) => b'C',
            Self::NoAnswer(_) => b'N',
            Self::Arrive { packet, .. } => packet.letter(),
            Self::Step(..) => b'S',
            Self::Round(_) => b'R',
            Self::GiveUp(..) => b'G',
            Self::Fetch(..) => b'F',
            Self::Crash(_) => b'X',
            Self::Restart(_) => b'U',
            Self::Full(..) => b'D',
            Self::Cut(_) => b'/',
            Self::Heal => b'=',
            Self::Rest => b'Z',
            Self::Look => b'L',
        }
    }
}

struct Queued {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// A comparison that a node began.
#[derive(Debug)]
struct Talk {
    with: usize,
    comparison: Comparison,
    /// Elements that were asked for last.
    asked: BTreeSet<[u8; 32]>,
}

struct Peer {
    folder: PathBuf,
    /// None while it is down.
    node: Option<SteppedNode>,
    life: u32,
    is_liar: bool,
    is_slow: bool,
    mesh: Vec<usize>,
    part: u8,
    has_step: bool,
    is_full: bool,
    seen: BTreeSet<u64>,
    talks: BTreeMap<u64, Talk>,
    /// Messages that it applied in all its lives.
    processed: BTreeSet<ItemHash>,
    /// Times of the newest changes of documents, of a node that is broken in this way.
    newest: BTreeMap<String, f64>,
}

struct World {
    options: Options,
    ground: Ground,
    _root: tempfile::TempDir,
    peers: Vec<Peer>,
    items: Vec<Item>,
    place_of: BTreeMap<ItemHash, usize>,
    /// Where a client waits for an answer about an item.
    calls: BTreeMap<usize, usize>,
    acknowledged: BTreeSet<ItemHash>,
    queue: BinaryHeap<Reverse<Queued>>,
    now: u64,
    number: u64,
    talks: u64,
    dice: Dice,
    trace: Sha256,
    is_troubled: bool,
    rested_at: Option<u64>,
    troubles: (u32, u32, u32),
    packets: (u64, u64, u64, u64),
}

/// Runs one simulation.
///
/// # Errors
/// What did not hold, and the seed that replays it.
pub fn run(options: &Options) -> Result<Report, Failure> {
    // it may be installed already
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seed = options.seed;
    let mut world =
        World::new(*options).map_err(|wrong| Failure { seed, at: 0, node: None, wrong: Box::new(wrong) })?;
    world.run()
}

impl World {
    fn new(options: Options) -> Result<Self, Wrong> {
        let mut dice = Dice::new(options.seed);
        let items = history(dice.word(), options.messages);
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
        let ground = Ground::new()?;
        let mut peers = Vec::with_capacity(options.nodes);
        for number in 0..options.nodes {
            let folder = root.path().join(number.to_string());
            std::fs::create_dir(&folder)?;
            let is_liar = number % options.liar_every == options.liar_every / 2;
            peers.push(Peer {
                node: Some(SteppedNode::open(&ground, &folder, Network::default())?),
                folder,
                life: 0,
                is_liar,
                is_slow: !is_liar && number % 10 == 3,
                mesh: Vec::new(),
                part: 0,
                has_step: false,
                is_full: false,
                seen: BTreeSet::new(),
                talks: BTreeMap::new(),
                processed: BTreeSet::new(),
                newest: BTreeMap::new(),
            });
        }
        for number in 0..options.nodes {
            while peers[number].mesh.len() < MESH.min(options.nodes - 1) {
                let other = dice.roll(options.nodes);
                if other != number && !peers[number].mesh.contains(&other) {
                    peers[number].mesh.push(other);
                    if !peers[other].mesh.contains(&number) {
                        peers[other].mesh.push(number);
                    }
                }
            }
        }
        let place_of = items.iter().enumerate().map(|(place, item)| (item.hash.clone(), place)).collect();
        let mut world = Self {
            options,
            ground,
            _root: root,
            peers,
            items,
            place_of,
            calls: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            queue: BinaryHeap::new(),
            now: 0,
            number: 0,
            talks: 0,
            dice,
            trace: Sha256::new(),
            is_troubled: true,
            rested_at: None,
            troubles: (0, 0, 0),
            packets: (0, 0, 0, 0),
        };
        world.plan();
        Ok(world)
    }

    /// Everything that is to happen by itself.
    fn plan(&mut self) {
        for place in 0..self.items.len() {
            let at = self.dice.between(0, TROUBLE);
            self.at(at, Event::Client(place));
        }
        for number in 0..self.peers.len() {
            let at = self.dice.between(0, ROUND.1);
            self.at(at, Event::Round(number));
        }
        for _ in 0..self.peers.len() / 2 {
            let (at, node) = (self.dice.between(SECOND, TROUBLE), self.dice.roll(self.peers.len()));
            self.at(at, Event::Crash(node));
        }
        for _ in 0..self.peers.len() / 8 {
            let (at, node) = (self.dice.between(SECOND, TROUBLE), self.dice.roll(self.peers.len()));
            let until = at + self.dice.between(SECOND, 8 * SECOND);
            self.at(at, Event::Full(node, true));
            self.at(until, Event::Full(node, false));
        }
        for _ in 0..2 {
            let at = self.dice.between(SECOND, TROUBLE - 15 * SECOND);
            let until = at + self.dice.between(2 * SECOND, 15 * SECOND);
            let parts = self.dice.word();
            self.at(at, Event::Cut(parts));
            self.at(until, Event::Heal);
        }
        self.at(TROUBLE, Event::Rest);
    }

    fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.queue.push(Reverse(Queued { at, number: self.number, event }));
    }

    fn after(&mut self, pause: u64, event: Event) {
        self.at(self.now + pause, event);
    }

    fn run(&mut self) -> Result<Report, Failure> {
        let mut events = 0;
        while let Some(Reverse(Queued { at, number, event })) = self.queue.pop() {
            self.now = at;
            events += 1;
            let micros = i64::try_from(at).unwrap_or(i64::MAX);
            let start = Timestamp::from_secs_f64(BEGINNING + 100_000.0).unwrap_or(Timestamp::EPOCH);
            SteppedNode::set_clock(start.plus_micros(micros));
            let node = node_of(&event);
            self.trace.update([event.letter()]);
            self.trace.update(at.to_le_bytes());
            self.trace.update(number.to_le_bytes());
            self.trace.update([node.and_then(|node| u8::try_from(node).ok()).unwrap_or(u8::MAX)]);
            let is_look = matches!(event, Event::Look);
            let seed = self.options.seed;
            let failed = |wrong| Failure { seed, at, node, wrong: Box::new(wrong) };
            self.happen(event).map_err(failed)?;
            if is_look && let Some(digest) = self.look().map_err(failed)? {
                return Ok(Report {
                    seed,
                    trace: hex::encode(self.trace.clone().finalize()),
                    digest,
                    acknowledged: self.acknowledged.len(),
                    events,
                    troubles: self.troubles,
                    packets: self.packets,
                    rest: (self.now - self.rested_at.unwrap_or(self.now)) / SECOND,
                });
            }
        }
        let wrong = Box::new(Wrong::Unanswered(self.items.len() - self.acknowledged.len()));
        Err(Failure { seed: self.options.seed, at: self.now, node: None, wrong })
    }

    fn happen(&mut self, event: Event) -> Result<(), Wrong> {
        match event {
            Event::Client(place) => self.publish(place)?,
            Event::NoAnswer(place) => {
                if self.calls.remove(&place).is_some() {
                    self.after(MS, Event::Client(place));
                }
            }
            Event::Arrive { from, to, packet } => self.arrive(from, to, packet)?,
            Event::Step(node, life) => {
                if self.peers[node].life == life {
                    self.step(node)?;
                }
            }
            Event::Round(node) => {
                let pause = self.dice.between(ROUND.0, ROUND.1);
                self.after(pause, Event::Round(node));
                self.round(node)?;
            }
            Event::GiveUp(node, talk) => drop(self.peers[node].talks.remove(&talk)),
            Event::Fetch(node, life, hash) => self.fetch(node, life, hash)?,
            Event::Crash(node) => self.crash(node)?,
            Event::Restart(node) => self.restart(node)?,
            Event::Full(node, full) => self.set_full(node, full)?,
            Event::Cut(parts) => {
                self.troubles.2 += 1;
                for (number, peer) in self.peers.iter_mut().enumerate() {
                    peer.part = u8::from(parts >> (number % 64) & 1 == 1);
                }
            }
            Event::Heal => self.peers.iter_mut().for_each(|peer| peer.part = 0),
            Event::Rest => {
                self.is_troubled = false;
                self.rested_at = Some(self.now);
                for node in 0..self.peers.len() {
                    self.peers[node].part = 0;
                    self.restart(node)?;
                    self.set_full(node, false)?;
                }
                self.after(LOOK, Event::Look);
            }
            Event::Look => {}
        }
        Ok(())
    }

    // ── clients ─────────────────────────────────────────────────────────────────────────────────────

    fn publish(&mut self, place: usize) -> Result<(), Wrong> {
        let item = self.items[place].clone();
        if self.acknowledged.contains(&item.hash) {
            return Ok(());
        }
        let node = self.dice.roll(self.peers.len());
        self.after(CALL, Event::NoAnswer(place));
        self.calls.insert(place, node);
        let peer = &mut self.peers[node];
        // clients know whom they can trust
        let Some(inside) = peer.node.as_mut().filter(|_| !peer.is_liar) else { return Ok(()) };
        if let Some(file) = &item.file {
            inside.put_file(file)?;
        }
        inside.publish(&item.text);
        // what a client brings is taken, and hides older changes from elsewhere
        self.passes(node, &item.text);
        // the worst moment
        if self.is_troubled && self.dice.per_mille(60) {
            let pause = self.dice.between(0, 40 * MS);
            self.after(pause, Event::Crash(node));
        }
        if self.options.broken == Some(Broken::AcknowledgesEarly) {
            self.acknowledged.insert(item.hash);
        }
        self.need_step(node);
        Ok(())
    }

    /// Of a node that decides by arrival: whether it takes this change of a document.
    fn passes(&mut self, node: usize, text: &str) -> bool {
        if self.options.broken != Some(Broken::DecidesByArrival) {
            return true;
        }
        let message: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        if message["type"] != "AGGREGATE" {
            return true;
        }
        let time = message["time"].as_f64().unwrap_or_default();
        let newest = self.peers[node].newest.entry(message["sender"].to_string()).or_insert(time);
        let passes = time >= *newest;
        *newest = newest.max(time);
        passes
    }

    // ── the pipeline of a node ──────────────────────────────────────────────────────────────────────

    fn need_step(&mut self, node: usize) {
        let peer = &mut self.peers[node];
        if peer.has_step || peer.node.is_none() {
            return;
        }
        peer.has_step = true;
        let (life, slow) = (peer.life, peer.is_slow);
        let pause = self.dice.between(MS, if slow { 800 * MS } else { 30 * MS });
        self.after(pause, Event::Step(node, life));
    }

    fn step(&mut self, node: usize) -> Result<(), Wrong> {
        let most = 1 + self.dice.roll(40);
        let peer = &mut self.peers[node];
        peer.has_step = false;
        let Some(inside) = peer.node.as_mut() else { return Ok(()) };
        let stepped = inside.step(most);
        let again = inside.queued() > 0;
        for hash in &stepped.processed {
            self.trace.update(hash.as_str());
            if !peer.processed.insert(hash.clone()) {
                let before = Some(MessageStatus::Processed);
                invariants::fate_may_follow(hash, before, MessageStatus::Processed)?;
            }
        }
        for (hash, outcome) in stepped.acknowledged {
            let Some(place) = self.place_of.get(&hash).copied() else { continue };
            if self.calls.get(&place) == Some(&node) && !matches!(outcome, Outcome::Rejected(_)) {
                self.calls.remove(&place);
                self.acknowledged.insert(hash);
            }
        }
        for hash in stepped.failed {
            let Some(place) = self.place_of.get(&hash).copied() else { continue };
            if self.calls.get(&place) == Some(&node) {
                self.calls.remove(&place);
                self.after(MS, Event::Client(place));
            }
        }
        for text in stepped.publish {
            let payload: Arc<[u8]> = encode_payload(text.as_bytes()).as_ref().into();
            self.peers[node].seen.insert(gossip_id(&payload).0);
            self.spread(node, None, &payload);
        }
        for hash in stepped.fetch {
            let life = self.peers[node].life;
            self.after(MS, Event::Fetch(node, life, hash));
        }
        if again {
            self.need_step(node);
        }
        Ok(())
    }

    // ── the network ─────────────────────────────────────────────────────────────────────────────────

    fn send(&mut self, from: usize, to: usize, mut packet: Packet) {
        self.packets.0 += 1;
        if self.peers[from].part != self.peers[to].part || (self.is_troubled && self.dice.per_mille(30)) {
            self.packets.1 += 1;
            return;
        }
        if self.peers[from].is_liar && self.dice.per_mille(500) {
            self.packets.3 += 1;
            packet = lie(packet, &mut self.dice);
        }
        let slow = self.peers[from].is_slow || self.peers[to].is_slow;
        let most = if slow { 3_000 * MS } else { 250 * MS };
        if self.is_troubled && self.dice.per_mille(20) {
            self.packets.2 += 1;
            let pause = self.dice.between(5 * MS, most);
            self.after(pause, Event::Arrive { from, to, packet: packet.clone() });
        }
        let pause = self.dice.between(5 * MS, most);
        self.after(pause, Event::Arrive { from, to, packet });
    }

    fn spread(&mut self, node: usize, but: Option<usize>, payload: &Arc<[u8]>) {
        for to in self.peers[node].mesh.clone() {
            if Some(to) != but {
                self.send(node, to, Packet::Gossip(Arc::clone(payload)));
            }
        }
    }

    fn arrive(&mut self, from: usize, to: usize, packet: Packet) -> Result<(), Wrong> {
        if self.peers[to].node.is_none() {
            return Ok(());
        }
        match packet {
            Packet::Gossip(payload) => self.hear(from, to, &payload),
            Packet::Frame { talk, frame } => {
                let answer = match &mut self.peers[to].node {
                    Some(node) => node.answer(&frame)?,
                    None => None,
                };
                if let Some(frame) = answer {
                    self.send(to, from, Packet::FrameAnswer { talk, frame });
                }
                Ok(())
            }
            Packet::FrameAnswer { talk, frame } => {
                let Some(mut open) = self.take_talk(from, to, talk) else { return Ok(()) };
                let is_good = match &mut self.peers[to].node {
                    Some(node) => node.go_on(&mut open.comparison, &frame)?,
                    None => false,
                };
                if is_good {
                    self.continue_talk(to, talk, open);
                }
                Ok(())
            }
            Packet::Wanted { talk, elements } => {
                if let Some(node) = &self.peers[to].node {
                    let text = node.hand_on(&elements)?;
                    self.send(to, from, Packet::Parcel { talk, text });
                }
                Ok(())
            }
            Packet::Parcel { talk, text } => {
                let Some(open) = self.take_talk(from, to, talk) else { return Ok(()) };
                let text = self.filtered(to, text);
                let trusted = self.options.broken == Some(Broken::BelievesTombstones);
                if let Some(node) = &mut self.peers[to].node
                    && node.take(&open.asked, &text, trusted)
                {
                    self.need_step(to);
                    self.continue_talk(to, talk, open);
                }
                Ok(())
            }
            Packet::FileWanted(hash) => {
                if let Some(node) = &self.peers[to].node
                    && let Some(bytes) = node.file(&hash)?
                {
                    self.send(to, from, Packet::File(bytes));
                }
                Ok(())
            }
            Packet::File(bytes) => {
                if let Some(node) = &mut self.peers[to].node {
                    node.put_file(&bytes)?;
                    self.need_step(to);
                }
                Ok(())
            }
        }
    }

    fn hear(&mut self, from: usize, to: usize, payload: &Arc<[u8]>) -> Result<(), Wrong> {
        if !self.peers[to].seen.insert(gossip_id(payload).0) {
            return Ok(());
        }
        if self.options.broken.is_some() {
            let text = String::from_utf8_lossy(payload).into_owned();
            if !self.passes(to, &text) {
                return Ok(());
            }
        }
        let Some(node) = &mut self.peers[to].node else { return Ok(()) };
        if node.gossip(payload)? == Gossiped::Taken {
            self.need_step(to);
            self.spread(to, Some(from), payload);
        }
        Ok(())
    }

    /// Without the changes of documents that a node which decides by arrival does not take.
    fn filtered(&mut self, node: usize, text: String) -> String {
        if self.options.broken != Some(Broken::DecidesByArrival) {
            return text;
        }
        let mut told: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let messages = told["messages"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let kept = messages.into_iter().filter(|message| self.passes(node, &message.to_string()));
        told["messages"] = kept.collect();
        told.to_string()
    }

    // ── catching up ─────────────────────────────────────────────────────────────────────────────────

    fn round(&mut self, node: usize) -> Result<(), Wrong> {
        let with = self.dice.roll(self.peers.len());
        let broken = self.options.broken == Some(Broken::NeverCatchesUp);
        let peer = &mut self.peers[node];
        // one talk at a time, as the real one
        if with == node || broken || !peer.talks.is_empty() {
            return Ok(());
        }
        let Some(inside) = &mut peer.node else { return Ok(()) };
        let mut comparison = inside.compare()?;
        let Some(frame) = comparison.frame.take() else { return Ok(()) };
        self.talks += 1;
        let talk = self.talks;
        self.peers[node].talks.insert(talk, Talk { with, comparison, asked: BTreeSet::new() });
        self.send(node, with, Packet::Frame { talk, frame });
        self.after(TALK, Event::GiveUp(node, talk));
        Ok(())
    }

    fn take_talk(&mut self, from: usize, to: usize, talk: u64) -> Option<Talk> {
        let is_theirs = self.peers[to].talks.get(&talk).is_some_and(|open| open.with == from);
        is_theirs.then(|| self.peers[to].talks.remove(&talk)).flatten()
    }

    /// First what is lacking, then the next frame.
    fn continue_talk(&mut self, node: usize, talk: u64, mut open: Talk) {
        let asked: BTreeSet<[u8; 32]> = open.comparison.lacking.iter().take(PAGE).copied().collect();
        let with = open.with;
        let packet = if !asked.is_empty() {
            open.comparison.lacking.retain(|element| !asked.contains(element));
            let elements = asked.iter().copied().collect();
            open.asked = asked;
            Packet::Wanted { talk, elements }
        } else if let Some(frame) = open.comparison.frame.take() {
            Packet::Frame { talk, frame }
        } else {
            return;
        };
        self.peers[node].talks.insert(talk, open);
        self.send(node, with, packet);
    }

    fn fetch(&mut self, node: usize, life: u32, hash: ItemHash) -> Result<(), Wrong> {
        let peer = &self.peers[node];
        let Some(inside) = peer.node.as_ref().filter(|_| peer.life == life) else { return Ok(()) };
        if inside.file(&hash)?.is_some() {
            return Ok(());
        }
        let from = self.dice.roll(self.peers.len());
        if from != node {
            self.send(node, from, Packet::FileWanted(hash.clone()));
        }
        let pause = self.dice.between(300 * MS, 1_500 * MS);
        self.after(pause, Event::Fetch(node, life, hash));
        Ok(())
    }

    // ── trouble ─────────────────────────────────────────────────────────────────────────────────────

    fn crash(&mut self, node: usize) -> Result<(), Wrong> {
        if self.peers[node].node.is_none() || !self.is_troubled {
            return Ok(());
        }
        self.troubles.0 += 1;
        // in the midst of a transaction, or between two
        if self.dice.roll(2) == 0 {
            let peer = &mut self.peers[node];
            if let Some(inside) = peer.node.as_mut().filter(|inside| inside.queued() > 0) {
                inside.set_full(true);
                self.step(node)?;
            }
        }
        let peer = &mut self.peers[node];
        peer.node = None;
        peer.life += 1;
        (peer.has_step, peer.is_full) = (false, false);
        peer.seen.clear();
        peer.talks.clear();
        let pause = self.dice.between(200 * MS, 20 * SECOND);
        self.after(pause, Event::Restart(node));
        Ok(())
    }

    fn restart(&mut self, node: usize) -> Result<(), Wrong> {
        let peer = &mut self.peers[node];
        if peer.node.is_none() {
            peer.node = Some(SteppedNode::open(&self.ground, &peer.folder, Network::default())?);
            self.need_step(node);
        }
        Ok(())
    }

    fn set_full(&mut self, node: usize, full: bool) -> Result<(), Wrong> {
        let peer = &mut self.peers[node];
        if peer.is_full == full || (full && !self.is_troubled) {
            return Ok(());
        }
        if let Some(inside) = &mut peer.node {
            inside.set_full(full);
            peer.is_full = full;
            if full {
                self.troubles.1 += 1;
            } else {
                inside.wake();
                self.need_step(node);
            }
        }
        Ok(())
    }

    // ── what must hold ──────────────────────────────────────────────────────────────────────────────

    /// The state of all honest nodes once they are at rest in one; what is wrong when they had time enough.
    fn look(&mut self) -> Result<Option<String>, Wrong> {
        let is_late = self.rested_at.is_some_and(|since| self.now - since > REST);
        let unanswered = self.items.iter().filter(|item| !self.acknowledged.contains(&item.hash)).count();
        let held = if unanswered > 0 { Err(Wrong::Unanswered(unanswered)) } else { self.hold() };
        match held {
            Ok(digest) => Ok(Some(digest)),
            Err(wrong) if is_late => {
                self.describe()?;
                Err(wrong)
            }
            Err(Wrong::Violation(_) | Wrong::Unanswered(_)) => {
                self.after(LOOK, Event::Look);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// Where honest nodes differ, in words on standard error: for who replays a seed.
    fn describe(&self) -> Result<(), Wrong> {
        let honest = || self.peers.iter().enumerate().filter(|(_, peer)| !peer.is_liar);
        let mut fates: BTreeMap<&ItemHash, BTreeMap<String, Vec<usize>>> = BTreeMap::new();
        let mut parts: BTreeMap<String, BTreeMap<String, Vec<usize>>> = BTreeMap::new();
        for (number, peer) in honest() {
            let Some(node) = &peer.node else { continue };
            for item in &self.items {
                let status = node.status(&item.hash)?.map_or("unknown", MessageStatus::as_str);
                fates.entry(&item.hash).or_default().entry(status.to_owned()).or_default().push(number);
            }
            for (table, part) in node.digest()?.kept.parts {
                let told = format!("{} rows, {}", part.rows, part.digest);
                parts.entry(table.to_string()).or_default().entry(told).or_default().push(number);
            }
        }
        for (hash, of_status) in fates.iter().filter(|(_, of_status)| of_status.len() > 1) {
            let text = self.place_of.get(hash).map_or("", |place| self.items[*place].text.as_str());
            if let (Some(Item { file: Some(file), .. }), Some(node)) = (
                self.place_of.get(hash).map(|place| &self.items[*place]),
                of_status.get("pending").and_then(|nodes| self.peers[nodes[0]].node.as_ref()),
            ) {
                let has = node.file(&ItemHash::sha256(file))?.is_some();
                eprintln!(
                    "the first node where it waits has its file: {has}; queued there: {}",
                    node.queued()
                );
            }
            eprintln!("fates of {hash}: {of_status:?}\n  {text}");
        }
        for (table, of_digest) in parts.iter().filter(|(_, of_digest)| of_digest.len() > 1) {
            eprintln!("table {table}: {of_digest:?}");
        }
        Ok(())
    }

    fn hold(&self) -> Result<String, Wrong> {
        let honest: Vec<(usize, &SteppedNode)> = self
            .peers
            .iter()
            .enumerate()
            .filter(|(_, peer)| !peer.is_liar)
            .filter_map(|(number, peer)| Some((number, peer.node.as_ref()?)))
            .collect();
        let mut digests = Vec::with_capacity(honest.len());
        for (number, node) in &honest {
            digests.push((format!("node {number}"), node.kept_digest()?));
        }
        invariants::one_state(digests.iter().map(|(name, digest)| (name, digest)))?;
        let mut first: Option<BTreeSet<ItemHash>> = None;
        for (_, node) in &honest {
            invariants::nothing_lost::<Wrong>(&self.acknowledged, |hash| Ok(node.status(hash)?))?;
            let both = node.digest()?;
            invariants::sound(&both.kept.digest, &both.recomputed.digest)?;
            let accepted = node.accepted()?;
            invariants::one_set(first.get_or_insert_with(|| accepted.clone()), &accepted)?;
        }
        Ok(digests.swap_remove(0).1)
    }
}

fn node_of(event: &Event) -> Option<usize> {
    match event {
        Event::Arrive { to: node, .. }
        | Event::Step(node, _)
        | Event::Round(node)
        | Event::GiveUp(node, _)
        | Event::Fetch(node, ..)
        | Event::Crash(node)
        | Event::Restart(node)
        | Event::Full(node, _) => Some(*node),
        Event::Client(_) | Event::NoAnswer(_) | Event::Cut(_) | Event::Heal | Event::Rest | Event::Look => {
            None
        }
    }
}
