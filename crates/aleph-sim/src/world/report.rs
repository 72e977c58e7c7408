//! What a simulation is told, and what it tells.

use std::fmt;

use aleph_ccn::NodeError;
use aleph_ccn::stepped::BlobError;
use aleph_rules::invariants::Violation;
use aleph_store::StoreError;

use super::MS;

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
