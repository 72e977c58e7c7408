use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::{BlockSource, defaults};

/// What a node needs to take part in a network. The default is the public network's wire with no
/// peers.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Addresses to listen on; port 0 takes any free one. Empty: only dial.
    pub listen: Vec<Multiaddr>,
    /// Peers that are dialled again and again, and whose announcements are believed.
    pub peers: Vec<ConfiguredPeer>,
    /// Believe what every peer announces, and give every peer the budgets of those that are known: for a
    /// private network, whose members nobody lists.
    pub believe_everybody: bool,
    /// The topics of the network.
    pub topics: Topics,
    /// What this node tells about itself.
    pub announce: Announce,
    /// Bounds of memory and connections.
    pub limits: Limits,
    /// File in which announced addresses survive a restart; none keeps them in memory only.
    pub address_book: Option<PathBuf>,
    /// Where blocks of IPFS come from that peers ask for; none exchanges no blocks at all.
    pub blocks: Option<Arc<dyn BlockSource>>,
    /// Where it is told and looked up who has what; none takes no part in it.
    pub dht: Option<DhtConfig>,
}

/// A distributed table (Kademlia) of who has which content.
#[derive(Debug, Clone)]
pub struct DhtConfig {
    /// Which one.
    pub scope: DhtScope,
    /// Peers to begin with; those without an identity are left out.
    pub bootstrap: Vec<ConfiguredPeer>,
}

/// Which distributed table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DhtScope {
    /// One of machines that reach each other without the internet: that of `/ipfs/lan/kad/1.0.0`. This node
    /// keeps a part of it.
    Private,
    /// That of the public network of IPFS, `/ipfs/kad/1.0.0`. This node keeps a part of it if it knows under
    /// which address others reach it ([`Announce::address`]).
    Public,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            listen: vec![Multiaddr::from(std::net::Ipv4Addr::UNSPECIFIED).with(Protocol::Tcp(4025))],
            peers: Vec::new(),
            believe_everybody: false,
            topics: Topics::default(),
            announce: Announce::default(),
            limits: Limits::default(),
            address_book: None,
            blocks: None,
            dht: None,
        }
    }
}

/// The names of the gossip topics, used verbatim (`spec: p2p.md §3`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Messages; `ALEPH-TEST` is the production topic.
    pub messages: String,
    /// Announcements.
    pub alive: String,
}

impl Default for Topics {
    fn default() -> Self {
        Self { messages: "ALEPH-TEST".to_owned(), alive: "ALIVE".to_owned() }
    }
}

/// What this node announces about itself (`spec: p2p.md §3.2`).
#[derive(Debug, Clone)]
pub struct Announce {
    /// The address that others can dial, without `/p2p/…`. Without it the first address listened
    /// on is told, which is right on a private network only.
    pub address: Option<Multiaddr>,
    /// The base URL of the HTTP API, as others reach it (`http://1.2.3.4:4024`); not announced
    /// when absent.
    pub http: Option<String>,
    /// The version that announcements name.
    pub version: String,
    /// Pause before the first announcement.
    pub first: Duration,
    /// Pause between announcements.
    pub every: Duration,
}

impl Default for Announce {
    fn default() -> Self {
        Self {
            address: None,
            http: None,
            version: concat!("alephd ", env!("CARGO_PKG_VERSION")).to_owned(),
            first: defaults::ALIVE_FIRST,
            every: defaults::ALIVE_EVERY,
        }
    }
}

/// Bounds of memory and connections.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Events that wait for the application before the swarm is no longer read.
    pub events: usize,
    /// Messages that wait for a verdict before the swarm is no longer read.
    pub verdicts: usize,
    /// Commands that wait for the swarm before callers wait.
    pub commands: usize,
    /// Connections of one peer. The reference opens a new one with each dial and lets it idle out
    /// after 120 s, so that three or four are normal (`spec: p2p.md §3.3`).
    pub connections_per_peer: u32,
    /// Connections that strangers opened: neither configured nor in the node list.
    pub incoming: u32,
    /// Those of them that come from one address (of IPv6: one network of 64 bits).
    pub per_address: u32,
    /// Connections that this node opened to strangers: those that a distributed table names, and those that are
    /// asked for blocks. One more closes the one that was quiet for longest.
    pub outgoing: u32,
    /// Dials at once to peers that are neither configured nor in the node list.
    pub dials: u32,
    /// Connections altogether; what is above `incoming` and `outgoing` is kept for peers that are no strangers.
    pub connections: u32,
    /// Incoming connections whose handshake is not done.
    pub handshakes: u32,
    /// Those of them that come from one address; also how many may begin in a second in the long run,
    /// and eight times as many at once.
    pub handshakes_per_address: u32,
}

impl Limits {
    /// The same with so many connections to strangers, and a third of that of dials at once.
    #[must_use]
    pub fn with_outgoing(mut self, outgoing: u32) -> Self {
        self.connections = self.connections.saturating_sub(self.outgoing).saturating_add(outgoing);
        self.outgoing = outgoing;
        self.dials = (outgoing / 3).max(1);
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            events: 1024,
            verdicts: 8192,
            commands: 1024,
            connections_per_peer: 8,
            incoming: 256,
            per_address: 64,
            outgoing: 96,
            dials: 32,
            connections: 480,
            handshakes: 256,
            handshakes_per_address: 16,
        }
    }
}

/// A peer that the configuration names.
///
/// Its text form is a multiaddress that may end in `/p2p/<peer id>`, as in the reference's
/// `p2p.peers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredPeer {
    /// Where to dial it, with `/p2p/…` when its identity is known.
    pub address: Multiaddr,
    /// The base URL of its HTTP API, when known.
    pub http: Option<String>,
}

impl ConfiguredPeer {
    /// The identity at the end of the address.
    pub fn peer_id(&self) -> Option<PeerId> {
        self.address.iter().find_map(|part| match part {
            Protocol::P2p(peer) => Some(peer),
            _ => None,
        })
    }

    /// The same peer with the base URL of its HTTP API.
    pub fn with_http(mut self, url: impl Into<String>) -> Self {
        self.http = Some(url.into());
        self
    }
}

/// A text that is no dialable address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is no peer address ({reason}): write /ip4/1.2.3.4/tcp/4025/p2p/Qm… or /dns/host/tcp/4025/p2p/Qm…"
)]
pub struct InvalidPeer {
    text: String,
    reason: String,
}

impl FromStr for ConfiguredPeer {
    type Err = InvalidPeer;

    fn from_str(text: &str) -> Result<Self, InvalidPeer> {
        let invalid = |reason: String| InvalidPeer { text: text.chars().take(200).collect(), reason };
        let address: Multiaddr = text.trim().parse().map_err(|error| invalid(format!("{error}")))?;
        let mut parts = address.iter();
        let host = parts.next();
        let port = parts.next();
        match (host, port, parts.next(), parts.next()) {
            (
                Some(
                    Protocol::Ip4(_)
                    | Protocol::Ip6(_)
                    | Protocol::Dns(_)
                    | Protocol::Dns4(_)
                    | Protocol::Dns6(_),
                ),
                Some(Protocol::Tcp(_)),
                None | Some(Protocol::P2p(_)),
                None,
            ) => {}
            _ => return Err(invalid("only TCP over an IP address or a host name is spoken".to_owned())),
        }
        Ok(Self { address, http: None })
    }
}

impl fmt::Display for ConfiguredPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_addresses_of_the_public_network_parse() {
        let text = "/dns/api2.aleph.im/tcp/4025/p2p/QmZkurbY2G2hWay59yiTgQNaQxHSNzKZFt2jbnwJhQcKgV";
        let peer: ConfiguredPeer = text.parse().unwrap();
        assert_eq!(peer.to_string(), text);
        assert_eq!(peer.peer_id().unwrap().to_string(), "QmZkurbY2G2hWay59yiTgQNaQxHSNzKZFt2jbnwJhQcKgV");
        assert_eq!("/ip4/127.0.0.1/tcp/4025".parse::<ConfiguredPeer>().unwrap().peer_id(), None);
    }

    #[test]
    fn other_transports_are_refused_with_the_right_form() {
        for text in ["", "127.0.0.1:4025", "/ip4/1.2.3.4/udp/4025/quic-v1", "/dnsaddr/x.org", "/p2p/QmX"] {
            let error = text.parse::<ConfiguredPeer>().unwrap_err().to_string();
            assert!(error.contains("/ip4/1.2.3.4/tcp/4025"), "{error}");
        }
    }
}
