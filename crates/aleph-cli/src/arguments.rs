//! Groups of arguments that several commands share, and how their values are read.

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use aleph_sdk::PaymentMethod;
use aleph_types::{Address, Timestamp};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use crate::context::Context;
use crate::error::{CliError, CliResult};

/// Most bytes of JSON that are read from stdin or a file; the network takes less.
const LARGEST_DOCUMENT: u64 = 25 * 1024 * 1024;

/// How a message is published.
#[derive(Debug, Clone, Args)]
pub(crate) struct Publish {
    /// Label of the message [default: the setting `channel`, else none]
    #[arg(long, value_name = "TEXT")]
    channel: Option<String>,
    /// Owner for whom the account signs; the owner must allow it
    #[arg(long, value_name = "ADDRESS")]
    on_behalf_of: Option<String>,
}

impl Publish {
    pub(crate) fn channel(&self, context: &Context) -> Option<String> {
        self.channel.clone().or_else(|| context.config.channel.clone())
    }

    pub(crate) fn owner(&self) -> Option<Address> {
        self.on_behalf_of.as_deref().map(Address::from)
    }
}

/// How a resource is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Payment {
    /// Credits
    Credit,
    /// Tokens held; taken for small files only, and not after 2026
    Hold,
}

impl From<Payment> for PaymentMethod {
    fn from(payment: Payment) -> Self {
        match payment {
            Payment::Credit => PaymentMethod::Credit,
            Payment::Hold => PaymentMethod::Hold,
        }
    }
}

/// Where a JSON document comes from.
#[derive(Debug, Clone, Args)]
pub(crate) struct Document {
    /// The content as JSON [default: read from stdin]
    #[arg(value_name = "JSON", conflicts_with_all = ["content", "file"])]
    document: Option<String>,
    /// The same, by name
    #[arg(long, value_name = "JSON", conflicts_with = "file")]
    content: Option<String>,
    /// File with the content as JSON
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

impl Document {
    pub(crate) fn read(&self) -> CliResult<Value> {
        let (text, source) = match (self.document.as_ref().or(self.content.as_ref()), &self.file) {
            (Some(text), _) => (text.clone(), "the command line".to_owned()),
            (None, Some(path)) => {
                let file = std::fs::File::open(path).map_err(|error| CliError::file("read", path, &error))?;
                let text = read_bounded(file).map_err(|error| CliError::file("read", path, &error))?;
                (text, path.display().to_string())
            }
            (None, None) => {
                let text = if io::stdin().is_terminal() {
                    String::new()
                } else {
                    read_bounded(io::stdin().lock())
                        .map_err(|error| CliError::failure("can't read stdin").cause(error.to_string()))?
                };
                if text.trim().is_empty() {
                    return Err(CliError::usage("no content is given").hint(
                        "give it as an argument, '{\"key\": \"value\"}', with --file PATH, or on stdin",
                    ));
                }
                (text, "stdin".to_owned())
            }
        };
        serde_json::from_str(&text).map_err(|error| {
            CliError::usage(format!("the content from {source} is not JSON"))
                .cause(error.to_string())
                .hint("texts need quotes of their own, as in '\"hello\"'")
        })
    }

    pub(crate) fn read_object(&self) -> CliResult<Map<String, Value>> {
        match self.read()? {
            Value::Object(map) => Ok(map),
            _ => Err(CliError::usage("the content must be a JSON object, as in '{\"name\": \"me\"}'")),
        }
    }
}

fn read_bounded(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    let read = from.take(LARGEST_DOCUMENT + 1).read_to_string(&mut text)?;
    if read as u64 > LARGEST_DOCUMENT {
        return Err(io::Error::other("larger than 25 MiB"));
    }
    Ok(text)
}

/// Seconds since the epoch, or RFC 3339, or a date.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Timestamp::from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_micros(instant.as_microsecond()));
    }
    let date: jiff::civil::Date = text.parse().map_err(|_| {
        "expected a date (2026-01-31), a time (2026-01-31T12:00:00Z) or seconds since 1970".to_owned()
    })?;
    let instant = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|error| error.to_string())?.timestamp();
    Ok(Timestamp::from_micros(instant.as_microsecond()))
}

/// `KEY=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_three_ways() {
        let midday = Timestamp::from_secs(1_714_564_800);
        assert_eq!(time("1714564800").unwrap(), midday);
        assert_eq!(time("2024-05-01T12:00:00Z").unwrap(), midday);
        assert_eq!(time("2024-05-01T14:00:00+02:00").unwrap(), midday);
        assert_eq!(time("2024-05-01").unwrap(), Timestamp::from_secs(1_714_521_600));
        assert!(time("yesterday").is_err());
    }

    #[test]
    fn pairs_have_a_key() {
        assert_eq!(pair("A=b=c").unwrap(), ("A".into(), "b=c".into()));
        assert_eq!(pair("A=").unwrap(), ("A".into(), String::new()));
        assert!(pair("=b").is_err());
        assert!(pair("A").is_err());
    }
}
