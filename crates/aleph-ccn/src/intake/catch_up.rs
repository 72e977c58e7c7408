//! What gossip did not bring: each node compares the set of messages that it has accepted with that of the
//! others, and asks for those that it lacks.
//!
//! The comparison is range-based set reconciliation ([`super::exchange`]): what is equal costs a
//! fingerprint, and what differs is narrowed down to its elements, whatever the two nodes had before. Who
//! lacks much first fetches a snapshot ([`super::snapshot`]), chunk by chunk. Nothing has to be remembered
//! for either: what was interrupted starts over and finds what is left.
//!
//! Several nodes are asked at a time, each in its own time: those first that came, or came back, last. What
//! one was asked for is asked of no other meanwhile ([`claims`]), and what is on its way is bounded for all
//! of them together.
//!
//! Whoever is asked may be hostile: every answer is bounded, held against the question, and a peer that
//! answers wrong, or slowly without use, is left alone for longer and longer, while others are asked. One
//! that brings nothing takes nobody's turn.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aleph_p2p::NetworkHandle;
use aleph_store::Store;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio_util::sync::CancellationToken;

use self::claims::Claims;
use self::error::CatchUpError;
use self::fruitless::Fruitless;
use self::left_alone::LeftAlone;
use self::round::{GOOD_FOR, Round};
use self::schedule::{End, Schedule};
use self::source::{Source, sources};
use super::exchange::Exchange;
use crate::metrics::Metrics;
use crate::peers::HttpPeers;
use crate::pipeline::Pipeline;

mod batch;
mod burial;
mod claims;
mod comparison;
mod error;
mod fruitless;
mod lately;
mod left_alone;
mod progress;
mod round;
mod schedule;
mod source;
mod tried;

pub(crate) use error::error_chain;
pub use tried::sync_answer;

/// Nodes that are asked at a time and bring something; others may be asked beside them.
const AT_ONCE: usize = 4;

/// Nodes that are asked at a time, useful or not.
const AT_ONCE_ALL: usize = 16;

/// Who has brought nothing for so long gives way to others that wait for their turn.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(10);

/// How often is looked whose time has come.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A node that does not speak the protocol is asked again after this time.
const FOREIGN_FOR: Duration = Duration::from_secs(600);

pub(crate) struct CatchUp {
    pub(crate) peers: HttpPeers,
    pub(crate) network: Option<NetworkHandle>,
    pub(crate) client: reqwest::Client,
    pub(crate) store: Store,
    pub(crate) exchange: Exchange,
    pub(crate) pipeline: Pipeline,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shared: Shared,
}

/// What all exchanges of a node have in common.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    claims: Arc<Claims>,
    fruitless: Fruitless,
}

/// A round under way.
struct UnderWay {
    source: Arc<Source>,
    handle: AbortHandle,
}

/// Who is asked, was asked, and is not to be asked.
#[derive(Default)]
struct Rounds {
    tasks: JoinSet<Result<End, CatchUpError>>,
    under_way: HashMap<Id, UnderWay>,
    schedule: Schedule,
    left_alone: LeftAlone,
    /// Nodes that are asked altogether.
    nodes: usize,
}

impl CatchUp {
    /// Asks every peer now and then, and at once when it connects; `nudge` says that one did.
    pub(crate) async fn run(self, nudge: Arc<Notify>, stopping: CancellationToken) {
        let this = Arc::new(self);
        let mut rounds = Rounds::default();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            this.begin_rounds(&mut rounds);
            tokio::select! {
                () = stopping.cancelled() => return,
                Some(ended) = rounds.tasks.join_next_with_id() => this.ended(&mut rounds, ended),
                _ = look.tick() => this.shared.fruitless.tidy(),
                () = nudge.notified() => rounds.schedule.nudged(Instant::now()),
            }
        }
    }

    /// Begins to ask those whose turn it is.
    fn begin_rounds(self: &Arc<Self>, rounds: &mut Rounds) {
        let now = Instant::now();
        let sources = sources(&self.peers, self.network.as_ref(), &self.client);
        // A node that told its URL meanwhile keeps the name that it was asked by.
        let names = sources.iter().map(|source| match rounds.asking(&source.key) {
            Some(round) => round.source.name.as_str(),
            None => source.name.as_str(),
        });
        self.metrics.catching_up.keep(names);
        rounds.schedule.keep(&sources.iter().map(|source| source.key.as_str()).collect());
        rounds.nodes = sources.len();
        for source in sources {
            if let Some(round) = rounds.asking_by_url(&source) {
                round.handle.abort();
            }
            match rounds.asking(&source.key) {
                // What it waits for was asked on a connection that is gone.
                Some(round) if round.source.connected != source.connected && !round.is_good() => {
                    round.handle.abort();
                    continue;
                }
                Some(_) => continue,
                None => {}
            }
            let key = &source.key;
            if rounds.left_alone.is(key) || !rounds.schedule.is_due(key, source.connected, now) {
                continue;
            }
            if rounds.under_way.values().filter(|round| round.is_good()).count() >= AT_ONCE {
                break;
            }
            if rounds.under_way.len() >= AT_ONCE_ALL {
                rounds.make_way();
                break;
            }
            rounds.schedule.begins(key, source.connected, now);
            let (this, source) = (Arc::clone(self), Arc::new(source));
            let asked = Arc::clone(&source);
            let handle = rounds.tasks.spawn(async move { Round::run(&this, &asked).await });
            rounds.under_way.insert(handle.id(), UnderWay { source, handle });
        }
    }

    fn ended(
        &self,
        rounds: &mut Rounds,
        ended: Result<(Id, Result<End, CatchUpError>), tokio::task::JoinError>,
    ) {
        let (id, result) = match ended {
            Ok(ended) => ended,
            // Given up, or a bug that told of itself.
            Err(error) => (error.id(), Err(CatchUpError::GaveWay)),
        };
        let Some(UnderWay { source, .. }) = rounds.under_way.remove(&id) else { return };
        let end = match &result {
            Ok(end) => {
                rounds.left_alone.forgive(&source.key);
                *end
            }
            Err(error) => {
                self.failed(&source, error, &mut rounds.left_alone);
                if error.may_pass_soon() { End::Failed } else { End::Done }
            }
        };
        rounds.schedule.ended(&source.key, end, rounds.nodes, Instant::now());
    }

    fn failed(&self, source: &Source, error: &CatchUpError, left_alone: &mut LeftAlone) {
        let (peer, key) = (&source.name, &source.key);
        let words = error_chain(error);
        if matches!(error, CatchUpError::Foreign) {
            left_alone.set(key, FOREIGN_FOR);
            self.metrics.catching_up.foreign(peer);
            return;
        }
        if error.is_wrong() {
            source.blame();
            let time = left_alone.longer(key).as_secs();
            tracing::warn!(%peer, error = %words, seconds = time, "peer answers wrong: not asked for a while");
        } else {
            if matches!(error, CatchUpError::Empty(_)) {
                // A node that removed much is none the worse for it; asking it is of no use.
                left_alone.longer(key);
            }
            tracing::debug!(%peer, error = %words, "could not catch up");
        }
        self.metrics.catching_up.failed(peer, words);
    }
}

impl UnderWay {
    /// Whether it has just begun, or brought something a moment ago.
    fn is_good(&self) -> bool {
        self.source.idle() < GOOD_FOR
    }
}

impl Rounds {
    /// The round under way with a node.
    fn asking(&self, key: &str) -> Option<&UnderWay> {
        self.under_way.values().find(|round| round.source.key == key)
    }

    /// The round under way with the node of `source` that began by its URL, before it was known whose that is: asked
    /// both ways, it would hand everything out twice. Whom the operator configured is not given up for a stranger
    /// that names its URL.
    fn asking_by_url(&self, source: &Source) -> Option<&UnderWay> {
        let round = if source.key == source.name { None } else { self.asking(&source.name) };
        round.filter(|round| source.trusted || !round.source.trusted)
    }

    /// Ends the round that is of the least use, for others to have a turn.
    fn make_way(&self) {
        let longest = self.under_way.values().max_by_key(|round| round.source.idle());
        if let Some(round) = longest.filter(|round| round.source.idle() >= GIVES_WAY_AFTER) {
            round.handle.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use aleph_p2p::PeerId;

    use super::*;

    fn source(name: &str, peer: Option<PeerId>, trusted: bool) -> Source {
        let (url, client) = (name.starts_with("http").then(|| name.to_owned()), reqwest::Client::new());
        let mut source = Source::new(name.to_owned(), peer, url, peer.is_none(), client);
        source.trusted = trusted;
        source
    }

    #[tokio::test]
    async fn a_node_that_was_asked_by_its_url_is_recognised() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut rounds = Rounds::default();
        for (name, trusted) in [("http://a", false), ("http://b", true)] {
            let handle = rounds.tasks.spawn(std::future::pending());
            let source = Arc::new(source(name, None, trusted));
            rounds.under_way.insert(handle.id(), UnderWay { source, handle });
        }
        let asked = |name: &str, peer, trusted| {
            let source = source(name, peer, trusted);
            rounds.asking_by_url(&source).map(|round| round.source.name.clone())
        };
        let peer = Some(PeerId::random());
        assert_eq!(asked("http://a", peer, false).as_deref(), Some("http://a"));
        assert_eq!(asked("http://b", peer, true).as_deref(), Some("http://b"));
        assert_eq!(asked("http://b", peer, false), None, "whoever names it");
        assert_eq!(asked("http://a", None, false), None, "it is that round's own");
        assert_eq!(asked("http://c", peer, false), None);
    }
}
