//! How a published message is reported.

use aleph_sdk::{Client, MessageBuilder, Publication, PublishOutcome};
use aleph_types::MessageStatus;
use serde_json::json;

use crate::arguments::Publish;
use crate::context::Context;
use crate::error::CliResult;

/// Signs and publishes one message and waits for the node's verdict.
pub(super) async fn publish(
    context: &Context,
    client: &Client,
    builder: MessageBuilder,
    publish: &Publish,
) -> CliResult<PublishOutcome> {
    let account = context.account()?;
    let channel = publish.channel(context);
    let builder = builder.maybe_channel(channel.as_deref()).maybe_on_behalf_of(publish.owner().as_ref());
    let outcome = client.publish(&account, builder, true).await?;
    if let Publication::Warning(failed) = &outcome.publication {
        context.out.note(format!("warning: the node could not spread it over {}", failed.join(", ")));
    }
    Ok(outcome)
}

/// Tells what became of it: `verb` as in "created post".
pub(super) fn report(context: &Context, verb: &str, outcome: &PublishOutcome) -> CliResult {
    if context.out.json {
        return context.out.document(&json!({
            "item_hash": outcome.item_hash,
            "status": outcome.status,
        }));
    }
    let out = &context.out;
    let suffix = match outcome.status {
        MessageStatus::Processed => String::new(),
        status => format!(" ({status}; `aleph message get {}` shows its state)", outcome.item_hash),
    };
    out.line(format!("{verb} {}{suffix}", out.bold(outcome.item_hash.as_str())))
}
