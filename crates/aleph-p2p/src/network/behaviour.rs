use std::sync::Arc;

use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{identify, ping};
use parking_lot::Mutex;

use super::dht::{self, Dht};
use super::gate::Gate;
use super::gossip::Gossip;
use crate::defaults::{PING_EVERY, PING_WITHIN};
use crate::standing::Standings;
use crate::{DhtScope, NetworkConfig, ask, bitswap};

/// What identify calls the family of protocols, as every node of IPFS does.
const IDENTIFY: &str = "ipfs/0.1.0";

/// The protocols that this node speaks.
///
/// A further protocol (block exchange, reconciliation) is a further field here, an arm in
/// [`super::task::Task::on_swarm`] for its events, and a [`crate::handle::Command`] for what the
/// application asks of it. What it learns of peers it tells `standings`.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    /// First, so that nothing is spent on a connection that is one too many.
    pub(crate) gate: Gate,
    pub(crate) gossip: Gossip,
    /// Finds dead connections to peers that answer it (`spec: p2p.md §4`: not to be relied on).
    ping: ping::Behaviour,
    /// Streams of questions and answers ([`crate::NetworkHandle::ask`]).
    questions: ask::Streams,
    /// Tells peers which protocols are spoken here: those of IPFS don't try without.
    pub(crate) identify: Toggle<identify::Behaviour>,
    blocks: Toggle<bitswap::Streams>,
    pub(crate) dht: Toggle<Dht>,
}

impl Behaviour {
    pub(crate) fn new(
        config: &NetworkConfig,
        key: Keypair,
        standings: &Arc<Mutex<Standings>>,
        questions: ask::Streams,
        blocks: Option<bitswap::Streams>,
    ) -> Result<Self, String> {
        let dht = config.dht.as_ref().map(|config| dht::behaviour(config, key.public().to_peer_id()));
        let is_private = config.dht.as_ref().is_some_and(|dht| dht.scope == DhtScope::Private);
        let identify = (blocks.is_some() || dht.is_some()).then(|| {
            let config = identify::Config::new(IDENTIFY.to_owned(), key.public())
                .with_agent_version(config.announce.version.replace(' ', "/"))
                // Elsewhere the addresses of this machine are the affair of announcements.
                .with_hide_listen_addrs(!is_private);
            identify::Behaviour::new(config)
        });
        Ok(Self {
            gate: Gate::new(config.limits.clone(), Arc::clone(standings)),
            gossip: Gossip::new(&config.topics, key, Arc::clone(standings))?,
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(PING_EVERY).with_timeout(PING_WITHIN),
            ),
            questions,
            identify: identify.into(),
            blocks: blocks.into(),
            dht: dht.into(),
        })
    }
}
