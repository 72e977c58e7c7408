//! One exchange with one node: what it has and this one lacks is found, fetched and decided.

use std::collections::HashSet;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aleph_types::ItemHash;
use futures_util::future::try_join;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinError, JoinSet};

use super::CatchUp;
use super::batch::{Batch, Part, fetch};
use super::burial::{believed_of, bury};
use super::claims::{Open, Page, Running};
use super::comparison::Comparison;
use super::error::CatchUpError;
use super::progress::{Progress, Taken};
use super::schedule::End;
use super::source::Source;
use crate::intake::exchange::{ExchangeError, WANTED_PAGE, count, read_count, read_snapshot, snapshot};
use crate::intake::known::hashes_of;
use crate::intake::snapshot::{Believed, believe};
use crate::pipeline::{Origin, Outcome};

/// Questions for messages that are under way at a time to a node that brings something; to others one.
const LANES: usize = 3;

/// A node brings something if it did within this time.
pub(super) const GOOD_FOR: Duration = Duration::from_secs(3);

/// Elements that are known to lack; beyond them the comparison waits.
const OPEN: usize = 8192;

/// Messages that wait here and are asked for, a frame: they may have been forgotten elsewhere.
const WAITING: usize = 256;

/// Who lacks so many messages, and this part of what it has, begins with a snapshot: its chunks need no
/// comparison, and nothing is looked up that is not here.
const SNAPSHOT_FROM: u64 = 2048;
const SNAPSHOT_PART: u64 = 16;

/// How often a long catching up is told in the log.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What became of a batch.
struct Fates {
    messages: Vec<([u8; 32], Outcome)>,
    /// Forgotten messages that were news.
    buried: usize,
}

/// An exchange under way.
pub(super) struct Round<'a> {
    catch_up: &'a CatchUp,
    source: &'a Arc<Source>,
    progress: Progress<'a>,
    running: Running,
    open: Mutex<Open>,
    /// Of those that are open, or were: they wait here, and only whether they were forgotten is news.
    waiting: Mutex<HashSet<[u8; 32]>>,
    /// Something was lacking here.
    lacked: AtomicBool,
}

/// What a question for messages led to.
struct Fetched {
    batch: Batch,
    page: Option<Page>,
    /// Until its messages are given to the pipeline.
    ahead: OwnedSemaphorePermit,
    /// Where its messages may go, if that was waited for.
    inside: Option<OwnedSemaphorePermit>,
}

/// Held until every message of a page is decided.
struct Undecided {
    _page: Option<Page>,
    _inside: OwnedSemaphorePermit,
}

/// Messages that are decided now, and what the exchange came to.
struct Decisions<'a> {
    progress: &'a Progress<'a>,
    /// A task for each batch: what they hold is released as soon as it can be, whatever the exchange does.
    fates: JoinSet<Result<Fates, CatchUpError>>,
    taken: Taken,
    told: Instant,
}

impl<'a> Round<'a> {
    /// Compares this node's messages with those of another, and gets what is lacking.
    pub(super) async fn run(catch_up: &'a CatchUp, source: &'a Arc<Source>) -> Result<End, CatchUpError> {
        let round = Round {
            catch_up,
            source,
            progress: Progress::new(&catch_up.metrics, &catch_up.shared.fruitless, source),
            running: catch_up.shared.claims.begin(),
            open: Mutex::default(),
            waiting: Mutex::default(),
            lacked: AtomicBool::new(false),
        };
        let theirs = read_count(&source.ask(count()).await?)?;
        catch_up.metrics.catching_up.begin(&source.name, source.via(), theirs);
        let mut decisions = Decisions::new(&round.progress);
        round.begin_with_snapshot(theirs, &mut decisions).await?;
        round.compare(&mut decisions).await?;
        if decisions.taken.stored > 0 {
            let Taken { stored, waiting, refused, .. } = decisions.taken;
            tracing::info!(peer = %source.name, via = source.via(), stored, waiting, refused, "caught up");
        }
        catch_up.metrics.catching_up.compared(&source.name);
        let lacked = decisions.taken.stored > 0 || round.lacked.load(Ordering::Relaxed);
        Ok(if lacked { End::Useful } else { End::Done })
    }

    /// Fetches chunks of a snapshot, if this node lacks much of what the other one has, and no other exchange does.
    async fn begin_with_snapshot(
        &self,
        theirs: u64,
        decisions: &mut Decisions<'_>,
    ) -> Result<(), CatchUpError> {
        let claims = &self.catch_up.shared.claims;
        loop {
            let ours = self.catch_up.exchange.with_known(|known| known.len() as u64).await?;
            if theirs.saturating_sub(ours) < SNAPSHOT_FROM.max(ours / SNAPSHOT_PART) {
                return Ok(());
            }
            if let Some(_right) = claims.snapshot(self.source) {
                return self.fetch_snapshot(decisions).await;
            }
            claims.snapshot_over().await;
        }
    }

    /// Fetches those chunks of a snapshot of which most is lacking here; the comparison finds the rest.
    async fn fetch_snapshot(&self, decisions: &mut Decisions<'_>) -> Result<(), CatchUpError> {
        let source = self.source;
        let told = match read_snapshot(&source.ask(snapshot()).await?) {
            // Then the comparison alone does it.
            Err(ExchangeError::Refused(words)) => {
                tracing::debug!(peer = %source.name, %words, "no snapshot");
                return Ok(());
            }
            told => told?,
        };
        let from = source.peer;
        let believed = self.catch_up.pipeline.computing().run(move || believe(&told, from)).await??;
        let believed = Arc::new(believed);
        let lacking = self.lacking_chunks(&believed).await?;
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
        self.catch_up.metrics.catching_up.wants(&source.name, wanted);
        let fetches = stream::iter(lacking).map(|(chunk, ours)| {
            let snapshot = Arc::clone(&believed);
            let part =
                Part::Chunk { snapshot, chunk, after: 0, seen: Vec::new(), unread: 0, partly_here: ours > 0 };
            self.fetch(part, None)
        });
        match self.take_chunks(pin!(fetches.buffered(LANES)), decisions).await {
            // It was told a while ago; the comparison finds the rest.
            Err(CatchUpError::Exchange(ExchangeError::Refused(words))) => {
                tracing::debug!(peer = %source.name, %words, "the snapshot ends early");
                Ok(())
            }
            result => result,
        }
    }

    /// Chunks of which at least half is lacking here, and how many elements of each are here.
    async fn lacking_chunks(&self, believed: &Arc<Believed>) -> Result<Vec<(usize, usize)>, CatchUpError> {
        let snapshot = Arc::clone(believed);
        let lacking = self.catch_up.exchange.with_known(move |known| {
            let chunks = &snapshot.manifest.chunks;
            let ours = chunks.iter().enumerate().map(|(index, chunk)| {
                (index, known.count_of(chunk, chunks.get(index + 1)), chunk.count as usize)
            });
            ours.filter(|(_, ours, theirs)| ours * 2 <= *theirs)
                .map(|(index, ours, _)| (index, ours))
                .collect()
        });
        Ok(lacking.await?)
    }

    async fn take_chunks(
        &self,
        mut fetches: Pin<&mut (impl stream::Stream<Item = Result<Fetched, CatchUpError>> + Send)>,
        decisions: &mut Decisions<'_>,
    ) -> Result<(), CatchUpError> {
        loop {
            let next = tokio::select! {
                next = fetches.next() => next,
                Some(fates) = decisions.fates.join_next() => {
                    decisions.these(fates)?;
                    continue;
                }
            };
            let Some(fetched) = next else { break };
            let mut fetched = fetched?;
            while let Some(rest) = self.decide(fetched, decisions).await? {
                // Long texts: they go in before more are read.
                decisions.all().await?;
                fetched = self.fetch(rest, None).await?;
            }
        }
        decisions.all().await
    }

    /// Compares frame by frame, and fetches what is lacking meanwhile.
    async fn compare(&self, decisions: &mut Decisions<'_>) -> Result<(), CatchUpError> {
        let comparison = Comparison::begin(&self.catch_up.exchange, &self.progress).await?;
        let mut frames = pin!(stream::try_unfold(comparison, |mut comparison| async move {
            Ok::<_, CatchUpError>(comparison.next().await?.map(|found| (found, comparison)))
        }));
        let mut lanes = FuturesUnordered::new();
        let mut is_compared = false;
        let mut waits = false;
        loop {
            let open = self.open.lock().len();
            let is_good = self.progress.useful() > 0 && self.source.idle() < GOOD_FOR;
            let wanted = if is_good { LANES } else { 1 };
            while !waits && lanes.len() < wanted.min(open) {
                lanes.push(self.fetch_page());
            }
            if is_compared && open == 0 && lanes.is_empty() {
                break;
            }
            tokio::select! {
                found = frames.next(), if !is_compared && open < OPEN => match found {
                    Some(found) => {
                        self.found(found?).await?;
                        waits = false;
                    }
                    None => is_compared = true,
                },
                Some(fetched) = lanes.next(), if !lanes.is_empty() => match fetched? {
                    Some(fetched) => {
                        if let Some(Part::Elements(rest)) = self.decide(fetched, decisions).await? {
                            self.open.lock().first.extend(rest);
                        }
                    }
                    // Others fetch all that is open.
                    None => waits = true,
                },
                () = self.catch_up.shared.claims.changed(), if waits => waits = false,
                Some(fates) = decisions.fates.join_next() => decisions.these(fates)?,
            }
            decisions.tell(self.catch_up);
        }
        decisions.all().await
    }

    /// Takes note of what is lacking of the elements that a frame told.
    async fn found(&self, mut ids: Vec<[u8; 32]>) -> Result<(), CatchUpError> {
        self.catch_up.shared.fruitless.leave_out(&self.source.key, self.source.trusted, &mut ids);
        let lacking = self.lacking(&ids).await?;
        self.catch_up.metrics.catching_up.wants(&self.source.name, lacking.len());
        self.lacked.fetch_or(!lacking.is_empty(), Ordering::Relaxed);
        // The other node accepted the rest, and this one hasn't: they wait here, for a file that may be gone.
        let lacks: HashSet<&[u8; 32]> = lacking.iter().collect();
        let waiting: Vec<[u8; 32]> =
            ids.iter().filter(|id| !lacks.contains(id)).take(WAITING).copied().collect();
        self.waiting.lock().extend(&waiting);
        let mut open = self.open.lock();
        open.first.extend(lacking);
        open.first.extend(waiting);
        Ok(())
    }

    /// Those of `ids` that this node has not met, or has refused.
    async fn lacking(&self, ids: &[[u8; 32]]) -> Result<Vec<[u8; 32]>, CatchUpError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (pipeline, store) = (self.catch_up.pipeline.clone(), self.catch_up.store.clone());
        let look_up = |ids: Vec<[u8; 32]>| async move {
            let spell = move || ids.into_iter().map(|id| (id, hashes_of(&id))).collect::<Vec<_>>();
            let spelt = pipeline.computing().run(spell).await?;
            let candidates = spelt.iter().flat_map(|(_, hashes)| hashes.iter().cloned()).collect();
            let unknown: HashSet<ItemHash> = store.missing(candidates).await?.into_iter().collect();
            let lacks = |hashes: &[ItemHash]| hashes.iter().all(|hash| unknown.contains(hash));
            Ok(spelt.iter().filter(|(_, hashes)| lacks(hashes)).map(|(id, _)| *id).collect())
        };
        self.catch_up.shared.claims.lacking(ids.to_vec(), look_up).await
    }

    /// Fetches a page of what is open. None if others fetch all of it.
    async fn fetch_page(&self) -> Result<Option<Fetched>, CatchUpError> {
        let most = self.source.page();
        let ahead = self.catch_up.shared.claims.ahead(most).await?;
        let claimed = self.catch_up.shared.claims.claim(&mut self.open.lock(), most);
        let Some(mut page) = claimed else { return Ok(None) };
        if !self.running.is_alone() {
            // Another exchange may have brought some since they were found.
            let lacking: HashSet<[u8; 32]> = self.lacking(&page.ids).await?.into_iter().collect();
            let waiting = self.waiting.lock();
            let is_here = |id: &&[u8; 32]| !lacking.contains(*id) && !waiting.contains(*id);
            let here: HashSet<[u8; 32]> = page.ids.iter().filter(is_here).copied().collect();
            drop(waiting);
            self.progress.was_here(here.len());
            page.give_back(&here);
        }
        if page.ids.is_empty() {
            return Ok(Some(Fetched { batch: Batch::default(), page: None, ahead, inside: None }));
        }
        let (elements, begun) = (page.ids.len(), Instant::now());
        let part = Part::Elements(page.ids.iter().copied().collect());
        let mut fetched = self.fetch(part, Some((page, ahead))).await?;
        let is_long = fetched.batch.rest.is_some();
        if let (Some(Part::Elements(rest)), Some(page)) = (&fetched.batch.rest, &mut fetched.page) {
            page.give_back(rest);
        }
        self.source.took(elements, begun.elapsed(), is_long);
        tracing::debug!(
            peer = %self.source.name, elements, messages = fetched.batch.messages.len(),
            took = ?begun.elapsed(), open = self.open.lock().len(), "a page came"
        );
        // Here, where what other lanes wait for is read on.
        fetched.inside = Some(self.catch_up.shared.claims.inside(fetched.batch.weight()).await?);
        Ok(Some(fetched))
    }

    /// Fetches a part.
    async fn fetch(
        &self,
        part: Part,
        held: Option<(Page, OwnedSemaphorePermit)>,
    ) -> Result<Fetched, CatchUpError> {
        let (page, ahead) = match held {
            Some((page, ahead)) => (Some(page), ahead),
            None => (None, self.catch_up.shared.claims.ahead(WANTED_PAGE).await?),
        };
        let mut batch = fetch(self.source, self.catch_up.pipeline.computing(), part).await?;
        self.leave_waiting(&mut batch);
        let metrics = &self.catch_up.metrics.catching_up;
        let peer = &self.source.name;
        metrics.fetched(peer, batch.messages.len() + batch.forgotten.len());
        if batch.unreadable > 0 {
            tracing::debug!(%peer, count = batch.unreadable, "peer has messages that can't be read here");
        }
        let before = batch.messages.len();
        if let Some(page) = &page {
            let twice = page.came(batch.messages.iter().map(|(id, _)| id));
            batch.messages.retain(|(id, _)| !twice.contains(id));
        }
        if batch.partly_here {
            let hashes = batch.messages.iter().map(|(_, parsed)| parsed.message.item_hash.clone()).collect();
            let settled: HashSet<ItemHash> = self.catch_up.store.settled(hashes).await?.into_iter().collect();
            batch.messages.retain(|(_, parsed)| !settled.contains(&parsed.message.item_hash));
        }
        self.progress.was_here(before - batch.messages.len());
        Ok(Fetched { batch, page, ahead, inside: None })
    }

    /// Leaves out the messages that wait here: that they are alive elsewhere is no news.
    fn leave_waiting(&self, batch: &mut Batch) {
        let waiting = self.waiting.lock();
        if waiting.is_empty() {
            return;
        }
        batch.messages.retain(|(id, _)| {
            let waits = waiting.contains(id);
            if waits {
                self.catch_up.shared.fruitless.waits(&self.source.key, *id);
            }
            !waits
        });
    }

    /// Gives the messages of a batch to the pipeline. Returns what is still to be asked for.
    async fn decide(
        &self,
        fetched: Fetched,
        decisions: &mut Decisions<'_>,
    ) -> Result<Option<Part>, CatchUpError> {
        let Fetched { mut batch, page, ahead, inside } = fetched;
        decisions.taken.gone(&self.progress, &batch.gone)?;
        let rest = batch.rest.take();
        if batch.messages.is_empty() && batch.forgotten.is_empty() {
            return Ok(rest);
        }
        let inside = match inside {
            Some(inside) => inside,
            None => {
                let mut room = pin!(self.catch_up.shared.claims.inside(batch.weight()));
                loop {
                    tokio::select! {
                        inside = &mut room => break inside?,
                        Some(fates) = decisions.fates.join_next() => {
                            decisions.these(fates)?;
                        }
                    }
                }
            }
        };
        let undecided = Undecided { _page: page, _inside: inside };
        let (pipeline, claims) = (self.catch_up.pipeline.clone(), Arc::clone(&self.catch_up.shared.claims));
        let source = Arc::clone(self.source);
        decisions.fates.spawn(async move {
            let _undecided = undecided;
            let tombstones =
                believed_of(&source, pipeline.computing(), batch.forgotten, batch.forgets).await?;
            let (ids, messages): (Vec<_>, Vec<_>) = batch.messages.into_iter().unzip();
            // They are given to the pipeline before the messages, which may refer to them: it keeps that order.
            let buried = bury(&pipeline, tombstones);
            let (buried, fates) = try_join(buried, pipeline.submit_all(messages, Origin::CatchUp)).await?;
            claims.decided(&ids);
            Ok(Fates { messages: ids.into_iter().zip(fates).collect(), buried })
        });
        drop(ahead);
        Ok(rest)
    }
}

impl<'a> Decisions<'a> {
    fn new(progress: &'a Progress<'a>) -> Self {
        Self { progress, fates: JoinSet::new(), taken: Taken::default(), told: Instant::now() }
    }

    fn these(&mut self, fates: Result<Result<Fates, CatchUpError>, JoinError>) -> Result<(), CatchUpError> {
        let Fates { messages, buried } = fates.map_err(|_| CatchUpError::Stopping)??;
        self.progress.got(buried as u64);
        self.taken.stored += buried as u64;
        for (id, outcome) in messages {
            self.taken.fate(self.progress, id, outcome)?;
        }
        Ok(())
    }

    async fn all(&mut self) -> Result<(), CatchUpError> {
        while let Some(fates) = self.fates.join_next().await {
            self.these(fates)?;
        }
        Ok(())
    }

    /// Tells the log now and then where a long exchange stands.
    fn tell(&mut self, catch_up: &CatchUp) {
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        let source = self.progress.source;
        let Some(state) = catch_up.metrics.catching_up.peers().remove(&source.name) else { return };
        let left = state.seconds_left().map(|seconds| format!("{seconds:.0} s")).unwrap_or_default();
        tracing::info!(
            peer = %source.name, via = source.via(), stored = state.stored, of = state.wanted,
            rate = state.rate().map(f64::round), left, blocked = catch_up.pipeline.trouble(), "catching up"
        );
    }
}
