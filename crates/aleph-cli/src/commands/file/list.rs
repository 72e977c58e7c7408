use aleph_sdk::PageRequest;
use clap::Args;
use serde_json::Value;

use crate::context::Context;
use crate::error::CliResult;
use crate::output::size;

/// List the files that an account keeps on the network, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph file list
  aleph file list --address alice --count 100")]
pub(crate) struct Arguments {
    /// Owner: an address or the name of an account [default: the chosen account]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Most files to show
    #[arg(long, default_value_t = 25)]
    count: u32,
    /// Which page of that many
    #[arg(long, default_value_t = 1)]
    page: u32,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let address = context.address(arguments.address.as_deref())?;
    let page = PageRequest { number: arguments.page, size: arguments.count };
    let files = context.client()?.account_files(&address, page).await?;
    if context.out.json {
        return context.out.document(&files);
    }
    if files.is_empty() {
        context.out.note(format!("{address} keeps no files"));
        return Ok(());
    }
    let rows = files.iter().map(|file| {
        let created = match &file.created {
            Value::String(text) => text.chars().take(19).collect(),
            other => other.to_string(),
        };
        vec![
            created,
            size(file.size),
            file.file_type.clone(),
            file.file_hash.to_string(),
            file.item_hash.to_string(),
        ]
    });
    context.out.table(&["created", "size", "type", "file", "message"], rows.collect())
}
