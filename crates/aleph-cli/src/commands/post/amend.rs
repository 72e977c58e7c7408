use aleph_sdk::MessageBuilder;
use aleph_types::ItemHash;
use clap::Args;

use crate::arguments::{Document, Publish};
use crate::commands::publication;
use crate::context::Context;
use crate::error::CliResult;

/// Replace the content of a post
///
/// The whole content is replaced; type, reference and label stay those of the original.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph post amend HASH '{\"body\": \"better\"}'")]
pub(crate) struct Arguments {
    /// The original post
    hash: ItemHash,
    #[command(flatten)]
    document: Document,
    #[command(flatten)]
    publish: Publish,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let builder = MessageBuilder::amend(&arguments.hash, arguments.document.read()?);
    let outcome = publication::publish(context, &context.client()?, builder, &arguments.publish).await?;
    publication::report(context, "amended by", &outcome)
}
