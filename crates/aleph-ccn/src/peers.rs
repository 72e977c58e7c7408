//! The HTTP APIs of other nodes: configured, and announced over gossip.

use std::hash::{BuildHasher, RandomState};

use aleph_p2p::NetworkHandle;

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

    /// The same in random order.
    pub(crate) fn shuffled(&self) -> Vec<String> {
        let mut urls = self.urls();
        let order = RandomState::new();
        urls.sort_by_key(|url| order.hash_one(url));
        urls
    }
}
