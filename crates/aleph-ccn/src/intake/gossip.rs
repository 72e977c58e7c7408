//! Gossip of other nodes.

use std::sync::Arc;

use aleph_p2p::{Event, Received, Verdict, decode_payload};
use aleph_types::ParsedMessage;
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
        match ParsedMessage::from_json(text.as_bytes()) {
            Ok(parsed) => {
                pipeline.submit_gossip(parsed, ticket).await;
                return;
            }
            Err(error) => refusal = Some(error),
        }
    }
    metrics.gossip_garbage.increment();
    if let Some(error) = refusal {
        tracing::debug!(%author, %error, "gossip that is no message");
    }
    ticket.report(Verdict::Reject);
}
