use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::error::CliResult;

/// List the accounts of this machine, and those of a devnet that runs here
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph account list
  aleph account list --json | jq -r '.[].address'")]
pub(crate) struct Arguments {}

pub(super) fn run(context: &Context) -> CliResult {
    let accounts = context.home.accounts()?;
    let devnet = context.devnet.as_ref().map_or(&[][..], |devnet| devnet.accounts());
    let is_default = |name: &str| accounts.default.as_deref() == Some(name);
    if context.out.json {
        let own = accounts.accounts.iter().map(|entry| {
            json!({"name": entry.name, "address": entry.address, "chain": entry.chain,
                "default": is_default(&entry.name), "source": "file"})
        });
        let funded = devnet.iter().map(|funded| {
            json!({"name": funded.name, "address": funded.address, "chain": "ETH",
                "default": false, "source": "devnet"})
        });
        return context.out.document(&own.chain(funded).collect::<Vec<_>>());
    }
    if accounts.accounts.is_empty() && devnet.is_empty() {
        context.out.note("there is no account yet; make one: `aleph account create me`");
        return Ok(());
    }
    let own = accounts.accounts.iter().map(|entry| {
        let mark = if is_default(&entry.name) { "*" } else { "" };
        vec![
            mark.to_owned(),
            entry.name.clone(),
            entry.address.to_string(),
            entry.chain.to_string(),
            "file".to_owned(),
        ]
    });
    let funded = devnet.iter().map(|funded| {
        vec![String::new(), funded.name.clone(), funded.address.clone(), "ETH".into(), "devnet".into()]
    });
    context.out.table(&["", "name", "address", "chain", "source"], own.chain(funded).collect())
}
