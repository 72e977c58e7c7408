//! What the swarm reports.

use std::time::Instant;

use bytes::Bytes;
use libp2p::core::ConnectedPoint;
use libp2p::gossipsub::{self, MessageAcceptance};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{PeerId, ping};

use super::{Next, Task};
use crate::defaults::DIAL_FAST;
use crate::event::About;
use crate::handle::bump;
use crate::network::behaviour::BehaviourEvent;
use crate::{Announcement, Event, PeerType, Received, Ticket, gossip_id};

impl Task {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) -> Next {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Gate(event)) => match event {},
            SwarmEvent::Behaviour(BehaviourEvent::Questions(event)) => match event {},
            SwarmEvent::Behaviour(BehaviourEvent::Blocks(event)) => match event {},
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Dht(event)) => self.on_dht(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                let last = self.shared.peers.lock().connection_closed(peer_id, connection_id);
                if last {
                    self.shared.conversations.forget(&peer_id);
                    tracing::info!(peer = %peer_id, cause = ?cause, "peer disconnected");
                    let wait = self.paused.remove(&peer_id).unwrap_or(DIAL_FAST);
                    self.dialer.disconnected(&peer_id, wait, Instant::now());
                    self.emit(Event::PeerDisconnected { peer: peer_id });
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                if let Some(target) = self.attempts.remove(&connection_id) {
                    self.dial_failed(target, &error);
                }
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(from = %send_back_addr, %error, "incoming connection failed");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                self.shared.listening.lock().push(address);
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.shared.listening.lock().retain(|known| *known != address);
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "gossip stopped to listen: restart the node");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "gossip listener"),
            _ => {}
        }
        Next::Go
    }

    pub(super) fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let address = endpoint.get_remote_address().clone();
        self.dialer.reached(&peer, Instant::now(), rand::random::<f64>);
        if let Some(target) = self.attempts.remove(&connection) {
            self.dialer.succeeded(target, peer);
        }
        let first = self.shared.peers.lock().connection_opened(
            peer,
            connection,
            address.clone(),
            endpoint.is_dialer(),
            Instant::now(),
        );
        if first {
            tracing::info!(%peer, %address, "peer connected");
            self.emit(Event::PeerConnected { peer, address });
        }
    }

    pub(super) fn on_ping(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(time) => self.shared.peers.lock().round_trip(&event.peer, *time),
            // A connection that died without a word would swallow part of what is sent.
            Err(ping::Failure::Timeout) => {
                tracing::info!(peer = %event.peer, "connection is dead: closing it");
                self.swarm.close_connection(event.connection);
            }
            Err(_) => {}
        }
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let author = message.source.unwrap_or(propagation_source);
                if message.topic == self.gossip().alive {
                    self.on_alive(propagation_source, &message_id, author, &message.data);
                } else {
                    self.on_message(propagation_source, author, message.data.into());
                }
            }
            gossipsub::Event::Subscribed { peer_id, topic } if topic == self.gossip().messages => {
                if self.shared.peers.lock().subscribed(peer_id, true) {
                    self.emit(Event::PeerSubscribed { peer: peer_id });
                    self.hurry_alive(peer_id);
                    self.flush_outbox();
                }
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } if topic == self.gossip().messages => {
                self.shared.peers.lock().subscribed(peer_id, false);
            }
            gossipsub::Event::Subscribed { .. } | gossipsub::Event::Unsubscribed { .. } => {}
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                tracing::debug!(peer = %peer_id, "peer speaks no gossip");
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                let missed = failed_messages.non_priority;
                bump(&self.shared.counters.missed, missed as u64);
                self.shared.peers.lock().missed(&peer_id, missed);
                tracing::debug!(peer = %peer_id, missed, "peer is too slow");
            }
        }
    }

    pub(super) fn on_message(&mut self, from: PeerId, author: PeerId, data: Bytes) {
        let id = gossip_id(&data);
        bump(&self.shared.counters.received, 1);
        self.shared.peers.lock().message_from(&from);
        self.pending.add(id, Instant::now());
        let ticket = Ticket::new(About { id, author, from }, self.verdict_sender.clone());
        self.emit(Event::Message(Received { id, author, from, data, ticket }));
    }

    pub(super) fn on_alive(&mut self, from: PeerId, id: &gossipsub::MessageId, author: PeerId, data: &[u8]) {
        let Some(announcement) = Announcement::parse(data) else {
            self.gossip().judge(id, &from, MessageAcceptance::Ignore);
            return;
        };
        // Others may know the author though this node does not.
        self.gossip().judge(id, &from, MessageAcceptance::Accept);
        let now = Instant::now();
        let addresses = {
            let mut table = self.shared.peers.lock();
            if !table.is_allowed(&author) {
                return;
            }
            table.announced(author, &announcement, now);
            self.book_changed = true;
            table.announced_addresses(now)
        };
        if announcement.peer_type == PeerType::P2p {
            self.dialer.announced(&addresses, now);
        }
        self.emit(Event::Alive { peer: author, announcement });
    }
}
