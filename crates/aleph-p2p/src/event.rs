use std::fmt;

use bytes::Bytes;
use libp2p::gossipsub::MessageId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;

use crate::Announcement;

/// The identity of a payload on the network: a hash of its bytes (`spec: p2p.md §2.3`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GossipId(pub u64);

impl fmt::Display for GossipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<GossipId> for MessageId {
    fn from(id: GossipId) -> Self {
        Self(id.0.to_string().into_bytes())
    }
}

/// What happened on the network.
#[derive(Debug)]
pub enum Event {
    /// A message that this node has not seen for 30 minutes. It is forwarded when judged.
    Message(Received),
    /// An announcement of a peer that is configured or allowed.
    Alive {
        /// The author, whose signature was checked. Nothing proves that the address is its own.
        peer: PeerId,
        /// What it says.
        announcement: Announcement,
    },
    /// The first connection to a peer stands.
    PeerConnected {
        /// Who.
        peer: PeerId,
        /// The address of its end.
        address: Multiaddr,
    },
    /// A connected peer listens to messages: from now on it gets what is published.
    PeerSubscribed {
        /// Who.
        peer: PeerId,
    },
    /// The last connection to a peer is gone.
    PeerDisconnected {
        /// Who.
        peer: PeerId,
    },
}

/// A payload from the message topic.
#[derive(Debug)]
pub struct Received {
    /// The identity of the payload.
    pub id: GossipId,
    /// The node that published it; its signature was checked.
    pub author: PeerId,
    /// The peer that handed it to this node.
    pub from: PeerId,
    /// The bytes as they travelled; see [`crate::decode_payload`].
    pub data: Bytes,
    /// Decides whether it travels on.
    pub ticket: Ticket,
}

/// What the application thinks of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// It can't be valid for anyone; it stays here and counts against its author, and a little
    /// against a stranger that passed it on.
    Reject,
    /// It stays here; nobody is to blame.
    Ignore,
}

/// The right to decide about one payload, once. Dropping it means [`Verdict::Ignore`].
///
/// Decide when the envelope and the signature are checked, not when the message is processed:
/// after [`crate::VERDICT_WITHIN`] the payload can't be forwarded any more.
#[derive(Debug)]
pub struct Ticket {
    /// `None` once used. The channel has no bound of its own; tickets do ([`crate::Limits::verdicts`]).
    reply: Option<mpsc::UnboundedSender<Judgement>>,
    about: Box<About>,
}

/// What a verdict is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    pub(crate) id: GossipId,
    pub(crate) author: PeerId,
    pub(crate) from: PeerId,
}

/// A verdict on its way to the swarm.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) about: About,
    pub(crate) verdict: Verdict,
}

impl Ticket {
    pub(crate) fn new(about: About, reply: mpsc::UnboundedSender<Judgement>) -> Self {
        Self { reply: Some(reply), about: Box::new(about) }
    }

    /// Decides. Never blocks; may be called on any thread.
    pub fn report(mut self, verdict: Verdict) {
        self.send(verdict);
    }

    fn send(&mut self, verdict: Verdict) {
        if let Some(reply) = self.reply.take() {
            // A network that is gone forwards nothing.
            let _ = reply.send(Judgement { about: *self.about, verdict });
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.send(Verdict::Ignore);
    }
}

/// What became of a message that was given to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It is on its way to every subscribed peer.
    Sent {
        /// The identity of the payload.
        id: GossipId,
        /// How many peers.
        peers: usize,
    },
    /// Nobody listens yet. It is sent to those who do within [`crate::OUTBOX_FOR`], unless newer
    /// messages push it out.
    Queued {
        /// The identity of the payload.
        id: GossipId,
    },
    /// The same bytes went through this node within the last 30 minutes; nothing to do.
    Duplicate {
        /// The identity of the payload.
        id: GossipId,
    },
}
