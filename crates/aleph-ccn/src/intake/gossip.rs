//! Gossip of other nodes.

use std::sync::Arc;

use aleph_p2p::{Event, Received, Verdict, decode_payload};
use aleph_types::{ItemHash, ParsedMessage};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::pipeline::Pipeline;

/// Reads the network until it ends. `new_peer` is notified when a peer is there to be asked what was
/// missed.
pub(crate) async fn run(
    mut events: mpsc::Receiver<Event>,
    pipeline: Pipeline,
    metrics: Arc<Metrics>,
    new_peer: Arc<Notify>,
    stopping: CancellationToken,
) {
    loop {
        let event = tokio::select! {
            () = stopping.cancelled() => return,
            event = events.recv() => event,
        };
        match event {
            None => return,
            Some(Event::Message(received)) => take(received, &pipeline, &metrics).await,
            Some(Event::PeerConnected { peer, address }) => {
                tracing::info!(%peer, %address, "peer connected");
            }
            Some(Event::PeerSubscribed { peer }) => {
                tracing::debug!(%peer, "peer listens to messages");
                new_peer.notify_one();
            }
            Some(Event::PeerDisconnected { peer }) => tracing::info!(%peer, "peer disconnected"),
            Some(Event::Alive { peer, announcement }) => {
                tracing::debug!(%peer, ?announcement, "peer announced itself");
                new_peer.notify_one();
            }
        }
    }
}

/// Reference nodes send text that must be percent-decoded, ours send text that survives both readings:
/// the first reading that is a message counts (`spec: p2p.md §3.1`).
async fn take(received: Received, pipeline: &Pipeline, metrics: &Metrics) {
    metrics.gossip_received.increment();
    let Received { data, ticket, author, .. } = received;
    let mut refusal = None;
    for text in decode_payload(&data) {
        let Ok(document) = aleph_types::json::parse(text.as_bytes()) else { continue };
        match ParsedMessage::from_value(&document) {
            Ok(parsed) => {
                pipeline.submit_gossip(parsed, ticket).await;
                return;
            }
            // The reference knows the last reading only.
            Err(error) => refusal = Some((document, error)),
        }
    }
    metrics.gossip_garbage.increment();
    ticket.report(Verdict::Reject);
    let Some((document, error)) = refusal else { return };
    tracing::debug!(%author, %error, "gossip that is no message");
    if let Some(hash) = claimed_hash(&document) {
        pipeline.refuse(hash, document.to_string(), error).await;
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
