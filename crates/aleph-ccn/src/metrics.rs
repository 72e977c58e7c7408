//! What the node counts. The API renders it (`spec: ccn-api.md §11`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// `count` more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count since start.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// The value now is `value`.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// One more.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where catching up with each other node stands, by its base URL.
#[derive(Debug, Default)]
pub struct CatchingUp(Mutex<BTreeMap<String, PeerState>>);

/// Where catching up with one other node stands.
#[derive(Debug, Clone, Default)]
pub struct PeerState {
    /// Whether the last comparison came to its end: what the other node had accepted then is here, but for
    /// messages that this node refuses.
    pub compared: bool,
    /// Messages that the present comparison, or the last one, found lacking here.
    pub wanted: u64,
    /// Of those, how many are stored.
    pub stored: u64,
    /// When the present comparison began.
    pub since: Option<Instant>,
    /// When it last answered something useful.
    pub last_success: Option<Instant>,
    /// Why the last round failed.
    pub error: Option<String>,
}

impl CatchingUp {
    /// Only these nodes are asked now.
    pub(crate) fn keep(&self, urls: &[String]) {
        self.0.lock().retain(|url, _| urls.contains(url));
    }

    /// A comparison begins; what the last one came to stays until this one finds something.
    pub(crate) fn begin(&self, url: &str) {
        let mut peers = self.0.lock();
        let state = peers.entry(url.to_owned()).or_default();
        (state.wanted, state.stored, state.since) = (0, 0, Some(Instant::now()));
    }

    /// The other node has `wanted` more messages that are lacking here.
    pub(crate) fn wants(&self, url: &str, wanted: usize) {
        let mut peers = self.0.lock();
        let state = peers.entry(url.to_owned()).or_default();
        state.wanted += wanted as u64;
        (state.last_success, state.error) = (Some(Instant::now()), None);
        if wanted > 0 {
            state.compared = false;
        }
    }

    /// That many of them are stored.
    pub(crate) fn got(&self, url: &str, stored: usize) {
        let mut peers = self.0.lock();
        let state = peers.entry(url.to_owned()).or_default();
        state.stored += stored as u64;
        state.last_success = Some(Instant::now());
    }

    /// The comparison came to its end.
    pub(crate) fn compared(&self, url: &str) {
        let mut peers = self.0.lock();
        let state = peers.entry(url.to_owned()).or_default();
        state.compared = true;
        (state.last_success, state.error) = (Some(Instant::now()), None);
    }

    /// The node could not be read from.
    pub(crate) fn failed(&self, url: &str, error: String) {
        self.0.lock().entry(url.to_owned()).or_default().error = Some(error);
    }

    /// All of them.
    pub fn peers(&self) -> BTreeMap<String, PeerState> {
        self.0.lock().clone()
    }
}

/// Everything that is counted since the node started.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Signatures checked.
    pub verified: Counter,
    /// Messages applied.
    pub processed: Counter,
    /// Messages refused.
    pub rejected: Counter,
    /// Copies of messages whose fate was final.
    pub duplicates: Counter,
    /// Transactions committed.
    pub batches: Counter,
    /// Pieces of work in them.
    pub batch_messages: Counter,
    /// Transactions that failed; their messages were not acknowledged.
    pub failed_batches: Counter,
    /// Messages that wait for something.
    pub pending: Gauge,
    /// Gossip payloads received.
    pub gossip_received: Counter,
    /// Gossip payloads that were no message.
    pub gossip_garbage: Counter,
    /// Of gossiped messages with a wrong signature, those whose refusal was not stored: there were too many.
    pub gossip_unrecorded: Counter,
    /// Messages given to gossip.
    pub gossip_published: Counter,
    /// Messages that were not given to gossip because it was too slow; others catch up on them.
    pub gossip_dropped: Counter,
    /// Messages read from other nodes while catching up.
    pub caught_up: Counter,
    /// Files asked for from other nodes.
    pub fetches: Counter,
    /// Of those, files that no node had this time.
    pub fetches_failed: Counter,
    /// Milliseconds that successful fetches took, summed.
    pub fetch_millis: Counter,
    /// Blocks of fetched files that came from peers and gateways.
    pub fetched_blocks: Counter,
    /// WebSocket subscribers of messages now.
    pub ws_messages: Gauge,
    /// WebSocket subscribers of the status now.
    pub ws_status: Gauge,
    /// Frames sent to subscribers of messages.
    pub ws_frames: Counter,
    /// Subscribers of messages turned away at capacity.
    pub ws_messages_rejected: Counter,
    /// Subscribers of the status turned away at capacity.
    pub ws_status_rejected: Counter,
    /// Subscribers dropped because they read too slowly.
    pub ws_dropped: Counter,
    /// HTTP requests answered.
    pub http_requests: Counter,
    /// Of those, requests that were refused because their client asked too often.
    pub http_limited: Counter,
    /// Event streams open now.
    pub event_streams: Gauge,
    /// Products whose newest prices can't be read; the last good ones hold.
    pub price_kept: Gauge,
    /// Products whose prices can't be read and never could.
    pub price_unusable: Gauge,
    /// Products in the prices that this node does not know.
    pub unknown_product: Gauge,
    /// Settings of the network that can't be read; the last good ones hold.
    pub setting_kept: Gauge,
    /// Posts of node-level types without effect: their publisher is not configured, or the channel wrong.
    pub unheeded_posts: Counter,
    /// Where catching up with each other node stands.
    pub catching_up: CatchingUp,
}
