//! What follows a commit outside the pipeline: publishing, fetching.

use std::sync::Arc;

use aleph_p2p::NetworkHandle;
use aleph_types::limits;
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::pipeline::AfterCommit;
use crate::resolve::Resolver;

/// Carries out what each commit asked for, until the pipeline ends.
pub(crate) async fn run(
    mut after_commit: mpsc::Receiver<AfterCommit>,
    network: Option<NetworkHandle>,
    resolver: Resolver,
    metrics: Arc<Metrics>,
) {
    while let Some(next) = after_commit.recv().await {
        match next {
            AfterCommit::Fetch(hash) => resolver.want(hash),
            AfterCommit::Publish(message) => {
                let Some(network) = &network else { continue };
                let text = match serde_json::to_vec(&message.to_wire()) {
                    Ok(text) => text,
                    Err(error) => {
                        tracing::error!(item_hash = %message.item_hash, %error, "message can't be written");
                        continue;
                    }
                };
                if text.len() > limits::GOSSIP_PAYLOAD {
                    tracing::warn!(
                        item_hash = %message.item_hash,
                        bytes = text.len(),
                        "message is too large for gossip; other nodes get it when they catch up"
                    );
                    continue;
                }
                match network.publish_message(&text).await {
                    Ok(_) => metrics.gossip_published.increment(),
                    Err(error) => {
                        tracing::warn!(
                            item_hash = %message.item_hash,
                            %error,
                            "message not gossiped; other nodes get it when they catch up"
                        );
                    }
                }
            }
        }
    }
}
