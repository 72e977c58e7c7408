mod filter;
mod forget;
mod get;
mod list;
mod watch;

use aleph_sdk::ServedMessage;
use clap::Subcommand;
use serde_json::Value;

use crate::context::Context;
use crate::error::CliResult;
use crate::output::clipped;

/// Commands about messages.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Get(get::Arguments),
    List(Box<list::Arguments>),
    Watch(Box<watch::Arguments>),
    Forget(forget::Arguments),
}

pub(crate) async fn run(command: Command, context: &Context) -> CliResult {
    match command {
        Command::Get(arguments) => get::run(&arguments, context).await,
        Command::List(arguments) => list::run(&arguments, context).await,
        Command::Watch(arguments) => watch::run(&arguments, context).await,
        Command::Forget(arguments) => forget::run(&arguments, context).await,
    }
}

/// The envelope's time, to the second.
fn time_of(message: &ServedMessage) -> String {
    message.time.map(|time| time.iso_z().to_string().chars().take(19).collect()).unwrap_or_default()
}

/// What a message is about, in a few words.
fn gist(message: &ServedMessage) -> String {
    let Some(content) = &message.content else { return String::new() };
    let text = |key: &str| content.get(key).and_then(Value::as_str).unwrap_or_default();
    let words = match message.message_type.as_str() {
        "POST" => format!("{} {}", text("type"), content.get("content").unwrap_or(&Value::Null)),
        "AGGREGATE" => {
            let keys = content.get("content").and_then(Value::as_object);
            let keys = keys.map(|map| map.keys().cloned().collect::<Vec<_>>().join(", "));
            format!("{}: {}", text("key"), keys.unwrap_or_default())
        }
        "STORE" => format!("file {} {}", text("item_hash"), text("ref")),
        "FORGET" => {
            let hashes = content.get("hashes").and_then(Value::as_array);
            let first = hashes.and_then(|all| all.first()).and_then(Value::as_str).unwrap_or_default();
            match hashes.map_or(0, Vec::len) {
                0 | 1 => first.to_owned(),
                more => format!("{first} and {} more", more - 1),
            }
        }
        "PROGRAM" | "INSTANCE" => {
            let name = content.get("metadata").and_then(|metadata| metadata.get("name"));
            name.and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        _ => String::new(),
    };
    clipped(words.trim(), 60)
}
