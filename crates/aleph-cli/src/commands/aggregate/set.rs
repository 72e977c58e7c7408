use aleph_sdk::MessageBuilder;
use clap::Args;

use crate::arguments::{Document, Publish};
use crate::commands::publication;
use crate::context::Context;
use crate::error::CliResult;

/// Write into a document of yours
///
/// The keys of the content overwrite those of the document; other keys stay. A key is never removed: write
/// null to it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph aggregate set profile '{\"name\": \"Ada\"}'
  aleph aggregate set profile '{\"name\": null}'")]
pub(crate) struct Arguments {
    /// Which document
    key: String,
    #[command(flatten)]
    document: Document,
    #[command(flatten)]
    publish: Publish,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let builder = MessageBuilder::aggregate(&arguments.key, arguments.document.read_object()?);
    let outcome = publication::publish(context, &context.client()?, builder, &arguments.publish).await?;
    publication::report(context, &format!("set {} by", arguments.key), &outcome)
}
