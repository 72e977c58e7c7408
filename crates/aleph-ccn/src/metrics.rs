//! What the node counts. The API renders it (`spec: ccn-api.md §11`).

use std::sync::atomic::{AtomicU64, Ordering};

mod catching_up;

pub use catching_up::{CatchingUp, PeerState};

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
