//! A node under test, and how to wait for what it sees.

use std::time::Duration;

use aleph_p2p::{
    Announce, ConfiguredPeer, Event, KeyType, Multiaddr, Network, NetworkConfig, NetworkHandle, NodeKey,
    PeerId, Verdict,
};
use libp2p::multiaddr::Protocol;
use tokio::sync::mpsc;

/// Far longer than anything here takes; only a bug reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Node {
    pub(crate) handle: NetworkHandle,
    pub(crate) events: mpsc::Receiver<Event>,
}

pub(crate) fn key() -> NodeKey {
    NodeKey::generate(KeyType::Ed25519).expect("a key")
}

pub(crate) fn config(peers: &[&Node]) -> NetworkConfig {
    NetworkConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
        peers: peers.iter().map(|peer| peer.as_peer()).collect(),
        announce: Announce { first: Duration::from_millis(100), ..Announce::default() },
        ..NetworkConfig::default()
    }
}

impl Node {
    pub(crate) async fn start(peers: &[&Node]) -> Self {
        Self::with(config(peers), key()).await
    }

    pub(crate) async fn with(config: NetworkConfig, key: NodeKey) -> Self {
        let (handle, events) = Network::start(config, key).await.expect("start");
        Self { handle, events }
    }

    pub(crate) fn id(&self) -> PeerId {
        self.handle.peer_id()
    }

    pub(crate) fn address(&self) -> Multiaddr {
        self.handle.listen_addrs().remove(0)
    }

    pub(crate) fn port(&self) -> u16 {
        let port = self.address().iter().find_map(|part| match part {
            Protocol::Tcp(port) => Some(port),
            _ => None,
        });
        port.expect("a TCP address")
    }

    pub(crate) fn as_peer(&self) -> ConfiguredPeer {
        format!("{}/p2p/{}", self.address(), self.id()).parse().expect("an address")
    }

    /// The next event that `wanted` turns into something; messages on the way are accepted.
    pub(crate) async fn wait_for<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the network runs");
                if let Some(found) = wanted(&event) {
                    if let Event::Message(received) = event {
                        received.ticket.report(Verdict::Accept);
                    }
                    return found;
                }
                if let Event::Message(received) = event {
                    received.ticket.report(Verdict::Accept);
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the event comes")
    }

    /// Waits until `peer` takes messages from this node.
    pub(crate) async fn until_subscribed(&mut self, peer: PeerId) {
        self.wait_for(|event| match event {
            Event::PeerSubscribed { peer: who } if *who == peer => Some(()),
            _ => None,
        })
        .await;
    }

    /// Waits for a message with exactly these bytes; returns its author and who handed it over.
    pub(crate) async fn until_received(&mut self, payload: &[u8]) -> (PeerId, PeerId) {
        self.wait_for(|event| match event {
            Event::Message(received) if received.data == payload => Some((received.author, received.from)),
            _ => None,
        })
        .await
    }
}
