//! The loop that turns commands, verdicts and swarm events into each other.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt as _;
use libp2p::gossipsub::{self, MessageAcceptance};
use libp2p::kad::RecordKey;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::behaviour::Behaviour;
use super::dialer::{Dialer, TargetId};
use super::outbox::Outbox;
use super::pending::Pending;
use crate::book;
use crate::defaults::{BOOK_EVERY, GOODBYE, SETTLE, TICK};
use crate::event::{About, Judgement};
use crate::handle::{Command, Shared, bump};
use crate::{Event, NetworkConfig, PublishError, PublishOutcome, Verdict, gossip_id};

mod announcing;
mod dialing;
mod finding;
mod incoming;

/// Events that could not be handed over at once; the channel behind them is the real queue.
const BACKLOG: usize = 64;

/// How long the queues to peers are drained before connections close.
const LAST_WORDS: Duration = Duration::from_millis(100);

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
    book_changed: bool,
    next_book: Instant,
    /// The write that is under way, or was the last.
    book_writing: Option<JoinHandle<()>>,
    /// Pause before the next dial, of peers that were hung up on.
    paused: HashMap<PeerId, Duration>,
    /// Contents of this node that the distributed table was not told of yet.
    untold: VecDeque<RecordKey>,
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
        dialer.announced(&shared.peers.lock().announced_addresses(started), started);
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
            book_changed: false,
            next_book: started,
            book_writing: None,
            paused: HashMap::new(),
            untold: VecDeque::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let done = loop {
            // A swarm that is not read stops reading from its peers: that is the bound.
            let has_room = self.backlog.len() < BACKLOG && self.pending.len() < self.config.limits.verdicts;
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
            self.hang_up_on_shunned();
            if let Next::Stop(done) = next {
                break done;
            }
        };
        self.say_goodbye().await;
        self.keep_last_book().await;
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

    fn hang_up_on_shunned(&mut self) {
        loop {
            let next = self.shared.standings.lock().next_to_hang_up();
            let Some(peer) = next else { return };
            // An error means that it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Writes the address book if it changed; beside the loop, since a disk may be slow, and never twice at
    /// once, so that no older one comes last.
    fn keep_book(&mut self, now: Instant) {
        let is_writing = self.book_writing.as_ref().is_some_and(|writing| !writing.is_finished());
        if !self.book_changed || now < self.next_book || is_writing {
            return;
        }
        self.next_book = now + BOOK_EVERY;
        self.book_changed = false;
        let entries = self.shared.peers.lock().book(now, SystemTime::now());
        if let Some(path) = self.config.address_book.clone() {
            self.book_writing =
                Some(tokio::task::spawn_blocking(move || book::save_or_tell(&path, &entries)));
        }
    }

    /// Writes what changed since the last time, and waits until it is on disk: whoever starts the node again
    /// reads it at once.
    async fn keep_last_book(&mut self) {
        if let Some(writing) = self.book_writing.take() {
            let _ = writing.await;
        }
        self.next_book = Instant::now();
        self.keep_book(self.next_book);
        if let Some(writing) = self.book_writing.take() {
            let _ = writing.await;
        }
    }

    fn obey(&mut self, command: Option<Command>) -> Next {
        match command {
            None => return Next::Stop(None),
            Some(Command::Shutdown(done)) => return Next::Stop(Some(done)),
            Some(Command::Dial(peer)) => {
                self.dialer.configure(&peer, Instant::now());
                self.dial_due();
            }
            Some(Command::Provide(cid)) => self.provide(&cid),
            Some(Command::StopProviding(cid)) => self.stop_providing(&cid),
            Some(Command::FindProviders(cid)) => self.find_providers(&cid),
            Some(Command::Meet { peer, addresses }) => self.meet(peer, addresses),
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
        let Judgement { about: About { id, author, from }, verdict } = *judgement;
        let in_time = self.pending.judged(id);
        let counters = &self.shared.counters;
        match verdict {
            Verdict::Accept => bump(&counters.accepted, 1),
            Verdict::Reject => bump(&counters.rejected, 1),
            Verdict::Ignore => bump(&counters.ignored, 1),
        }
        self.shared.peers.lock().judged(&author, &from, verdict, Instant::now());
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        let passed_on = in_time && self.gossip().judge(&id.into(), &from, acceptance);
        if verdict == Verdict::Accept && !passed_on {
            bump(&self.shared.counters.late, 1);
            tracing::debug!(%id, "accepted too late to be forwarded");
        }
        Next::Go
    }

    fn on_tick(&mut self) -> Next {
        let now = Instant::now();
        if self.events.is_closed() {
            return Next::Stop(None);
        }
        self.pending.expire(now);
        self.shared.conversations.tidy(now);
        self.keep_book(now);
        let (gate, counters) = (&self.swarm.behaviour().gate, &self.shared.counters);
        counters.refused.store(gate.refused(), Ordering::Relaxed);
        counters.refused_dials.store(gate.refused_dials(), Ordering::Relaxed);
        self.flush_outbox();
        let lost = self.outbox.expire(now);
        bump(&self.shared.counters.unheard, lost);
        self.hang_up_on_silent_peers(now);
        self.dial_due();
        self.tell_untold();
        if now >= self.next_alive {
            self.announce(now);
        }
        Next::Go
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
