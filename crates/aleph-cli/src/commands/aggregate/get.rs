use clap::Args;

use crate::context::Context;
use crate::error::{CliError, CliResult};

/// Show a document as it stands now
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph aggregate get profile
  aleph aggregate get profile --address alice | jq .name")]
pub(crate) struct Arguments {
    /// Which document
    key: String,
    /// Owner: an address or the name of an account [default: the chosen account]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let address = context.address(arguments.address.as_deref())?;
    match context.client()?.aggregate(&address, &arguments.key).await? {
        // JSON either way: the document is the result.
        Some(document) => context.out.document(&document),
        None => Err(CliError::not_found(format!("{address} has no aggregate '{}'", arguments.key))
            .hint(format!("`aleph aggregate list --address {address}` shows the keys"))),
    }
}
