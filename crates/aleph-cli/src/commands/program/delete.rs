use std::time::Duration;

use aleph_sdk::MessageBuilder;
use aleph_types::{ItemHash, MessageStatus};
use clap::Args;
use serde_json::{Value, json};

use crate::arguments::Publish;
use crate::commands::publication;
use crate::context::Context;
use crate::error::{CliError, CliResult};

/// Longest wait for the program to be forgotten before its code is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Delete a program and its code from the network, for good
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph program delete HASH
  aleph program delete HASH --keep-code --yes")]
pub(crate) struct Arguments {
    /// The program
    hash: ItemHash,
    /// Keep the code: other programs use it, or will
    #[arg(long)]
    keep_code: bool,
    /// Why, for whoever asks later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    publish: Publish,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let client = context.client()?;
    let state = client.message(&arguments.hash).await?;
    let message = match (&state.message, state.status) {
        (Some(message), MessageStatus::Processed | MessageStatus::Removing) => message,
        (_, status) => {
            return Err(CliError::failure(format!("program {} is {status}", arguments.hash))
                .hint("only a processed program can be deleted"));
        }
    };
    if message.message_type != "PROGRAM" {
        return Err(CliError::usage(format!(
            "{} is a message of type {}, no program",
            arguments.hash, message.message_type
        ))
        .hint(format!("`aleph message forget {}` deletes messages of any type", arguments.hash)));
    }
    let content = message.content.as_ref().unwrap_or(&Value::Null);
    let code =
        content.pointer("/code/ref").and_then(Value::as_str).and_then(|text| ItemHash::parse(text).ok());
    let code = code.filter(|_| !arguments.keep_code);
    let what = if code.is_some() { "the program and its code" } else { "the program" };
    context.confirm(&format!("delete {what} for good?"))?;

    let reason = arguments.reason.as_deref();
    let forget = MessageBuilder::forget(std::slice::from_ref(&arguments.hash), reason);
    let program = publication::publish(context, &client, forget, &arguments.publish).await?;
    if program.status != MessageStatus::Processed {
        client.wait_processed(&program.item_hash, PATIENCE).await?;
    }
    // A file in use can't be forgotten, so the code goes in a second message.
    let mut kept = None;
    let mut code_forget = None;
    if let Some(code) = &code {
        let forget = MessageBuilder::forget(std::slice::from_ref(code), reason);
        match publication::publish(context, &client, forget, &arguments.publish).await {
            Ok(outcome) => code_forget = Some(outcome.item_hash),
            // Another program may use the same code: the program is deleted all the same.
            Err(error) => kept = Some(error.to_string()),
        }
    }
    let out = &context.out;
    if out.json {
        return out.document(&json!({
            "item_hash": arguments.hash,
            "forgotten_by": program.item_hash,
            "code": code,
            "code_forgotten_by": code_forget,
            "code_kept_because": kept,
        }));
    }
    out.line(format!("deleted {}", out.bold(arguments.hash.as_str())))?;
    if let Some(why) = kept {
        out.note(format!("the code stays: {why}"));
    }
    Ok(())
}
