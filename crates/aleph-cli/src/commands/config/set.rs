use aleph_sdk::Client;
use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::error::CliResult;

/// Change a setting
///
/// node: URL of the core node that commands talk to. channel: label of what is published.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph config set node http://127.0.0.1:4024
  aleph config set channel my-app")]
pub(crate) struct Arguments {
    /// Which setting: node or channel
    key: String,
    /// Its value
    value: String,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let mut config = context.config.clone();
    let value = match arguments.key.as_str() {
        // Refuses what is no address, and writes it in one form.
        "node" => Client::new(&arguments.value)?.base_url().to_owned(),
        _ => arguments.value.clone(),
    };
    *config.slot(&arguments.key)? = Some(value.clone());
    context.home.save_config(&config)?;
    if context.out.json {
        return context.out.document(&json!({ arguments.key.clone(): value }));
    }
    context.out.line(format!("{} = {value}", arguments.key))
}
