use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::error::CliResult;

/// Show the settings, and which node and account are used
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph config show
  aleph config show --json | jq -r .node")]
pub(crate) struct Arguments {}

pub(super) fn run(context: &Context) -> CliResult {
    let node = context.node().ok();
    let accounts = context.home.accounts()?;
    let path = context.home.config_path();
    let out = &context.out;
    if out.json {
        return out.document(&json!({
            "path": path,
            "node": node.as_ref().map(|(url, _)| url),
            "node_source": node.as_ref().map(|(_, source)| source),
            "channel": context.config.channel,
            "account": accounts.default,
            "devnet": context.devnet.as_ref().map(|devnet| &devnet.folder),
        }));
    }
    let missing = || out.dim("not set");
    let mut pairs = vec![
        ("file", path.display().to_string()),
        ("node", node.map_or_else(missing, |(url, source)| format!("{url} ({source})"))),
        ("channel", context.config.channel.clone().unwrap_or_else(missing)),
        ("account", accounts.default.unwrap_or_else(missing)),
    ];
    if let Some(devnet) = &context.devnet {
        pairs.push(("devnet", devnet.folder.display().to_string()));
    }
    out.pairs(&pairs)
}
