use clap::Args;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliResult;

/// Remove a setting
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph config unset node")]
pub(crate) struct Arguments {
    /// Which setting: node or channel
    key: String,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let mut config = context.config.clone();
    *config.slot(&arguments.key)? = None;
    context.home.save_config(&config)?;
    if context.out.json {
        return context.out.document(&json!({ arguments.key.clone(): Value::Null }));
    }
    context.out.line(format!("{} is not set any more", arguments.key))
}
