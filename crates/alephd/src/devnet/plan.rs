//! What a private network consists of: which node has which key, hash, folder and ports.
//!
//! Everything follows from the keys in the state's folder and the ports, so a second start finds
//! the same network again.

use std::path::{Path, PathBuf};

use aleph_sdk::Account;
use aleph_types::{Address, ItemHash};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::genesis::{ComputeEntry, CoreEntry};
use super::ports::Ports;
use super::{COMPUTE_NODES, CORE_NODES};
use crate::keys;

/// Names of the funded accounts.
const ACCOUNTS: [&str; 3] = ["alice", "bob", "carol"];
/// ALEPH of each funded account.
pub(crate) const FUNDED_ALEPH: &str = "1000000";
/// Credits of each funded account.
pub(crate) const FUNDED_CREDITS: u64 = 1_000_000_000_000;

/// An account of the network.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) account: Account,
    pub(crate) key_file: PathBuf,
}

/// A core node.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) http: u16,
    pub(crate) p2p: u16,
    pub(crate) hash: ItemHash,
    pub(crate) owner: Named,
}

/// A compute node.
#[derive(Debug)]
pub(crate) struct Compute {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) http: u16,
    pub(crate) hash: ItemHash,
    pub(crate) owner: Named,
    /// index of the core node that it is linked to
    pub(crate) parent: usize,
}

/// The whole network.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) root: PathBuf,
    pub(crate) core: Vec<Core>,
    pub(crate) compute: Vec<Compute>,
    pub(crate) accounts: Vec<Named>,
    /// publishes the runtimes
    pub(crate) publisher: Named,
    pub(crate) times: Times,
}

/// When the messages of the genesis file were made; Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// the network's first start
    pub(crate) created: f64,
}

impl Core {
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    pub(crate) fn multiaddress(&self) -> String {
        format!("/ip4/127.0.0.1/tcp/{}", self.p2p)
    }
}

impl Compute {
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }
}

impl Plan {
    /// Makes what is missing in `root` (keys, folders) and reads the rest. `now` is Unix seconds.
    ///
    /// # Errors
    /// When the folder can't be read or written, or a key in it is none.
    pub(crate) fn prepare(root: &Path, ports: &Ports, now: f64) -> Result<Self> {
        let named = |name: &str| -> Result<Named> {
            let key_file = root.join("keys").join(format!("{name}.key"));
            let account = keys::load_or_generate(&key_file)?;
            Ok(Named { name: name.to_owned(), account, key_file })
        };
        let mut core = Vec::with_capacity(CORE_NODES);
        for (i, (http, p2p)) in ports.core.iter().copied().enumerate() {
            let name = format!("ccn{i}");
            let owner = named(&name)?;
            let hash = node_hash("create-node", &name, owner.account.address());
            core.push(Core { folder: folder(root, &name)?, name, http, p2p, hash, owner });
        }
        let mut compute = Vec::with_capacity(COMPUTE_NODES);
        for (j, http) in ports.compute.iter().copied().enumerate() {
            let name = format!("crn{j}");
            let owner = named(&name)?;
            let hash = node_hash("create-resource-node", &name, owner.account.address());
            let parent = j % CORE_NODES;
            compute.push(Compute { folder: folder(root, &name)?, name, http, hash, owner, parent });
        }
        let accounts = ACCOUNTS.iter().map(|name| named(name)).collect::<Result<Vec<_>>>()?;
        let publisher = named("publisher")?;
        let times = times(&root.join("times.json"), now)?;
        Ok(Self { root: root.to_owned(), core, compute, accounts, publisher, times })
    }

    pub(crate) fn core_entries(&self) -> Vec<CoreEntry> {
        self.core
            .iter()
            .map(|node| CoreEntry {
                name: node.name.clone(),
                hash: node.hash.to_string(),
                owner: node.owner.account.address().clone(),
                multiaddress: node.multiaddress(),
                address: node.url(),
            })
            .collect()
    }

    pub(crate) fn compute_entries(&self) -> Vec<ComputeEntry> {
        self.compute
            .iter()
            .map(|node| ComputeEntry {
                name: node.name.clone(),
                hash: node.hash.to_string(),
                owner: node.owner.account.address().clone(),
                address: node.url(),
                parent: self.core[node.parent].hash.to_string(),
            })
            .collect()
    }

    pub(crate) fn core_urls(&self) -> Vec<String> {
        self.core.iter().map(Core::url).collect()
    }
}

/// On the public network a node is named by the hash of the message that registered it; here no
/// such message exists, so the name is made of what it would have said.
fn node_hash(action: &str, name: &str, owner: &Address) -> ItemHash {
    ItemHash::sha256(format!("{action}\n{name}\n{owner}").as_bytes())
}

fn folder(root: &Path, name: &str) -> Result<PathBuf> {
    let folder = root.join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    Ok(folder)
}

fn times(path: &Path, now: f64) -> Result<Times> {
    if let Ok(text) = std::fs::read(path) {
        return serde_json::from_slice(&text).with_context(|| {
            format!("{} is damaged; remove the whole folder to begin anew", path.display())
        });
    }
    // a whole second reads better, and the network's first message must not be of the future
    let times = Times { created: now.floor() };
    std::fs::write(path, serde_json::to_vec(&times)?)
        .with_context(|| format!("can't write {}", path.display()))?;
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_finds_the_same_network() {
        let root = tempfile::tempdir().expect("a folder");
        let ports = Ports::claim(0).expect("ports");
        let first = Plan::prepare(root.path(), &ports, 1000.7).expect("it is made");
        let second = Plan::prepare(root.path(), &ports, 2000.0).expect("it is read");
        assert_eq!(first.times, Times { created: 1000.0 });
        assert_eq!(second.times, first.times);
        for (a, b) in first.core.iter().zip(&second.core) {
            assert_eq!((&a.hash, a.owner.account.address()), (&b.hash, b.owner.account.address()));
        }
        let parents: Vec<usize> = first.compute.iter().map(|node| node.parent).collect();
        assert_eq!(parents, [0, 1]);
        let hashes: std::collections::BTreeSet<String> =
            first.core_entries().into_iter().map(|node| node.hash).collect();
        assert_eq!(hashes.len(), CORE_NODES);
    }
}
