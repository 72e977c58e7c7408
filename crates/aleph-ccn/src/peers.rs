//! The HTTP APIs of other nodes: configured, and announced over gossip.

use std::hash::{BuildHasher, RandomState};

use std::time::Duration;

use aleph_p2p::{ConfiguredPeer, NetworkHandle};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::pipeline::Pipeline;
use crate::placement::Placement;

/// The reference keeps the node list for this long (`spec: p2p.md §3.2`).
const NODE_LIST_EVERY: Duration = Duration::from_secs(300);

/// Where other nodes' APIs are.
#[derive(Debug, Clone)]
pub(crate) struct HttpPeers {
    configured: Vec<String>,
    network: Option<NetworkHandle>,
}

impl HttpPeers {
    pub(crate) fn new(configured: &[String], network: Option<NetworkHandle>) -> Self {
        let configured = configured.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        Self { configured, network }
    }

    /// Base URLs without a slash at the end, each once.
    pub(crate) fn urls(&self) -> Vec<String> {
        let mut urls = self.configured.clone();
        if let Some(network) = &self.network {
            urls.extend(network.http_peers().into_iter().map(|peer| peer.url));
        }
        urls.sort();
        urls.dedup();
        urls
    }

    /// Whether the operator named this node, and thereby trusts it more than one that announced itself.
    pub(crate) fn is_configured(&self, url: &str) -> bool {
        self.configured.iter().any(|configured| configured == url)
    }

    /// The same in random order.
    pub(crate) fn shuffled(&self) -> Vec<String> {
        let mut urls = self.urls();
        let order = RandomState::new();
        urls.sort_by_key(|url| order.hash_one(url));
        urls
    }
}

/// Keeps the peers whose announcements are believed equal to the node list (`spec: p2p.md §3.2`).
pub(crate) async fn follow_node_list(
    network: NetworkHandle,
    placement: Placement,
    pipeline: Pipeline,
    stopping: CancellationToken,
) {
    let mut feed = pipeline.subscribe();
    loop {
        match placement.node_list().await {
            Ok(Some(nodes)) => {
                let peers = nodes.core.iter().filter_map(|node| {
                    node.multiaddress.as_deref()?.parse::<ConfiguredPeer>().ok()?.peer_id()
                });
                network.set_allowed_peers(peers);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the node list can't be read"),
        }
        let pause = tokio::time::sleep(NODE_LIST_EVERY);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = &mut pause => break,
                next = feed.recv() => match next {
                    Ok(message) if placement.is_node_list(&message) => break,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return,
                }
            }
        }
    }
}
