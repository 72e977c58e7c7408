use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::error::CliResult;

/// Choose the account that signs unless another is named
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph account use work")]
pub(crate) struct Arguments {
    /// Name of the account
    name: String,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let entry = context.home.set_default(&arguments.name)?;
    if context.out.json {
        return context.out.document(&json!({ "default": entry.name, "address": entry.address }));
    }
    context.out.line(format!("{} ({}) signs by default", context.out.bold(&entry.name), entry.address))
}
