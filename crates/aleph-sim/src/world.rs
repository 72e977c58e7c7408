//! Nodes, the network between them, clients, and trouble: one queue of events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::PathBuf;
use std::sync::Arc;

use aleph_ccn::Outcome;
use aleph_ccn::stepped::{Comparison, Ground, SteppedNode};
use aleph_p2p::{encode_payload, gossip_id};
use aleph_rules::Network;
use aleph_rules::invariants;
use aleph_types::{ItemHash, MessageStatus, Timestamp};
use sha2::{Digest as _, Sha256};

use self::event::{Event, Queued, node_of};
use crate::dice::Dice;
use crate::history::{BEGINNING, Item, history};

mod event;
mod report;
mod traffic;

pub(crate) use self::event::Packet;
pub use self::report::{Broken, Failure, Options, Report, Wrong};

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
