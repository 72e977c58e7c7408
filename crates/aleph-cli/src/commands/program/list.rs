use aleph_sdk::MessageFilter;
use aleph_types::MessageType;
use clap::Args;
use serde_json::Value;

use crate::context::Context;
use crate::error::CliResult;

/// List the programs of an account, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph program list
  aleph program list --address alice --json | jq -r '.[].item_hash'")]
pub(crate) struct Arguments {
    /// Owner: an address or the name of an account [default: the chosen account]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Most programs to show
    #[arg(long, default_value_t = 50)]
    count: usize,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let address = context.address(arguments.address.as_deref())?;
    let filter = MessageFilter {
        types: vec![MessageType::Program],
        owners: vec![address.clone()],
        ..MessageFilter::default()
    };
    let programs = context.client()?.all_messages(&filter, arguments.count).await?;
    let out = &context.out;
    if out.json {
        let documents: Vec<_> = programs.iter().map(|program| &program.document).collect();
        return out.document(&documents);
    }
    if programs.is_empty() {
        out.note(format!("{address} has no programs; deploy one: `aleph program deploy ./my-app`"));
        return Ok(());
    }
    let rows = programs.iter().map(|program| {
        let content = program.content.as_ref().unwrap_or(&Value::Null);
        let text = |pointer: &str| {
            content
                .pointer(pointer)
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        vec![
            program.time.map(|time| time.iso_z().to_string().chars().take(19).collect()).unwrap_or_default(),
            program.item_hash.to_string(),
            text("/metadata/name").unwrap_or_default(),
            text("/code/entrypoint").unwrap_or_default(),
            text("/resources/memory").map(|mib| format!("{mib} MiB")).unwrap_or_default(),
        ]
    });
    out.table(&["created", "program", "name", "entrypoint", "memory"], rows.collect())
}
