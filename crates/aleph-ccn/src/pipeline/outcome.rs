use aleph_crypto::TrustedSource;
use aleph_store::{StoreError, StoreErrorKind};
use aleph_types::{FormatError, Rejection};

/// Where a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A client of this node; the node spreads it.
    Http,
    /// The gossip of another node.
    Gossip,
    /// Read from another node while catching up.
    CatchUp,
    /// The genesis file of a private network: trusted.
    Genesis,
    /// An archive that a transaction of a chain names.
    Chain,
    /// An event of a smart contract on a chain: trusted.
    Contract,
}

impl Origin {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Http => "http",
            Origin::Gossip => "gossip",
            Origin::CatchUp => "catch-up",
            Origin::Genesis => "genesis",
            Origin::Chain => "chain",
            Origin::Contract => "contract",
        }
    }

    /// What stands for the signature of messages from here.
    pub(crate) fn trusted(self) -> Option<TrustedSource> {
        match self {
            Origin::Genesis => Some(TrustedSource::Genesis),
            Origin::Contract => Some(TrustedSource::SmartContractEvent),
            Origin::Http | Origin::Gossip | Origin::CatchUp | Origin::Chain => None,
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Origin::Http, Origin::Gossip, Origin::CatchUp, Origin::Genesis, Origin::Chain, Origin::Contract]
            .into_iter()
            .find(|origin| origin.as_str() == word)
    }

    /// Whether this node is the one that spreads the message.
    pub(crate) fn is_published_here(self) -> bool {
        self == Origin::Http
    }
}

/// The fate of a message, on disk.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Valid and applied.
    Processed,
    /// It waits for something.
    Pending,
    /// Refused.
    Rejected(Rejection),
    /// It was deleted; it can't come back.
    Forgotten,
    /// It was removed for lack of funds.
    Removed,
    /// Applied, but its owner can't pay any more.
    Removing,
}

/// Why a message has no fate yet. Nothing was lost: the caller was not promised anything.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PipelineError {
    /// The node is shutting down.
    #[error("this node is shutting down; send the message to another one")]
    Stopped,
    /// The database can't be written now.
    #[error("this node can't store messages now: {reason}")]
    Unavailable {
        /// A sentence for people.
        reason: String,
    },
}

impl PipelineError {
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }

    pub(crate) fn thread(error: std::io::Error) -> Self {
        Self::unavailable(format!("a thread can't be started: {error}"))
    }
}

impl From<StoreError> for PipelineError {
    fn from(error: StoreError) -> Self {
        if error.kind() == StoreErrorKind::Bug {
            tracing::error!(error = %error, "database error");
        }
        let mut reason = error.to_string();
        if error.kind() == StoreErrorKind::Unavailable && !reason.contains("by itself") {
            // A node that runs asks again with the next message; one that starts ends with the error.
            reason.push_str(" The node tries again by itself.");
        }
        Self::unavailable(reason)
    }
}

/// What the caller of `submit` is told.
pub(crate) type Answer = Result<Outcome, PipelineError>;

/// A form error as a refusal of code 0.
pub(crate) fn invalid(error: FormatError) -> Rejection {
    Rejection::from(error)
}
