//! Streams of bitswap between the swarm and the tasks that read and write them.
//!
//! Unlike a general behaviour for streams this one drops none: peers open a stream for each message, many
//! at once. How many there can be is the muxer's bound; how many are read at once is the reader's.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");

/// Why no stream could be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the peer is not connected")]
    NotConnected,
    #[error("the peer does not exchange blocks")]
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

/// What the swarm tells the tasks.
#[derive(Debug)]
pub(crate) enum News {
    Connected(PeerId),
    Disconnected(PeerId),
    Stream(PeerId, Stream),
    /// It could not be reached.
    Unreachable(PeerId),
}

#[derive(Debug)]
pub(crate) struct Behaviour {
    orders: mpsc::Receiver<Order>,
    news: mpsc::UnboundedSender<News>,
    connections: HashMap<PeerId, Vec<ConnectionId>>,
}

impl Behaviour {
    pub(crate) fn new(orders: mpsc::Receiver<Order>, news: mpsc::UnboundedSender<News>) -> Self {
        Self { orders, news, connections: HashMap::new() }
    }

    /// The tasks live as long as the swarm.
    fn tell(&self, news: News) {
        let _ = self.news.send(news);
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, self.news.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, self.news.clone()))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                let of_peer = self.connections.entry(established.peer_id).or_default();
                of_peer.push(established.connection_id);
                if of_peer.len() == 1 {
                    self.tell(News::Connected(established.peer_id));
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                if let Some(of_peer) = self.connections.get_mut(&closed.peer_id) {
                    of_peer.retain(|connection| *connection != closed.connection_id);
                    if of_peer.is_empty() {
                        self.connections.remove(&closed.peer_id);
                        self.tell(News::Disconnected(closed.peer_id));
                    }
                }
            }
            FromSwarm::DialFailure(failure) => {
                if let Some(peer) = failure.peer_id
                    && !self.connections.contains_key(&peer)
                {
                    self.tell(News::Unreachable(peer));
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
pub(crate) struct Handler {
    peer: PeerId,
    news: mpsc::UnboundedSender<News>,
    waiting: VecDeque<Reply>,
    /// A stream is being opened for it. One at a time, so that answers find their askers.
    opening: Option<Reply>,
    waker: Option<Waker>,
}

impl Handler {
    fn new(peer: PeerId, news: mpsc::UnboundedSender<News>) -> Self {
        Self { peer, news, waiting: VecDeque::new(), opening: None, waker: None }
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

impl ConnectionHandler for Handler {
    type FromBehaviour = Reply;
    type ToBehaviour = Infallible;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if self.opening.is_none()
            && let Some(next) = self.waiting.pop_front()
        {
            self.opening = Some(next);
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ());
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
                // The tasks live as long as the swarm.
                let _ = self.news.send(News::Stream(self.peer, protocol));
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
