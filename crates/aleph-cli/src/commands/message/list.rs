use aleph_sdk::SortOrder;
use aleph_types::MessageStatus;
use clap::Args;

use super::filter::Filter;
use super::{gist, time_of};
use crate::context::Context;
use crate::error::CliResult;
use crate::output::short;

fn status(text: &str) -> Result<MessageStatus, String> {
    let known = || MessageStatus::ALL.map(MessageStatus::as_str).join(", ");
    text.to_lowercase().parse().map_err(|()| format!("statuses are {}", known()))
}

/// List messages, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph message list --count 5
  aleph message list --type POST --post-type note --address alice
  aleph message list --since 2026-01-01 --json | jq -r '.[].item_hash'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// Statuses [default: processed and removing]
    #[arg(long = "status", value_name = "STATUS", value_parser = status)]
    statuses: Vec<MessageStatus>,
    /// Oldest first
    #[arg(long)]
    oldest_first: bool,
    /// Most messages to show; read page by page
    #[arg(long, default_value_t = 20)]
    count: usize,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let mut filter = arguments.filter.read(context)?;
    filter.statuses = arguments.statuses.clone();
    if arguments.oldest_first {
        filter.order = SortOrder::OldestFirst;
    }
    let client = context.client()?;
    // Skeletons of messages that are gone are listed by page only (`spec: ccn-api.md §3.2`).
    let gone = |status: &MessageStatus| matches!(status, MessageStatus::Forgotten | MessageStatus::Removed);
    let messages = if filter.statuses.iter().any(gone) {
        let size = u32::try_from(arguments.count).unwrap_or(u32::MAX);
        client.messages(&filter, aleph_sdk::PageRequest::first(size)).await?.items
    } else {
        client.all_messages(&filter, arguments.count).await?
    };
    let out = &context.out;
    if out.json {
        let documents: Vec<_> = messages.iter().map(|message| &message.document).collect();
        return out.document(&documents);
    }
    if messages.is_empty() {
        out.note("no messages match");
        return Ok(());
    }
    let rows = messages.iter().map(|message| {
        vec![
            time_of(message),
            message.message_type.clone(),
            short(message.owner().as_str()),
            message.item_hash.to_string(),
            gist(message),
        ]
    });
    out.table(&["time", "type", "owner", "message", "about"], rows.collect())
}
