use std::io;

use libp2p::Multiaddr;

use crate::MAX_PUBLISH;

/// Why the network can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken by another process or is not this machine's.
    #[error("can't listen on {address}: choose a free port or stop the process that holds it")]
    Listen {
        /// The address that was asked for.
        address: Multiaddr,
        /// The system's own error.
        #[source]
        source: io::Error,
    },
    /// The address is of a kind that is not spoken.
    #[error("can't listen on {0}: only /ip4/…/tcp/… and /ip6/…/tcp/… are served")]
    Unsupported(Multiaddr),
    /// The handshake or the gossip layer refused the key or the settings.
    #[error("can't set up the network: {0}")]
    Setup(String),
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It would make a frame that peers can't read.
    #[error(
        "{size} bytes are too many for gossip, which carries {MAX_PUBLISH}: store the content and publish its hash"
    )]
    TooLarge {
        /// Bytes after percent signs were escaped.
        size: usize,
    },
    /// There is nothing to say.
    #[error("an empty message can't be published")]
    Empty,
    /// Every peer's queue is full; peers got nothing of this message.
    #[error("the queues to all {peers} peers are full: publish slower")]
    Congested {
        /// Peers that are subscribed.
        peers: usize,
    },
    /// More commands wait than [`crate::Limits::commands`] allows.
    #[error("too many messages wait to be published: publish slower")]
    Busy,
    /// The network was shut down.
    #[error("the network is shut down")]
    Closed,
    /// The message could not be signed with the node's key.
    #[error("can't sign with the node's key: {0}")]
    Signing(String),
}
