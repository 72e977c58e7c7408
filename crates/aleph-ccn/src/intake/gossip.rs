//! Gossip of other nodes.

use std::collections::HashSet;
use std::sync::Arc;

use aleph_p2p::{Event, Received, Ticket, Verdict, decode_payload};
use aleph_store::Store;
use aleph_types::{ItemHash, ParsedMessage};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::pipeline::Pipeline;

/// Events that are looked at together: what is known is asked of the database once for all of them.
const TOGETHER: usize = 128;

/// Takes what the network brings.
pub(crate) struct Gossip {
    pub(crate) pipeline: Pipeline,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    /// Told when a peer is there to be asked what was missed.
    pub(crate) new_peer: Arc<Notify>,
}

impl Gossip {
    /// Reads the network until it ends.
    pub(crate) async fn run(self, mut events: mpsc::Receiver<Event>, stopping: CancellationToken) {
        let mut batch = Vec::with_capacity(TOGETHER);
        loop {
            let count = tokio::select! {
                () = stopping.cancelled() => return,
                count = events.recv_many(&mut batch, TOGETHER) => count,
            };
            if count == 0 {
                return;
            }
            let mut messages = Vec::new();
            for event in batch.drain(..) {
                match event {
                    Event::Message(received) => messages.extend(self.read(received).await),
                    Event::PeerConnected { peer, address } => {
                        tracing::info!(%peer, %address, "peer connected");
                        self.new_peer.notify_one();
                    }
                    Event::PeerSubscribed { peer } => {
                        tracing::debug!(%peer, "peer listens to messages");
                        self.new_peer.notify_one();
                    }
                    Event::PeerDisconnected { peer } => tracing::info!(%peer, "peer disconnected"),
                    Event::Alive { peer, announcement } => {
                        tracing::debug!(%peer, ?announcement, "peer announced itself");
                        self.new_peer.notify_one();
                    }
                }
            }
            self.submit(messages).await;
        }
    }

    /// The message in a payload. What is none is refused here.
    ///
    /// Reference nodes send text that must be percent-decoded, ours send text that survives both readings:
    /// the first reading that is a message counts (`spec: p2p.md §3.1`).
    async fn read(&self, received: Received) -> Option<(ParsedMessage, Ticket)> {
        self.metrics.gossip_received.increment();
        let Received { data, ticket, author, .. } = received;
        let mut refusal = None;
        for text in decode_payload(&data) {
            let Ok(document) = aleph_types::json::parse(text.as_bytes()) else { continue };
            match ParsedMessage::from_value(&document) {
                Ok(parsed) => return Some((parsed, ticket)),
                // The reference knows the last reading only.
                Err(error) => refusal = Some((document, error)),
            }
        }
        self.metrics.gossip_garbage.increment();
        ticket.report(Verdict::Reject);
        let (document, error) = refusal?;
        tracing::debug!(%author, %error, "gossip that is no message");
        let hash = claimed_hash(&document)?;
        if self.pipeline.may_store_refusal() {
            self.pipeline.refuse(hash, document.to_string(), error).await;
        }
        None
    }

    /// Hands on what is not settled. A replay of an old message costs no signature check, and goes no
    /// further (`spec: p2p.md §3.1`, step 4).
    async fn submit(&self, messages: Vec<(ParsedMessage, Ticket)>) {
        if messages.is_empty() {
            return;
        }
        let hashes = messages.iter().map(|(parsed, _)| parsed.message.item_hash.clone()).collect();
        let settled: HashSet<ItemHash> = match self.store.settled(hashes).await {
            Ok(settled) => settled.into_iter().collect(),
            // Then the writer finds out.
            Err(error) => {
                tracing::debug!(%error, "what is known can't be looked up");
                HashSet::new()
            }
        };
        for (parsed, ticket) in messages {
            if settled.contains(&parsed.message.item_hash) {
                self.metrics.duplicates.increment();
                ticket.report(Verdict::Ignore);
            } else {
                self.pipeline.submit_gossip(parsed, ticket).await;
            }
        }
    }
}

/// The hash of a document that tries to be a message: others are dropped without a trace
/// (`spec: messages.md §7`).
fn claimed_hash(document: &Value) -> Option<ItemHash> {
    let claims = ["sender", "signature"].iter().all(|key| document.get(*key).is_some());
    let hash = document.get("item_hash").and_then(Value::as_str).filter(|_| claims)?;
    ItemHash::parse(hash).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_claims_to_be_a_message_is_remembered() {
        let hash = "a".repeat(64);
        let whole = json!({ "sender": 5, "signature": null, "item_hash": hash });
        assert_eq!(claimed_hash(&whole).unwrap().as_str(), hash);
        for key in ["sender", "signature", "item_hash"] {
            let mut part = whole.clone();
            part.as_object_mut().unwrap().swap_remove(key);
            assert_eq!(claimed_hash(&part), None, "{key}");
        }
        for wrong in [json!(1), json!("A".repeat(64)), json!("a\0")] {
            let mut other = whole.clone();
            other["item_hash"] = wrong;
            assert_eq!(claimed_hash(&other), None);
        }
        assert_eq!(claimed_hash(&json!([])), None);
    }
}
