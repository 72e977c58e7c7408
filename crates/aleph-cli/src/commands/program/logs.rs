use aleph_sdk::LogLine;
use aleph_types::ItemHash;
use clap::Args;
use serde_json::json;

use super::compute_node;
use crate::context::Context;
use crate::error::CliResult;

/// Show what a program wrote; only its owner may
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph program logs HASH
  aleph program logs HASH --follow
  aleph program logs HASH --json | jq -r .message")]
pub(crate) struct Arguments {
    /// The program
    hash: ItemHash,
    /// Go on with what it writes, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Compute node to ask, instead of the one that the network chose
    #[arg(long, value_name = "URL")]
    on: Option<String>,
}

fn show(context: &Context, line: &LogLine) -> CliResult {
    let out = &context.out;
    if out.json {
        return out.json_line(&json!({"stream": line.stream, "message": line.message, "time": line.time}));
    }
    let message = line.message.trim_end_matches('\n');
    let mark = match line.stream.as_str() {
        "stdout" => String::new(),
        other => out.dim(&format!("{other}: ")),
    };
    match &line.time {
        Some(time) => out.line(format!("{}  {mark}{message}", out.dim(time))),
        None => out.line(format!("{mark}{message}")),
    }
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let account = context.account()?;
    let client = context.client()?;
    let compute = compute_node(&client, &arguments.hash, arguments.on.as_deref()).await?;
    if arguments.follow {
        let mut lines = compute.follow_logs(&account, &arguments.hash).await?;
        while let Some(line) = lines.next().await? {
            show(context, &line)?;
        }
        return Ok(());
    }
    let lines = compute.logs(&account, &arguments.hash).await?;
    if lines.is_empty() {
        context.out.note("the program wrote nothing yet");
    }
    lines.iter().try_for_each(|line| show(context, line))
}
