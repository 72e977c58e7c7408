use aleph_sdk::RejectedMessage;
use aleph_types::{ItemHash, MessageStatus};
use clap::Args;

use super::time_of;
use crate::context::Context;
use crate::error::CliResult;

/// Show a message and what became of it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph message get HASH
  aleph message get HASH --json | jq .status")]
pub(crate) struct Arguments {
    /// The message
    hash: ItemHash,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let client = context.client()?;
    let state = client.message(&arguments.hash).await?;
    let out = &context.out;
    if out.json {
        return out.document(&state.document);
    }
    let mut pairs = vec![("message", out.bold(state.item_hash.as_str()))];
    pairs.push((
        "status",
        match state.status {
            MessageStatus::Processed => out.good(state.status.as_str()),
            other => out.bold(other.as_str()),
        },
    ));
    if state.status == MessageStatus::Rejected {
        let rejected = RejectedMessage {
            item_hash: state.item_hash.clone(),
            code: state.error_code,
            details: state.details.clone(),
        };
        if let Some(number) = rejected.code {
            let why = rejected.error_code().map_or("", |code| code.explanation());
            pairs.push(("code", format!("{number}  {why}")));
        }
        pairs.extend(rejected.detail_lines().into_iter().map(|line| ("because", line)));
    }
    pairs.extend(state.forgotten_by.iter().map(|hash| ("forgotten by", hash.clone())));
    if let Some(received) = &state.reception_time {
        pairs.push(("received", received.clone()));
    }
    let Some(message) = &state.message else { return out.pairs(&pairs) };
    pairs.push(("type", message.message_type.clone()));
    pairs.push(("sender", format!("{} ({})", message.sender, message.chain)));
    let owner = message.owner();
    if !owner.is_same_as(&message.sender) {
        pairs.push(("owner", owner.to_string()));
    }
    if let Some(channel) = &message.channel {
        pairs.push(("channel", channel.clone()));
    }
    if message.time.is_some() {
        pairs.push(("time", time_of(message)));
    }
    out.pairs(&pairs)?;
    match &message.content {
        Some(content) => {
            out.line("")?;
            out.document(content)
        }
        None => Ok(()),
    }
}
