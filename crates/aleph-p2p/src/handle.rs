use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use aleph_cid::Cid;
use libp2p::{Multiaddr, PeerId};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::ask::{Conversations, Door};
use crate::bitswap::Bitswap;
use crate::defaults::FAULTY_TOLD;
use crate::key::Signer;
use crate::peers::{HttpPeer, KnownAddress, PeerInfo, PeerTable};
use crate::standing::{Standing, Standings};
use crate::{ConfiguredPeer, MAX_PUBLISH, PublishError, PublishOutcome, encode_payload};

/// The application's end of the network. Cheap to clone; the network stops when the last clone is
/// dropped or [`NetworkHandle::shutdown`] is called.
#[derive(Clone)]
pub struct NetworkHandle {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

impl fmt::Debug for NetworkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkHandle").field("peer_id", &self.shared.me).finish_non_exhaustive()
    }
}

/// What the swarm is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Publish { payload: Vec<u8>, reply: Option<oneshot::Sender<Result<PublishOutcome, PublishError>>> },
    Dial(ConfiguredPeer),
    Provide(Cid),
    StopProviding(Cid),
    FindProviders(Cid),
    Meet { peer: PeerId, addresses: Vec<Multiaddr> },
    Shutdown(oneshot::Sender<()>),
}

/// What the swarm's task and the handles both see.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) me: PeerId,
    pub(crate) own_url: Option<String>,
    pub(crate) listening: Mutex<Vec<Multiaddr>>,
    pub(crate) peers: Mutex<PeerTable>,
    /// Locked after `peers` by who needs both.
    pub(crate) standings: Arc<Mutex<Standings>>,
    pub(crate) counters: Counters,
    pub(crate) door: Door,
    pub(crate) conversations: Conversations,
    pub(crate) bitswap: Option<Bitswap>,
    pub(crate) signer: Signer,
}

/// Counts since start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) received: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) ignored: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) unheard: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) failed_dials: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) refused_dials: AtomicU64,
}

/// What the network did since it started. All are counts of messages unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connected peers, now.
    pub peers: usize,
    /// Connected peers that listen to messages, now.
    pub subscribers: usize,
    /// Given to the application.
    pub received: u64,
    /// Judged well and passed on.
    pub accepted: u64,
    /// Judged invalid.
    pub rejected: u64,
    /// Dropped without blame.
    pub ignored: u64,
    /// Judged well, but too late to be passed on.
    pub late: u64,
    /// Published by this node.
    pub published: u64,
    /// Given up because nobody listened.
    pub unheard: u64,
    /// Not taken by a slow peer; one message may count for several peers.
    pub missed: u64,
    /// Failed attempts to dial, not messages.
    pub failed_dials: u64,
    /// Connections that were not taken, not messages.
    pub refused: u64,
    /// Dials to strangers that were not made because there were too many ([`crate::Limits::outgoing`]).
    pub refused_dials: u64,
    /// Peers that are shunned, now.
    pub shunned_peers: usize,
    /// Addresses that are shunned, now.
    pub shunned_addresses: usize,
    /// Peers of which it is remembered how they stand, now: 4,096 at most.
    pub remembered_peers: usize,
}

pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl NetworkHandle {
    pub(crate) fn new(commands: mpsc::Sender<Command>, shared: Arc<Shared>) -> Self {
        Self { commands, shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Publishes one message, given as its JSON text; percent signs are escaped here.
    ///
    /// Resolves when the message is in the queues to all subscribed peers, which takes a signature
    /// of the node's key (see [`crate::KeyType`]). Waits when too many messages are ahead.
    pub async fn publish_message(&self, text: impl AsRef<[u8]>) -> Result<PublishOutcome, PublishError> {
        let payload = checked(text.as_ref())?;
        let (reply, outcome) = oneshot::channel();
        let command = Command::Publish { payload, reply: Some(reply) };
        self.commands.send(command).await.map_err(|_| PublishError::Closed)?;
        outcome.await.unwrap_or(Err(PublishError::Closed))
    }

    /// As [`NetworkHandle::publish_message`], without waiting for the outcome: for callers that
    /// can't await. Never blocks.
    pub fn try_publish_message(&self, text: impl AsRef<[u8]>) -> Result<(), PublishError> {
        let payload = checked(text.as_ref())?;
        self.commands.try_send(Command::Publish { payload, reply: None }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PublishError::Busy,
            mpsc::error::TrySendError::Closed(_) => PublishError::Closed,
        })
    }

    /// Adds a peer to those that are dialled again and again. Its announcements are not believed
    /// for that.
    pub async fn dial(&self, peer: ConfiguredPeer) {
        // A network that is shut down dials nobody.
        let _ = self.commands.send(Command::Dial(peer)).await;
    }

    /// The connected peers, the longest connected first.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.shared.peers.lock().infos()
    }

    /// Peers that did something wrong and are not connected: shunned ones, and authors that only others
    /// are connected to. The worst first, a few hundred at most.
    pub fn faulty_peers(&self) -> Vec<Standing> {
        let faulty = self.shared.standings.lock().faulty(FAULTY_TOLD, Instant::now());
        let connected: HashSet<PeerId> = self.peers().into_iter().map(|info| info.peer).collect();
        faulty.into_iter().filter(|standing| !connected.contains(&standing.peer)).collect()
    }

    /// What believed peers announced within a day, the freshest first.
    pub fn known_addresses(&self) -> Vec<KnownAddress> {
        self.shared.peers.lock().known(Instant::now())
    }

    /// The HTTP APIs of other nodes: announced within a day, the freshest first, then configured.
    /// Never this node's own.
    pub fn http_peers(&self) -> Vec<HttpPeer> {
        self.shared.peers.lock().http_peers(Instant::now(), self.shared.own_url.as_deref())
    }

    /// Replaces the peers whose announcements are believed beside the configured ones; the
    /// application takes them from the `corechannel` aggregate (`spec: p2p.md §3.2`).
    pub fn set_allowed_peers(&self, peers: impl IntoIterator<Item = PeerId>) {
        let peers: HashSet<PeerId> = peers.into_iter().collect();
        self.shared.peers.lock().allow(peers);
    }

    /// Signs bytes with the node's key: the signature, and the public key for [`crate::signer_of`]. Takes
    /// a millisecond or two with RSA. `None` if the key can't sign.
    pub fn sign(&self, message: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        self.shared.signer.sign(message)
    }

    /// The identity of this node.
    pub fn peer_id(&self) -> PeerId {
        self.shared.me
    }

    /// The addresses that this node listens on, without `/p2p/…`.
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.shared.listening.lock().clone()
    }

    /// Block exchange, unless it is off ([`crate::NetworkConfig::blocks`]).
    pub fn bitswap(&self) -> Option<&Bitswap> {
        self.shared.bitswap.as_ref()
    }

    /// Tells the distributed table that this node has something, and tells it again every 22 hours. Without
    /// a table ([`crate::NetworkConfig::dht`]) nothing happens.
    pub async fn provide(&self, cid: Cid) {
        // A network that is shut down tells nothing.
        let _ = self.commands.send(Command::Provide(cid)).await;
    }

    /// Tells it no more. Others forget it within two days.
    pub async fn stop_providing(&self, cid: Cid) {
        let _ = self.commands.send(Command::StopProviding(cid)).await;
    }

    /// Looks up in the distributed table who has something, and connects to some of them: sessions of
    /// [`Bitswap`] ask them then.
    pub async fn find_providers(&self, cid: Cid) {
        let _ = self.commands.send(Command::FindProviders(cid)).await;
    }

    /// Counts since start.
    pub fn stats(&self) -> Stats {
        let (peers, subscribers) = {
            let table = self.shared.peers.lock();
            (table.infos().len(), table.subscribers())
        };
        let (remembered_peers, (shunned_peers, shunned_addresses)) = {
            let standings = self.shared.standings.lock();
            (standings.remembered(), standings.shunned(Instant::now()))
        };
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        Stats {
            peers,
            subscribers,
            received: of(&counters.received),
            accepted: of(&counters.accepted),
            rejected: of(&counters.rejected),
            ignored: of(&counters.ignored),
            late: of(&counters.late),
            published: of(&counters.published),
            unheard: of(&counters.unheard),
            missed: of(&counters.missed),
            failed_dials: of(&counters.failed_dials),
            refused: of(&counters.refused),
            refused_dials: of(&counters.refused_dials),
            shunned_peers,
            shunned_addresses,
            remembered_peers,
        }
    }

    /// Closes every connection and ends the network; returns when it is done, within about a
    /// second. A peer that saw the connection close knows this node at once when it comes back.
    pub async fn shutdown(&self) {
        let (done, finished) = oneshot::channel();
        if self.commands.send(Command::Shutdown(done)).await.is_ok() {
            // An error means that it ended by itself.
            let _ = finished.await;
        }
    }
}

/// The payload of a message, if it may travel.
fn checked(text: &[u8]) -> Result<Vec<u8>, PublishError> {
    if text.is_empty() {
        return Err(PublishError::Empty);
    }
    let payload = encode_payload(text);
    if payload.len() > MAX_PUBLISH {
        return Err(PublishError::TooLarge { size: payload.len() });
    }
    Ok(payload.into_owned())
}
