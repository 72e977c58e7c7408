//! Whose signed allocations this node follows.

use std::sync::Arc;
use std::time::Instant;

use aleph_types::{Address, ItemHash};
use serde_json::Value;
use tokio::sync::Mutex;

use super::messages::Messages;
use crate::config::Config;
use crate::defaults::{CORECHANNEL_OWNER, SIGNERS_TTL};

/// The public network's scheduler (`spec: crn-api.md §3.4`); meant only where the public network's
/// account publishes the node list.
const PUBLIC_SCHEDULER: &str = "0x2937f62e5F81A88e921f883f8fE56ceCf4A4A44A";

/// The configured signers, and those of the core node that this node is linked to.
#[derive(Debug)]
pub(crate) struct Signers {
    configured: Vec<Address>,
    node_hash: Option<ItemHash>,
    corechannel_owner: Address,
    messages: Arc<Messages>,
    parent: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    at: Option<Instant>,
    accounts: Vec<Address>,
}

impl Signers {
    pub(crate) fn new(config: &Config, messages: Arc<Messages>) -> Self {
        let mut configured = config.allocation_signers.clone();
        if configured.is_empty() && config.corechannel_owner.as_str() == CORECHANNEL_OWNER {
            configured.push(Address::from(PUBLIC_SCHEDULER));
        }
        Self {
            configured,
            node_hash: config.node_hash.clone(),
            corechannel_owner: config.corechannel_owner.clone(),
            messages,
            parent: Mutex::new(Known::default()),
        }
    }

    /// Whether `signer` may allocate here now. Configured accounts need no core node; an aggregate that
    /// can't be read leaves what was known.
    pub(crate) async fn allows(&self, signer: &str) -> bool {
        let signer = Address::from(signer);
        if self.configured.iter().any(|known| known.is_same_as(&signer)) {
            return true;
        }
        self.parents().await.iter().any(|known| known.is_same_as(&signer))
    }

    /// Owner and managers of the core node that the node list names as the parent of this node.
    async fn parents(&self) -> Vec<Address> {
        let Some(node_hash) = &self.node_hash else { return Vec::new() };
        let mut known = self.parent.lock().await;
        if known.at.is_some_and(|at| at.elapsed() < SIGNERS_TTL) && !known.accounts.is_empty() {
            return known.accounts.clone();
        }
        match self.messages.aggregate(&self.corechannel_owner, "corechannel").await {
            Ok(Some(corechannel)) => {
                known.accounts = accounts_of_parent(&corechannel, node_hash);
                known.at = Some(Instant::now());
            }
            Ok(None) => {
                tracing::warn!(owner = %self.corechannel_owner, "no corechannel aggregate on the core nodes")
            }
            Err(error) => {
                tracing::warn!(%error, "the corechannel aggregate can't be read; keeping the known signers")
            }
        }
        known.accounts.clone()
    }
}

/// Reads the node list leniently: old versions have other types and miss keys (`spec: nodes.md §6`).
fn accounts_of_parent(corechannel: &Value, node_hash: &ItemHash) -> Vec<Address> {
    let entry = |list: &str, hash: &str| {
        let nodes = corechannel.get(list)?.as_array()?;
        nodes.iter().find(|node| node.get("hash").and_then(Value::as_str) == Some(hash)).cloned()
    };
    let parent = entry("resource_nodes", node_hash.as_str())
        .and_then(|node| node.get("parent")?.as_str().map(str::to_owned))
        .and_then(|parent| entry("nodes", &parent));
    let Some(parent) = parent else { return Vec::new() };
    ["owner", "manager"]
        .into_iter()
        .filter_map(|key| parent.get(key)?.as_str())
        .filter(|account| !account.is_empty())
        .map(Address::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_signs() {
        let node: ItemHash = "b".repeat(64).parse().unwrap();
        let list = serde_json::json!({
            "nodes": [{"hash": "c", "owner": "0xother"}, {"hash": "d", "owner": "0xA", "manager": ""}],
            "resource_nodes": [{"hash": "b".repeat(64), "parent": "d", "locked": ""}],
        });
        assert_eq!(accounts_of_parent(&list, &node), vec![Address::from("0xA")]);
        let unlinked =
            serde_json::json!({"nodes": [], "resource_nodes": [{"hash": "b".repeat(64), "parent": null}]});
        assert!(accounts_of_parent(&unlinked, &node).is_empty());
        assert!(accounts_of_parent(&serde_json::json!({}), &node).is_empty());
    }
}
