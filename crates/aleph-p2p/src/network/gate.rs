//! Who may connect: bounds for all, by address and by peer, and places that strangers can't take.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use parking_lot::Mutex;

use crate::Limits;
use crate::standing::{Bucket, Rate, Standings, Trust};

/// Addresses whose rate is remembered; who did nothing for longest is forgotten first.
const ADDRESSES: usize = 4096;

/// A connection to a stranger that brought nothing for so long gives way to another one: those of lookups are of
/// no use after an answer, those that bring blocks are heard of all the time.
const QUIET: Duration = Duration::from_secs(10);

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("too many handshakes are under way")]
    Handshakes,
    #[error("too many handshakes with this address are under way")]
    HandshakesOfAddress,
    #[error("this address connects too often")]
    Rate,
    #[error("this address is shunned")]
    AddressShunned,
    #[error("this peer is shunned")]
    PeerShunned,
    #[error("this peer has too many connections")]
    Peer,
    #[error("this address has too many connections")]
    Address,
    #[error("strangers have no place left")]
    Strangers,
    #[error("no place is left")]
    Full,
    #[error("too many strangers are being dialled")]
    Dials,
    #[error("too many connections to strangers are in use")]
    Outgoing,
}

/// One customer of a provider: an IPv4 address, or 64 bits of an IPv6 address.
pub(crate) fn customer(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(match ip.to_ipv4_mapped() {
            Some(ip) => ip.into(),
            None => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        }),
        _ => None,
    }
}

#[derive(Debug, Clone, Copy)]
struct Open {
    connection: ConnectionId,
    peer: PeerId,
    address: Option<IpAddr>,
    incoming: bool,
    since: Instant,
}

/// Admits connections.
///
/// Configured and listed peers are bounded by the number of all connections alone, and strangers may
/// not take the last places. When strangers have taken theirs, one more is let in only in exchange
/// for the youngest connection of the address with most of them, if that has more than the newcomer's:
/// who comes from many addresses is harder to keep out than who comes from one, and long-standing
/// peers stay.
///
/// What a distributed table or block exchange dials is bounded too, under way and established.
pub(crate) struct Gate {
    limits: Limits,
    standings: Arc<Mutex<Standings>>,
    handshakes: HashMap<ConnectionId, Option<IpAddr>>,
    /// Dials under way to peers that neither the configuration nor the node list names.
    dials: HashSet<ConnectionId>,
    open: Vec<Open>,
    rates: HashMap<IpAddr, (Bucket, Instant)>,
    to_close: VecDeque<(PeerId, ConnectionId)>,
    refused: u64,
    refused_dials: u64,
}

impl Gate {
    pub(crate) fn new(limits: Limits, standings: Arc<Mutex<Standings>>) -> Self {
        Self {
            limits,
            standings,
            handshakes: HashMap::new(),
            dials: HashSet::new(),
            open: Vec::new(),
            rates: HashMap::new(),
            to_close: VecDeque::new(),
            refused: 0,
            refused_dials: 0,
        }
    }

    /// Connections that were not taken since the start, of any reason.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Dials to strangers that were not made since the start.
    pub(crate) fn refused_dials(&self) -> u64 {
        self.refused_dials
    }

    /// Lets this node dial somebody, if need be in exchange for the quietest connection to a stranger.
    fn dial(&mut self, connection: ConnectionId, peer: Option<PeerId>, now: Instant) -> Result<(), Refusal> {
        // An address of the configuration may come without an identity.
        let Some(peer) = peer else { return Ok(()) };
        let standings = self.standings.lock();
        let trust = standings.trust(&peer);
        if matches!(trust, Trust::Configured | Trust::Listed) {
            return Ok(());
        }
        if self.dials.len() >= self.limits.dials as usize {
            return Err(Refusal::Dials);
        }
        let is_strange = |open: &&Open| !open.incoming && standings.trust(&open.peer) == Trust::Stranger;
        let count = self.open.iter().filter(is_strange).count() + self.dials.len();
        if trust == Trust::Stranger && count >= self.limits.outgoing as usize {
            let heard =
                |open: &Open| standings.last_heard(&open.peer).map_or(open.since, |at| at.max(open.since));
            let quietest = self.open.iter().filter(is_strange).min_by_key(|open| heard(open));
            let Some(out) = quietest.filter(|open| heard(open) + QUIET <= now).copied() else {
                return Err(Refusal::Outgoing);
            };
            self.to_close.push_back((out.peer, out.connection));
            self.open.retain(|open| open.connection != out.connection);
        }
        drop(standings);
        self.dials.insert(connection);
        Ok(())
    }

    fn greet(&mut self, address: Option<IpAddr>, now: Instant) -> Result<(), Refusal> {
        if self.handshakes.len() >= self.limits.handshakes as usize {
            return Err(Refusal::Handshakes);
        }
        let Some(address) = address else { return Ok(()) };
        if self.standings.lock().is_address_shunned(&address, now) {
            return Err(Refusal::AddressShunned);
        }
        let of_address = self.handshakes.values().filter(|other| **other == Some(address)).count();
        if of_address >= self.limits.handshakes_per_address as usize {
            return Err(Refusal::HandshakesOfAddress);
        }
        if self.rates.len() >= ADDRESSES && !self.rates.contains_key(&address) {
            let oldest = self.rates.iter().min_by_key(|(_, (_, last))| *last).map(|(address, _)| *address);
            oldest.and_then(|oldest| self.rates.remove(&oldest));
        }
        let (bucket, last) = self.rates.entry(address).or_insert((Bucket::full(now), now));
        *last = now;
        let per_second = f64::from(self.limits.handshakes_per_address);
        if !bucket.take(Rate { per_second, burst: per_second * 8.0 }, 1.0, now) {
            return Err(Refusal::Rate);
        }
        Ok(())
    }

    fn let_in(&mut self, new: Open) -> Result<(), Refusal> {
        let (trust, shunned) = {
            let standings = self.standings.lock();
            (standings.trust(&new.peer), standings.is_shunned(&new.peer, new.since))
        };
        if shunned {
            return Err(Refusal::PeerShunned);
        }
        let of_peer = self.open.iter().filter(|open| open.peer == new.peer).count();
        if of_peer >= self.limits.connections_per_peer as usize {
            return Err(Refusal::Peer);
        }
        if self.open.len() >= self.limits.connections as usize {
            return Err(Refusal::Full);
        }
        if trust != Trust::Stranger || !new.incoming {
            self.open.push(new);
            return Ok(());
        }
        let strange: Vec<Open> = {
            let standings = self.standings.lock();
            let is_strange = |open: &&Open| open.incoming && standings.trust(&open.peer) == Trust::Stranger;
            self.open.iter().filter(is_strange).copied().collect()
        };
        let of = |address| strange.iter().filter(|open| open.address == address).count();
        if new.address.is_some() && of(new.address) >= self.limits.per_address as usize {
            return Err(Refusal::Address);
        }
        if strange.len() >= self.limits.incoming as usize {
            let crowded = strange.iter().max_by_key(|open| (of(open.address), open.since));
            let Some(out) = crowded.filter(|open| of(open.address) > of(new.address) + 1) else {
                return Err(Refusal::Strangers);
            };
            self.to_close.push_back((out.peer, out.connection));
            self.open.retain(|open| open.connection != out.connection);
        }
        self.open.push(new);
        Ok(())
    }

    fn refuse(&mut self, refusal: Refusal) -> ConnectionDenied {
        self.refused += 1;
        ConnectionDenied::new(refusal)
    }

    fn established(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        incoming: bool,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handshakes.remove(&connection);
        self.dials.remove(&connection);
        let since = Instant::now();
        let address = customer(remote);
        if incoming {
            // Where this node dials, the address says nothing about who came.
            self.standings.lock().seen_at(&peer, address, since);
        }
        let new = Open { connection, peer, address, incoming, since };
        self.let_in(new).map_err(|refusal| self.refuse(refusal))?;
        Ok(dummy::ConnectionHandler)
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let address = customer(remote);
        self.greet(address, Instant::now()).map_err(|refusal| self.refuse(refusal))?;
        self.handshakes.insert(connection, address);
        Ok(())
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.dial(connection, peer, Instant::now()).map_err(|refusal| {
            self.refused_dials += 1;
            ConnectionDenied::new(refusal)
        })?;
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.established(connection, peer, remote, true)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.established(connection, peer, remote, false)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => {
                self.open.retain(|open| open.connection != closed.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.handshakes.remove(&failure.connection_id);
                self.open.retain(|open| open.connection != failure.connection_id);
            }
            FromSwarm::DialFailure(failure) => {
                self.dials.remove(&failure.connection_id);
                self.open.retain(|open| open.connection != failure.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.to_close.pop_front() {
            Some((peer_id, connection)) => {
                let connection = CloseConnection::One(connection);
                Poll::Ready(ToSwarm::CloseConnection { peer_id, connection })
            }
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn gate(configured: &[PeerId], limits: Limits) -> Gate {
        let standings = Standings::new(configured.iter().copied(), Instant::now());
        Gate::new(limits, Arc::new(Mutex::new(standings)))
    }

    fn open(number: usize, peer: PeerId, address: [u8; 4], start: Instant) -> Open {
        Open {
            connection: ConnectionId::new_unchecked(number),
            peer,
            address: Some(address.into()),
            incoming: true,
            since: start + Duration::from_millis(number as u64),
        }
    }

    #[test]
    fn strangers_are_bounded_by_address_and_altogether_and_configured_peers_are_not() {
        let (trusted, start) = (PeerId::random(), Instant::now());
        let limits = Limits { incoming: 4, per_address: 3, connections: 6, ..Limits::default() };
        let mut gate = gate(&[trusted], limits);
        for number in 0..3 {
            assert_eq!(gate.let_in(open(number, PeerId::random(), [10, 0, 0, 1], start)), Ok(()));
        }
        let fourth = open(3, PeerId::random(), [10, 0, 0, 1], start);
        assert_eq!(gate.let_in(fourth), Err(Refusal::Address));
        assert_eq!(gate.let_in(open(4, PeerId::random(), [10, 0, 0, 2], start)), Ok(()));
        // Full: the youngest of the crowd makes room for one from elsewhere.
        assert_eq!(gate.let_in(open(5, PeerId::random(), [10, 0, 0, 3], start)), Ok(()));
        assert_eq!(gate.to_close.pop_front().map(|(_, id)| id), Some(ConnectionId::new_unchecked(2)));
        // Two of one address are not many more than the one who comes.
        assert_eq!(gate.let_in(open(6, PeerId::random(), [10, 0, 0, 2], start)), Err(Refusal::Strangers));
        for number in 7..9 {
            assert_eq!(gate.let_in(open(number, trusted, [10, 0, 0, 1], start)), Ok(()));
        }
        assert_eq!(gate.let_in(open(9, trusted, [10, 0, 0, 1], start)), Err(Refusal::Full));
    }

    #[test]
    fn one_peer_has_few_connections() {
        let (peer, start) = (PeerId::random(), Instant::now());
        let mut gate = gate(&[], Limits { connections_per_peer: 2, ..Limits::default() });
        assert_eq!(gate.let_in(open(0, peer, [10, 0, 0, 1], start)), Ok(()));
        assert_eq!(gate.let_in(open(1, peer, [10, 0, 0, 2], start)), Ok(()));
        assert_eq!(gate.let_in(open(2, peer, [10, 0, 0, 3], start)), Err(Refusal::Peer));
    }

    #[test]
    fn handshakes_of_one_address_are_few_at_once_and_over_time() {
        let start = Instant::now();
        let address: IpAddr = [10, 0, 0, 1].into();
        let mut gate = gate(&[], Limits { handshakes: 3, handshakes_per_address: 2, ..Limits::default() });
        for number in 0..2 {
            assert_eq!(gate.greet(Some(address), start), Ok(()));
            gate.handshakes.insert(ConnectionId::new_unchecked(number), Some(address));
        }
        assert_eq!(gate.greet(Some(address), start), Err(Refusal::HandshakesOfAddress));
        assert_eq!(gate.greet(Some([10, 0, 0, 2].into()), start), Ok(()));
        gate.handshakes.insert(ConnectionId::new_unchecked(2), Some([10, 0, 0, 2].into()));
        assert_eq!(gate.greet(Some([10, 0, 0, 3].into()), start), Err(Refusal::Handshakes));
        gate.handshakes.clear();
        let taken = (0..100).filter(|_| gate.greet(Some(address), start) == Ok(())).count();
        assert_eq!(taken, 14, "sixteen at once, two of them before");
        assert_eq!(gate.greet(Some(address), start + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn shunned_peers_and_addresses_stay_out() {
        let (peer, start) = (PeerId::random(), Instant::now());
        let mut gate = gate(&[], Limits::default());
        gate.standings.lock().blame(&peer, crate::Offence::BadEnvelope, 20, start);
        assert_eq!(gate.let_in(open(0, peer, [10, 0, 0, 1], start)), Err(Refusal::PeerShunned));
        assert_eq!(gate.let_in(open(1, PeerId::random(), [10, 0, 0, 1], start)), Ok(()));
    }

    #[test]
    fn dials_to_strangers_are_bounded_under_way_and_established() {
        let (trusted, start) = (PeerId::random(), Instant::now());
        let limits = Limits { dials: 3, outgoing: 4, ..Limits::default() };
        let mut gate = gate(&[trusted], limits);
        let id = ConnectionId::new_unchecked;
        let stranger = || Some(PeerId::random());
        for number in 0..3 {
            assert_eq!(gate.dial(id(number), stranger(), start), Ok(()));
        }
        assert_eq!(gate.dial(id(3), stranger(), start), Err(Refusal::Dials));
        assert_eq!(gate.dial(id(4), Some(trusted), start), Ok(()));
        assert_eq!(gate.dial(id(5), None, start), Ok(()));
        let peers: Vec<PeerId> = (0..3).map(|_| PeerId::random()).collect();
        for (number, peer) in peers.iter().enumerate() {
            gate.dials.remove(&id(number));
            let new = Open { incoming: false, ..open(number, *peer, [10, 0, 0, 1], start) };
            assert_eq!(gate.let_in(new), Ok(()));
        }
        assert_eq!(gate.dial(id(6), stranger(), start), Ok(()));
        assert_eq!(gate.dial(id(7), stranger(), start), Err(Refusal::Outgoing));
        // The first one brings blocks; the second one is the quietest.
        let later = start + QUIET + Duration::from_secs(1);
        gate.standings.lock().asked(&peers[0], 1, later);
        assert_eq!(gate.dial(id(8), stranger(), later), Ok(()));
        assert_eq!(gate.to_close.pop_front().map(|(peer, _)| peer), Some(peers[1]));
    }

    #[test]
    fn a_customer_is_an_address_or_a_network() {
        let of = |text: &str| customer(&text.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(of("/ip4/1.2.3.4/tcp/1").as_deref(), Some("1.2.3.4"));
        assert_eq!(of("/ip6/2001:db8:1:2:3:4:5:6/tcp/1").as_deref(), Some("2001:db8:1:2::"));
        assert_eq!(of("/ip6/::ffff:1.2.3.4/tcp/1").as_deref(), Some("1.2.3.4"));
        assert_eq!(of("/dns/x/tcp/1"), None);
    }
}
