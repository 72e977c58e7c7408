//! Why a program can't be served: a stable code, the cause, the next step, and the reference's status.

use aleph_types::ItemHash;
use http::StatusCode;
use serde::Serialize;

/// What went wrong with a program or with a request to it.
///
/// The texts start with the words that the reference uses (`spec: crn-api.md §8`), because clients show
/// and sometimes match them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error(
        "404: Item hash {0} not found: no core node of this node knows the message; check the hash, or wait until the message has spread"
    )]
    MessageNotFound(ItemHash),
    #[error("410: message {hash} was {status}; nothing runs under it any more")]
    MessageGone { hash: ItemHash, status: String },
    #[error("404: message {hash} is {status} on the core node, not processed: {detail}")]
    MessageNotProcessed { hash: ItemHash, status: String, detail: String },
    #[error("400: VM {hash} is {what}, not a program")]
    NotAProgram { hash: ItemHash, what: &'static str },
    #[error("503: no core node answers ({0}); the request can be repeated when one does")]
    CoreNodesUnreachable(String),
    #[error("400: Code, runtime or data not available: {what} {reference}: {cause}")]
    FileUnavailable { what: &'static str, reference: String, cause: String },
    #[error(
        "400: Code, runtime or data not available: {what} {reference} is corrupt: {cause}; it was refused and never run"
    )]
    FileCorrupt { what: &'static str, reference: String, cause: String },
    #[error("500: {label} file too large{}: {size} bytes, at most {most} are taken here", if *inline { " to pass as an inline zip" } else { "" })]
    FileTooLarge { label: &'static str, inline: bool, size: u64, most: u64 },
    #[error("500: this program can't be run here: {0}")]
    Unsupported(String),
    #[error("503: This CRN cannot host the requested workload at this time. {0}")]
    NoCapacity(String),
    #[error("500: Error during runtime initialisation: {0}")]
    RuntimeInit(String),
    #[error("500: Error during vm initialisation: {0}")]
    ProgramInit(String),
    #[error("500: Unhandled error during initialisation: {0}")]
    Initialisation(String),
    #[error("503: the program never listened: {0}")]
    NeverListened(String),
    #[error("VM did not respond and was shut down: {0}")]
    Crashed(String),
    #[error("Invalid response from VM: {0}")]
    InvalidAnswer(String),
    #[error("Program did not respond within `resource.seconds` ({0} s allowed here)")]
    Timeout(u64),
    #[error("503: {0}")]
    Busy(String),
    #[error("Maximum request body size {0} exceeded")]
    RequestTooLarge(u64),
    #[error(
        "404: program {0} is not allocated on this node, and this node serves no others; ask `aleph program list` where it runs"
    )]
    NotAllocated(ItemHash),
    #[error("503: the VM of this program is being stopped: {0}; repeat the request")]
    Stopping(String),
    #[error("503: the program failed to start and is left alone for {seconds} s: {cause}")]
    RecentlyFailed { seconds: u64, cause: Box<Failure> },
}

impl Failure {
    /// The status that goes to the client (`spec: crn-api.md §8`).
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::MessageNotFound(_) | Self::MessageNotProcessed { .. } | Self::NotAllocated(_) => {
                StatusCode::NOT_FOUND
            }
            Self::MessageGone { .. } => StatusCode::GONE,
            Self::NotAProgram { .. } | Self::FileUnavailable { .. } | Self::FileCorrupt { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::CoreNodesUnreachable(_)
            | Self::NoCapacity(_)
            | Self::Busy(_)
            | Self::NeverListened(_)
            | Self::Stopping(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::FileTooLarge { .. }
            | Self::Unsupported(_)
            | Self::RuntimeInit(_)
            | Self::ProgramInit(_)
            | Self::Initialisation(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Crashed(_) | Self::InvalidAnswer(_) => StatusCode::BAD_GATEWAY,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::RequestTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RecentlyFailed { cause, .. } => cause.status(),
        }
    }

    /// A stable word for programs to match.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::MessageNotFound(_) => "message_not_found",
            Self::MessageGone { .. } => "message_gone",
            Self::MessageNotProcessed { .. } => "message_not_processed",
            Self::NotAProgram { .. } => "not_a_program",
            Self::CoreNodesUnreachable(_) => "core_nodes_unreachable",
            Self::FileUnavailable { .. } => "file_unavailable",
            Self::FileCorrupt { .. } => "file_corrupt",
            Self::FileTooLarge { .. } => "file_too_large",
            Self::Unsupported(_) => "unsupported",
            Self::NoCapacity(_) => "no_capacity",
            Self::RuntimeInit(_) => "runtime_init",
            Self::ProgramInit(_) => "program_init",
            Self::Initialisation(_) => "initialisation",
            Self::NeverListened(_) => "never_listened",
            Self::Crashed(_) => "crashed",
            Self::InvalidAnswer(_) => "invalid_answer",
            Self::Timeout(_) => "timeout",
            Self::Busy(_) => "busy",
            Self::RequestTooLarge(_) => "request_too_large",
            Self::NotAllocated(_) => "not_allocated",
            Self::Stopping(_) => "stopping",
            Self::RecentlyFailed { cause, .. } => cause.code(),
        }
    }

    /// Seconds after which a repetition makes sense, if it does at all.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::CoreNodesUnreachable(_) | Self::NoCapacity(_) | Self::Busy(_) => Some(5),
            Self::Stopping(_) => Some(1),
            Self::RecentlyFailed { seconds, .. } => Some((*seconds).max(1)),
            _ => None,
        }
    }

    /// The same as data, for the lists and the API.
    pub(crate) fn report(&self) -> FailureReport {
        FailureReport { code: self.code().to_owned(), message: self.to_string() }
    }
}

/// A failure as it is shown and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(crate) struct FailureReport {
    pub(crate) code: String,
    pub(crate) message: String,
}
