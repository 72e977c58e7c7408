//! What the network tells about itself: `devnet.json` for tools, a page for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::Path;

use aleph_types::{Address, ItemHash};
use anyhow::{Context, Result};
use serde::Serialize;

use super::plan::{FUNDED_ALEPH, FUNDED_CREDITS, Named, Plan};

/// The file `devnet.json`, and the line that `--json` prints when the network answers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Description {
    /// of this format
    pub(crate) version: u32,
    /// of the devnet itself
    pub(crate) pid: u32,
    pub(crate) state: String,
    pub(crate) core_nodes: Vec<CoreNode>,
    pub(crate) compute_nodes: Vec<ComputeNode>,
    pub(crate) accounts: Vec<FundedAccount>,
    pub(crate) runtimes: BTreeMap<String, Runtime>,
    /// why there are no runtimes
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_runtimes: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct CoreNode {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) multiaddress: String,
    pub(crate) node_hash: ItemHash,
    pub(crate) owner: Address,
    pub(crate) folder: String,
    /// none while the node is not running
    pub(crate) pid: Option<u32>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct ComputeNode {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) node_hash: ItemHash,
    pub(crate) owner: Address,
    /// hash of the core node that it is linked to
    pub(crate) parent: ItemHash,
    pub(crate) folder: String,
    pub(crate) pid: Option<u32>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct FundedAccount {
    pub(crate) name: String,
    pub(crate) address: Address,
    /// hexadecimal; worth nothing outside of this network
    pub(crate) private_key: String,
    pub(crate) key_file: String,
    pub(crate) aleph: &'static str,
    pub(crate) credits: u64,
}

/// A runtime that was published on the network.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Runtime {
    /// hash of its STORE message
    pub(crate) message: ItemHash,
    /// hash of its bytes
    pub(crate) file: ItemHash,
    /// bytes
    pub(crate) size: u64,
}

impl Description {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            version: 1,
            pid: std::process::id(),
            state: plan.root.display().to_string(),
            core_nodes: plan
                .core
                .iter()
                .map(|node| CoreNode {
                    name: node.name.clone(),
                    url: node.url(),
                    multiaddress: node.multiaddress(),
                    node_hash: node.hash.clone(),
                    owner: node.owner.account.address().clone(),
                    folder: node.folder.display().to_string(),
                    pid: None,
                })
                .collect(),
            compute_nodes: plan
                .compute
                .iter()
                .map(|node| ComputeNode {
                    name: node.name.clone(),
                    url: node.url(),
                    node_hash: node.hash.clone(),
                    owner: node.owner.account.address().clone(),
                    parent: plan.core[node.parent].hash.clone(),
                    folder: node.folder.display().to_string(),
                    pid: None,
                })
                .collect(),
            accounts: plan.accounts.iter().map(funded).collect(),
            runtimes: BTreeMap::new(),
            no_runtimes: None,
        }
    }

    /// Notes the process of a node; none when it does not run.
    pub(crate) fn set_pid(&mut self, name: &str, pid: Option<u32>) {
        for node in self.core_nodes.iter_mut().filter(|node| node.name == name) {
            node.pid = pid;
        }
        for node in self.compute_nodes.iter_mut().filter(|node| node.name == name) {
            node.pid = pid;
        }
    }

    /// Writes the file whole or not at all: tools read it while the network runs.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let temporary = path.with_extension("json.new");
        std::fs::write(&temporary, serde_json::to_vec_pretty(self)?)
            .and_then(|()| std::fs::rename(&temporary, path))
            .with_context(|| format!("can't write {}", path.display()))
    }

    /// The page for people.
    pub(crate) fn page(&self) -> String {
        let ink = Ink::detect();
        let mut page = String::new();
        let heading = |page: &mut String, text: &str| {
            writeln!(page, "\n{}", ink.bold(text)).ok();
        };
        heading(&mut page, "core nodes");
        for node in &self.core_nodes {
            writeln!(page, "  {:<8} {:<28} {}", node.name, node.url, ink.quiet(&node.multiaddress)).ok();
        }
        heading(&mut page, "compute nodes");
        for node in &self.compute_nodes {
            let parent = self.core_nodes.iter().find(|core| core.node_hash == node.parent);
            let linked = parent.map_or_else(String::new, |core| format!("linked to {}", core.name));
            writeln!(page, "  {:<8} {:<28} {}", node.name, node.url, ink.quiet(&linked)).ok();
        }
        heading(
            &mut page,
            &format!("accounts, each with {FUNDED_ALEPH} ALEPH (their keys are worth nothing elsewhere)"),
        );
        for account in &self.accounts {
            writeln!(page, "  {:<8} {}  {}", account.name, account.address, ink.quiet(&account.private_key))
                .ok();
        }
        heading(&mut page, "runtimes");
        for (name, runtime) in &self.runtimes {
            writeln!(page, "  {name:<12} {}", runtime.message).ok();
        }
        if let Some(why) = &self.no_runtimes {
            writeln!(page, "  none: {why}").ok();
        }
        writeln!(page, "\n{}  {}", ink.quiet("state"), self.state).ok();
        writeln!(page, "{}   {}/*/node.log", ink.quiet("logs"), self.state).ok();
        page
    }
}

fn funded(named: &Named) -> FundedAccount {
    FundedAccount {
        name: named.name.clone(),
        address: named.account.address().clone(),
        private_key: format!("0x{}", named.account.secret_hex()),
        key_file: named.key_file.display().to_string(),
        aleph: FUNDED_ALEPH,
        credits: FUNDED_CREDITS,
    }
}

/// Colours on a terminal, none elsewhere.
struct Ink(bool);

impl Ink {
    fn detect() -> Self {
        Self(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
    }

    fn bold(&self, text: &str) -> String {
        if self.0 { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn quiet(&self, text: &str) -> String {
        if self.0 { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }
}
