use std::collections::HashSet;

use aleph_types::{Address, ItemHash};
use serde::Serialize;
use serde_json::{Map, Value};

/// More entries than this are not read: the public network has some hundreds.
const MOST_ENTRIES: usize = 100_000;
/// Longest sent text that a reason repeats, in characters.
const SHOWN_CHARS: usize = 80;

/// The core nodes and compute nodes of the network at one instant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeList {
    /// Core nodes, in the order they were listed.
    pub core: Vec<CoreNode>,
    /// Compute nodes, in the order they were listed.
    pub compute: Vec<ComputeNode>,
}

/// Whether a core node takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CoreStatus {
    /// Enough is staked on it.
    Active,
    /// Not enough is staked on it.
    Waiting,
}

/// A core channel node.
#[derive(Debug, Clone, PartialEq)]
pub struct CoreNode {
    /// Message that created it.
    pub hash: ItemHash,
    /// Name for people; may be empty.
    pub name: String,
    /// Who created it.
    pub owner: Address,
    /// Who may operate it besides.
    pub manager: Option<Address>,
    /// libp2p address.
    pub multiaddress: Option<String>,
    /// HTTP address, where it publishes one.
    pub address: Option<String>,
    /// Whether it takes part.
    pub status: CoreStatus,
    /// Quality, 0 to 1.
    pub score: f64,
}

/// A compute resource node.
#[derive(Debug, Clone, PartialEq)]
pub struct ComputeNode {
    /// Message that created it.
    pub hash: ItemHash,
    /// Name for people; may be empty.
    pub name: String,
    /// Who created it.
    pub owner: Address,
    /// Who may operate it besides.
    pub manager: Option<Address>,
    /// HTTP address without a slash at the end.
    pub address: Option<String>,
    /// The core node it is linked to; only linked nodes have one.
    pub parent: Option<ItemHash>,
    /// Quality, 0 to 1.
    pub score: f64,
    /// Account that receives streams.
    pub stream_reward: Option<Address>,
    /// File that users must accept.
    pub terms_and_conditions: Option<ItemHash>,
}

/// An entry that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedEntry {
    /// `nodes` or `resource_nodes`.
    pub list: &'static str,
    /// Position in that list; `None` for the list as a whole.
    pub index: Option<usize>,
    /// What is wrong with it.
    pub reason: String,
}

/// What could be read of a `corechannel` aggregate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeListReading {
    /// The nodes.
    pub list: NodeList,
    /// The entries that are not in the list, and why.
    pub skipped: Vec<SkippedEntry>,
}

impl NodeList {
    /// Reads the content of the `corechannel` aggregate. Old versions have other types and miss keys; an
    /// entry that is worse than that is left out, with the reason (`spec: nodes.md §6`).
    pub fn read(content: &Value) -> NodeListReading {
        let mut skipped = Vec::new();
        let core = read_list(content, "nodes", CoreNode::read, |node| &node.hash, &mut skipped);
        let compute =
            read_list(content, "resource_nodes", ComputeNode::read, |node| &node.hash, &mut skipped);
        NodeListReading { list: NodeList { core, compute }, skipped }
    }

    /// The core node of that hash.
    pub fn core_node(&self, hash: &ItemHash) -> Option<&CoreNode> {
        self.core.iter().find(|node| &node.hash == hash)
    }

    /// The compute node of that hash.
    pub fn compute_node(&self, hash: &ItemHash) -> Option<&ComputeNode> {
        self.compute.iter().find(|node| &node.hash == hash)
    }

    /// The compute nodes linked to a core node, in the order they were listed.
    pub fn linked_to<'a>(&'a self, core: &'a ItemHash) -> impl Iterator<Item = &'a ComputeNode> {
        self.compute.iter().filter(move |node| node.parent.as_ref() == Some(core))
    }
}

fn read_list<T>(
    content: &Value,
    list: &'static str,
    read: impl Fn(&Map<String, Value>) -> Result<T, String>,
    hash: impl Fn(&T) -> &ItemHash,
    skipped: &mut Vec<SkippedEntry>,
) -> Vec<T> {
    let entries = match content.get(list) {
        Some(Value::Array(entries)) => entries.as_slice(),
        other => {
            let reason = if other.is_none() { "is missing" } else { "is no list" };
            skipped.push(SkippedEntry { list, index: None, reason: reason.to_owned() });
            &[]
        }
    };
    if entries.len() > MOST_ENTRIES {
        let reason = format!("has {} entries, only {MOST_ENTRIES} are read", entries.len());
        skipped.push(SkippedEntry { list, index: None, reason });
    }
    let mut nodes: Vec<T> = Vec::with_capacity(entries.len().min(MOST_ENTRIES));
    let mut seen: HashSet<ItemHash> = HashSet::new();
    for (index, entry) in entries.iter().take(MOST_ENTRIES).enumerate() {
        let node = entry.as_object().ok_or_else(|| "is no object".to_owned()).and_then(&read);
        match node {
            Ok(node) if seen.insert(hash(&node).clone()) => nodes.push(node),
            Ok(node) => skipped.push(SkippedEntry {
                list,
                index: Some(index),
                reason: format!("{} is listed before", hash(&node)),
            }),
            Err(reason) => skipped.push(SkippedEntry { list, index: Some(index), reason }),
        }
    }
    nodes
}

impl CoreNode {
    fn read(entry: &Map<String, Value>) -> Result<Self, String> {
        let status = match text(entry, "status") {
            Some("active") => CoreStatus::Active,
            Some("waiting") => CoreStatus::Waiting,
            other => return Err(unknown_status(other)),
        };
        Ok(Self {
            hash: required_hash(entry)?,
            name: text(entry, "name").unwrap_or_default().to_owned(),
            owner: required_owner(entry)?,
            manager: text(entry, "manager").map(Address::from),
            multiaddress: text(entry, "multiaddress").map(str::to_owned),
            address: url(entry),
            status,
            score: score(entry),
        })
    }
}

impl ComputeNode {
    fn read(entry: &Map<String, Value>) -> Result<Self, String> {
        let linked = match text(entry, "status") {
            Some("linked") => true,
            Some("waiting") => false,
            other => return Err(unknown_status(other)),
        };
        let parent = match text(entry, "parent") {
            Some(parent) if linked => {
                Some(ItemHash::parse(parent).map_err(|_| format!("parent '{}' is no hash", shown(parent)))?)
            }
            None if linked => return Err("is linked but has no parent".to_owned()),
            _ => None,
        };
        Ok(Self {
            hash: required_hash(entry)?,
            name: text(entry, "name").unwrap_or_default().to_owned(),
            owner: required_owner(entry)?,
            manager: text(entry, "manager").map(Address::from),
            address: url(entry),
            parent,
            score: score(entry),
            stream_reward: text(entry, "stream_reward").map(Address::from),
            terms_and_conditions: text(entry, "terms_and_conditions")
                .and_then(|text| ItemHash::parse(text).ok()),
        })
    }

    /// Whether the node is linked to a core node.
    pub fn is_linked(&self) -> bool {
        self.parent.is_some()
    }
}

/// A text that is there and not empty; other types count as absent.
fn text<'a>(entry: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

fn unknown_status(status: Option<&str>) -> String {
    match status {
        Some(status) => format!("status '{}' is unknown", shown(status)),
        None => "has no status".to_owned(),
    }
}

fn required_hash(entry: &Map<String, Value>) -> Result<ItemHash, String> {
    let hash = text(entry, "hash").ok_or("has no hash")?;
    ItemHash::parse(hash).map_err(|_| format!("hash '{}' is no item hash", shown(hash)))
}

fn required_owner(entry: &Map<String, Value>) -> Result<Address, String> {
    text(entry, "owner").map(Address::from).ok_or_else(|| "has no owner".to_owned())
}

/// 0 to 1; absent and nonsense are 0.
fn score(entry: &Map<String, Value>) -> f64 {
    entry
        .get("score")
        .and_then(Value::as_f64)
        .filter(|score| score.is_finite())
        .unwrap_or(0.0)
        .clamp(0.0, 1.0)
}

fn url(entry: &Map<String, Value>) -> Option<String> {
    let url = text(entry, "address")?.trim().trim_end_matches('/');
    (url.starts_with("https://") || url.starts_with("http://")).then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn old_and_odd_entries_are_tolerated() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let reading = NodeList::read(&json!({
            "nodes": [
                {"hash": a, "owner": "0xA", "status": "active", "locked": "", "authorized": "", "manager": "",
                 "score": null, "stakers": {"0xS": 1.5}},
            ],
            "resource_nodes": [
                {"hash": b, "owner": "0xB", "status": "linked", "parent": a, "locked": 3, "authorized": ["x"],
                 "address": " https://crn.example.org/ ", "score": 7, "terms_and_conditions": ""},
            ],
        }));
        assert!(reading.skipped.is_empty(), "{:?}", reading.skipped);
        assert_eq!(reading.list.core[0].score, 0.0);
        let compute = &reading.list.compute[0];
        assert_eq!((compute.score, compute.address.as_deref()), (1.0, Some("https://crn.example.org")));
        assert_eq!(reading.list.linked_to(&reading.list.core[0].hash).count(), 1);
    }

    #[test]
    fn bad_entries_are_left_out_with_a_reason() {
        let a = "a".repeat(64);
        let reading = NodeList::read(&json!({
            "nodes": [
                3,
                {"hash": "x", "owner": "0xA", "status": "active"},
                {"hash": a, "owner": "0xA", "status": "broken"},
                {"hash": a, "status": "active"},
                {"hash": a, "owner": "0xA", "status": "active"},
                {"hash": a, "owner": "0xA", "status": "active"},
            ],
            "resource_nodes": {},
        }));
        assert_eq!(reading.list.core.len(), 1);
        let reasons: Vec<&str> = reading.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "is no object",
                "hash 'x' is no item hash",
                "status 'broken' is unknown",
                "has no owner",
                &format!("{a} is listed before"),
                "is no list",
            ]
        );
        assert_eq!(NodeList::read(&Value::Null).skipped.len(), 2);
    }
}
