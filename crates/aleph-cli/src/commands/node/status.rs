use std::time::{Duration, Instant};

use aleph_sdk::{Client, ComputeNode, NodeInfo, RetryPolicy};
use clap::Args;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{CliError, CliResult};

/// Ask the core node how it is; on a devnet, all its nodes
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph node status
  aleph node status --node https://api2.aleph.im
  aleph node status --json | jq '.core[].version'")]
pub(crate) struct Arguments {}

/// One core node's answer.
struct Answer {
    name: String,
    url: String,
    took: Duration,
    info: Result<NodeInfo, aleph_sdk::Error>,
}

impl Answer {
    fn metric(&self, name: &str) -> Option<i64> {
        self.info.as_ref().ok().and_then(|info| info.metric(name))
    }
}

async fn ask(name: &str, url: &str) -> CliResult<Answer> {
    // Somebody wants to know whether the node answers now.
    let client = Client::with_retry(url, RetryPolicy::NEVER)?;
    let start = Instant::now();
    let info = client.node_info().await;
    Ok(Answer { name: name.to_owned(), url: client.base_url().to_owned(), took: start.elapsed(), info })
}

pub(super) async fn run(_arguments: &Arguments, context: &Context) -> CliResult {
    let (node, _) = context.node()?;
    let mut core = Vec::new();
    let mut compute = Vec::new();
    match context.devnet_in_use() {
        Some(devnet) => {
            for node in devnet.core_nodes() {
                core.push(ask(&node.name, &node.url).await?);
            }
            for node in devnet.compute_nodes() {
                let usage = ComputeNode::new(&node.url)?.usage().await;
                compute.push((node.name.clone(), node.url.clone(), usage));
            }
        }
        None => core.push(ask("", &node).await?),
    }

    let out = &context.out;
    if out.json {
        let core = core.iter().map(|answer| match &answer.info {
            Ok(info) => json!({"name": answer.name, "url": answer.url, "up": true, "version": info.version,
                "addresses": info.addresses, "metrics": info.metrics,
                "answer_ms": answer.took.as_secs_f64() * 1000.0}),
            Err(error) => {
                json!({"name": answer.name, "url": answer.url, "up": false, "error": error.to_string()})
            }
        });
        let compute = compute.iter().map(|(name, url, usage)| {
            json!({"name": name, "url": url, "up": usage.is_ok(),
                "usage": usage.as_ref().ok().and_then(Option::as_ref)})
        });
        out.document(&json!({"core": core.collect::<Vec<_>>(), "compute": compute.collect::<Vec<_>>()}))?;
    } else {
        show_core(context, &core)?;
        show_compute(context, &compute)?;
    }
    match core.into_iter().find_map(|answer| answer.info.err()) {
        Some(error) => Err(error.into()),
        None if compute.iter().any(|(_, _, usage)| usage.is_err()) => {
            Err(CliError::failure("a compute node does not answer"))
        }
        None => Ok(()),
    }
}

fn show_core(context: &Context, answers: &[Answer]) -> CliResult {
    let number = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let rows = answers.iter().map(|answer| {
        let (state, version) = match &answer.info {
            Ok(info) => ("up", info.version.clone()),
            Err(_) => ("down", "-".to_owned()),
        };
        vec![
            answer.name.clone(),
            answer.url.clone(),
            state.to_owned(),
            version,
            format!("{:.0} ms", answer.took.as_secs_f64() * 1000.0),
            number(answer.metric("pyaleph_status_peers_total")),
            number(answer.metric("pyaleph_status_sync_messages_total")),
            number(answer.metric("pyaleph_status_sync_pending_messages_total")),
        ]
    });
    let heads = ["core", "url", "state", "version", "answered in", "peers", "messages", "pending"];
    context.out.table(&heads, rows.collect())
}

/// A compute node's name, URL and answer.
type Compute = (String, String, Result<Option<Value>, aleph_sdk::Error>);

fn show_compute(context: &Context, nodes: &[Compute]) -> CliResult {
    if nodes.is_empty() {
        return Ok(());
    }
    let rows = nodes.iter().map(|(name, url, usage)| {
        let figure = |pointer: &str| {
            let usage = usage.as_ref().ok()?.as_ref()?;
            usage.pointer(pointer)?.as_f64()
        };
        // "kB" are 1000 bytes there (`spec: crn-api.md §4.5`).
        let memory = match (figure("/mem/available_kB"), figure("/mem/total_kB")) {
            (Some(free), Some(total)) => format!("{:.1} of {:.1} GB free", free / 1e6, total / 1e6),
            _ => "-".to_owned(),
        };
        vec![
            name.clone(),
            url.clone(),
            if usage.is_ok() { "up" } else { "down" }.to_owned(),
            figure("/cpu/count").map_or_else(|| "-".to_owned(), |count| format!("{count:.0}")),
            memory,
        ]
    });
    context.out.line("")?;
    context.out.table(&["compute", "url", "state", "cpus", "memory"], rows.collect())
}
