//! Questions to a connected peer, and answers to its questions: bytes each, on streams of a protocol of
//! their own. What the bytes mean is the application's affair.
//!
//! A stream carries one question and its answer after the other; those that are not used wait a moment for
//! the next question. A peer that does not speak the protocol says so once a connection: reference nodes
//! answer `na` (`spec: p2p.md §4`), and are not asked again before they come back.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::{PeerId, Stream, StreamProtocol};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::NetworkHandle;
use crate::handle::Shared;
use crate::standing::{Offence, Trust};
use crate::streams::{self, OpenError, Order};

mod frame;

use frame::FrameError;

/// The protocol of nodes that catch up (`docs/adr/0015-reconciliation.md`).
pub const SYNC_PROTOCOL: StreamProtocol = StreamProtocol::new("/alephd/sync/1");

/// Opening a stream takes a round trip.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// An answer begins within this time: the other side may have to read a thousand messages first.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A stream waits this long for the next question, on the asking side; the answering side waits longer, so
/// that the asking one is who closes.
const IDLE: Duration = Duration::from_secs(20);
const IDLE_THERE: Duration = Duration::from_secs(40);

/// Streams that wait for the next question to one peer.
const IDLE_STREAMS: usize = 4;

/// Streams that peers opened and nobody took yet; one more is reset.
const UNTAKEN: usize = 64;

/// A fresh stream that ends without an answer is tried again: the other side may have had no place for it.
const TRIES: u32 = 4;

/// Why a peer did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no connection to it.
    #[error("not connected")]
    NotConnected,
    /// It does not speak the protocol, and said so on this connection.
    #[error("speaks no {SYNC_PROTOCOL}")]
    Unsupported,
    /// No stream could be opened.
    #[error("no stream could be opened: {0}")]
    Opening(String),
    /// It took too long, or sent less than 32 KiB a second.
    #[error("too slow")]
    Slow,
    /// Its answer is longer than was asked for.
    #[error("an answer of {size} bytes, more than {most}")]
    TooLong {
        /// What it announced.
        size: u64,
        /// What was asked for.
        most: usize,
    },
    /// It closed the stream instead.
    #[error("closed the stream without an answer")]
    Closed,
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[source] std::io::Error),
}

/// How much a node does for others' questions at once.
#[derive(Debug, Clone, Copy)]
pub struct AnswerLimits {
    /// Largest question, in bytes.
    pub question: usize,
    /// Streams of one peer.
    pub streams_per_peer: usize,
    /// Streams of all strangers together.
    pub streams_of_strangers: usize,
    /// Answers to strangers that are made and sent at the same time.
    pub answers_to_strangers: usize,
    /// The same for peers that are configured or in the node list.
    pub answers: usize,
}

/// The swarm's half of questions and answers.
pub(crate) type Streams = streams::Behaviour<Incoming>;

type Untaken = mpsc::Sender<(PeerId, Stream)>;

/// Streams that peers open, for who answers; nobody at first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Incoming(Arc<Mutex<Option<Untaken>>>);

impl streams::Listener for Incoming {
    const PROTOCOL: StreamProtocol = SYNC_PROTOCOL;

    fn is_open(&self) -> bool {
        self.0.lock().as_ref().is_some_and(|untaken| !untaken.is_closed())
    }

    fn stream(&self, peer: PeerId, stream: Stream) {
        if let Some(untaken) = self.0.lock().as_ref() {
            // One too many is reset; who asks tries again.
            let _ = untaken.try_send((peer, stream));
        }
    }
}

/// The tasks' half: opens streams and takes those of peers.
#[derive(Debug)]
pub(crate) struct Door {
    orders: mpsc::Sender<Order>,
    incoming: Incoming,
}

impl Door {
    async fn open(&self, peer: PeerId) -> Result<Stream, OpenError> {
        let (reply, opened) = oneshot::channel();
        self.orders.send(Order::Open { peer, reply }).await.map_err(|_| OpenError::NotConnected)?;
        opened.await.unwrap_or(Err(OpenError::Broken))
    }

    /// Streams that peers open from now on; none if somebody takes them already.
    fn take(&self) -> Option<mpsc::Receiver<(PeerId, Stream)>> {
        let mut incoming = self.incoming.0.lock();
        if incoming.as_ref().is_some_and(|untaken| !untaken.is_closed()) {
            return None;
        }
        let (untaken, streams) = mpsc::channel(UNTAKEN);
        *incoming = Some(untaken);
        Some(streams)
    }
}

/// Both halves.
pub(crate) fn start() -> (Streams, Door) {
    let (orders, incoming_orders) = mpsc::channel(256);
    let incoming = Incoming::default();
    (Streams::new(incoming_orders, incoming.clone()), Door { orders, incoming })
}

/// What the asking and the answering side remember.
#[derive(Debug, Default)]
pub(crate) struct Conversations {
    /// Streams without a question under way, and since when.
    idle: Mutex<HashMap<PeerId, Vec<(Stream, Instant)>>>,
    /// Connected peers that don't speak the protocol.
    mute: Mutex<HashSet<PeerId>>,
}

impl Conversations {
    /// The last connection to a peer is gone: a next one may speak otherwise.
    pub(crate) fn forget(&self, peer: &PeerId) {
        self.idle.lock().remove(peer);
        self.mute.lock().remove(peer);
    }

    /// Closes streams that waited too long.
    pub(crate) fn tidy(&self, now: Instant) {
        self.idle.lock().retain(|_, streams| {
            streams.retain(|(_, since)| now.saturating_duration_since(*since) < IDLE);
            !streams.is_empty()
        });
    }

    fn take(&self, peer: &PeerId) -> Option<Stream> {
        self.idle.lock().get_mut(peer)?.pop().map(|(stream, _)| stream)
    }

    fn put(&self, peer: PeerId, stream: Stream) {
        let mut idle = self.idle.lock();
        let streams = idle.entry(peer).or_default();
        if streams.len() < IDLE_STREAMS {
            streams.push((stream, Instant::now()));
        }
    }
}

impl NetworkHandle {
    /// Sends a question to a connected peer and reads its answer, of at most `most` bytes.
    ///
    /// # Errors
    /// See [`AskError`]. None of them says anything about other peers.
    pub async fn ask(&self, peer: PeerId, question: &[u8], most: usize) -> Result<Vec<u8>, AskError> {
        let conversations = &self.shared().conversations;
        if conversations.mute.lock().contains(&peer) {
            return Err(AskError::Unsupported);
        }
        if let Some(mut stream) = conversations.take(&peer) {
            match question_on(&mut stream, question, most).await {
                Ok(answer) => {
                    conversations.put(peer, stream);
                    return Ok(answer);
                }
                // The other side closed it while it waited, or the connection went.
                Err(AskError::Closed | AskError::Io(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut tries = 1;
        loop {
            let mut stream = self.open(peer).await?;
            match question_on(&mut stream, question, most).await {
                Ok(answer) => {
                    conversations.put(peer, stream);
                    return Ok(answer);
                }
                Err(AskError::Closed | AskError::Io(_)) if tries < TRIES => {
                    tokio::time::sleep(Duration::from_millis(50) * tries).await;
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn open(&self, peer: PeerId) -> Result<Stream, AskError> {
        let opening = self.shared().door.open(peer);
        match tokio::time::timeout(OPEN_WITHIN, opening).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(OpenError::NotSpoken)) => {
                // Only as long as it is connected, which it may not be any more.
                if self.shared().peers.lock().is_connected(&peer) {
                    self.shared().conversations.mute.lock().insert(peer);
                }
                Err(AskError::Unsupported)
            }
            Ok(Err(OpenError::NotConnected)) => Err(AskError::NotConnected),
            Ok(Err(error @ OpenError::Broken)) => Err(AskError::Opening(error.to_string())),
            Err(_elapsed) => Err(AskError::Slow),
        }
    }

    /// Connected peers that may be asked, with how far each is trusted: those that said they don't speak
    /// the protocol are left out.
    pub fn askable_peers(&self) -> Vec<(PeerId, Trust)> {
        let mute = self.shared().conversations.mute.lock().clone();
        let peers = self.peers().into_iter().filter(|info| !mute.contains(&info.peer));
        peers.map(|info| (info.peer, info.standing.trust)).collect()
    }

    /// Counts something against a peer that only the application can see.
    pub fn blame(&self, peer: PeerId, offence: Offence) {
        self.shared().standings.lock().blame(&peer, offence, 1, Instant::now());
    }

    /// Answers questions of peers with `reply` until the network ends; no answer closes the stream.
    ///
    /// Returns at once, without answering, if another caller answers already.
    pub async fn answer<F, Answer>(&self, limits: AnswerLimits, reply: F)
    where
        F: Fn(PeerId, Vec<u8>) -> Answer + Clone + Send + Sync + 'static,
        Answer: Future<Output = Option<Vec<u8>>> + Send,
    {
        let Some(mut incoming) = self.shared().door.take() else { return };
        let answers = Arc::new(Semaphore::new(limits.answers));
        let to_strangers = Arc::new(Semaphore::new(limits.answers_to_strangers));
        let mut streams: HashMap<PeerId, usize> = HashMap::new();
        let mut strangers = 0;
        let mut conversations = JoinSet::new();
        loop {
            tokio::select! {
                next = incoming.recv() => {
                    let Some((peer, stream)) = next else { return };
                    let stranger = self.shared().standings.lock().trust(&peer) == Trust::Stranger;
                    let of_peer = streams.entry(peer).or_default();
                    if *of_peer >= limits.streams_per_peer
                        || (stranger && strangers >= limits.streams_of_strangers)
                    {
                        // Dropping it resets it.
                        if *of_peer == 0 {
                            streams.remove(&peer);
                        }
                        continue;
                    }
                    *of_peer += 1;
                    strangers += usize::from(stranger);
                    let room = if stranger { &to_strangers } else { &answers };
                    let conversation = Conversation {
                        shared: Arc::clone(self.shared()),
                        peer,
                        stream,
                        most: limits.question,
                        room: Arc::clone(room),
                    };
                    let reply = reply.clone();
                    conversations.spawn(async move {
                        conversation.run(reply).await;
                        (peer, stranger)
                    });
                }
                Some(ended) = conversations.join_next(), if !conversations.is_empty() => {
                    // A panic of the application loses the count of one stream of one peer.
                    let Ok((peer, stranger)) = ended else { continue };
                    strangers -= usize::from(stranger);
                    if let Some(of_peer) = streams.get_mut(&peer) {
                        *of_peer -= 1;
                        if *of_peer == 0 {
                            streams.remove(&peer);
                        }
                    }
                }
            }
        }
    }
}

async fn question_on(stream: &mut Stream, question: &[u8], most: usize) -> Result<Vec<u8>, AskError> {
    let error = |error: FrameError| match error {
        FrameError::End => AskError::Closed,
        FrameError::Slow => AskError::Slow,
        FrameError::TooLong(size) => AskError::TooLong { size, most },
        FrameError::Io(source) => AskError::Io(source),
    };
    frame::write(stream, question).await.map_err(error)?;
    frame::read(stream, most, ANSWER_WITHIN).await.map_err(error)
}

/// The answering side of one stream.
struct Conversation {
    shared: Arc<Shared>,
    peer: PeerId,
    stream: Stream,
    most: usize,
    room: Arc<Semaphore>,
}

impl Conversation {
    async fn run<F, Answer>(mut self, reply: F)
    where
        F: Fn(PeerId, Vec<u8>) -> Answer,
        Answer: Future<Output = Option<Vec<u8>>>,
    {
        loop {
            let question = match frame::read(&mut self.stream, self.most, IDLE_THERE).await {
                Ok(question) => question,
                Err(FrameError::TooLong(_)) => {
                    self.shared.standings.lock().blame(
                        &self.peer,
                        Offence::UnreadableFrame,
                        1,
                        Instant::now(),
                    );
                    return;
                }
                Err(_) => return,
            };
            // Held until the answer is sent: a slow reader holds its memory, and no more than that.
            let waiting = tokio::time::timeout(ANSWER_WITHIN, self.room.acquire());
            let Ok(Ok(_room)) = waiting.await else { return };
            let Some(answer) = reply(self.peer, question).await else { return };
            if frame::write(&mut self.stream, &answer).await.is_err() {
                return;
            }
        }
    }
}
