use aleph_sdk::WatchEvent;
use clap::Args;

use super::filter::Filter;
use super::{gist, time_of};
use crate::context::Context;
use crate::error::CliResult;
use crate::output::short;

/// Show messages as they arrive, until Ctrl-C
///
/// When the connection breaks it is made anew and what was missed is shown, each message once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph message watch
  aleph message watch --type POST --channel demo --history 10
  aleph message watch --json --count 1 --post-type alarm")]
pub(crate) struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// Begin with that many of the latest messages, at most 199
    #[arg(long, default_value_t = 0)]
    history: u32,
    /// End after that many messages
    #[arg(long)]
    count: Option<u64>,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let filter = arguments.filter.read(context)?;
    let client = context.client()?;
    let mut watch = client.watch(filter, arguments.history).await?;
    let out = &context.out;
    if out.lively {
        out.note(format!("watching {}; Ctrl-C ends it", client.base_url()));
    }
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 {
        match watch.next().await? {
            WatchEvent::Message(message) => {
                left -= 1;
                if out.json {
                    out.json_line(&message.document)?;
                    continue;
                }
                out.line(format!(
                    "{}  {:<9}  {}  {}  {}",
                    out.dim(&time_of(&message)),
                    message.message_type,
                    short(message.owner().as_str()),
                    message.item_hash,
                    gist(&message),
                ))?;
            }
            WatchEvent::Lost { reason } => out.note(format!("connection lost: {reason}; trying again")),
            WatchEvent::Restored => out.note("connected again"),
        }
    }
    Ok(())
}
