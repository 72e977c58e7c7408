use clap::Args;
use serde_json::Value;

use crate::context::Context;
use crate::error::CliResult;
use crate::output::clipped;

/// List the documents of an account
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph aggregate list
  aleph aggregate list --address alice --json | jq keys")]
pub(crate) struct Arguments {
    /// Owner: an address or the name of an account [default: the chosen account]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let address = context.address(arguments.address.as_deref())?;
    let documents = context.client()?.aggregates(&address, &[]).await?;
    if context.out.json {
        return context.out.document(&documents);
    }
    if documents.is_empty() {
        context.out.note(format!("{address} has no aggregates"));
        return Ok(());
    }
    let rows = documents.iter().map(|(key, document)| {
        let keys = match document {
            Value::Object(map) => map.keys().cloned().collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        vec![key.clone(), clipped(&keys, 80)]
    });
    context.out.table(&["key", "fields"], rows.collect())
}
