//! The first messages of a private network: what the public one has learnt from its operators.
//!
//! Every core node of the network reads the same file. Its entries are trusted: they need no
//! signature, and an entry may speak for any address. That is why official clients, which read
//! node lists, prices and images from fixed addresses, find them here unchanged
//! (`spec: clients.md §12`). On a network of strangers such a file has no place.

use aleph_types::Address;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Publisher of the node list (`spec: nodes.md §6`).
pub(crate) const NODES_PUBLISHER: &str = "0xa1B3bb7d2332383D96b7796B908fB7f7F3c2Be10";
/// Publisher of prices, settings and the list of images (`spec: clients.md §12`).
pub(crate) const IMAGES_PUBLISHER: &str = "0xFba561a84A537fCaa567bb7A2257e7142701ae2A";
/// Stake of an active core node, ALEPH (`spec: nodes.md §4`).
const STAKE: f64 = 500_000.0;

/// The file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Genesis {
    pub(crate) messages: Vec<Entry>,
    pub(crate) balances: Vec<Balance>,
    pub(crate) credits: Vec<Credit>,
}

/// One trusted message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) address: String,
    /// Unix seconds
    pub(crate) time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) post_type: Option<String>,
    pub(crate) content: Value,
    pub(crate) channel: String,
}

/// Tokens that an account holds on a chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Balance {
    pub(crate) address: Address,
    pub(crate) chain: String,
    /// ALEPH, decimal
    pub(crate) amount: String,
}

/// Credits that an account has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Credit {
    pub(crate) address: Address,
    /// credits
    pub(crate) amount: u64,
}

/// A core node, for the node list.
#[derive(Debug, Clone)]
pub(crate) struct CoreEntry {
    pub(crate) name: String,
    pub(crate) hash: String,
    pub(crate) owner: Address,
    pub(crate) multiaddress: String,
    /// base URL
    pub(crate) address: String,
}

/// A compute node, for the node list.
#[derive(Debug, Clone)]
pub(crate) struct ComputeEntry {
    pub(crate) name: String,
    pub(crate) hash: String,
    pub(crate) owner: Address,
    /// base URL
    pub(crate) address: String,
    /// hash of the core node that it is linked to
    pub(crate) parent: String,
}

fn aggregate(address: &str, key: &str, time: f64, content: Value) -> Entry {
    Entry {
        kind: "AGGREGATE".to_owned(),
        address: address.to_owned(),
        time,
        key: Some(key.to_owned()),
        post_type: None,
        content,
        channel: "FOUNDATION".to_owned(),
    }
}

/// The `corechannel` aggregate: nodes and how they are linked (`spec: nodes.md §6`).
pub(crate) fn corechannel(time: f64, core: &[CoreEntry], compute: &[ComputeEntry]) -> Entry {
    let nodes: Vec<Value> = core
        .iter()
        .map(|node| {
            let linked: Vec<&str> = compute
                .iter()
                .filter(|candidate| candidate.parent == node.hash)
                .map(|candidate| candidate.hash.as_str())
                .collect();
            json!({
                "hash": node.hash, "owner": node.owner, "reward": node.owner, "locked": false,
                "stakers": {node.owner.as_str(): STAKE}, "total_staked": STAKE, "status": "active",
                "time": time, "authorized": [], "resource_nodes": linked, "score": 1.0,
                "decentralization": 1.0, "performance": 1.0, "inactive_since": null, "name": node.name,
                "multiaddress": node.multiaddress, "address": node.address, "picture": "", "banner": "",
                "description": "a core node of a private network", "stream_reward": "", "manager": "",
                "registration_url": "", "terms_and_conditions": "", "has_bonus": true, "score_updated": true,
            })
        })
        .collect();
    let resource_nodes: Vec<Value> = compute
        .iter()
        .map(|node| {
            json!({
                "hash": node.hash, "type": "compute", "owner": node.owner, "manager": "",
                "reward": node.owner, "locked": false, "status": "linked", "authorized": "",
                "parent": node.parent, "time": time, "score": 1.0, "decentralization": 1.0,
                "performance": 1.0, "inactive_since": null, "name": node.name, "multiaddress": "",
                "address": node.address, "picture": "", "banner": "",
                "description": "a compute node of a private network", "stream_reward": node.owner,
                "registration_url": "", "terms_and_conditions": "", "score_updated": true,
            })
        })
        .collect();
    aggregate(NODES_PUBLISHER, "corechannel", time, json!({"nodes": nodes, "resource_nodes": resource_nodes}))
}

/// The `vm-images` aggregate: runtimes by name (`spec: clients.md §13`).
pub(crate) fn images(time: f64, runtimes: &[(String, String)]) -> Entry {
    let listed: serde_json::Map<String, Value> = runtimes
        .iter()
        .map(|(name, hash)| (name.clone(), json!({"hash": hash, "display_name": name})))
        .collect();
    let default = runtimes.iter().find(|(name, _)| name == "python3").or(runtimes.first());
    let defaults = default.map_or_else(|| json!({}), |(name, _)| json!({"runtime": name}));
    aggregate(IMAGES_PUBLISHER, "vm-images", time, json!({"runtimes": listed, "defaults": defaults}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_list_links_both_ways() {
        let core = CoreEntry {
            name: "ccn0".into(),
            hash: "aa".repeat(32),
            owner: Address::from("0xA"),
            multiaddress: "/ip4/127.0.0.1/tcp/4025".into(),
            address: "http://127.0.0.1:4024".into(),
        };
        let compute = ComputeEntry {
            name: "crn0".into(),
            hash: "bb".repeat(32),
            owner: Address::from("0xB"),
            address: "http://127.0.0.1:4120".into(),
            parent: core.hash.clone(),
        };
        let entry = corechannel(1.0, std::slice::from_ref(&core), std::slice::from_ref(&compute));
        assert_eq!(entry.content["nodes"][0]["resource_nodes"][0], json!(compute.hash));
        assert_eq!(entry.content["resource_nodes"][0]["parent"], json!(core.hash));
        assert_eq!(entry.content["nodes"][0]["status"], "active");
        let written = serde_json::to_value(&entry).expect("it is JSON");
        assert_eq!(written["type"], "AGGREGATE");
        assert_eq!(written["key"], "corechannel");
        assert!(written.get("post_type").is_none());
    }

    #[test]
    fn the_python_runtime_is_the_default() {
        let entry = images(1.0, &[("executable".into(), "e".into()), ("python3".into(), "p".into())]);
        assert_eq!(entry.content["defaults"]["runtime"], "python3");
        assert_eq!(entry.content["runtimes"]["executable"]["hash"], "e");
    }
}
