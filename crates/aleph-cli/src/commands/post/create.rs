use aleph_sdk::MessageBuilder;
use clap::Args;

use crate::arguments::{Document, Publish};
use crate::commands::publication;
use crate::context::Context;
use crate::error::CliResult;

/// Publish a document
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph post create --type note '{\"body\": \"hello\"}'
  aleph post create --type note --file note.json --channel demo
  echo '\"hello\"' | aleph post create --type note")]
pub(crate) struct Arguments {
    /// Type of the post: any word, by which posts are found
    #[arg(long = "type", value_name = "WORD")]
    post_type: String,
    /// What the post is about: a hash or any text, by which posts are found
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    #[command(flatten)]
    document: Document,
    #[command(flatten)]
    publish: Publish,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let content = arguments.document.read()?;
    let builder = match &arguments.reference {
        Some(reference) => MessageBuilder::post_about(&arguments.post_type, content, reference),
        None => MessageBuilder::post(&arguments.post_type, content),
    };
    let outcome = publication::publish(context, &context.client()?, builder, &arguments.publish).await?;
    publication::report(context, "created post", &outcome)
}
