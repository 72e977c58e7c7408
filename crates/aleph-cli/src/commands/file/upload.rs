use std::path::PathBuf;

use aleph_sdk::Upload;
use clap::Args;
use serde_json::json;

use crate::arguments::{Payment, Publish};
use crate::context::Context;
use crate::error::CliResult;
use crate::output::size;
use crate::progress::TransferBar;

/// Store a file on the network
///
/// Prints two hashes: that of the file's bytes, by which anyone can download it, and that of the STORE
/// message, by which programs refer to it and the owner forgets it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph file upload photo.jpg
  aleph file upload logo.svg --ref logo
  aleph file upload data.bin --json | jq -r .file_hash")]
pub(crate) struct Arguments {
    /// File to store, up to 100 MiB
    path: PathBuf,
    /// Make it a new version: STORE message of the first one, or a name of your choice
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// How to pay
    #[arg(long, value_enum, default_value_t = Payment::Credit)]
    payment: Payment,
    #[command(flatten)]
    publish: Publish,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let account = context.account()?;
    let client = context.client()?;
    let bar = TransferBar::new(&context.out, "storing");
    let upload = Upload::file(&arguments.path)
        .reference(arguments.reference.clone())
        .payment(arguments.payment.into())
        .channel(arguments.publish.channel(context))
        .on_behalf_of(arguments.publish.owner())
        .progress(bar.listener());
    let outcome = client.upload(&account, upload).await;
    bar.clear();
    let stored = outcome?;
    let out = &context.out;
    if out.json {
        return out.document(&json!({
            "file_hash": stored.file_hash,
            "item_hash": stored.message,
            "size": stored.size,
            "status": stored.status,
            "url": format!("{}/api/v0/storage/raw/{}", client.base_url(), stored.file_hash),
        }));
    }
    out.pairs(&[
        ("file", out.bold(stored.file_hash.as_str())),
        ("message", stored.message.to_string()),
        ("size", size(stored.size)),
        ("status", stored.status.to_string()),
        ("url", format!("{}/api/v0/storage/raw/{}", client.base_url(), stored.file_hash)),
    ])
}
