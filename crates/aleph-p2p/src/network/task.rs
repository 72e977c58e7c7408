//! The loop that turns commands, verdicts and swarm events into each other.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt as _;
use libp2p::core::ConnectedPoint;
use libp2p::gossipsub::{self, MessageAcceptance};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, ping};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::behaviour::{Behaviour, BehaviourEvent};
use super::dialer::{Attempt, Dialer, TargetId};
use super::outbox::Outbox;
use crate::defaults::{
    ALIVE_GAP, DIAL_FAST, GOODBYE, SETTLE, SILENT_FOR, SILENT_PAUSE, TICK, VERDICT_WITHIN,
};
use crate::event::Judgement;
use crate::handle::{Command, Shared, bump};
use crate::{
    Announcement, Event, GossipId, NetworkConfig, PeerType, PublishError, PublishOutcome, Received, Ticket,
    Verdict, gossip_id,
};

/// Events that could not be handed over at once; the channel behind them is the real queue.
const BACKLOG: usize = 64;

/// How long the queues to peers are drained before connections close.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// A configured peer that just came hears an announcement this soon after the one before.
const ALIVE_GAP_CONFIGURED: Duration = Duration::from_secs(1);

/// Name lookups that take longer have failed.
const LOOKUP: Duration = Duration::from_secs(5);

type Lookup = (TargetId, Option<PeerId>, std::io::Result<Vec<Multiaddr>>);

pub(super) struct Task {
    swarm: Swarm<Behaviour>,
    config: NetworkConfig,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    backlog: VecDeque<Event>,
    verdicts: mpsc::UnboundedReceiver<Judgement>,
    verdict_sender: mpsc::UnboundedSender<Judgement>,
    pending: Pending,
    outbox: Outbox,
    dialer: Dialer,
    attempts: HashMap<ConnectionId, TargetId>,
    lookups: JoinSet<Lookup>,
    started: Instant,
    last_alive: Option<Instant>,
    next_alive: Instant,
    /// Pause before the next dial, of peers that were hung up on.
    paused: HashMap<PeerId, Duration>,
}

/// Messages that wait for a verdict.
#[derive(Debug, Default)]
struct Pending {
    since: HashMap<GossipId, Instant>,
    order: VecDeque<(Instant, GossipId)>,
}

impl Pending {
    fn add(&mut self, id: GossipId, now: Instant) {
        self.since.insert(id, now);
        self.order.push_back((now, id));
    }

    /// Says whether the message waited still.
    fn judged(&mut self, id: GossipId) -> bool {
        self.since.remove(&id).is_some()
    }

    fn expire(&mut self, now: Instant) {
        while let Some((since, id)) = self.order.front() {
            let waits = self.since.get(id) == Some(since);
            if waits && now.saturating_duration_since(*since) < VERDICT_WITHIN {
                break;
            }
            if waits {
                self.since.remove(id);
            }
            self.order.pop_front();
        }
    }
}

enum Next {
    Go,
    Stop(Option<oneshot::Sender<()>>),
}

impl Task {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        config: NetworkConfig,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let (verdict_sender, verdicts) = mpsc::unbounded_channel();
        let started = Instant::now();
        let mut dialer = Dialer::new(shared.me);
        for peer in &config.peers {
            dialer.configure(peer, started);
        }
        Self {
            swarm,
            next_alive: started + config.announce.first,
            config,
            shared,
            commands,
            events,
            backlog: VecDeque::new(),
            verdicts,
            verdict_sender,
            pending: Pending::default(),
            outbox: Outbox::default(),
            dialer,
            attempts: HashMap::new(),
            lookups: JoinSet::new(),
            started,
            last_alive: None,
            paused: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let done = loop {
            // A swarm that is not read stops reading from its peers: that is the bound.
            let has_room =
                self.backlog.len() < BACKLOG && self.pending.since.len() < self.config.limits.verdicts;
            let events = &self.events;
            let next = tokio::select! {
                Some(judgement) = self.verdicts.recv() => self.judge(&judgement),
                command = self.commands.recv() => self.obey(command),
                // This task is the only sender, so that free space stays free.
                space = async { events.reserve().await.is_ok() }, if !self.backlog.is_empty() => {
                    self.hand_over(space)
                }
                event = self.swarm.select_next_some(), if has_room => self.on_swarm(event),
                Some(lookup) = self.lookups.join_next(), if !self.lookups.is_empty() => {
                    if let Ok(lookup) = lookup {
                        self.on_lookup(lookup);
                    }
                    Next::Go
                }
                _ = ticks.tick() => self.on_tick(),
            };
            if let Next::Stop(done) = next {
                break done;
            }
        };
        self.say_goodbye().await;
        drop(self);
        if let Some(done) = done {
            // Nobody waits any more: fine.
            let _ = done.send(());
        }
    }

    /// Passes the oldest waiting events on, as far as there is space.
    fn hand_over(&mut self, reader_lives: bool) -> Next {
        if !reader_lives {
            return Next::Stop(None);
        }
        while let Some(event) = self.backlog.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.backlog.push_front(event);
                break;
            }
        }
        Next::Go
    }

    fn obey(&mut self, command: Option<Command>) -> Next {
        match command {
            None => return Next::Stop(None),
            Some(Command::Shutdown(done)) => return Next::Stop(Some(done)),
            Some(Command::Dial(peer)) => {
                self.dialer.configure(&peer, Instant::now());
                self.dial_due();
            }
            Some(Command::Publish { payload, reply }) => {
                let outcome = self.publish(payload);
                match (reply, outcome) {
                    // A caller that went away does not want to know.
                    (Some(reply), outcome) => drop(reply.send(outcome)),
                    (None, Err(error)) => tracing::warn!(%error, "message not published"),
                    (None, Ok(_)) => {}
                }
            }
        }
        Next::Go
    }

    fn publish(&mut self, payload: Vec<u8>) -> Result<PublishOutcome, PublishError> {
        let id = gossip_id(&payload);
        if self.is_settling() || !self.outbox.is_empty() {
            self.keep(payload);
            self.flush_outbox();
            return Ok(PublishOutcome::Queued { id });
        }
        let topic = self.gossip().messages.clone();
        match self.gossip().publish(topic, payload.clone()) {
            Ok(_) => {
                bump(&self.shared.counters.published, 1);
                Ok(PublishOutcome::Sent { id, peers: self.shared.peers.lock().subscribers() })
            }
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => {
                self.keep(payload);
                Ok(PublishOutcome::Queued { id })
            }
            Err(gossipsub::PublishError::Duplicate) => Ok(PublishOutcome::Duplicate { id }),
            Err(gossipsub::PublishError::MessageTooLarge) => {
                Err(PublishError::TooLarge { size: payload.len() })
            }
            Err(gossipsub::PublishError::AllQueuesFull(peers)) => Err(PublishError::Congested { peers }),
            Err(
                error @ (gossipsub::PublishError::SigningError(_)
                | gossipsub::PublishError::TransformFailed(_)),
            ) => Err(PublishError::Signing(error.to_string())),
        }
    }

    fn keep(&mut self, payload: Vec<u8>) {
        let lost = self.outbox.push(payload, Instant::now());
        bump(&self.shared.counters.unheard, lost);
    }

    /// Just started, and a configured peer is still missing.
    fn is_settling(&self) -> bool {
        self.started.elapsed() < SETTLE && {
            let table = self.shared.peers.lock();
            !self.dialer.configured().all(|peer| peer.is_some_and(|peer| table.is_subscribed(&peer)))
        }
    }

    fn flush_outbox(&mut self) {
        if self.outbox.is_empty() || self.is_settling() || self.shared.peers.lock().subscribers() == 0 {
            return;
        }
        let topic = self.gossip().messages.clone();
        while let Some((payload, since)) = self.outbox.pop() {
            match self.gossip().publish(topic.clone(), payload.clone()) {
                Ok(_) => bump(&self.shared.counters.published, 1),
                Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => {
                    self.outbox.unpop(payload, since);
                    return;
                }
                Err(gossipsub::PublishError::Duplicate) => {}
                Err(error) => {
                    bump(&self.shared.counters.unheard, 1);
                    tracing::warn!(%error, "queued message not published");
                }
            }
        }
    }

    fn judge(&mut self, judgement: &Judgement) -> Next {
        let Judgement { id, from, verdict } = *judgement;
        let in_time = self.pending.judged(id);
        let counters = &self.shared.counters;
        match verdict {
            Verdict::Accept => bump(&counters.accepted, 1),
            Verdict::Reject => bump(&counters.rejected, 1),
            Verdict::Ignore => bump(&counters.ignored, 1),
        }
        self.shared.peers.lock().judged(&from, verdict);
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        if !in_time || !self.gossip().judge(&id.into(), &from, acceptance) {
            if verdict == Verdict::Accept {
                bump(&self.shared.counters.late, 1);
                tracing::debug!(%id, "accepted too late to be forwarded");
            }
        }
        Next::Go
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) -> Next {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Limits(event)) => match event {},
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                let last = self.shared.peers.lock().connection_closed(peer_id, connection_id);
                if last {
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

    fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let address = endpoint.get_remote_address().clone();
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

    fn on_ping(&mut self, event: &ping::Event) {
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

    fn on_gossip(&mut self, event: gossipsub::Event) {
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

    fn on_message(&mut self, from: PeerId, author: PeerId, data: Bytes) {
        let id = gossip_id(&data);
        bump(&self.shared.counters.received, 1);
        self.shared.peers.lock().message_from(&from);
        self.pending.add(id, Instant::now());
        let ticket = Ticket::new(id, from, self.verdict_sender.clone());
        self.emit(Event::Message(Received { id, author, from, data, ticket }));
    }

    fn on_alive(&mut self, from: PeerId, id: &gossipsub::MessageId, author: PeerId, data: &[u8]) {
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
            table.announced_addresses(now)
        };
        if announcement.peer_type == PeerType::P2p {
            self.dialer.announced(&addresses, now);
        }
        self.emit(Event::Alive { peer: author, announcement });
    }

    fn on_tick(&mut self) -> Next {
        let now = Instant::now();
        if self.events.is_closed() {
            return Next::Stop(None);
        }
        self.pending.expire(now);
        self.flush_outbox();
        let lost = self.outbox.expire(now);
        bump(&self.shared.counters.unheard, lost);
        self.hang_up_on_silent_peers(now);
        self.dial_due();
        if now >= self.next_alive {
            self.announce(now);
        }
        Next::Go
    }

    fn hang_up_on_silent_peers(&mut self, now: Instant) {
        let Some(since) = now.checked_sub(SILENT_FOR) else { return };
        let silent = self.shared.peers.lock().silent(since);
        for peer in silent {
            if self.paused.insert(peer, SILENT_PAUSE).is_none() {
                tracing::info!(%peer, "peer sent no subscriptions: dialling again later");
                // An error means that it is gone already.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
    }

    fn dial_due(&mut self) {
        let now = Instant::now();
        let swarm = &self.swarm;
        let connected = swarm.connected_peers().count();
        let attempts = self.dialer.due(now, connected, |peer| swarm.is_connected(peer), rand::random::<f64>);
        for attempt in attempts {
            if let Some((host, port, family)) = name_of(&attempt.address) {
                let Attempt { target, peer, .. } = attempt;
                self.lookups.spawn(async move { (target, peer, look_up(&host, port, family).await) });
            } else {
                self.dial(attempt.target, attempt.peer, vec![attempt.address]);
            }
        }
    }

    fn on_lookup(&mut self, (target, peer, addresses): Lookup) {
        match addresses {
            Ok(addresses) => self.dial(target, peer, addresses),
            Err(error) => {
                let failures = self.dialer.failed(target, false, Instant::now(), rand::random());
                bump(&self.shared.counters.failed_dials, 1);
                tracing::debug!(%error, failures, "peer's name not found");
            }
        }
    }

    fn dial(&mut self, target: TargetId, peer: Option<PeerId>, mut addresses: Vec<Multiaddr>) {
        let options = match (peer, addresses.pop()) {
            (Some(peer), Some(last)) => {
                addresses.push(last);
                DialOpts::peer_id(peer)
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .addresses(addresses)
                    .allocate_new_port()
                    .build()
            }
            (None, Some(address)) => DialOpts::unknown_peer_id().address(address).allocate_new_port().build(),
            (_, None) => {
                self.dialer.failed(target, false, Instant::now(), rand::random());
                return;
            }
        };
        self.attempts.insert(options.connection_id(), target);
        let connection = options.connection_id();
        if let Err(error) = self.swarm.dial(options) {
            self.attempts.remove(&connection);
            self.dial_failed(target, &error);
        }
    }

    fn dial_failed(&mut self, target: TargetId, error: &DialError) {
        match error {
            DialError::LocalPeerId { .. } => {
                self.dialer.is_self(target);
                return;
            }
            // The peer is being dialled or dialled us meanwhile.
            DialError::DialPeerConditionFalse(_) => {}
            _ => bump(&self.shared.counters.failed_dials, 1),
        }
        let wrong = matches!(error, DialError::WrongPeerId { .. });
        let failures = self.dialer.failed(target, wrong, Instant::now(), rand::random());
        if wrong {
            tracing::warn!(%error, "another peer answers at this address: correct the peer id");
        } else {
            tracing::debug!(%error, failures, "dial failed");
        }
    }

    /// Lets a new subscriber hear of this node soon.
    fn hurry_alive(&mut self, peer: PeerId) {
        let configured = self.dialer.configured().any(|known| known == Some(peer));
        let gap = if configured { ALIVE_GAP_CONFIGURED } else { ALIVE_GAP };
        let now = Instant::now();
        let earliest = self.last_alive.map_or(now, |last| (last + gap).max(now));
        self.next_alive = self.next_alive.min(earliest);
    }

    /// Publishes what this node is (`spec: p2p.md §3.2`).
    fn announce(&mut self, now: Instant) {
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
    fn own_address(&self) -> Option<String> {
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

    fn emit(&mut self, event: Event) {
        if !self.backlog.is_empty() {
            self.backlog.push_back(event);
            return;
        }
        match self.events.try_send(event) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(event)) => self.backlog.push_back(event),
            // The next tick ends the loop.
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }

    fn gossip(&mut self) -> &mut super::gossip::Gossip {
        &mut self.swarm.behaviour_mut().gossip
    }

    /// Closes every connection, so that peers notice at once (`spec: p2p.md §4`, restart hazard).
    async fn say_goodbye(&mut self) {
        let drain = async {
            loop {
                self.swarm.select_next_some().await;
            }
        };
        let Err(_elapsed) = timeout(LAST_WORDS, drain).await;
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error means that it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let close = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        if timeout(GOODBYE, close).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
    }
}

/// Which addresses of a name are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Any,
    V4,
    V6,
}

/// The host name, port and family of a `/dns…/tcp/…` address.
fn name_of(address: &Multiaddr) -> Option<(String, u16, Family)> {
    let mut parts = address.iter();
    let (name, family) = match parts.next()? {
        Protocol::Dns(name) => (name.into_owned(), Family::Any),
        Protocol::Dns4(name) => (name.into_owned(), Family::V4),
        Protocol::Dns6(name) => (name.into_owned(), Family::V6),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some((name, port, family)),
        _ => None,
    }
}

/// The addresses of a name, from the system's resolver (hosts file included).
async fn look_up(host: &str, port: u16, family: Family) -> std::io::Result<Vec<Multiaddr>> {
    let found = timeout(LOOKUP, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    Ok(found
        .filter(|address| match family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        })
        .map(|address| Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port())))
        .collect())
}
