use aleph_sdk::{ComputeNode, Execution, Placement};
use aleph_types::{ItemHash, MessageStatus};
use clap::Args;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{CliError, CliResult};

/// Show a program: what it is, where it runs and why there
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph program show HASH
  aleph program show HASH --json | jq .placement.candidates")]
pub(crate) struct Arguments {
    /// The program
    hash: ItemHash,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let client = context.client()?;
    let state = client.message(&arguments.hash).await?;
    let word = state.message.as_ref().map(|message| message.message_type.clone()).unwrap_or_default();
    if word != "PROGRAM" {
        return Err(CliError::usage(format!("{} is a message of type {word}, no program", arguments.hash))
            .hint(format!("`aleph message get {}` shows it", arguments.hash)));
    }
    let placement = client.placement(&arguments.hash).await?;
    let allocation = placement.as_ref().and_then(|placement| placement.allocation.as_ref());
    let (url, execution) = match allocation {
        Some(allocation) => {
            let compute = ComputeNode::new(&allocation.url)?;
            // A compute node that is down is something to show, not to fail on.
            let mut executions = compute.executions().await.unwrap_or_default();
            (Some(compute.program_url(&arguments.hash)), executions.remove(arguments.hash.as_str()))
        }
        None => (None, None),
    };
    let out = &context.out;
    if out.json {
        return out.document(&json!({
            "item_hash": state.item_hash,
            "status": state.status,
            "message": state.message.as_ref().map(|message| &message.document),
            "placement": placement,
            "url": url,
            "execution": execution,
        }));
    }
    let content = state.message.as_ref().and_then(|message| message.content.as_ref()).unwrap_or(&Value::Null);
    let text = |pointer: &str| {
        content.pointer(pointer).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let mut pairs =
        vec![("program", out.bold(state.item_hash.as_str())), ("status", state.status.to_string())];
    pairs.extend(text("/metadata/name").map(|name| ("name", name)));
    pairs.extend(state.message.as_ref().map(|message| ("owner", message.owner().to_string())));
    pairs.extend(text("/code/entrypoint").map(|entrypoint| ("entrypoint", entrypoint)));
    pairs.extend(text("/code/ref").map(|code| ("code", code)));
    if let Some(runtime) = text("/runtime/ref") {
        let comment = text("/runtime/comment").filter(|comment| !comment.is_empty());
        pairs.push((
            "runtime",
            comment.map_or_else(|| runtime.clone(), |comment| format!("{runtime} ({comment})")),
        ));
    }
    if let (Some(vcpus), Some(memory)) = (text("/resources/vcpus"), text("/resources/memory")) {
        pairs.push(("resources", format!("{vcpus} vCPU, {memory} MiB")));
    }
    if matches!(state.status, MessageStatus::Processed | MessageStatus::Removing) {
        place(&mut pairs, placement.as_ref());
    }
    if let Some(url) = url {
        pairs.push(("running", running(execution.as_ref())));
        pairs.push(("url", out.bold(&url)));
    }
    out.pairs(&pairs)
}

fn place(pairs: &mut Vec<(&'static str, String)>, placement: Option<&Placement>) {
    let Some(placement) = placement else {
        pairs.push(("placement", "this node does not tell where programs run".to_owned()));
        return;
    };
    if let Some(node) = &placement.responsible {
        let name = if node.name.is_empty() { &node.hash } else { &node.name };
        pairs.push(("assigned to", name.clone()));
    }
    match &placement.allocation {
        Some(allocation) => {
            let name = allocation.name.clone().or_else(|| allocation.crn_hash.clone());
            pairs.push((
                "allocated on",
                name.map_or_else(|| allocation.url.clone(), |name| format!("{name} ({})", allocation.url)),
            ));
        }
        None => {
            let why = placement.obstacle().unwrap_or_else(|| "not yet".to_owned());
            pairs.push(("allocated on", why));
        }
    }
    for candidate in &placement.candidates {
        let name = candidate.name.as_deref().or(candidate.hash.as_deref()).unwrap_or("?");
        let verdict = if candidate.eligible { "eligible" } else { "not eligible" };
        let reason = candidate.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        pairs.push(("candidate", format!("{name} {verdict}{reason}")));
    }
}

fn running(execution: Option<&Execution>) -> String {
    match execution {
        Some(execution) if execution.running => {
            match execution.status.get("started_at").and_then(Value::as_str) {
                Some(since) => format!("yes, since {since}"),
                None => "yes".to_owned(),
            }
        }
        _ => "no; the next request starts it".to_owned(),
    }
}
