//! The compute node's agent is killed under a running machine; the machine does not notice.
//!
//! The proof is the program's own: it counts the requests that its process has answered. Every
//! answer must count on from the one before, whoever carried it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::machine::Machine;
use crate::narrator::Narrator;
use crate::network::Network;
use crate::way::{Program, get};

/// The agent is back within this time.
const BACK: Duration = Duration::from_secs(30);

/// What the guestbook's `/health` tells.
#[derive(Debug, Deserialize)]
struct Health {
    /// of the process inside the machine
    process: String,
    /// answered by that process, this one included
    requests: u64,
}

async fn health(base: &str) -> Result<Health> {
    let text = get(&format!("{}/health", base.trim_end_matches('/'))).await?;
    serde_json::from_str(&text).with_context(|| format!("a strange answer: {text}"))
}

/// Kills the agent with -9, asks through the machine's own supervisor meanwhile, and again when
/// the agent is back.
pub(crate) async fn under_a_running_machine(
    narrator: &Narrator,
    network: &Network,
    description: &Path,
    program: &Program,
) -> Result<()> {
    narrator.heading("the compute node's agent is killed (-9) under the running VM");
    let node = network.compute_nodes.iter().find(|node| program.url.starts_with(&node.url));
    let node = node.with_context(|| format!("no compute node of the network serves {}", program.url))?;
    let machine = Machine::ask(&node.url, &program.hash).await?;

    let started = Instant::now();
    let before = health(&program.url).await?;
    narrator.reached(
        "before",
        &format!("through {}: request {}", node.name, before.requests),
        started.elapsed(),
    );

    // its process may have changed since the network started
    let pid = agent(description, &node.name)?.context("the agent does not run")?;
    let killed = Instant::now();
    kill_process(Pid::from_raw(pid).context("no process id")?, Signal::KILL)
        .with_context(|| format!("can't kill the agent, process {pid}"))?;
    narrator.reached("killed", &format!("{}, process {pid}", node.name), killed.elapsed());

    let started = Instant::now();
    let during =
        health(&machine.direct_url).await.context("the machine does not answer without its agent")?;
    narrator.reached(
        "during",
        &format!("through its supervisor: request {}", during.requests),
        started.elapsed(),
    );

    loop {
        let now = agent(description, &node.name)?;
        if now.is_some_and(|now| now != pid) && get(&format!("{}/status/config", node.url)).await.is_ok() {
            break;
        }
        ensure!(killed.elapsed() < BACK, "{} is not back after {} s", node.name, BACK.as_secs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    narrator.reached("agent back", "started again by the devnet", killed.elapsed());
    let started = Instant::now();
    let after = health(&program.url).await?;
    narrator.reached(
        "after",
        &format!("through {}: request {}", node.name, after.requests),
        started.elapsed(),
    );

    let one_process = before.process == during.process && during.process == after.process;
    let counts_on = before.requests < during.requests && during.requests < after.requests;
    if !one_process || !counts_on {
        bail!("the program was started again: it counted {before:?}, {during:?}, {after:?}");
    }
    let same = Machine::ask(&node.url, &program.hash).await?;
    ensure!(same.hypervisor_pid == machine.hypervisor_pid, "the machine runs in another process than before");
    narrator.remark("one process inside the VM answered all three: nothing was restarted");
    Ok(())
}

fn agent(description: &Path, name: &str) -> Result<Option<i32>> {
    let network = Network::read(description)?;
    Ok(network.compute_nodes.into_iter().find(|node| node.name == name).and_then(|node| node.pid))
}
