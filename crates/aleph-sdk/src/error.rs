use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use aleph_types::{ErrorCode, FormatError, ItemHash};
use serde_json::Value;

/// The result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose move it is after an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The network understood the request and refused it; the same request will be refused again.
    Rejected,
    /// A node could not be reached, was overloaded or too slow; the same request may work later.
    Unavailable,
    /// The caller gave something that can't work; nothing was sent.
    InvalidInput,
    /// What was asked for does not exist on that node.
    NotFound,
    /// A node answered against its own contract, or this library is wrong.
    Bug,
}

impl ErrorKind {
    /// A stable lower-case word for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::InvalidInput => "invalid_input",
            Self::NotFound => "not_found",
            Self::Bug => "bug",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message that the network refused for good (`spec: messages.md §10`).
#[derive(Debug, Clone, PartialEq)]
pub struct RejectedMessage {
    /// The message.
    pub item_hash: ItemHash,
    /// The number on the wire; `None` when the node did not tell.
    pub code: Option<i64>,
    /// What the node says about it, as served.
    pub details: Option<Value>,
}

impl RejectedMessage {
    /// The code, if this library knows it.
    pub fn error_code(&self) -> Option<ErrorCode> {
        self.code.and_then(|number| i16::try_from(number).ok()).and_then(ErrorCode::from_i16)
    }

    /// The entries of `details.errors` as short lines.
    pub fn detail_lines(&self) -> Vec<String> {
        let Some(details) = &self.details else { return Vec::new() };
        match details.get("errors").and_then(Value::as_array) {
            Some(errors) => errors.iter().map(detail_line).collect(),
            None if details.is_null() => Vec::new(),
            None => vec![detail_line(details)],
        }
    }
}

fn detail_line(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(object) => match (object.get("loc"), object.get("msg").and_then(Value::as_str)) {
            (Some(Value::String(loc)), Some(msg)) => format!("{loc}: {msg}"),
            (Some(loc), Some(msg)) => format!("{loc}: {msg}"),
            _ => object
                .iter()
                .map(|(key, value)| match value {
                    Value::String(text) => format!("{key} {text}"),
                    other => format!("{key} {other}"),
                })
                .collect::<Vec<_>>()
                .join(", "),
        },
        other => other.to_string(),
    }
}

impl fmt::Display for RejectedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} was rejected", self.item_hash)?;
        match (self.error_code(), self.code) {
            (Some(code), Some(number)) => write!(f, " with code {number}: {}", code.explanation())?,
            (None, Some(number)) => write!(f, " with code {number}")?,
            (_, None) => {}
        }
        Ok(())
    }
}

/// What can go wrong between a client and the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's data can't become a request.
    #[error("{what}")]
    Input {
        /// What is wrong, as a lower-case fragment.
        what: String,
    },
    /// The content would be refused by every node: it breaks the rules of its message type.
    #[error("the {message_type} message does not have the required form")]
    Content {
        /// Word of the message type on the wire.
        message_type: &'static str,
        /// Fields and rules.
        #[source]
        source: FormatError,
    },
    /// A local file could not be used.
    #[error("can't {action} {}", path.display())]
    File {
        /// What was tried: `read`, `write`, …
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The key could not sign.
    #[error("can't sign")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No connection, or it broke, after all retries.
    #[error("no answer from {url}")]
    Unreachable {
        /// What was requested.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The node answered with an HTTP error.
    #[error("{url} answered {status}{}", shown_body(body))]
    Status {
        /// What was requested.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer's text.
        body: String,
    },
    /// The node's answer is not what its API promises.
    #[error("{url} did not answer with {expected}")]
    Answer {
        /// What was requested.
        url: String,
        /// What should have come.
        expected: &'static str,
        /// Why the answer could not be read, if that is known.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The network refused the message.
    #[error("{0}")]
    Rejected(Box<RejectedMessage>),
    /// The thing is unknown to the node.
    #[error("{what} is unknown to {node}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// Who was asked.
        node: String,
    },
    /// The bytes that arrived are not those of the hash that was asked for.
    #[error("the bytes of {expected} that {node} sent have the hash {computed}")]
    Corrupt {
        /// The hash asked for.
        expected: ItemHash,
        /// The hash of what came.
        computed: ItemHash,
        /// Who sent it.
        node: String,
    },
    /// Work inside this process broke off.
    #[error("{what} broke off")]
    Broken {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something did not happen in time.
    #[error("{what} within {} s", after.as_secs())]
    TimedOut {
        /// What did not happen, as in "no compute node took the program".
        what: String,
        /// How long it was waited for.
        after: Duration,
    },
}

fn shown_body(body: &str) -> String {
    let line = body.trim();
    if line.is_empty() { String::new() } else { format!(": {line}") }
}

impl Error {
    /// An input error with that text.
    pub(crate) fn input(what: impl Into<String>) -> Self {
        Self::Input { what: what.into() }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File { action, path: path.into(), source }
    }

    pub(crate) fn unreachable(
        url: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unreachable { url: url.into(), source: source.into() }
    }

    pub(crate) fn answer(
        url: impl Into<String>,
        expected: &'static str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Answer { url: url.into(), expected, source: Some(Box::new(source)) }
    }

    pub(crate) fn strange_answer(url: impl Into<String>, expected: &'static str) -> Self {
        Self::Answer { url: url.into(), expected, source: None }
    }

    /// Whose move it is now.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Input { .. } | Self::Content { .. } | Self::File { .. } | Self::Sign(_) => {
                ErrorKind::InvalidInput
            }
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Corrupt { .. } => ErrorKind::Unavailable,
            Self::Status { status, .. } => match status {
                404 => ErrorKind::NotFound,
                429 | 502 | 503 | 504 => ErrorKind::Unavailable,
                500..=599 => ErrorKind::Bug,
                _ => ErrorKind::Rejected,
            },
            Self::Answer { .. } | Self::Broken { .. } => ErrorKind::Bug,
            Self::Rejected(_) => ErrorKind::Rejected,
            Self::NotFound { .. } => ErrorKind::NotFound,
        }
    }

    /// The refused message, when this is one.
    pub fn rejected(&self) -> Option<&RejectedMessage> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rejected(code: i64, details: Value) -> RejectedMessage {
        RejectedMessage { item_hash: ItemHash::sha256(b"x"), code: Some(code), details: Some(details) }
    }

    #[test]
    fn a_rejection_says_what_happened_and_the_details_are_lines() {
        let error = rejected(5, json!({"errors": [{"required_balance": "12.5", "account_balance": "3"}]}));
        assert!(
            error.to_string().ends_with("with code 5: the owner's token balance does not cover the cost")
        );
        assert_eq!(error.detail_lines(), ["required_balance 12.5, account_balance 3"]);
        let unknown = rejected(4711, json!({"errors": ["odd"]}));
        assert!(unknown.to_string().ends_with("was rejected with code 4711"));
        assert_eq!(unknown.detail_lines(), ["odd"]);
        let form = rejected(
            0,
            json!({"errors": [{"type": "missing", "loc": "('type',)", "msg": "Field required"}]}),
        );
        assert_eq!(form.detail_lines(), ["('type',): Field required"]);
        assert_eq!(rejected(1, Value::Null).detail_lines(), Vec::<String>::new());
    }

    #[test]
    fn kinds_of_statuses() {
        let of = |status| Error::Status { url: "u".into(), status, body: String::new() }.kind();
        assert_eq!(of(404), ErrorKind::NotFound);
        assert_eq!(of(402), ErrorKind::Rejected);
        assert_eq!(of(429), ErrorKind::Unavailable);
        assert_eq!(of(503), ErrorKind::Unavailable);
        assert_eq!(of(500), ErrorKind::Bug);
    }
}
