//! Streams of one protocol between the swarm and the tasks that read and write them.
//!
//! Nothing is kept of a connection that is gone. How many streams there can be is the muxer's bound; how many
//! are read at once is the affair of who listens.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::option;
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, DialError, FromSwarm,
    NetworkBehaviour, NotifyHandler, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

/// Who listens to a protocol.
pub(crate) trait Listener: Clone + fmt::Debug + Send + 'static {
    /// The protocol.
    const PROTOCOL: StreamProtocol;

    /// Whether streams are taken now. Else peers are told that the protocol is not spoken.
    fn is_open(&self) -> bool {
        true
    }

    /// A peer opened a stream. Must not block; dropping the stream resets it.
    fn stream(&self, peer: PeerId, stream: Stream);

    /// The first connection to a peer stands.
    fn connected(&self, _: PeerId) {}

    /// The last connection to a peer is gone.
    fn disconnected(&self, _: PeerId) {}

    /// A peer that is not connected could not be dialled.
    fn unreachable(&self, _: PeerId) {}
}

/// Why no stream could be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the peer is not connected")]
    NotConnected,
    #[error("the peer does not speak the protocol")]
    NotSpoken,
    #[error("the stream broke")]
    Broken,
}

type Reply = oneshot::Sender<Result<Stream, OpenError>>;

/// What the tasks ask of the swarm.
#[derive(Debug)]
pub(crate) enum Order {
    Open {
        peer: PeerId,
        reply: Reply,
    },
    /// Connects to a peer, unless it is connected.
    Connect {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    },
}

#[derive(Debug)]
pub(crate) struct Behaviour<L> {
    orders: mpsc::Receiver<Order>,
    listener: L,
    connections: HashMap<PeerId, Vec<ConnectionId>>,
}

impl<L: Listener> Behaviour<L> {
    pub(crate) fn new(orders: mpsc::Receiver<Order>, listener: L) -> Self {
        Self { orders, listener, connections: HashMap::new() }
    }
}

impl<L: Listener> NetworkBehaviour for Behaviour<L> {
    type ConnectionHandler = Handler<L>;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, self.listener.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, self.listener.clone()))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                let of_peer = self.connections.entry(established.peer_id).or_default();
                of_peer.push(established.connection_id);
                if of_peer.len() == 1 {
                    self.listener.connected(established.peer_id);
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                if let Some(of_peer) = self.connections.get_mut(&closed.peer_id) {
                    of_peer.retain(|connection| *connection != closed.connection_id);
                    if of_peer.is_empty() {
                        self.connections.remove(&closed.peer_id);
                        self.listener.disconnected(closed.peer_id);
                    }
                }
            }
            FromSwarm::DialFailure(failure) => {
                // A dial that isn't begun since another one is under way says nothing.
                if let Some(peer) = failure.peer_id
                    && !matches!(failure.error, DialError::DialPeerConditionFalse(_))
                    && !self.connections.contains_key(&peer)
                {
                    self.listener.unreachable(peer);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while let Poll::Ready(Some(order)) = self.orders.poll_recv(context) {
            match order {
                Order::Open { peer, reply } => {
                    // The last one is the youngest: the likeliest to live.
                    let connection = self.connections.get(&peer).and_then(|all| all.last());
                    let Some(connection) = connection else {
                        // Who asked may be gone.
                        let _ = reply.send(Err(OpenError::NotConnected));
                        continue;
                    };
                    return Poll::Ready(ToSwarm::NotifyHandler {
                        peer_id: peer,
                        handler: NotifyHandler::One(*connection),
                        event: reply,
                    });
                }
                Order::Connect { peer, addresses } => {
                    if self.connections.contains_key(&peer) {
                        continue;
                    }
                    let opts = DialOpts::peer_id(peer)
                        .condition(PeerCondition::DisconnectedAndNotDialing)
                        .addresses(addresses)
                        .extend_addresses_through_behaviour()
                        .allocate_new_port()
                        .build();
                    return Poll::Ready(ToSwarm::Dial { opts });
                }
            }
        }
        Poll::Pending
    }
}

/// One connection's end.
#[derive(Debug)]
pub(crate) struct Handler<L> {
    peer: PeerId,
    listener: L,
    waiting: VecDeque<Reply>,
    /// A stream is being opened for it. One at a time, so that answers find their askers.
    opening: Option<Reply>,
    waker: Option<Waker>,
}

impl<L: Listener> Handler<L> {
    fn new(peer: PeerId, listener: L) -> Self {
        Self { peer, listener, waiting: VecDeque::new(), opening: None, waker: None }
    }

    fn opened(&mut self, result: Result<Stream, OpenError>) {
        if let Some(reply) = self.opening.take() {
            // Who asked may be gone.
            let _ = reply.send(result);
        }
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<L: Listener> ConnectionHandler for Handler<L> {
    type FromBehaviour = Reply;
    type ToBehaviour = Infallible;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(Upgrade(self.listener.is_open().then_some(L::PROTOCOL)), ())
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if self.opening.is_none()
            && let Some(next) = self.waiting.pop_front()
        {
            self.opening = Some(next);
            let protocol = SubstreamProtocol::new(Upgrade(Some(L::PROTOCOL)), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, reply: Reply) {
        self.waiting.push_back(reply);
        self.wake();
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.listener.stream(self.peer, protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.opened(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                let error = match error {
                    StreamUpgradeError::NegotiationFailed => OpenError::NotSpoken,
                    StreamUpgradeError::Timeout | StreamUpgradeError::Io(_) => OpenError::Broken,
                    StreamUpgradeError::Apply(never) => match never {},
                };
                self.opened(Err(error));
            }
            _ => {}
        }
    }
}

/// Takes a stream as it is; no protocol at all when nobody listens.
#[derive(Debug, Clone)]
pub(crate) struct Upgrade(Option<StreamProtocol>);

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = option::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}
