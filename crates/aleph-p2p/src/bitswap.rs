//! Blocks of IPFS from peers and to them: bitswap 1.2 over the connections of the node.
//!
//! One [`Engine`] for all peers. The swarm only opens streams ([`streams`]); reading, looking blocks up and
//! writing are tasks of their own, so that gossip waits for none of it.
//!
//! * **Server**: what a peer wants stands in its ledger ([`server`]); one task a peer takes wants out, looks
//!   the blocks up in the [`BlockSource`] and writes messages, one at a time. A want that can't be met is
//!   answered and forgotten.
//! * **Client**: a [`Session`] is one fetch. It decides whom to ask for what ([`client`]) and gives blocks
//!   whose bytes have the hash that was asked for.
//!
//! Invariants: a block is given on only if it was wanted, whoever sent it; bytes of messages on their way
//! in and out, wants of a peer and streams that are read at once are bounded, for each peer and for all.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aleph_cid::Cid;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{Stream, StreamProtocol};
use libp2p::{Multiaddr, PeerId};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::network::{look_up, name_of};
use crate::standing::{Offence, Standings};
use crate::streams::{self, OpenError, Order};

mod client;
mod frames;
mod message;
mod server;
mod session;

use client::Orders;
use message::{Block, Entry, MAX_MESSAGE, Message, Presence, WantKind};
use server::Ledger;
pub use session::{Session, SessionEvent};

/// Where blocks come from that peers ask for.
pub trait BlockSource: fmt::Debug + Send + Sync + 'static {
    /// A block; none if it is not here. The one who asked checks it.
    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Option<Bytes>>;

    /// Whether the block is here; cheaper than reading it.
    fn has<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, bool>;
}

/// Streams of one peer that are read at once; the others wait, unread.
const READ_AT_ONCE: usize = 4;

/// Streams of one peer that are open: each may hold 256 KiB that nobody has read yet. What is above is
/// refused, and counts as too many wants.
const MOST_STREAMS: usize = 128;

/// KiB of messages of all peers that are being read, and that are being written. A peer that takes its time
/// holds no more than one message in each.
const READ_KIB: usize = 96 << 10;
const WRITE_KIB: usize = 96 << 10;

/// Most bytes of a message from a peer that owes nothing: wants only.
const MAX_WANTS: usize = 512 << 10;

/// A message to a peer is closed when it has this many bytes of blocks.
const MESSAGE_BLOCKS: usize = 512 << 10;

/// Entries and presences in one message.
const MESSAGE_ENTRIES: usize = 1024;

/// Answers to a peer that wait for their message; who asks for more without reading loses them.
const MOST_PRESENCES: usize = 8192;

/// How long after the last want blocks are no surprise.
const LATE_FOR: Duration = Duration::from_secs(60);

/// Digests that were wanted lately: their blocks may come late, twice, without fault.
const LATELY: usize = 16_384;

/// What one session has not read yet. It is asked for far fewer blocks.
const SESSION_INPUTS: usize = 2048;

/// What block exchange did since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockStats {
    /// Blocks sent to peers.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Blocks that were asked for and came.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Blocks that nobody asked for, wrong ones among them.
    pub unasked: u64,
    /// Wants of peers that were answered with nothing.
    pub unmet: u64,
    /// Wants of all peers that wait, now.
    pub waiting: usize,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    received: AtomicU64,
    received_bytes: AtomicU64,
    unasked: AtomicU64,
    unmet: AtomicU64,
}

fn bump(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// What a session hears.
#[derive(Debug)]
enum Input {
    Joined(PeerId),
    Left(PeerId),
    Block { from: PeerId, cid: Cid, data: Bytes },
    Presence { from: PeerId, digest: [u8; 32], has: bool },
}

#[derive(Debug, Default)]
struct Peer {
    connected: bool,
    /// It answered that it speaks no bitswap.
    refuses: bool,
    ledger: Ledger,
    /// What is asked of it, not sent yet.
    asks: VecDeque<Entry>,
    presences: VecDeque<Presence>,
    /// A task writes to it.
    is_served: bool,
    readers: Option<Readers>,
}

/// Turns of streams from one peer.
#[derive(Debug, Clone)]
struct Readers {
    open: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Readers {
    fn new() -> Self {
        Self { open: Arc::new(Semaphore::new(MOST_STREAMS)), turns: Arc::new(Semaphore::new(READ_AT_ONCE)) }
    }
}

#[derive(Debug, Default)]
struct State {
    peers: HashMap<PeerId, Peer>,
    sessions: HashMap<u64, mpsc::Sender<Input>>,
    last_session: u64,
    /// Who wants a block.
    wanted: HashMap<[u8; 32], Vec<u64>>,
    /// Who wants to know which peers have a root.
    roots: HashMap<[u8; 32], Vec<u64>>,
    /// When something was wanted last.
    wanted_at: Option<Instant>,
    lately: VecDeque<[u8; 32]>,
    lately_set: HashMap<[u8; 32], u32>,
}

impl State {
    fn remember(&mut self, digest: [u8; 32]) {
        *self.lately_set.entry(digest).or_default() += 1;
        self.lately.push_back(digest);
        if self.lately.len() > LATELY
            && let Some(old) = self.lately.pop_front()
            && let Some(count) = self.lately_set.get_mut(&old)
        {
            *count -= 1;
            if *count == 0 {
                self.lately_set.remove(&old);
            }
        }
    }

    /// Whether blocks may come that were asked for: some come after they were cancelled.
    fn expects_blocks(&self, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < LATE_FOR;
        !self.wanted.is_empty() || self.wanted_at.is_some_and(lately)
    }

    /// The session wants the block.
    fn register(&mut self, digest: [u8; 32], session: u64) {
        let wanters = self.wanted.entry(digest).or_default();
        if !wanters.contains(&session) {
            wanters.push(session);
        }
    }

    /// The session wants the block no more.
    fn unregister(&mut self, digest: [u8; 32], session: u64) {
        let Some(wanters) = self.wanted.get_mut(&digest) else { return };
        wanters.retain(|id| *id != session);
        if wanters.is_empty() {
            self.wanted.remove(&digest);
            self.wanted_at = Some(Instant::now());
            self.remember(digest);
        }
    }

    fn tell_all(&self, input: impl Fn() -> Input) {
        for session in self.sessions.values() {
            // One that is full hears of peers later: each fetch begins by asking all.
            let _ = session.try_send(input());
        }
    }
}

/// All of block exchange.
#[derive(Debug)]
pub(crate) struct Engine {
    source: Arc<dyn BlockSource>,
    standings: Arc<Mutex<Standings>>,
    orders: mpsc::Sender<Order>,
    state: Mutex<State>,
    reading: Arc<Semaphore>,
    writing: Arc<Semaphore>,
    counters: Counters,
}

/// Block exchange as the application uses it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bitswap {
    engine: Arc<Engine>,
}

impl Bitswap {
    /// A fetch of blocks below `root`, which every peer is asked for first.
    pub fn session(&self, root: Cid) -> Session {
        Session::start(Arc::clone(&self.engine), root)
    }

    /// Connects to a peer that may have something, unless it is connected. Host names are looked up first.
    pub async fn connect(&self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let mut found = Vec::with_capacity(addresses.len());
        for address in addresses {
            match name_of(&address) {
                None => found.push(address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()),
                Some((host, port, family)) => match look_up(&host, port, family).await {
                    Ok(addresses) => found.extend(addresses),
                    Err(error) => tracing::debug!(%peer, host, %error, "peer's name not found"),
                },
            }
        }
        let addresses = found;
        // A network that is shut down connects to nobody.
        let _ = self.engine.orders.send(Order::Connect { peer, addresses }).await;
    }

    /// Counts since start.
    pub fn stats(&self) -> BlockStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.engine.counters;
        let waiting = self.engine.state.lock().peers.values().map(|peer| peer.ledger.len()).sum();
        BlockStats {
            sent: of(&counters.sent),
            sent_bytes: of(&counters.sent_bytes),
            received: of(&counters.received),
            received_bytes: of(&counters.received_bytes),
            unasked: of(&counters.unasked),
            unmet: of(&counters.unmet),
            waiting,
        }
    }
}

/// What the swarm tells the tasks.
#[derive(Debug)]
enum News {
    Connected(PeerId),
    Disconnected(PeerId),
    Stream(PeerId, Stream),
    /// It could not be reached.
    Unreachable(PeerId),
}

/// Tells the tasks. They live as long as the swarm.
#[derive(Debug, Clone)]
pub(crate) struct Teller(mpsc::UnboundedSender<News>);

impl Teller {
    fn tell(&self, news: News) {
        let _ = self.0.send(news);
    }
}

/// None is dropped here: peers open a stream for each message, many at once.
impl streams::Listener for Teller {
    const PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");

    fn stream(&self, peer: PeerId, stream: Stream) {
        self.tell(News::Stream(peer, stream));
    }

    fn connected(&self, peer: PeerId) {
        self.tell(News::Connected(peer));
    }

    fn disconnected(&self, peer: PeerId) {
        self.tell(News::Disconnected(peer));
    }

    fn unreachable(&self, peer: PeerId) {
        self.tell(News::Unreachable(peer));
    }
}

/// The swarm's half of block exchange.
pub(crate) type Streams = streams::Behaviour<Teller>;

/// The swarm's half and the application's half. The tasks end with the swarm.
pub(crate) fn start(source: Arc<dyn BlockSource>, standings: Arc<Mutex<Standings>>) -> (Streams, Bitswap) {
    let (orders, incoming) = mpsc::channel(256);
    let (tell, news) = mpsc::unbounded_channel();
    let engine = Arc::new(Engine {
        source,
        standings,
        orders,
        state: Mutex::default(),
        reading: Arc::new(Semaphore::new(READ_KIB)),
        writing: Arc::new(Semaphore::new(WRITE_KIB)),
        counters: Counters::default(),
    });
    tokio::spawn(Arc::clone(&engine).follow(news));
    (Streams::new(incoming, Teller(tell)), Bitswap { engine })
}

impl Engine {
    /// Follows the swarm to its end.
    async fn follow(self: Arc<Self>, mut news: mpsc::UnboundedReceiver<News>) {
        while let Some(news) = news.recv().await {
            match news {
                News::Connected(peer) => {
                    let mut state = self.state.lock();
                    state.peers.entry(peer).or_default().connected = true;
                    state.tell_all(|| Input::Joined(peer));
                }
                News::Disconnected(peer) => {
                    let mut state = self.state.lock();
                    state.peers.remove(&peer);
                    state.tell_all(|| Input::Left(peer));
                }
                News::Unreachable(peer) => self.state.lock().tell_all(|| Input::Left(peer)),
                News::Stream(peer, stream) => {
                    let readers = {
                        let mut state = self.state.lock();
                        let peer = state.peers.entry(peer).or_default();
                        // Who opens such a stream speaks it.
                        peer.refuses = false;
                        peer.readers.get_or_insert_with(Readers::new).clone()
                    };
                    let Ok(place) = readers.open.try_acquire_owned() else {
                        self.standings.lock().too_many_wants(&peer, Instant::now());
                        continue;
                    };
                    let reading = Arc::clone(&self).read(peer, stream, readers.turns);
                    tokio::spawn(async move {
                        reading.await;
                        drop(place);
                    });
                }
            }
        }
    }

    /// Reads a stream to its end.
    async fn read(self: Arc<Self>, peer: PeerId, mut stream: Stream, turns: Arc<Semaphore>) {
        let Ok(_turn) = turns.acquire_owned().await else { return };
        let most = || if self.state.lock().expects_blocks(Instant::now()) { MAX_MESSAGE } else { MAX_WANTS };
        loop {
            match frames::read(&mut stream, most, &self.reading).await {
                Ok(None) => break,
                Ok(Some((message, room))) => {
                    self.take(peer, message).await;
                    drop(room);
                }
                Err(error) => {
                    tracing::debug!(%peer, %error, "bitswap stream ended");
                    if error.is_offence() {
                        let mut standings = self.standings.lock();
                        standings.blame(&peer, Offence::UnreadableFrame, 1, Instant::now());
                    }
                    return;
                }
            }
        }
        frames::close(stream).await;
    }

    /// Takes what a peer sent. Who sends too much is read more slowly.
    async fn take(self: &Arc<Self>, peer: PeerId, message: Message) {
        let Message { entries, full, blocks, presences, .. } = message;
        let now = Instant::now();
        let pause = self.standings.lock().asked(&peer, entries.len() + presences.len() + 1, now);
        if !entries.is_empty() || full {
            let lost = {
                let mut state = self.state.lock();
                // Who has gone wants nothing.
                state.peers.get_mut(&peer).map_or(0, |known| known.ledger.take(entries, full))
            };
            if lost > 0 {
                self.standings.lock().too_many_wants(&peer, now);
            }
            self.serve(peer);
        }
        for presence in presences {
            self.take_presence(peer, &presence);
        }
        if !blocks.is_empty() {
            self.take_blocks(peer, blocks).await;
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    fn take_presence(&self, from: PeerId, presence: &Presence) {
        let Some(digest) = Cid::from_bytes(&presence.cid).ok().and_then(|cid| cid.digest()) else { return };
        let state = self.state.lock();
        let asking = [state.roots.get(&digest), state.wanted.get(&digest)].into_iter().flatten().flatten();
        let mut asking: Vec<&u64> = asking.collect();
        asking.sort_unstable();
        asking.dedup();
        for id in asking {
            if let Some(session) = state.sessions.get(id) {
                // A flood of them is lost; what matters then is asked for again.
                let _ = session.try_send(Input::Presence { from, digest, has: presence.has });
            }
        }
    }

    async fn take_blocks(&self, from: PeerId, blocks: Vec<Block>) {
        let all = blocks.len() as u64;
        let mut unasked = 0;
        let expected = self.state.lock().expects_blocks(Instant::now());
        if !expected {
            unasked = all;
        } else {
            let named = tokio::task::spawn_blocking(move || {
                blocks.into_iter().map(|block| (block.cid(), block.data)).collect::<Vec<_>>()
            });
            for (cid, data) in named.await.unwrap_or_default() {
                let Some((cid, digest)) = cid.and_then(|cid| Some((cid, cid.digest()?))) else {
                    unasked += 1;
                    continue;
                };
                let mut state = self.state.lock();
                let Some(wanters) = state.wanted.remove(&digest) else {
                    if !state.lately_set.contains_key(&digest) {
                        unasked += 1;
                    }
                    continue;
                };
                state.wanted_at = Some(Instant::now());
                state.remember(digest);
                bump(&self.counters.received, 1);
                bump(&self.counters.received_bytes, data.len() as u64);
                // Out of the message, whose other blocks may stay for long.
                let data = if all > 1 { Bytes::copy_from_slice(&data) } else { data };
                for id in wanters {
                    if let Some(session) = state.sessions.get(&id) {
                        let input = Input::Block { from, cid, data: data.clone() };
                        // It reads more than it wants, or it is gone.
                        let _ = session.try_send(input);
                    }
                }
            }
        }
        if unasked > 0 {
            bump(&self.counters.unasked, unasked);
            self.standings.lock().blame(&from, Offence::UnaskedBlock, unasked, Instant::now());
        }
    }

    /// Asks peers, in their next messages.
    fn send(self: &Arc<Self>, orders: Orders) {
        for (peer, entry) in orders {
            {
                let mut state = self.state.lock();
                let Some(known) = state.peers.get_mut(&peer) else { continue };
                known.asks.push_back(entry);
            }
            self.serve(peer);
        }
    }

    /// Sees that a task writes to the peer what waits for it.
    fn serve(self: &Arc<Self>, peer: PeerId) {
        {
            let mut state = self.state.lock();
            let Some(known) = state.peers.get_mut(&peer) else { return };
            if known.is_served {
                return;
            }
            known.is_served = true;
        }
        tokio::spawn(Arc::clone(self).write(peer));
    }

    /// Writes to a peer until nothing waits for it.
    async fn write(self: Arc<Self>, peer: PeerId) {
        let mut stream = None;
        while let Some(message) = self.next_message(peer).await {
            let bytes: usize = message.blocks.iter().map(|block| block.data.len()).sum();
            let kib = u32::try_from((bytes / 1024 + 1).min(WRITE_KIB)).unwrap_or(u32::MAX);
            let Ok(_room) = self.writing.acquire_many(kib).await else { return };
            match self.write_message(peer, &mut stream, &message).await {
                Ok(()) => {
                    bump(&self.counters.sent, message.blocks.len() as u64);
                    bump(&self.counters.sent_bytes, bytes as u64);
                }
                Err(error) => {
                    tracing::debug!(%peer, %error, "blocks not sent");
                    self.lost(peer, error == OpenError::NotSpoken);
                    return;
                }
            }
            let pause = self.standings.lock().served(&peer, bytes, Instant::now());
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        if let Some(stream) = stream {
            frames::close(stream).await;
        }
    }

    /// Writes one message; a stream that was open before may have died unseen.
    async fn write_message(
        &self,
        peer: PeerId,
        stream: &mut Option<Stream>,
        message: &Message,
    ) -> Result<(), OpenError> {
        if let Some(open) = stream {
            match frames::write(open, message).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(%peer, %error, "bitswap stream is opened anew"),
            }
        }
        let (reply, opened) = oneshot::channel();
        let order = Order::Open { peer, reply };
        self.orders.send(order).await.map_err(|_| OpenError::NotConnected)?;
        let opened = opened.await.unwrap_or(Err(OpenError::NotConnected))?;
        let open = stream.insert(opened);
        frames::write(open, message).await.map_err(|_| OpenError::Broken)
    }

    /// Nothing can be sent to the peer: what waits for it is forgotten.
    fn lost(&self, peer: PeerId, refuses: bool) {
        let mut state = self.state.lock();
        if let Some(known) = state.peers.get_mut(&peer) {
            known.is_served = false;
            known.refuses |= refuses;
            known.asks.clear();
            known.presences.clear();
            known.ledger.clear();
            if !known.connected {
                state.peers.remove(&peer);
            }
        }
        state.tell_all(|| Input::Left(peer));
    }

    /// The next message for a peer. None when nothing waits for it: its task ends then.
    async fn next_message(&self, peer: PeerId) -> Option<Message> {
        let mut message = Message::default();
        let mut bytes = 0;
        loop {
            let want = {
                let mut state = self.state.lock();
                let known = state.peers.get_mut(&peer)?;
                let room = MESSAGE_ENTRIES - message.entries.len();
                message.entries.extend(known.asks.drain(..room.min(known.asks.len())));
                let room = MESSAGE_ENTRIES - message.presences.len();
                message.presences.extend(known.presences.drain(..room.min(known.presences.len())));
                let is_full = bytes >= MESSAGE_BLOCKS || message.presences.len() >= MESSAGE_ENTRIES;
                let next = if is_full { None } else { known.ledger.pop() };
                match next {
                    Some(want) => want,
                    None if message.is_empty() => {
                        known.is_served = false;
                        return None;
                    }
                    None => return Some(message),
                }
            };
            let found = self.look_up(&want).await;
            match found {
                Found::Block(block) => {
                    bytes += block.data.len();
                    message.blocks.push(block);
                }
                Found::Presence(has) if has || want.send_dont_have => {
                    self.answer(peer, Presence { cid: want.cid, has });
                }
                Found::Presence(_) => {}
            }
        }
    }

    fn answer(&self, peer: PeerId, presence: Presence) {
        let mut state = self.state.lock();
        if let Some(known) = state.peers.get_mut(&peer)
            && known.presences.len() < MOST_PRESENCES
        {
            known.presences.push_back(presence);
        }
    }

    async fn look_up(&self, want: &Entry) -> Found {
        // What is no CID of a known hash is nowhere here.
        let Ok(cid) = Cid::from_bytes(&want.cid) else { return Found::Presence(false) };
        let found = match want.kind {
            WantKind::Have => Found::Presence(self.source.has(&cid).await),
            WantKind::Block => match self.source.block(&cid).await {
                Some(data) if data.len() <= aleph_cid::MAX_BLOCK => Found::Block(Block::new(&cid, data)),
                _ => Found::Presence(false),
            },
        };
        if matches!(found, Found::Presence(false)) {
            bump(&self.counters.unmet, 1);
        }
        found
    }
}

enum Found {
    Block(Block),
    Presence(bool),
}

/// Pauses between two looks at who is silent.
const STEP: Duration = Duration::from_secs(1);
