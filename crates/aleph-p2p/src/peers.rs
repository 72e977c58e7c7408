//! Who is there and what is known of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use parking_lot::Mutex;

use crate::book::Entry;
use crate::defaults::{KNOWN_PEERS, PEER_AGE};
use crate::standing::{Offence, Standing, Standings, Trust};
use crate::{Announcement, ConfiguredPeer, PeerType, Verdict};

/// A connected peer.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Its identity.
    pub peer: PeerId,
    /// The address of each connection, the oldest first.
    pub addresses: Vec<Multiaddr>,
    /// When the first of these connections was opened.
    pub since: SystemTime,
    /// Whether this node dialled the first of them.
    pub dialled: bool,
    /// Whether it listens to messages, so that it gets what this node publishes.
    pub subscribed: bool,
    /// The last round trip, of peers that answer pings (reference nodes don't).
    pub round_trip: Option<Duration>,
    /// When it last handed over a message.
    pub last_message: Option<SystemTime>,
    /// New messages that came from it first.
    pub messages: u64,
    /// Those of them that were rejected.
    pub rejected: u64,
    /// Messages that it was too slow to take.
    pub missed: u64,
    /// How it stands with this node, and why.
    pub standing: Standing,
}

/// What a believed peer announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAddress {
    /// Who announced it.
    pub peer: PeerId,
    /// Of which service.
    pub kind: PeerType,
    /// The address as it was announced.
    pub address: String,
    /// How long ago.
    pub age: Duration,
}

/// The HTTP API of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpPeer {
    /// The node, when known.
    pub peer: Option<PeerId>,
    /// The base URL without a slash at its end.
    pub url: String,
}

#[derive(Debug)]
struct Connected {
    info: PeerInfo,
    connections: Vec<ConnectionId>,
    first_at: Instant,
}

#[derive(Debug, Clone)]
struct Known {
    address: String,
    seen: Instant,
}

/// All that is known of peers. Small steps behind a lock; never held across an await.
#[derive(Debug)]
pub(crate) struct PeerTable {
    me: PeerId,
    configured: Vec<ConfiguredPeer>,
    connected: HashMap<PeerId, Connected>,
    standings: Arc<Mutex<Standings>>,
    known: HashMap<(PeerId, PeerType), Known>,
}

impl PeerTable {
    pub(crate) fn new(me: PeerId, configured: Vec<ConfiguredPeer>, standings: Arc<Mutex<Standings>>) -> Self {
        Self { me, configured, connected: HashMap::new(), standings, known: HashMap::new() }
    }

    /// Notes a connection; says whether it is the peer's first.
    pub(crate) fn connection_opened(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        address: Multiaddr,
        dialled: bool,
        now: Instant,
    ) -> bool {
        let standing = self.standings.lock().of(&peer, now);
        let entry = self.connected.entry(peer).or_insert_with(|| Connected {
            info: PeerInfo {
                peer,
                addresses: Vec::new(),
                since: SystemTime::now(),
                dialled,
                subscribed: false,
                round_trip: None,
                last_message: None,
                messages: 0,
                rejected: 0,
                missed: 0,
                standing,
            },
            connections: Vec::new(),
            first_at: now,
        });
        entry.connections.push(connection);
        entry.info.addresses.push(address);
        entry.connections.len() == 1
    }

    /// Forgets a connection; says whether it was the peer's last.
    pub(crate) fn connection_closed(&mut self, peer: PeerId, connection: ConnectionId) -> bool {
        let Some(entry) = self.connected.get_mut(&peer) else { return false };
        if let Some(index) = entry.connections.iter().position(|known| *known == connection) {
            entry.connections.remove(index);
            entry.info.addresses.remove(index);
        }
        let last = entry.connections.is_empty();
        if last {
            self.connected.remove(&peer);
        }
        last
    }

    /// Notes a subscription to messages; says whether it is news.
    pub(crate) fn subscribed(&mut self, peer: PeerId, subscribed: bool) -> bool {
        self.connected
            .get_mut(&peer)
            .is_some_and(|entry| std::mem::replace(&mut entry.info.subscribed, subscribed) != subscribed)
    }

    pub(crate) fn subscribers(&self) -> usize {
        self.connected.values().filter(|entry| entry.info.subscribed).count()
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.contains_key(peer)
    }

    pub(crate) fn is_subscribed(&self, peer: &PeerId) -> bool {
        self.connected.get(peer).is_some_and(|entry| entry.info.subscribed)
    }

    /// Dialled peers that were connected before `since` and never sent a subscription.
    pub(crate) fn silent(&self, since: Instant) -> Vec<PeerId> {
        self.connected
            .values()
            .filter(|entry| entry.info.dialled && !entry.info.subscribed && entry.first_at < since)
            .map(|entry| entry.info.peer)
            .collect()
    }

    pub(crate) fn round_trip(&mut self, peer: &PeerId, time: Duration) {
        if let Some(entry) = self.connected.get_mut(peer) {
            entry.info.round_trip = Some(time);
        }
    }

    pub(crate) fn message_from(&mut self, peer: &PeerId) {
        if let Some(entry) = self.connected.get_mut(peer) {
            entry.info.messages += 1;
            entry.info.last_message = Some(SystemTime::now());
        }
    }

    /// What a verdict says of who wrote a message and of who sent it.
    pub(crate) fn judged(&mut self, author: &PeerId, from: &PeerId, verdict: Verdict, now: Instant) {
        match verdict {
            Verdict::Accept => self.standings.lock().useful(from, now),
            Verdict::Ignore => {}
            Verdict::Reject => {
                if let Some(entry) = self.connected.get_mut(from) {
                    entry.info.rejected += 1;
                }
                let mut standings = self.standings.lock();
                standings.blame(author, Offence::PublishedInvalid, 1, now);
                if author != from {
                    standings.blame(from, Offence::PassedOnInvalid, 1, now);
                }
            }
        }
    }

    pub(crate) fn missed(&mut self, peer: &PeerId, messages: usize) {
        if let Some(entry) = self.connected.get_mut(peer) {
            entry.info.missed += messages as u64;
        }
    }

    pub(crate) fn infos(&self) -> Vec<PeerInfo> {
        let standings = self.standings.lock();
        let now = Instant::now();
        let mut infos: Vec<_> = self
            .connected
            .values()
            .map(|entry| PeerInfo { standing: standings.of(&entry.info.peer, now), ..entry.info.clone() })
            .collect();
        infos.sort_by_key(|info| info.since);
        infos
    }

    pub(crate) fn allow(&mut self, peers: HashSet<PeerId>) {
        self.standings.lock().set_listed(peers);
        // What a peer said while it was allowed is not believed any longer than that.
        let believed: HashSet<PeerId> =
            self.known.keys().map(|(peer, _)| *peer).filter(|peer| self.is_allowed(peer)).collect();
        self.known.retain(|(peer, _), _| believed.contains(peer));
    }

    /// Whether announcements of `peer` are believed (`spec: p2p.md §3.2`).
    pub(crate) fn is_allowed(&self, peer: &PeerId) -> bool {
        *peer != self.me && self.standings.lock().trust(peer) != Trust::Stranger
    }

    /// Remembers what an allowed peer said of itself.
    pub(crate) fn announced(&mut self, peer: PeerId, said: &Announcement, now: Instant) {
        let key = (peer, said.peer_type);
        if self.known.len() >= KNOWN_PEERS && !self.known.contains_key(&key) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.seen).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(key, Known { address: said.address.clone(), seen: now });
    }

    /// What the address book is to hold.
    pub(crate) fn book(&self, now: Instant, clock: SystemTime) -> Vec<Entry> {
        let since_1970 = clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut entries: Vec<Entry> = self
            .known
            .iter()
            .map(|((peer, kind), known)| Entry {
                peer: peer.to_string(),
                kind: *kind,
                address: known.address.clone(),
                seen: since_1970.saturating_sub(now.saturating_duration_since(known.seen)).as_secs(),
            })
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.seen));
        entries
    }

    /// Takes over what an address book holds, as far as it is not too old.
    pub(crate) fn restore(&mut self, entries: Vec<Entry>, now: Instant, clock: SystemTime) {
        let since_1970 = clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        for entry in entries {
            let age = since_1970.saturating_sub(Duration::from_secs(entry.seen));
            let (Some(peer), Some(seen)) = (entry.peer_id(), now.checked_sub(age)) else { continue };
            if age < PEER_AGE && peer != self.me && self.known.len() < KNOWN_PEERS {
                self.known.insert((peer, entry.kind), Known { address: entry.address, seen });
            }
        }
    }

    pub(crate) fn known(&self, now: Instant) -> Vec<KnownAddress> {
        let mut known: Vec<KnownAddress> = self
            .known
            .iter()
            .map(|((peer, kind), known)| KnownAddress {
                peer: *peer,
                kind: *kind,
                address: known.address.clone(),
                age: now.saturating_duration_since(known.seen),
            })
            .filter(|known| known.age < PEER_AGE)
            .collect();
        known.sort_by_key(|known| known.age);
        known
    }

    /// Addresses to dial, of peers that announced one within a day.
    pub(crate) fn announced_addresses(&self, now: Instant) -> Vec<(PeerId, Multiaddr)> {
        self.known
            .iter()
            .filter(|((_, kind), known)| {
                *kind == PeerType::P2p && now.saturating_duration_since(known.seen) < PEER_AGE
            })
            .filter_map(|((peer, _), known)| {
                let address: Multiaddr = known.address.parse().ok()?;
                // The author vouches for its own identity only.
                let address = address.into_iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
                Some((*peer, address))
            })
            .collect()
    }

    /// HTTP APIs: announced ones, the freshest first, then configured ones.
    pub(crate) fn http_peers(&self, now: Instant, own: Option<&str>) -> Vec<HttpPeer> {
        let mut announced: Vec<_> = self
            .known
            .iter()
            .filter(|((_, kind), known)| {
                *kind == PeerType::Http && now.saturating_duration_since(known.seen) < PEER_AGE
            })
            .map(|((peer, _), known)| (known.seen, Some(*peer), known.address.as_str()))
            .collect();
        announced.sort_by_key(|(seen, ..)| std::cmp::Reverse(*seen));
        let configured = self
            .configured
            .iter()
            .filter_map(|peer| peer.http.as_deref().map(|url| (now, peer.peer_id(), url)));
        let mut seen = HashSet::new();
        announced
            .into_iter()
            .chain(configured)
            .map(|(_, peer, url)| HttpPeer { peer, url: url.trim_end_matches('/').to_owned() })
            .filter(|http| Some(http.url.as_str()) != own.map(|own| own.trim_end_matches('/')))
            .filter(|http| seen.insert(http.url.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(me: PeerId, configured: Vec<ConfiguredPeer>) -> PeerTable {
        let ids = configured.iter().filter_map(ConfiguredPeer::peer_id);
        let standings = Arc::new(Mutex::new(Standings::new(ids, Instant::now())));
        PeerTable::new(me, configured, standings)
    }

    #[test]
    fn an_address_book_survives_and_what_is_old_in_it_does_not() {
        let (peer, start, clock) = (PeerId::random(), Instant::now(), SystemTime::now());
        let mut before = table(PeerId::random(), Vec::new());
        before.announced(peer, &said(PeerType::P2p, "/ip4/1.2.3.4/tcp/4025"), start);
        before.announced(peer, &said(PeerType::Http, "http://1.2.3.4:4024"), start);
        let book = before.book(start, clock);
        assert_eq!(book.len(), 2);
        let mut after = table(PeerId::random(), Vec::new());
        after.restore(book.clone(), start, clock + Duration::from_secs(60));
        assert_eq!(after.announced_addresses(start), before.announced_addresses(start));
        assert_eq!(after.known(start)[0].age.as_secs(), 60);
        assert_eq!(after.http_peers(start, None).len(), 1);
        let mut late = table(PeerId::random(), Vec::new());
        late.restore(book.clone(), start, clock + PEER_AGE);
        assert!(late.known.is_empty());
        let mut own = table(peer, Vec::new());
        own.restore(book, start, clock);
        assert!(own.known.is_empty(), "a node does not dial itself");
    }

    fn said(peer_type: PeerType, address: &str) -> Announcement {
        Announcement { address: address.to_owned(), peer_type, version: None }
    }

    #[test]
    fn http_peers_are_fresh_first_and_never_this_node() {
        let (me, a, b) = (PeerId::random(), PeerId::random(), PeerId::random());
        let configured = ConfiguredPeer {
            address: format!("/ip4/127.0.0.1/tcp/1/p2p/{a}").parse().unwrap(),
            http: Some("http://a:1/".to_owned()),
        };
        let mut table = table(me, vec![configured]);
        let start = Instant::now();
        assert_eq!(table.http_peers(start, None)[0].url, "http://a:1");
        table.announced(a, &said(PeerType::Http, "http://a:1"), start);
        table.announced(b, &said(PeerType::Http, "http://b:1"), start + Duration::from_secs(1));
        let urls = |table: &PeerTable, now| -> Vec<String> {
            table.http_peers(now, Some("http://me:1")).into_iter().map(|peer| peer.url).collect()
        };
        assert_eq!(urls(&table, start), ["http://b:1", "http://a:1"]);
        table.announced(b, &said(PeerType::Http, "http://me:1/"), start);
        assert_eq!(urls(&table, start), ["http://a:1"]);
        assert_eq!(urls(&table, start + PEER_AGE * 2), ["http://a:1"], "configured ones stay");
    }

    #[test]
    fn only_configured_and_allowed_peers_are_believed() {
        let (me, a, b) = (PeerId::random(), PeerId::random(), PeerId::random());
        let mut table = table(me, Vec::new());
        assert!(!table.is_allowed(&a));
        table.allow([a, me].into());
        assert!(table.is_allowed(&a) && !table.is_allowed(&b) && !table.is_allowed(&me));
        let now = Instant::now();
        table.announced(a, &said(PeerType::P2p, &format!("/ip4/1.2.3.4/tcp/4025/p2p/{b}")), now);
        assert_eq!(table.announced_addresses(now), [(a, "/ip4/1.2.3.4/tcp/4025".parse().unwrap())]);
        table.allow(HashSet::new());
        assert!(table.announced_addresses(now).is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut table = table(PeerId::random(), Vec::new());
        let start = Instant::now();
        for index in 0..KNOWN_PEERS as u64 + 10 {
            let address = format!("http://{index}");
            table.announced(
                PeerId::random(),
                &said(PeerType::Http, &address),
                start + Duration::from_secs(index),
            );
        }
        assert_eq!(table.known.len(), KNOWN_PEERS);
        assert!(table.known.values().all(|known| known.address != "http://0"));
    }
}
