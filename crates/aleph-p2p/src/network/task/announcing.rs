//! What this node tells about itself (`spec: p2p.md §3.2`).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::Task;
use crate::defaults::ALIVE_GAP;
use crate::{Announcement, PeerType};

/// A configured peer that just came hears an announcement this soon after the one before.
const ALIVE_GAP_CONFIGURED: Duration = Duration::from_secs(1);

impl Task {
    /// Lets a new subscriber hear of this node soon.
    pub(super) fn hurry_alive(&mut self, peer: PeerId) {
        let configured = self.dialer.configured().any(|known| known == Some(peer));
        let gap = if configured { ALIVE_GAP_CONFIGURED } else { ALIVE_GAP };
        let now = Instant::now();
        let earliest = self.last_alive.map_or(now, |last| (last + gap).max(now));
        self.next_alive = self.next_alive.min(earliest);
    }

    /// Publishes what this node is (`spec: p2p.md §3.2`).
    pub(super) fn announce(&mut self, now: Instant) {
        self.last_alive = Some(now);
        self.next_alive = now + self.config.announce.every;
        let nonce = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let nonce = u64::try_from(nonce).unwrap_or(u64::MAX);
        let version = Some(self.config.announce.version.clone());
        let p2p = self.own_address().map(|address| (PeerType::P2p, address));
        let http = self.config.announce.http.clone().map(|url| (PeerType::Http, url));
        for (peer_type, address) in p2p.into_iter().chain(http) {
            let payload = Announcement { address, peer_type, version: version.clone() }.render(nonce);
            let payload = crate::encode_payload(&payload).into_owned();
            let topic = self.gossip().alive.clone();
            if let Err(error) = self.gossip().publish(topic, payload) {
                tracing::debug!(%error, "announcement not published");
            }
        }
    }

    /// The address to announce: the configured one, else one that this node listens on, preferably
    /// one that other machines can reach.
    pub(super) fn own_address(&self) -> Option<String> {
        let is_loopback = |address: &&Multiaddr| match address.iter().next() {
            Some(Protocol::Ip4(ip)) => ip.is_loopback(),
            Some(Protocol::Ip6(ip)) => ip.is_loopback(),
            _ => false,
        };
        let listening = self.shared.listening.lock();
        let address = self
            .config
            .announce
            .address
            .as_ref()
            .or_else(|| listening.iter().find(|address| !is_loopback(address)))
            .or_else(|| listening.first())?;
        Some(address.clone().with(Protocol::P2p(self.shared.me)).to_string())
    }
}
