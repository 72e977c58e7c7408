//! The private network, as `devnet.json` describes it.

use std::collections::BTreeMap;
use std::path::Path;

use aleph_sdk::{Account, Client};
use aleph_types::{Chain, ItemHash};
use anyhow::{Context, Result};
use serde::Deserialize;

/// What the demo reads of `devnet.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Network {
    pub(crate) core_nodes: Vec<CoreNode>,
    pub(crate) compute_nodes: Vec<ComputeNode>,
    accounts: Vec<FundedAccount>,
    runtimes: BTreeMap<String, Runtime>,
    pub(crate) no_runtimes: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CoreNode {
    pub(crate) name: String,
    pub(crate) url: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ComputeNode {
    pub(crate) name: String,
    pub(crate) url: String,
    /// none while the agent is not running
    pub(crate) pid: Option<i32>,
}

#[derive(Debug, Deserialize)]
struct FundedAccount {
    name: String,
    private_key: String,
}

#[derive(Debug, Deserialize)]
struct Runtime {
    message: ItemHash,
}

impl Network {
    /// # Errors
    /// When there is no description, or it is one of another version.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| {
            format!("can't read {}; does `alephd devnet` run, and is this its state folder?", path.display())
        })?;
        let network: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} was written by another version of alephd", path.display()))?;
        anyhow::ensure!(!network.core_nodes.is_empty(), "the network has no core node");
        Ok(network)
    }

    /// One of the funded accounts.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) fn account(&self, name: &str) -> Result<Account> {
        let found = self.accounts.iter().find(|account| account.name == name);
        let found = found.with_context(|| format!("the network has no account {name}"))?;
        Ok(Account::from_hex(Chain::Eth, &found.private_key)?)
    }

    pub(crate) fn runtime(&self, name: &str) -> Option<ItemHash> {
        self.runtimes.get(name).map(|runtime| runtime.message.clone())
    }

    /// A client of each core node, with its name.
    ///
    /// # Errors
    /// When a URL of the description is none.
    pub(crate) fn clients(&self) -> Result<Vec<(String, Client)>> {
        self.core_nodes.iter().map(|node| Ok((node.name.clone(), Client::new(&node.url)?))).collect()
    }

    /// The name of the node at `url`, or the URL.
    pub(crate) fn name_of(&self, url: &str) -> String {
        let bare = url.trim_end_matches('/');
        let core = self.core_nodes.iter().map(|node| (&node.name, &node.url));
        let compute = self.compute_nodes.iter().map(|node| (&node.name, &node.url));
        core.chain(compute)
            .find(|(_, known)| known.trim_end_matches('/') == bare)
            .map_or_else(|| url.to_owned(), |(name, _)| name.clone())
    }
}
