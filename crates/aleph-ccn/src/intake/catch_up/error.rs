//! Why another node could not be caught up with.

use super::super::exchange::{ANSWER_MAX, ExchangeError};
use super::super::snapshot::ManifestError;
use super::comparison::FRUITLESS_FRAMES;
use super::source::{PATIENCE, REQUEST_LIMIT};
use crate::pipeline::PipelineError;

#[derive(Debug, thiserror::Error)]
pub(super) enum CatchUpError {
    #[error("request failed")]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Ask(#[from] aleph_p2p::AskError),
    #[error("answered status {0}")]
    Status(u16),
    #[error("speaks no such protocol: it is no alephd, or an older one")]
    Foreign,
    #[error("did not answer in {} s", REQUEST_LIMIT.as_secs())]
    Slow,
    #[error("had {} s to answer something useful", PATIENCE.as_secs())]
    Dull,
    #[error("answered more than {ANSWER_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("sent a frame that can't be read: {0}")]
    Frame(negentropy::Error),
    #[error("sent {FRUITLESS_FRAMES} frames that lead to nothing")]
    Fruitless,
    #[error("named {0} messages that it does not hand out")]
    Empty(u64),
    #[error("named {0} messages and neither hands them out nor says that they are gone")]
    Withheld(usize),
    #[error("sent messages that were not asked for")]
    Unasked,
    #[error("sent {0} messages that nobody signed")]
    Unsigned(u64),
    #[error("told a snapshot that can't be believed: {0}")]
    Manifest(#[from] ManifestError),
    #[error("chunk {0} of its snapshot is not what the snapshot says")]
    Chunk(usize),
    #[error("brought nothing while others waited to be asked")]
    GaveWay,
    #[error("this node is stopping")]
    Stopping,
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error(transparent)]
    Store(#[from] aleph_store::StoreError),
}

impl CatchUpError {
    /// Whether the other node may answer in a moment: it could not be reached, or was busy.
    pub(super) fn may_pass_soon(&self) -> bool {
        match self {
            Self::Http(_)
            | Self::Status(_)
            | Self::Slow
            | Self::GaveWay
            | Self::Exchange(ExchangeError::Refused(_)) => true,
            Self::Ask(error) => !matches!(error, aleph_p2p::AskError::TooLong { .. }),
            _ => false,
        }
    }

    /// Whether no sound node would have caused it.
    pub(super) fn is_wrong(&self) -> bool {
        match self {
            Self::Exchange(ExchangeError::Form(_))
            | Self::Frame(_)
            | Self::Fruitless
            | Self::Withheld(_)
            | Self::Unasked
            | Self::Unsigned(_)
            | Self::Manifest(_)
            | Self::Chunk(_)
            | Self::TooLarge
            | Self::Dull
            | Self::Ask(aleph_p2p::AskError::TooLong { .. }) => true,
            Self::Http(_)
            | Self::Ask(_)
            | Self::Status(_)
            | Self::Foreign
            | Self::Empty(_)
            | Self::Slow
            | Self::GaveWay
            | Self::Exchange(ExchangeError::Refused(_))
            | Self::Stopping
            | Self::Pipeline(_)
            | Self::Store(_) => false,
        }
    }
}

/// An error with its causes, on one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
