//! Gossipsub with the network's settings, budgets of its peers, and a cure for the restart hazard.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, MessageAuthenticity, MessageId, TopicHash, ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionHandler, ConnectionId, FromSwarm, NetworkBehaviour,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use parking_lot::Mutex;

use super::pace::{Pace, Paced, PacedHandler};
use super::seen::Seen;
use crate::standing::{Admission, Offence, Standings};
use crate::{Topics, defaults, gossip_id};

type InnerHandler = <gossipsub::Behaviour as NetworkBehaviour>::ConnectionHandler;

/// What a peer sent.
type FromPeer = <InnerHandler as ConnectionHandler>::ToBehaviour;

/// A connection is dead when its peer greets again on one that is younger by this much. Nodes that
/// dial each other at the same time are closer than that.
const OUTLIVED: Duration = Duration::from_secs(5);

/// Gossipsub that tells its subscriptions on every connection, not only on a peer's first, and
/// gives up connections that their peer has forgotten.
///
/// A peer that restarted while this node still holds its old connection would otherwise never
/// learn the subscriptions, would not publish to this node, and would miss what is written to the
/// old connection (`spec: p2p.md §4`, restart hazard). The list is some dozen bytes, and repeating
/// it changes nothing for a peer that knows it.
///
/// A peer greets with its subscriptions when it believes that it has no other connection: a
/// reference node on the first one only, a node of ours dials only when it has none. So a greeting
/// on a younger connection says that the older ones are dead.
///
/// What a frame brings passes the budgets ([`Standings`]) before gossipsub sees it: what it takes in it
/// remembers for half an hour.
pub(crate) struct Gossip {
    standings: Arc<Mutex<Standings>>,
    paces: HashMap<PeerId, Arc<Pace>>,
    seen: Seen,
    inner: gossipsub::Behaviour,
    connections: HashMap<PeerId, Vec<(ConnectionId, Instant)>>,
    /// Where the inner behaviour's next events come from: it is polled dry after each input.
    heard_on: Option<ConnectionId>,
    outlived: VecDeque<(PeerId, ConnectionId)>,
    pub(crate) messages: TopicHash,
    pub(crate) alive: TopicHash,
}

impl Gossip {
    pub(crate) fn new(
        topics: &Topics,
        key: Keypair,
        standings: Arc<Mutex<Standings>>,
    ) -> Result<Self, String> {
        let messages = IdentTopic::new(topics.messages.as_str());
        let alive = IdentTopic::new(topics.alive.as_str());
        let config = ConfigBuilder::default()
            .validation_mode(ValidationMode::Strict)
            .validate_messages()
            .message_id_fn(|message| MessageId::from(gossip_id(&message.data)))
            .max_transmit_size(defaults::READ_BUFFER)
            .max_transmit_size_for_topic(defaults::MAX_MESSAGE, messages.hash())
            .max_transmit_size_for_topic(defaults::MAX_MESSAGE, alive.hash())
            .duplicate_cache_time(defaults::DUPLICATE_CACHE)
            .max_control_message_size(defaults::MAX_CONTROL)
            .max_publish_messages(defaults::MAX_MESSAGES_PER_FRAME)
            .connection_handler_queue_len(defaults::SEND_QUEUE)
            .flood_publish(true)
            .build()
            .map_err(|error| error.to_string())?;
        let mut inner = gossipsub::Behaviour::new(MessageAuthenticity::Signed(key), config)?;
        for topic in [&messages, &alive] {
            inner.subscribe(topic).map_err(|error| error.to_string())?;
        }
        Ok(Self {
            standings,
            paces: HashMap::new(),
            seen: Seen::default(),
            inner,
            connections: HashMap::new(),
            heard_on: None,
            outlived: VecDeque::new(),
            messages: messages.hash(),
            alive: alive.hash(),
        })
    }

    fn paced(&mut self, peer: PeerId, handler: InnerHandler) -> PacedHandler<InnerHandler> {
        let pace = self.paces.entry(peer).or_insert_with(Pace::new);
        PacedHandler::new(handler, Arc::clone(pace))
    }

    /// Takes out of a frame what is beyond the budgets, and slows its sender down.
    ///
    /// A message costs its author once; each copy costs who sends it a part of its frames.
    fn within_budgets(&mut self, peer: &PeerId, event: FromPeer) -> FromPeer {
        let FromPeer::Message { mut rpc, invalid_messages } = event else { return event };
        let now = Instant::now();
        let messages = rpc.messages.len() + invalid_messages.len();
        let bytes = rpc.messages.iter().map(|message| message.data.len()).sum::<usize>()
            + invalid_messages.iter().map(|(message, _)| message.data.len()).sum::<usize>();
        let mut standings = self.standings.lock();
        let pause = standings.frame(peer, messages, bytes, now);
        if !invalid_messages.is_empty() {
            standings.blame(peer, Offence::BadEnvelope, invalid_messages.len() as u64, now);
        }
        rpc.messages.retain(|message| {
            let id = gossip_id(&message.data);
            if self.seen.contains(id) {
                return true;
            }
            let taken =
                message.source.is_some_and(|author| standings.admit(&author, now) == Admission::Taken);
            if taken {
                self.seen.insert(id);
            }
            taken
        });
        drop(standings);
        // Others would be remembered as long as the peer is connected, and there is no end of names.
        rpc.subscriptions.retain(|subscription| {
            subscription.topic_hash == self.messages || subscription.topic_hash == self.alive
        });
        if !pause.is_zero()
            && let Some(pace) = self.paces.get(peer)
        {
            pace.pause(pause);
        }
        // Gossipsub would only log them, each.
        FromPeer::Message { rpc, invalid_messages: Vec::new() }
    }

    /// The peer greeted on the connection that was heard last.
    fn greeted(&mut self, peer: PeerId) {
        let Some(connections) = self.connections.get(&peer) else { return };
        let greeted = connections.iter().find(|(connection, _)| Some(*connection) == self.heard_on);
        let Some((_, since)) = greeted else { return };
        let dead = connections.iter().filter(|(_, other)| *other + OUTLIVED <= *since);
        self.outlived.extend(dead.map(|(connection, _)| (peer, *connection)));
    }

    pub(crate) fn publish(
        &mut self,
        topic: TopicHash,
        payload: Vec<u8>,
    ) -> Result<MessageId, gossipsub::PublishError> {
        self.inner.publish(topic, payload)
    }

    /// Says whether the message was still there to be judged.
    pub(crate) fn judge(
        &mut self,
        id: &MessageId,
        from: &PeerId,
        verdict: gossipsub::MessageAcceptance,
    ) -> bool {
        self.inner.report_message_validation_result(id, from, verdict)
    }
}

impl NetworkBehaviour for Gossip {
    type ConnectionHandler = PacedHandler<InnerHandler>;
    type ToSwarm = gossipsub::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler = self.inner.handle_established_inbound_connection(connection, peer, local, remote)?;
        Ok(self.paced(peer, handler))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler =
            self.inner.handle_established_outbound_connection(connection, peer, address, role, port)?;
        Ok(self.paced(peer, handler))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            // Gossipsub greets a peer when no other connection stands.
            FromSwarm::ConnectionEstablished(event) => {
                let opened = (event.connection_id, Instant::now());
                self.connections.entry(event.peer_id).or_default().push(opened);
                self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                    other_established: 0,
                    ..event
                }));
            }
            // The greeting on the newer connection may have been written to the one that died.
            FromSwarm::ConnectionClosed(
                event @ ConnectionClosed {
                    remaining_established: 1.., peer_id, connection_id, endpoint, ..
                },
            ) => {
                self.inner.on_swarm_event(FromSwarm::ConnectionClosed(event));
                self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                    peer_id,
                    connection_id,
                    endpoint,
                    failed_addresses: &[],
                    other_established: 0,
                }));
            }
            FromSwarm::ConnectionClosed(event) => {
                self.paces.remove(&event.peer_id);
                self.inner.on_swarm_event(FromSwarm::ConnectionClosed(event));
            }
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.heard_on = Some(connection);
        match event {
            Paced::Inner(event) => {
                let event = self.within_budgets(&peer, event);
                self.inner.on_connection_handler_event(peer, connection, event);
            }
            Paced::Reopened(times) => {
                self.standings.lock().blame(&peer, Offence::UnreadableFrame, 1, Instant::now());
                // Gossipsub listens to no more on this connection.
                if times >= defaults::MOST_STREAMS {
                    self.outlived.push_back((peer, connection));
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, connection)) = self.outlived.pop_front() {
            let connection = CloseConnection::One(connection);
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
        }
        let polled = self.inner.poll(cx);
        if let Poll::Ready(ToSwarm::GenerateEvent(gossipsub::Event::Subscribed { peer_id, .. })) = &polled {
            self.greeted(*peer_id);
        }
        polled
    }
}
