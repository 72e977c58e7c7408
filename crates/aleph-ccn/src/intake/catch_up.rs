//! What gossip did not bring: each node compares the set of messages that it has accepted with that of the
//! others, and asks for those that it lacks.
//!
//! The comparison is range-based set reconciliation ([`super::exchange`]): what is equal costs a
//! fingerprint, and what differs is narrowed down to its elements, whatever the two nodes had before. Who
//! lacks much first fetches a snapshot ([`super::snapshot`]), chunk by chunk. Nothing has to be remembered
//! for either: what was interrupted starts over and finds what is left.
//!
//! Whoever is asked may be hostile: every answer is bounded, held against the question, and a peer that
//! answers wrong, or slowly without use, is left alone for longer and longer, while others are asked.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aleph_p2p::NetworkHandle;
use aleph_rules::Dependency;
use aleph_store::Store;
use aleph_types::content::Content;
use aleph_types::{ErrorCode, ItemHash, ParsedMessage};
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt as _, stream};
use negentropy::Negentropy;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::batch::{Batch, Part, fetch};
use self::source::{PATIENCE, REQUEST_LIMIT, Source, sources};
use super::exchange::{
    ANSWER_MAX, Exchange, ExchangeError, FRAME, WANTED_PAGE, compare, count, read_count, read_frame,
    read_snapshot, snapshot,
};
use super::known::hashes_of;
use super::snapshot::{ManifestError, believe};
use super::tombstones::{Tombstone, judge};
use crate::defaults;
use crate::metrics::Metrics;
use crate::peers::HttpPeers;
use crate::pipeline::{Origin, Outcome, Pipeline, PipelineError};

mod batch;
mod source;
mod tried;

pub use tried::sync_answer;

/// Questions for messages that are under way, or read and not yet given to the pipeline, at a time.
const AHEAD: usize = 3;

/// Messages whose fate is awaited; beyond them no more are read.
const INSIDE: usize = 5120;

/// Who lacks so many messages, and a tenth of what it has, begins with a snapshot.
const SNAPSHOT_FROM: u64 = 2048;

/// Frames in a row that lead to nothing; more mean that the peer makes fun of us.
const FRUITLESS_FRAMES: usize = 64;

/// Elements that a peer names in a comparison and doesn't hand out, beyond a tenth of what it does.
const FRUITLESS_ELEMENTS: u64 = 20_000;

/// Messages of one comparison that nobody signed. A node stores none.
const UNSIGNED: u64 = 50;

/// A message that was refused, or that a peer had lost, is asked for again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// Such messages are remembered up to this number.
const REMEMBERED: usize = 100_000;

/// A node that does not speak the protocol is asked again after this time.
const FOREIGN_FOR: Duration = Duration::from_secs(600);

/// One that answered wrong is asked again after this time at first, and twice as long each time.
const WRONG_FOR: Duration = Duration::from_secs(30);
const WRONG_LONGEST: Duration = Duration::from_secs(3600);

/// Nodes whose wrongs are remembered.
const WRONGS: usize = 1024;

/// How often a long catching up is told in the log.
const TELL_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum CatchUpError {
    #[error("request failed")]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Ask(#[from] aleph_p2p::AskError),
    #[error("answered status {0}")]
    Status(u16),
    #[error("speaks no such protocol: it is no alephd, or an older one")]
    Foreign,
    #[error("did not answer in {} s", REQUEST_LIMIT.as_secs())]
    Slow,
    #[error("had {} s to answer something useful", PATIENCE.as_secs())]
    Dull,
    #[error("answered more than {ANSWER_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("sent a frame that can't be read: {0}")]
    Frame(negentropy::Error),
    #[error("sent {FRUITLESS_FRAMES} frames that lead to nothing")]
    Fruitless,
    #[error("named {0} messages that it does not hand out")]
    Empty(u64),
    #[error("named {0} messages and neither hands them out nor says that they are gone")]
    Withheld(usize),
    #[error("sent messages that were not asked for")]
    Unasked,
    #[error("sent {0} messages that nobody signed")]
    Unsigned(u64),
    #[error("told a snapshot that can't be believed: {0}")]
    Manifest(#[from] ManifestError),
    #[error("chunk {0} of its snapshot is not what the snapshot says")]
    Chunk(usize),
    #[error("this node is stopping")]
    Stopping,
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error(transparent)]
    Store(#[from] aleph_store::StoreError),
}

impl CatchUpError {
    /// Whether no sound node would have caused it.
    fn is_wrong(&self) -> bool {
        match self {
            Self::Exchange(ExchangeError::Form(_))
            | Self::Frame(_)
            | Self::Fruitless
            | Self::Withheld(_)
            | Self::Unasked
            | Self::Unsigned(_)
            | Self::Manifest(_)
            | Self::Chunk(_)
            | Self::TooLarge
            | Self::Dull
            | Self::Ask(aleph_p2p::AskError::TooLong { .. }) => true,
            Self::Http(_)
            | Self::Ask(_)
            | Self::Status(_)
            | Self::Foreign
            | Self::Empty(_)
            | Self::Slow
            | Self::Exchange(ExchangeError::Refused(_))
            | Self::Stopping
            | Self::Pipeline(_)
            | Self::Store(_) => false,
        }
    }
}

/// Who is not asked for now.
#[derive(Debug, Default)]
struct LeftAlone {
    until: HashMap<String, (Instant, Duration)>,
}

impl LeftAlone {
    fn is(&self, name: &str) -> bool {
        self.until.get(name).is_some_and(|(until, _)| *until > Instant::now())
    }

    /// After a wrong answer. Returns for how long.
    fn longer(&mut self, name: &str) -> Duration {
        let last = self.until.get(name).map(|(_, time)| *time);
        let time = last.map_or(WRONG_FOR, |last| (last * 2).min(WRONG_LONGEST));
        self.set(name, time);
        time
    }

    fn set(&mut self, name: &str, time: Duration) {
        if self.until.len() >= WRONGS && !self.until.contains_key(name) {
            let soonest = self.until.iter().min_by_key(|(_, (until, _))| *until);
            if let Some(soonest) = soonest.map(|(name, _)| name.clone()) {
                self.until.remove(&soonest);
            }
        }
        self.until.insert(name.to_owned(), (Instant::now() + time, time));
    }

    fn forgive(&mut self, name: &str) {
        self.until.remove(name);
    }
}

pub(crate) struct CatchUp {
    pub(crate) peers: HttpPeers,
    pub(crate) network: Option<NetworkHandle>,
    pub(crate) client: reqwest::Client,
    pub(crate) store: Store,
    pub(crate) exchange: Exchange,
    pub(crate) pipeline: Pipeline,
    pub(crate) metrics: Arc<Metrics>,
}

impl CatchUp {
    /// Asks every peer now and then, and at once when `nudge` says that one appeared.
    pub(crate) async fn run(self, nudge: Arc<Notify>, stopping: CancellationToken) {
        let mut fruitless: HashMap<[u8; 32], Instant> = HashMap::new();
        let mut left_alone = LeftAlone::default();
        loop {
            let sources = sources(&self.peers, self.network.as_ref(), &self.client);
            self.metrics.catching_up.keep(sources.iter().map(|source| source.name.as_str()));
            for source in &sources {
                if left_alone.is(&source.name) {
                    continue;
                }
                let result = tokio::select! {
                    () = stopping.cancelled() => return,
                    result = self.compare_with(source, &mut fruitless) => result,
                };
                match result {
                    Ok(()) => left_alone.forgive(&source.name),
                    Err(error) => self.failed(source, &error, &mut left_alone),
                }
            }
            fruitless.retain(|_, since| since.elapsed() < AGAIN_AFTER);
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(defaults::CATCH_UP_EVERY) => {}
                () = nudge.notified() => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    fn failed(&self, source: &Source, error: &CatchUpError, left_alone: &mut LeftAlone) {
        let peer = &source.name;
        let words = error_chain(error);
        if matches!(error, CatchUpError::Foreign) {
            left_alone.set(peer, FOREIGN_FOR);
            self.metrics.catching_up.foreign(peer);
            return;
        }
        if error.is_wrong() {
            source.blame();
            let time = left_alone.longer(peer).as_secs();
            tracing::warn!(%peer, error = %words, seconds = time, "peer answers wrong: not asked for a while");
        } else {
            if matches!(error, CatchUpError::Empty(_)) {
                // A node that removed much is none the worse for it; asking it is of no use.
                left_alone.longer(peer);
            }
            tracing::debug!(%peer, error = %words, "could not catch up");
        }
        self.metrics.catching_up.failed(peer, words);
    }

    /// Compares this node's messages with those of another, and gets what is lacking.
    async fn compare_with(
        &self,
        source: &Source,
        fruitless: &mut HashMap<[u8; 32], Instant>,
    ) -> Result<(), CatchUpError> {
        let progress = Progress { catch_up: self, source, useful: AtomicU64::new(0) };
        let theirs = read_count(&source.ask(count()).await?)?;
        self.metrics.catching_up.begin(&source.name, source.via(), theirs);
        let ours = self.exchange.with_known(|known| known.len() as u64).await?;
        let mut taken = Taken::default();
        if theirs.saturating_sub(ours) >= SNAPSHOT_FROM.max(ours / 10) {
            self.fetch_snapshot(&progress, &mut taken, fruitless).await?;
        }
        let pages = pin!(self.pages(&progress, fruitless).await?);
        let fetches = pages.map(|page| async {
            let page = page?;
            fetch(source, Part::Elements(page.into_iter().collect())).await
        });
        // What was found fruitless now is remembered when the comparison is over, or fails.
        let mut found = Vec::new();
        let result = self.take_in(&progress, fetches.buffered(AHEAD), &mut taken, &mut found).await;
        remember(fruitless, found);
        result?;
        if taken.stored > 0 {
            let Taken { stored, waiting, refused, .. } = taken;
            tracing::info!(peer = %source.name, via = source.via(), stored, waiting, refused, "caught up");
        }
        self.metrics.catching_up.compared(&source.name);
        Ok(())
    }

    /// Fetches those chunks of a snapshot that are not here as they are there.
    async fn fetch_snapshot(
        &self,
        progress: &Progress<'_>,
        taken: &mut Taken,
        fruitless: &mut HashMap<[u8; 32], Instant>,
    ) -> Result<(), CatchUpError> {
        let source = progress.source;
        let told = match read_snapshot(&source.ask(snapshot()).await?) {
            // Then the comparison alone does it.
            Err(ExchangeError::Refused(words)) => {
                tracing::debug!(peer = %source.name, %words, "no snapshot");
                return Ok(());
            }
            told => told?,
        };
        let from = source.peer;
        let believed = tokio::task::spawn_blocking(move || believe(&told, from));
        let believed = Arc::new(believed.await.map_err(|_| CatchUpError::Stopping)??);
        let snapshot = Arc::clone(&believed);
        let lacking = self.exchange.with_known(move |known| {
            let chunks = &snapshot.manifest.chunks;
            let ours = chunks.iter().enumerate().map(|(index, chunk)| {
                let (count, hash) = known.of_chunk(chunk, chunks.get(index + 1));
                (index, count, hash == chunk.hash)
            });
            ours.filter(|(.., equal)| !equal).map(|(index, count, _)| (index, count)).collect::<Vec<_>>()
        });
        let lacking = lacking.await?;
        let chunks = &believed.manifest.chunks;
        let wanted = lacking.iter().map(|(index, ours)| {
            let theirs = chunks.get(*index).map_or(0, |chunk| chunk.count as usize);
            theirs.saturating_sub(*ours)
        });
        let wanted: usize = wanted.sum();
        tracing::info!(
            peer = %source.name, via = source.via(), signer = %believed.signer, messages = wanted,
            chunks = lacking.len(), of = chunks.len(), "catching up from a snapshot"
        );
        self.metrics.catching_up.wants(&source.name, wanted);
        let fetches = stream::iter(lacking).map(|(chunk, ours)| {
            let snapshot = Arc::clone(&believed);
            let part =
                Part::Chunk { snapshot, chunk, after: 0, seen: Vec::new(), unread: 0, partly_here: ours > 0 };
            fetch(source, part)
        });
        let mut found = Vec::new();
        let result = self.take_in(progress, fetches.buffered(AHEAD), taken, &mut found).await;
        remember(fruitless, found);
        match result {
            // It was told a while ago; the comparison finds the rest.
            Err(CatchUpError::Exchange(ExchangeError::Refused(words))) => {
                tracing::debug!(peer = %source.name, %words, "the snapshot ends early");
                Ok(())
            }
            result => result,
        }
    }

    /// Compares frame by frame; gives what is lacking here in pages. The next frame is asked for while what
    /// the last ones led to is fetched.
    async fn pages<'a>(
        &'a self,
        progress: &'a Progress<'a>,
        fruitless: &HashMap<[u8; 32], Instant>,
    ) -> Result<impl Stream<Item = Result<Vec<[u8; 32]>, CatchUpError>> + 'a, CatchUpError> {
        let first = |known: &mut _| Negentropy::borrowed(&*known, FRAME).and_then(|mut side| side.initiate());
        let frame = self.exchange.with_known(first).await?.map_err(CatchUpError::Frame)?;
        let ours = self.exchange.with_known(|known| known.len()).await?;
        let known: HashSet<[u8; 32]> = fruitless.keys().copied().collect();
        let comparison = Comparison {
            catch_up: self,
            progress,
            frame: Some(frame),
            pages: VecDeque::new(),
            fruitless: known,
            useful: 0,
            useless_frames: 0,
            may_have: ours.saturating_mul(2),
        };
        Ok(stream::try_unfold(comparison, |mut comparison| async move {
            Ok(comparison.next().await?.map(|page| (page, comparison)))
        }))
    }

    /// Those of `ids` that this node has not met, or has refused.
    async fn lacking(&self, ids: Vec<[u8; 32]>) -> Result<Vec<[u8; 32]>, CatchUpError> {
        if ids.is_empty() {
            return Ok(ids);
        }
        let candidates = ids.iter().flat_map(hashes_of).collect();
        let unknown: HashSet<ItemHash> = self.store.missing(candidates).await?.into_iter().collect();
        let lacks = |id: &[u8; 32]| hashes_of(id).iter().all(|hash| unknown.contains(hash));
        Ok(ids.into_iter().filter(lacks).collect())
    }

    /// Has everything decided that batches bring: the next ones are fetched and read while the messages of
    /// the last ones are verified and stored.
    async fn take_in(
        &self,
        progress: &Progress<'_>,
        batches: impl Stream<Item = Result<Batch, CatchUpError>>,
        taken: &mut Taken,
        fruitless: &mut Vec<[u8; 32]>,
    ) -> Result<(), CatchUpError> {
        let source = progress.source;
        // Those whose content is gone come first: FORGETs wait for them.
        let mut batches = pin!(batches.map(|batch| self.buried(progress, batch)).buffered(2).fuse());
        let mut fates = FuturesUnordered::new();
        let mut over = false;
        let mut told = Instant::now();
        while !(over && fates.is_empty()) {
            tokio::select! {
                batch = batches.next(), if !over && fates.len() < INSIDE => {
                    let Some(batch) = batch else {
                        over = true;
                        continue;
                    };
                    let mut next = Some(batch?);
                    while let Some(Buried { batch, stored }) = next.take() {
                        taken.stored += stored as u64;
                        taken.gone += batch.gone.len() as u64;
                        fruitless.extend(batch.gone);
                        for (id, message) in batch.messages {
                            let fate = self.pipeline.submit(message, Origin::CatchUp);
                            fates.push(async move { fate.await.map(|outcome| (id, outcome)) });
                        }
                        if let Some(rest) = batch.rest {
                            // Long texts: they go in before more are read.
                            while let Some(fate) = fates.next().await {
                                taken.fate(progress, fate?, fruitless)?;
                            }
                            next = Some(self.buried(progress, fetch(source, rest).await).await?);
                        }
                    }
                    if taken.gone > FRUITLESS_ELEMENTS + taken.stored / 10 {
                        return Err(CatchUpError::Empty(taken.gone));
                    }
                }
                Some(fate) = fates.next(), if !fates.is_empty() => taken.fate(progress, fate?, fruitless)?,
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                self.tell(source);
            }
        }
        Ok(())
    }

    fn tell(&self, source: &Source) {
        let Some(state) = self.metrics.catching_up.peers().remove(&source.name) else { return };
        let left = state.seconds_left().map(|seconds| format!("{seconds:.0} s")).unwrap_or_default();
        tracing::info!(
            peer = %source.name, via = source.via(), stored = state.stored, of = state.wanted,
            rate = state.rate().map(f64::round), left, blocked = self.pipeline.trouble(), "catching up"
        );
    }

    /// What follows from a batch before its messages can be decided.
    async fn buried(
        &self,
        progress: &Progress<'_>,
        batch: Result<Batch, CatchUpError>,
    ) -> Result<Buried, CatchUpError> {
        let mut batch = batch?;
        let peer = &progress.source.name;
        let fetched = batch.messages.len() + batch.forgotten.len();
        self.metrics.catching_up.fetched(peer, fetched);
        if batch.unreadable > 0 {
            tracing::debug!(%peer, count = batch.unreadable, "peer has messages that can't be read here");
        }
        if batch.partly_here {
            let hashes = batch.messages.iter().map(|(_, parsed)| parsed.message.item_hash.clone()).collect();
            let settled: HashSet<ItemHash> = self.store.settled(hashes).await?.into_iter().collect();
            let before = batch.messages.len();
            batch.messages.retain(|(_, parsed)| !settled.contains(&parsed.message.item_hash));
            let here = before - batch.messages.len();
            self.metrics.catching_up.was_here(peer, here);
        }
        let forgotten = std::mem::take(&mut batch.forgotten);
        let forgets = std::mem::take(&mut batch.forgets);
        let stored = self.bury(progress.source, forgotten, forgets).await?;
        progress.got(stored as u64);
        Ok(Buried { batch, stored })
    }

    /// Remembers messages that were forgotten before this node could get them; returns how many are news.
    async fn bury(
        &self,
        source: &Source,
        forgotten: Vec<aleph_store::Skeleton>,
        forgets: HashMap<String, ParsedMessage>,
    ) -> Result<usize, CatchUpError> {
        if forgotten.is_empty() {
            return Ok(0);
        }
        let trusted = source.trusted;
        let judged = tokio::task::spawn_blocking(move || {
            forgotten.iter().map(|skeleton| judge(skeleton, &forgets, trusted)).collect::<Vec<_>>()
        });
        let judged = judged.await.map_err(|_| CatchUpError::Stopping)?;
        let mut tombstones = Vec::with_capacity(judged.len());
        for verdict in judged {
            match verdict {
                Ok(tombstone) => tombstones.push(tombstone),
                Err(doubt) => {
                    tracing::debug!(peer = %source.name, %doubt, "a forgotten message is not believed");
                }
            }
        }
        if tombstones.is_empty() {
            return Ok(0);
        }
        let forgets: HashMap<ItemHash, ParsedMessage> = tombstones
            .iter()
            .map(|tombstone| (tombstone.forget.message.item_hash.clone(), tombstone.forget.clone()))
            .collect();
        let now = crate::clock::now();
        let write = self.pipeline.write(move |transaction| {
            let mut news = Vec::new();
            for Tombstone { message, item_type, owner, forget } in tombstones {
                let gone_at = forget.content.as_ref().map_or(forget.message.time, Content::time);
                let by = [forget.message.item_hash];
                if transaction.remember_forgotten(&message, item_type, &owner, &by, gone_at, now)? {
                    news.push(message.item_hash);
                }
            }
            Ok(news)
        });
        let news = write.await?;
        for hash in &news {
            self.pipeline.retry_waiting(&Dependency::Message(hash.clone()));
        }
        // Those that were refused because their targets were unknown are decided anew.
        let fates = forgets.into_values().map(|forget| self.pipeline.submit(forget, Origin::CatchUp));
        for fate in futures_util::future::join_all(fates).await {
            fate?;
        }
        Ok(news.len())
    }
}

/// A batch whose tombstones are stored.
struct Buried {
    batch: Batch,
    stored: usize,
}

/// What a comparison came to.
#[derive(Debug, Default)]
struct Taken {
    stored: u64,
    waiting: u64,
    refused: u64,
    unsigned: u64,
    gone: u64,
}

impl Taken {
    fn fate(
        &mut self,
        progress: &Progress<'_>,
        (id, outcome): ([u8; 32], Outcome),
        fruitless: &mut Vec<[u8; 32]>,
    ) -> Result<(), CatchUpError> {
        match outcome {
            Outcome::Processed => {
                self.stored += 1;
                progress.catch_up.metrics.caught_up.increment();
                progress.got(1);
            }
            Outcome::Rejected(rejection) => {
                self.refused += 1;
                fruitless.push(id);
                progress.refused();
                if rejection.code == ErrorCode::InvalidSignature {
                    self.unsigned += 1;
                }
                if self.unsigned > UNSIGNED {
                    return Err(CatchUpError::Unsigned(self.unsigned));
                }
            }
            Outcome::Pending => {
                self.waiting += 1;
                progress.waits();
            }
            _ => progress.was_here(),
        }
        Ok(())
    }
}

/// Where a comparison with one node stands, for others to see, and for its own patience.
struct Progress<'a> {
    catch_up: &'a CatchUp,
    source: &'a Source,
    useful: AtomicU64,
}

impl Progress<'_> {
    fn got(&self, stored: u64) {
        if stored > 0 {
            self.was_useful(stored);
            self.catch_up.metrics.catching_up.got(&self.source.name, stored);
        }
    }

    fn waits(&self) {
        self.was_useful(1);
        self.catch_up.metrics.catching_up.waits(&self.source.name);
    }

    fn refused(&self) {
        self.catch_up.metrics.catching_up.refused(&self.source.name);
    }

    fn was_here(&self) {
        self.was_useful(1);
        self.catch_up.metrics.catching_up.was_here(&self.source.name, 1);
    }

    fn was_useful(&self, times: u64) {
        self.useful.fetch_add(times, Ordering::Relaxed);
        self.source.was_useful();
    }
}

/// A comparison under way.
struct Comparison<'a> {
    catch_up: &'a CatchUp,
    progress: &'a Progress<'a>,
    /// What is asked next; none after the last answer.
    frame: Option<Vec<u8>>,
    /// Found, not given out yet.
    pages: VecDeque<Vec<[u8; 32]>>,
    fruitless: HashSet<[u8; 32]>,
    /// How much was useful at the last frame, and frames since then.
    useful: u64,
    useless_frames: usize,
    /// How many elements the other node may still say that it lacks.
    may_have: usize,
}

impl Comparison<'_> {
    async fn next(&mut self) -> Result<Option<Vec<[u8; 32]>>, CatchUpError> {
        loop {
            if let Some(page) = self.pages.pop_front() {
                return Ok(Some(page));
            }
            let Some(frame) = self.frame.take() else { return Ok(None) };
            let answer = self.progress.source.ask(compare(&frame)).await?;
            let step = self.catch_up.exchange.with_known(move |known| {
                let theirs = read_frame(&answer)?;
                let (mut have, mut need) = (Vec::new(), Vec::new());
                let mut side = Negentropy::borrowed(&*known, FRAME).map_err(CatchUpError::Frame)?;
                side.set_initiator();
                let next = side.reconcile_with_ids(theirs, &mut have, &mut need);
                Ok::<_, CatchUpError>((next.map_err(CatchUpError::Frame)?, have.len(), need))
            });
            let (next, have, need) = step.await??;
            self.frame = next;
            let useful = self.progress.useful.load(Ordering::Relaxed);
            if useful > self.useful || (have > 0 && have <= self.may_have) {
                (self.useful, self.useless_frames) = (useful, 0);
                self.may_have = self.may_have.saturating_sub(have);
            } else {
                self.useless_frames += 1;
            }
            if self.useless_frames > FRUITLESS_FRAMES {
                return Err(CatchUpError::Fruitless);
            }
            let need = need.into_iter().map(negentropy::Id::to_bytes);
            let mut need: Vec<[u8; 32]> = need.filter(|id| !self.fruitless.contains(id)).collect();
            // In the order of the set, as far as it has one here; where a frame was cut, an element may be
            // named twice.
            let mut seen = HashSet::with_capacity(need.len());
            need.retain(|id| seen.insert(*id));
            let wanted = self.catch_up.lacking(need).await?;
            self.catch_up.metrics.catching_up.wants(&self.progress.source.name, wanted.len());
            self.pages.extend(wanted.chunks(WANTED_PAGE).map(<[_]>::to_vec));
        }
    }
}

fn remember(fruitless: &mut HashMap<[u8; 32], Instant>, found: Vec<[u8; 32]>) {
    let now = Instant::now();
    let room = REMEMBERED.saturating_sub(fruitless.len());
    fruitless.extend(found.into_iter().take(room).map(|id| (id, now)));
}

/// An error with its causes, on one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_wrong_is_left_alone_longer_each_time_and_forgiven() {
        let mut left_alone = LeftAlone::default();
        assert!(!left_alone.is("a"));
        assert_eq!(left_alone.longer("a"), WRONG_FOR);
        assert!(left_alone.is("a") && !left_alone.is("b"));
        assert_eq!(left_alone.longer("a"), WRONG_FOR * 2);
        for _ in 0..20 {
            left_alone.longer("a");
        }
        assert_eq!(left_alone.longer("a"), WRONG_LONGEST);
        left_alone.forgive("a");
        assert_eq!(left_alone.longer("a"), WRONG_FOR);
        for number in 0..2 * WRONGS {
            left_alone.longer(&number.to_string());
        }
        assert_eq!(left_alone.until.len(), WRONGS);
    }
}
