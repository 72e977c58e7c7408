//! The libp2p side of a core node: spreads messages by gossip, knows who is there.
//!
//! One task owns the swarm. The application talks to it through a [`NetworkHandle`] and a bounded
//! channel of [`Event`]s. On the wire it is a peer like the reference's service
//! (`spec: p2p.md §§2–4`): TCP, noise, yamux, gossipsub with strict signatures.
//!
//! Invariants:
//!
//! * Nothing is forwarded before the application judged it: every [`Received`] message carries a
//!   [`Ticket`], and only [`Verdict::Accept`] within [`VERDICT_WITHIN`] makes it travel on.
//! * What is beyond an author's budget is not taken, a peer that sends too much is read slowly, and a
//!   stranger that does wrong is shunned. Configured and listed peers never are, and what one peer
//!   did costs no other one's messages.
//! * Every queue is bounded. When the application is slower than the network, the swarm is not
//!   read, and TCP slows the peers down.
//! * A message published while nobody listens waits in a small outbox for [`OUTBOX_FOR`].
//! * Gossip is not a guarantee: a node that was away misses what was said. [`Event::PeerSubscribed`]
//!   is the moment to compare notes with a peer.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use aleph_p2p::{Event, KeyType, Network, NetworkConfig, NodeKey, Verdict};
//!
//! let key = NodeKey::load_or_generate("node-secret.pkcs8.der".as_ref(), KeyType::Ed25519)?;
//! let config = NetworkConfig { listen: vec!["/ip4/127.0.0.1/tcp/4025".parse()?], ..Default::default() };
//! let (network, mut events) = Network::start(config, key).await?;
//! network.publish_message(r#"{"item_hash":"…"}"#).await?;
//! while let Some(event) = events.recv().await {
//!     if let Event::Message(received) = event {
//!         for text in aleph_p2p::decode_payload(&received.data) {
//!             println!("{text}");
//!         }
//!         received.ticket.report(Verdict::Accept);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod announcement;
mod ask;
mod bitswap;
mod book;
mod config;
mod defaults;
mod error;
mod event;
mod handle;
mod key;
mod network;
mod payload;
mod peers;
mod standing;
mod streams;

pub use announcement::{Announcement, PeerType};
pub use ask::{AnswerLimits, AskError, SYNC_PROTOCOL};
pub use bitswap::{Bitswap, BlockSource, BlockStats, Session, SessionEvent};
pub use config::{Announce, ConfiguredPeer, DhtConfig, DhtScope, InvalidPeer, Limits, NetworkConfig, Topics};
pub use defaults::{MAX_PUBLISH, OUTBOX_FOR, VERDICT_WITHIN};
pub use error::{PublishError, StartError};
pub use event::{Event, GossipId, PublishOutcome, Received, Ticket, Verdict};
pub use handle::{NetworkHandle, Stats};
pub use key::{KeyError, KeyType, NodeKey, signer_of};
pub use libp2p::{Multiaddr, PeerId};
pub use network::Network;
pub use payload::{decode_payload, encode_payload, gossip_id};
pub use peers::{HttpPeer, KnownAddress, PeerInfo};
pub use standing::{Fault, Offence, Standing, Trust};
