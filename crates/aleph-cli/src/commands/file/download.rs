use std::path::PathBuf;

use aleph_sdk::Client;
use aleph_types::ItemHash;
use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::error::{CliError, CliResult};
use crate::output::size;
use crate::progress::TransferBar;

/// Fetch a file, checked against its hash
///
/// A download that broke goes on where it stopped when it is repeated, if the node can do that.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph file download e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
  aleph file download HASH -o photo.jpg")]
pub(crate) struct Arguments {
    /// Hash of the file, or of a STORE message
    hash: ItemHash,
    /// Where to write it [default: the file's hash, in this folder]
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Replace what is there
    #[arg(long)]
    force: bool,
}

/// The file that `hash` means: of a STORE message its file, else itself.
async fn file_hash(client: &Client, hash: &ItemHash) -> CliResult<ItemHash> {
    if let Some(file) = client.file_of_message(hash).await? {
        return Ok(file.file_hash);
    }
    Ok(hash.clone())
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let client = context.client()?;
    let hash = file_hash(&client, &arguments.hash).await?;
    let mut target = arguments.output.clone().unwrap_or_else(|| PathBuf::from(hash.as_str()));
    if target.is_dir() {
        target.push(hash.as_str());
    }
    if target.exists() && !arguments.force {
        return Err(CliError::usage(format!("{} exists already", target.display()))
            .hint("add --force to replace it, or choose another with -o"));
    }
    let bar = TransferBar::new(&context.out, "fetching");
    let outcome = client.download(&hash, &target, bar.listener()).await;
    bar.clear();
    let done = outcome?;
    let out = &context.out;
    if out.json {
        return out.document(&json!({
            "file_hash": done.file_hash,
            "path": target,
            "size": done.size,
            "verified": done.verified,
            "resumed_from": done.resumed_from,
        }));
    }
    let checked = if done.verified { "hash verified" } else { "not verified: CIDs can't be checked yet" };
    out.line(format!("{}  {}, {checked}", out.bold(&target.display().to_string()), size(done.size)))
}
