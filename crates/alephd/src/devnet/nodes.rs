//! The files that make a folder a node: its configuration, and the genesis that all core nodes share.

use std::path::Path;
use std::time::Duration;

use aleph_vm::{RuntimeManifest, StopMode, Supervisor};
use anyhow::{Context, Result};
use toml::{Table, Value};

use super::genesis::{self, Balance, Credit, Entry, Genesis};
use super::plan::{Compute, Core, FUNDED_ALEPH, FUNDED_CREDITS, Plan};
use super::publish::Runtimes;

/// Name of a node's configuration in its folder.
pub(crate) const CONFIG_FILE: &str = "config.toml";
/// A machine that is left at the end has this long to stop by itself.
const MACHINE_STOP: Duration = Duration::from_secs(3);

/// Writes the genesis file and every node's configuration.
///
/// # Errors
/// When a folder can't be written.
pub(crate) fn write_files(
    plan: &Plan,
    manifest: Option<&RuntimeManifest>,
    runtimes: Option<&Runtimes>,
    now: f64,
) -> Result<()> {
    write_genesis(plan, runtimes, now)?;
    for node in &plan.core {
        write_config(&node.folder, &core_config(plan, node)?)?;
    }
    for node in &plan.compute {
        write_config(&node.folder, &compute_config(plan, node, manifest)?)?;
    }
    Ok(())
}

fn write_config(folder: &Path, table: &Table) -> Result<()> {
    let path = folder.join(CONFIG_FILE);
    let text = format!("# written by `alephd devnet` at each start\n{table}");
    std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))
}

/// An aggregate whose content changed since the last start (other ports, another runtime) is said
/// again with a later time; one that did not stays the same message.
fn write_genesis(plan: &Plan, runtimes: Option<&Runtimes>, now: f64) -> Result<()> {
    let path = plan.root.join("genesis.json");
    let before: Option<Genesis> =
        std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut messages = before.map_or_else(Vec::new, |genesis| genesis.messages);
    let created = plan.times.created;
    say(&mut messages, genesis::corechannel(created, &plan.core_entries(), &plan.compute_entries()), now);
    if let Some(runtimes) = runtimes {
        say(&mut messages, genesis::images(created, &runtimes.names()), now);
    }
    let accounts =
        || plan.accounts.iter().chain([&plan.publisher]).map(|named| named.account.address().clone());
    let genesis = Genesis {
        messages,
        balances: accounts()
            .map(|address| Balance { address, chain: "ETH".to_owned(), amount: FUNDED_ALEPH.to_owned() })
            .collect(),
        credits: accounts().map(|address| Credit { address, amount: FUNDED_CREDITS }).collect(),
    };
    std::fs::write(&path, serde_json::to_vec_pretty(&genesis)?)
        .with_context(|| format!("can't write {}", path.display()))
}

/// Adds an aggregate unless the last word on its key says the same.
fn say(messages: &mut Vec<Entry>, mut entry: Entry, now: f64) {
    let last = messages.iter().rev().find(|said| said.key == entry.key && said.address == entry.address);
    match last {
        Some(said) if said.content == entry.content => return,
        Some(_) => entry.time = now,
        None => {}
    }
    messages.push(entry);
}

fn core_config(plan: &Plan, node: &Core) -> Result<Table> {
    let others = || plan.core.iter().filter(|other| other.hash != node.hash);
    let peers: Vec<Value> = others().map(|other| Value::from(other.multiaddress())).collect();
    let http_peers: Vec<Value> = others().map(|other| Value::from(other.url())).collect();
    let mut config = Table::new();
    config.insert("storage".into(), table([("data_dir", text(&node.folder.join("data"))?)]));
    let listen = format!("127.0.0.1:{}", node.http);
    config.insert("http".into(), table([("listen", listen.into()), ("public_url", node.url().into())]));
    let p2p = table([
        ("listen", node.multiaddress().into()),
        ("peers", Value::Array(peers)),
        // made in no time; an RSA key would take most of the first start
        ("key_type", "ed25519".into()),
    ]);
    config.insert("p2p".into(), p2p);
    let network = table([
        ("private", true.into()),
        ("genesis", text(&plan.root.join("genesis.json"))?),
        ("http_peers", Value::Array(http_peers)),
        ("corechannel_address", genesis::NODES_PUBLISHER.into()),
    ]);
    config.insert("network".into(), network);
    let placement =
        table([("node_hash", node.hash.to_string().into()), ("key_file", text(&node.owner.key_file)?)]);
    config.insert("placement".into(), placement);
    Ok(config)
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn compute_config(plan: &Plan, node: &Compute, manifest: Option<&RuntimeManifest>) -> Result<Table> {
    // the core node that it is linked to first: that one knows its programs soonest
    let parent = plan.core[node.parent].url();
    let others = plan.core_urls().into_iter().filter(|url| *url != parent);
    let urls: Vec<Value> = std::iter::once(parent.clone()).chain(others).map(Value::from).collect();
    let mut config = Table::new();
    config.insert("listen".into(), format!("127.0.0.1:{}", node.http).into());
    config.insert("domain_name".into(), "localhost".into());
    config.insert("core_nodes".into(), Value::Array(urls));
    config.insert("node_hash".into(), node.hash.to_string().into());
    config.insert("owner_address".into(), node.owner.account.address().to_string().into());
    config.insert("state_dir".into(), text(&node.folder.join("data"))?);
    // an orderly end of the network leaves no machine behind; a killed node's machines live on
    config.insert("stop_vms_on_exit".into(), true.into());
    if let Some(manifest) = manifest {
        let mut vm = Table::new();
        vm.insert("kernel".into(), text(&manifest.kernel.path)?);
        vm.insert("initramfs".into(), text(&manifest.initramfs.path)?);
        config.insert("vm".into(), Value::Table(vm));
    }
    Ok(config)
}

fn text(path: &Path) -> Result<Value> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.into())
}

/// Ends the machines whose compute node could not: it was killed, and the network ends now.
pub(crate) async fn stop_machines(plan: &Plan) {
    for node in &plan.compute {
        let folder = node.folder.join("data").join("vms");
        let adopted = match Supervisor::adopt_all(&folder).await {
            Ok(adopted) => adopted,
            Err(error) => {
                tracing::debug!(node = node.name, %error, "no machines to look after");
                continue;
            }
        };
        for (machine, _) in adopted.running {
            tracing::info!(node = node.name, vm = %machine.id(), "stopping a machine that its node left");
            if let Err(error) = machine.stop(StopMode::Graceful { timeout: MACHINE_STOP }).await {
                tracing::warn!(node = node.name, vm = %machine.id(), %error, "the machine does not stop");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_is_not_said_twice() {
        let entry = |content: serde_json::Value| Entry {
            kind: "AGGREGATE".into(),
            address: "0xA".into(),
            time: 1.0,
            key: Some("k".into()),
            post_type: None,
            content,
            channel: "c".into(),
        };
        let mut messages = Vec::new();
        say(&mut messages, entry(json!({"a": 1})), 5.0);
        say(&mut messages, entry(json!({"a": 1})), 6.0);
        say(&mut messages, entry(json!({"a": 2})), 7.0);
        let said: Vec<(f64, serde_json::Value)> =
            messages.into_iter().map(|entry| (entry.time, entry.content)).collect();
        assert_eq!(said, [(1.0, json!({"a": 1})), (7.0, json!({"a": 2}))]);
    }
}
