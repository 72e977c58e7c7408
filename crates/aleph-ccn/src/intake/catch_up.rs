//! What gossip did not bring: each node compares the set of messages that it has accepted with that of the
//! others, and asks for those that it lacks.
//!
//! The comparison is range-based set reconciliation ([`super::exchange`]): what is equal costs a
//! fingerprint, and what differs is narrowed down to its elements, whatever the two nodes had before.
//! Nothing has to be remembered for that: an interrupted comparison starts over and finds what is left.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aleph_rules::Dependency;
use aleph_store::{Skeleton, Store};
use aleph_types::content::Content;
use aleph_types::{ItemHash, ParsedMessage};
use futures_util::{StreamExt as _, stream};
use negentropy::Negentropy;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::exchange::{
    ANSWER_MAX, Exchange, ExchangeError, FRAME, WANTED_PAGE, compare, read_found, read_frame, want,
};
use super::known::{hashes_of, id_of};
use super::tombstones::{Tombstone, judge};
use crate::defaults;
use crate::metrics::Metrics;
use crate::peers::HttpPeers;
use crate::pipeline::{Origin, Outcome, Pipeline, PipelineError};

/// A peer that does not answer in this time is left for the next round.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// Questions for messages that are under way at a time.
const AHEAD: usize = 2;

/// Frames in a row that narrow nothing down to an element; more mean that the peer makes fun of us.
const FRUITLESS_FRAMES: usize = 64;

/// A message that was refused, or that a peer had lost, is asked for again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// Such messages are remembered up to this number.
const REMEMBERED: usize = 100_000;

#[derive(Debug, thiserror::Error)]
enum CatchUpError {
    #[error("request failed")]
    Http(#[from] reqwest::Error),
    #[error("answered status {0}")]
    Status(u16),
    #[error("did not answer in {} s", REQUEST_LIMIT.as_secs())]
    Slow,
    #[error("answered more than {ANSWER_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("sent a frame that can't be read: {0}")]
    Frame(negentropy::Error),
    #[error("sent {FRUITLESS_FRAMES} frames that lead to nothing")]
    Fruitless,
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error(transparent)]
    Store(#[from] aleph_store::StoreError),
}

/// What one question for messages brought.
#[derive(Debug, Default)]
struct Fetched {
    stored: usize,
    /// Elements that brought nothing: the peer has lost them, or this node refused them.
    fruitless: Vec<[u8; 32]>,
}

pub(crate) struct CatchUp {
    pub(crate) peers: HttpPeers,
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
        loop {
            let urls = self.peers.shuffled();
            self.metrics.catching_up.keep(&urls);
            for url in urls {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    result = self.compare_with(&url, &mut fruitless) => {
                        if let Err(error) = result {
                            self.metrics.catching_up.failed(&url, error_chain(&error));
                            tracing::debug!(peer = %url, error = %error_chain(&error), "could not catch up");
                        }
                    }
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

    /// Compares this node's messages with those of the node at `url`, and gets what is lacking.
    async fn compare_with(
        &self,
        url: &str,
        fruitless: &mut HashMap<[u8; 32], Instant>,
    ) -> Result<(), CatchUpError> {
        self.metrics.catching_up.begin(url);
        let first = |known: &_| Negentropy::borrowed(known, FRAME).and_then(|mut side| side.initiate());
        let mut frame = self.exchange.with_known(first).await?.map_err(CatchUpError::Frame)?;
        let mut empty_frames = 0;
        loop {
            let answer = self.ask(url, compare(&frame)).await?;
            let step = self.exchange.with_known(move |known| {
                let theirs = read_frame(&answer)?;
                let (mut have, mut need) = (Vec::new(), Vec::new());
                let mut side = Negentropy::borrowed(known, FRAME).map_err(CatchUpError::Frame)?;
                side.set_initiator();
                let next = side.reconcile_with_ids(theirs, &mut have, &mut need);
                Ok::<_, CatchUpError>((next.map_err(CatchUpError::Frame)?, have.len(), need))
            });
            let (next, have, need) = step.await??;
            empty_frames = if need.is_empty() && have == 0 { empty_frames + 1 } else { 0 };
            if empty_frames > FRUITLESS_FRAMES {
                return Err(CatchUpError::Fruitless);
            }
            let need = need.into_iter().map(negentropy::Id::to_bytes);
            let wanted = self.lacking(need.filter(|id| !fruitless.contains_key(id)).collect()).await?;
            self.metrics.catching_up.wants(url, wanted.len());
            let pages: Vec<Vec<[u8; 32]>> = wanted.chunks(WANTED_PAGE).map(<[_]>::to_vec).collect();
            let mut fetches = stream::iter(pages).map(|page| self.fetch(url, page)).buffered(AHEAD);
            while let Some(fetched) = fetches.next().await {
                let fetched = fetched?;
                self.metrics.catching_up.got(url, fetched.stored);
                if fruitless.len() < REMEMBERED {
                    fruitless.extend(fetched.fruitless.into_iter().map(|id| (id, Instant::now())));
                }
            }
            match next {
                Some(next) => frame = next,
                None => break,
            }
        }
        self.metrics.catching_up.compared(url);
        Ok(())
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

    /// Gets messages and has them decided.
    async fn fetch(&self, url: &str, ids: Vec<[u8; 32]>) -> Result<Fetched, CatchUpError> {
        let mut open: HashSet<[u8; 32]> = ids.iter().copied().collect();
        let mut fetched = Fetched::default();
        let mut wanted = ids;
        while !wanted.is_empty() {
            let found = read_found(&self.ask(url, want(&wanted)).await?)?;
            let mut parsed = Vec::with_capacity(found.messages.len());
            for value in found.messages {
                match ParsedMessage::from_value(&value) {
                    // Only what was asked for.
                    Ok(message) => match id_of(&message.message.item_hash) {
                        Some(id) if open.remove(&id) => parsed.push((id, message)),
                        _ => {}
                    },
                    Err(error) => tracing::debug!(peer = %url, %error, "peer stores an invalid message"),
                }
            }
            let forgotten = found.forgotten.into_iter().filter(|skeleton| {
                let hash = ItemHash::parse(&skeleton.envelope.item_hash).ok();
                hash.and_then(|hash| id_of(&hash)).is_some_and(|id| open.remove(&id))
            });
            let buried = self.bury(url, forgotten.collect(), &found.forgets).await?;
            fetched.stored += buried;
            if parsed.is_empty() && buried == 0 {
                break;
            }
            // Oldest first: fewer have to wait for what they refer to.
            parsed.sort_by_key(|(_, message)| message.message.time);
            let fates = parsed.into_iter().map(|(id, message)| {
                let fate = self.pipeline.submit(message, Origin::CatchUp);
                async move { fate.await.map(|outcome| (id, outcome)) }
            });
            for fate in futures_util::future::join_all(fates).await {
                match fate? {
                    (_, Outcome::Processed) => {
                        fetched.stored += 1;
                        self.metrics.caught_up.increment();
                    }
                    (id, Outcome::Rejected(_)) => fetched.fruitless.push(id),
                    _ => {}
                }
            }
            // A long answer leaves the rest out.
            wanted = open.iter().copied().collect();
        }
        fetched.fruitless.extend(open);
        Ok(fetched)
    }

    /// Remembers messages that were forgotten before this node could get them; returns how many are news.
    async fn bury(
        &self,
        url: &str,
        forgotten: Vec<Skeleton>,
        forgets: &[serde_json::Value],
    ) -> Result<usize, CatchUpError> {
        if forgotten.is_empty() {
            return Ok(0);
        }
        let trusted = self.peers.is_configured(url);
        let read = forgets.iter().filter_map(|value| ParsedMessage::from_value(value).ok());
        let forgets: HashMap<String, ParsedMessage> =
            read.map(|forget| (forget.message.item_hash.as_str().to_owned(), forget)).collect();
        let judged = tokio::task::spawn_blocking(move || {
            let judge_one = |skeleton: &Skeleton| judge(skeleton, &forgets, trusted);
            forgotten.iter().map(judge_one).collect::<Vec<_>>()
        });
        let judged = judged.await.map_err(|_| PipelineError::Stopped)?;
        let mut tombstones = Vec::with_capacity(judged.len());
        for verdict in judged {
            match verdict {
                Ok(tombstone) => tombstones.push(tombstone),
                Err(doubt) => tracing::debug!(peer = %url, %doubt, "a forgotten message is not believed"),
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
        for fate in futures_util::future::join_all(
            forgets.into_values().map(|forget| self.pipeline.submit(forget, Origin::CatchUp)),
        )
        .await
        {
            fate?;
        }
        Ok(news.len())
    }

    /// Sends a question and reads a bounded answer.
    async fn ask(&self, url: &str, question: Vec<u8>) -> Result<Vec<u8>, CatchUpError> {
        let exchange = async {
            let request = self.client.post(format!("{url}/api/v1/sync/exchange")).body(question);
            let mut response = request.send().await?;
            if !response.status().is_success() {
                return Err(CatchUpError::Status(response.status().as_u16()));
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > ANSWER_MAX {
                    return Err(CatchUpError::TooLarge);
                }
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        };
        tokio::time::timeout(REQUEST_LIMIT, exchange).await.map_err(|_| CatchUpError::Slow)?
    }
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
