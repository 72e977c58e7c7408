use aleph_sdk::MessageBuilder;
use aleph_types::ItemHash;
use clap::Args;

use crate::arguments::Publish;
use crate::commands::publication;
use crate::context::Context;
use crate::error::CliResult;

/// Delete messages from the network, for good
///
/// All or none are forgotten. Amends of a post go with it; files go a day after their last message.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph message forget HASH --reason 'posted by mistake'
  aleph message forget HASH1 HASH2 --yes")]
pub(crate) struct Arguments {
    /// Messages to forget
    #[arg(required = true, num_args = 1..=1000)]
    hashes: Vec<ItemHash>,
    /// Why, for whoever asks later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    publish: Publish,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let what = match arguments.hashes.as_slice() {
        [one] => format!("message {one}"),
        more => format!("{} messages", more.len()),
    };
    context.confirm(&format!("forget {what} for good?"))?;
    let builder = MessageBuilder::forget(&arguments.hashes, arguments.reason.as_deref());
    let outcome = publication::publish(context, &context.client()?, builder, &arguments.publish).await?;
    publication::report(context, &format!("forgot {what} by"), &outcome)
}
