use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::ping;
use libp2p::swarm::NetworkBehaviour;

use super::gossip::Gossip;
use crate::NetworkConfig;

/// The protocols that this node speaks. Block exchange and reconciliation become further fields.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    /// First, so that nothing is spent on a connection that is one too many.
    limits: connection_limits::Behaviour,
    pub(crate) gossip: Gossip,
    /// Finds dead connections to peers that answer it (`spec: p2p.md §4`: not to be relied on).
    ping: ping::Behaviour,
}

impl Behaviour {
    pub(crate) fn new(config: &NetworkConfig, key: Keypair) -> Result<Self, String> {
        let limits = ConnectionLimits::default()
            .with_max_established_per_peer(Some(config.limits.connections_per_peer))
            .with_max_established_incoming(Some(config.limits.incoming))
            .with_max_established(Some(config.limits.connections))
            .with_max_pending_incoming(Some(config.limits.handshakes));
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            gossip: Gossip::new(&config.topics, key)?,
            ping: ping::Behaviour::new(ping::Config::new()),
        })
    }
}
