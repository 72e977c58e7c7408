//! The node itself.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// The node's version.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Version {
    version: String,
}

/// Where other nodes reach this one.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PublicInfo {
    node_multi_addresses: Vec<String>,
}

/// A program that listens to messages.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct ProgramOnMessage {
    item_hash: String,
    content: Value,
}

/// Something that needs attention.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Problem {
    /// What is wrong.
    what: String,
    /// What to do.
    next: String,
}

/// How the node is.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Health {
    /// `ok` or `attention`.
    status: String,
    problems: Vec<Problem>,
    /// What may be meant and may be a mistake, such as posts of publishers that are not configured.
    notes: Vec<Problem>,
    version: String,
    uptime_seconds: u64,
    messages: u64,
    pending_messages: u64,
    #[schema(required)]
    peers: Option<u64>,
    database_bytes: u64,
    #[schema(required)]
    resident_memory_bytes: Option<u64>,
}

/// What the node lacks, and what to do.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct NodeSync {
    /// `in sync`, `catching up`, `unreachable` or `alone`.
    status: String,
    /// Why nothing can be stored now.
    #[schema(required)]
    blocked: Option<String>,
    words: Vec<String>,
    problems: Vec<Problem>,
    messages: u64,
    pending_messages: u64,
    /// Messages that came from comparing with other nodes since the start.
    caught_up: u64,
    /// The last place in this node's order of processing.
    log_end: i64,
    #[schema(required)]
    gossip_peers: Option<u64>,
    peers: Vec<PeerSync>,
}

/// Where catching up with another node stands. What is counted is of the present comparison, or the last.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PeerSync {
    /// Its base URL, or `/p2p/…` if it tells none.
    url: String,
    /// How it was asked: `libp2p` or `http`.
    #[schema(required)]
    via: Option<String>,
    words: String,
    /// Whether the last comparison came to its end.
    compared: bool,
    /// Whether it is a node of another kind, which can't be asked.
    foreign: bool,
    /// Messages that it has accepted.
    known: u64,
    /// Messages that were found lacking here.
    wanted: u64,
    /// Of those, how many came.
    fetched: u64,
    /// Of those, how many were verified and decided.
    verified: u64,
    /// Of those, how many are stored.
    stored: u64,
    /// How many wait for a file, a content or another message.
    waiting: u64,
    /// How many were refused.
    refused: u64,
    /// Messages decided a second over the last ten seconds, while a comparison is under way.
    #[schema(required)]
    rate: Option<f64>,
    /// Until what is known to be lacking is here, at that rate.
    #[schema(required)]
    seconds_left: Option<f64>,
    #[schema(required)]
    seconds_since_last_answer: Option<u64>,
    #[schema(required)]
    error: Option<String>,
}

/// Who the node gossips with.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct NodePeers {
    /// Whether it gossips at all; without, only `words` and empty lists are here.
    enabled: bool,
    peer_id: Option<String>,
    listening: Option<Vec<String>>,
    words: Vec<String>,
    /// The longest connected first.
    connected: Vec<ConnectedPeer>,
    /// Peers that did something wrong and are not connected, the worst first: shunned ones, and authors
    /// that only others are connected to.
    faulty: Vec<PeerStanding>,
    /// What believed peers announced within a day.
    known: Vec<KnownAddress>,
    /// Messages since the start: new ones, …
    received: Option<u64>,
    /// … judged well and passed on,
    accepted: Option<u64>,
    /// … that can't be valid for anyone,
    rejected: Option<u64>,
    /// … dropped without blame,
    ignored: Option<u64>,
    /// … judged well too late to be passed on.
    late: Option<u64>,
    /// Messages published by this node, …
    published: Option<u64>,
    /// … given up because nobody listened,
    unheard: Option<u64>,
    /// … not taken by a slow peer; one may count for several.
    missed: Option<u64>,
    failed_dials: Option<u64>,
    refused_connections: Option<u64>,
    shunned_peers: Option<u64>,
    shunned_addresses: Option<u64>,
    /// Peers of which it is remembered how they stand.
    remembered_peers: Option<u64>,
    /// Payloads that were no message.
    garbage: Option<u64>,
    /// Refusals that were not stored because there were too many.
    unrecorded: Option<u64>,
}

/// How a peer stands with the node.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PeerStanding {
    peer: String,
    /// `configured`, `listed`, `member` (everybody in some private networks) or `stranger`.
    trust: String,
    /// From 100, nothing against it, to 0.
    score: f64,
    /// The worst first.
    faults: Vec<PeerFault>,
    /// Messages that came from it first and were judged well.
    useful: u64,
    /// Messages of its own that were dropped because it published too many.
    dropped: u64,
    #[schema(required)]
    shunned_seconds: Option<u64>,
    #[schema(required)]
    last_address: Option<String>,
}

/// What a peer did wrong.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PeerFault {
    fault: String,
    count: u64,
    last: String,
    words: String,
}

/// A connected peer.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct ConnectedPeer {
    peer: String,
    trust: String,
    score: f64,
    faults: Vec<PeerFault>,
    useful: u64,
    dropped: u64,
    #[schema(required)]
    shunned_seconds: Option<u64>,
    #[schema(required)]
    last_address: Option<String>,
    /// The address of each connection, the oldest first.
    addresses: Vec<String>,
    since: String,
    /// Whether this node dialled it.
    dialled: bool,
    /// Whether it gets what this node publishes.
    listens: bool,
    #[schema(required)]
    round_trip_ms: Option<f64>,
    #[schema(required)]
    last_message: Option<String>,
    /// New messages that came from it first, …
    messages: u64,
    /// … and those of them that were rejected.
    rejected: u64,
    /// Messages that it was too slow to take.
    missed: u64,
}

/// An announced address.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct KnownAddress {
    peer: String,
    /// `P2P`, `HTTP` or `IPFS`.
    kind: String,
    address: String,
    seconds_ago: u64,
}

/// The state in one hash.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Digest {
    digest: String,
    messages: u64,
    /// A hash for each table.
    parts: BTreeMap<String, Value>,
    /// Rows of each table.
    rows: BTreeMap<String, u64>,
    /// With `recompute`: the same from the tables.
    recomputed: Option<Value>,
    /// With `recompute`: whether they agree.
    sound: Option<bool>,
}

/// Measurements of a node in parallel lists, one for each column.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct NodeMetrics {
    metrics: BTreeMap<String, Vec<Value>>,
}
