//! A private network that `alephd devnet` runs in this folder or one above it.

use std::fs;
use std::path::{Path, PathBuf};

use aleph_sdk::{Account, Runtimes};
use aleph_types::{Chain, ItemHash};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::CliResult;

/// Where the network describes itself, below the folder in which it was started.
const FILE: &str = ".alephd/devnet/devnet.json";

/// What the command line uses of `devnet.json`; other fields are the network's own business.
#[derive(Debug, Clone, Deserialize)]
struct Description {
    #[serde(default)]
    pid: Option<i32>,
    #[serde(default)]
    core_nodes: Vec<Node>,
    #[serde(default)]
    compute_nodes: Vec<Node>,
    #[serde(default)]
    accounts: Vec<Funded>,
    #[serde(default)]
    runtimes: Map<String, Value>,
}

/// A node of the network.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Node {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) url: String,
}

/// An account with funds on the network.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Funded {
    pub(crate) name: String,
    pub(crate) address: String,
    private_key: String,
}

/// A running devnet.
#[derive(Debug, Clone)]
pub(crate) struct Devnet {
    /// The folder of its state.
    pub(crate) folder: PathBuf,
    description: Description,
}

impl Devnet {
    /// The running network whose state is nearest above the current folder.
    pub(crate) fn find() -> Option<Self> {
        if let Some(path) = std::env::var_os("ALEPH_DEVNET") {
            let path = PathBuf::from(path);
            return Self::read(&path).or_else(|| Self::read(&path.join("devnet.json")));
        }
        let here = std::env::current_dir().ok()?;
        here.ancestors().find_map(|folder| Self::read(&folder.join(FILE)))
    }

    fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let description: Description = serde_json::from_str(&text).ok()?;
        if !description.pid.is_none_or(is_running) || description.core_nodes.is_empty() {
            return None;
        }
        Some(Self { folder: path.parent()?.to_owned(), description })
    }

    /// The address of its first core node.
    pub(crate) fn node(&self) -> &str {
        // `read` makes sure that there is one.
        self.description.core_nodes.first().map_or("", |node| node.url.as_str())
    }

    pub(crate) fn core_nodes(&self) -> &[Node] {
        &self.description.core_nodes
    }

    pub(crate) fn compute_nodes(&self) -> &[Node] {
        &self.description.compute_nodes
    }

    /// Whether `url` is one of its core nodes.
    pub(crate) fn has_node(&self, url: &str) -> bool {
        let bare = url.trim_end_matches('/');
        self.description.core_nodes.iter().any(|node| node.url.trim_end_matches('/') == bare)
    }

    pub(crate) fn accounts(&self) -> &[Funded] {
        &self.description.accounts
    }

    /// The account of that name.
    pub(crate) fn account(&self, name: &str) -> CliResult<Option<Account>> {
        match self.description.accounts.iter().find(|account| account.name == name) {
            Some(funded) => Ok(Some(Account::from_hex(Chain::Eth, &funded.private_key)?)),
            None => Ok(None),
        }
    }

    /// Its runtimes by name: the STORE messages of their images.
    pub(crate) fn runtimes(&self) -> Runtimes {
        let of = |entry: &Value| -> Option<ItemHash> {
            let text = entry.as_str().or_else(|| entry.get("message").and_then(Value::as_str))?;
            ItemHash::parse(text).ok()
        };
        self.description
            .runtimes
            .iter()
            .filter_map(|(name, entry)| Some((name.clone(), of(entry)?)))
            .collect()
    }
}

/// Whether a process of that number exists; not knowing counts as yes.
fn is_running(pid: i32) -> bool {
    match rustix::process::Pid::from_raw(pid) {
        Some(pid) => rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_read_while_their_process_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("devnet.json");
        let hash = ItemHash::sha256(b"r");
        let write = |pid: u32| {
            let text = serde_json::json!({
                "version": 1, "pid": pid, "new": true,
                "core_nodes": [{"name": "ccn-0", "url": "http://127.0.0.1:4024", "pid": 1}],
                "accounts": [{"name": "alice", "address": "0xA", "private_key": "0x".to_owned() + &"11".repeat(32)}],
                "runtimes": {"python3": {"message": hash, "size": 5}, "executable": hash},
            });
            fs::write(&path, text.to_string()).unwrap();
        };
        write(std::process::id());
        let devnet = Devnet::read(&path).unwrap();
        assert_eq!(devnet.node(), "http://127.0.0.1:4024");
        assert!(devnet.has_node("http://127.0.0.1:4024/"));
        assert_eq!(devnet.runtimes().len(), 2);
        assert!(devnet.account("alice").unwrap().is_some());
        assert!(devnet.account("bob").unwrap().is_none());
        // No process has this number.
        write(i32::MAX as u32);
        assert!(Devnet::read(&path).is_none());
    }
}
