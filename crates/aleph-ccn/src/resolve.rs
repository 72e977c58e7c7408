//! Files that messages wait for, fetched by hash from whoever has them.
//!
//! Sources are the HTTP APIs of other nodes, tried two at a time in random order. A source that sends
//! nothing for a while is given up, one that sends the wrong bytes is skipped; what was received is kept
//! only if it has the hash that was asked for. The fetch is repeated with growing pauses until the file is
//! here or nobody waits for it any more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aleph_blobs::BlobStore;
use aleph_types::{HashKind, ItemHash, limits};
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::peers::HttpPeers;
use crate::pipeline::Pipeline;

/// Fetches at once.
const FETCHES: usize = 16;

/// Sources asked at once for one file.
const RACED: usize = 2;

/// A source that sends nothing for this long is given up; there is no limit on the whole transfer.
const STALL: Duration = Duration::from_secs(10);

/// Pause after the first failed round; it doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Fetches files in the background.
#[derive(Clone)]
pub(crate) struct Resolver {
    inner: Arc<Inner>,
}

struct Inner {
    blobs: BlobStore,
    peers: HttpPeers,
    client: reqwest::Client,
    pipeline: Pipeline,
    metrics: Arc<Metrics>,
    under_way: Mutex<HashSet<ItemHash>>,
    slots: Semaphore,
    patience: Duration,
    stopping: CancellationToken,
}

impl Resolver {
    pub(crate) fn new(
        blobs: BlobStore,
        peers: HttpPeers,
        client: reqwest::Client,
        pipeline: Pipeline,
        metrics: Arc<Metrics>,
        patience: Duration,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                blobs,
                peers,
                client,
                pipeline,
                metrics,
                under_way: Mutex::default(),
                slots: Semaphore::new(FETCHES),
                patience,
                stopping,
            }),
        }
    }

    /// Gets `hash` sooner or later; several calls for one hash are one fetch.
    pub(crate) fn want(&self, hash: ItemHash) {
        if !self.inner.under_way.lock().insert(hash.clone()) {
            return;
        }
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            let here = tokio::select! {
                () = inner.stopping.cancelled() => false,
                here = inner.fetch_until_here(&hash) => here,
            };
            // First this: who wants the file from now on waits for a fetch of its own.
            inner.under_way.lock().remove(&hash);
            if here {
                inner.pipeline.arrived(hash);
            }
        });
    }
}

impl Inner {
    /// Whether the file is here in the end.
    async fn fetch_until_here(&self, hash: &ItemHash) -> bool {
        let started = Instant::now();
        let mut pause = PAUSE_FIRST;
        // The waiting message is rejected when patience ends; a little longer covers its last try.
        while started.elapsed() < self.patience + PAUSE_MAX {
            match self.blobs.contains(hash).await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => tracing::warn!(file = %hash, %error, "file store can't be read"),
            }
            let Ok(_slot) = self.slots.acquire().await else { return false };
            self.metrics.fetches.increment();
            let round = Instant::now();
            if self.fetch_once(hash).await {
                let millis = u64::try_from(round.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.metrics.fetch_millis.add(millis);
                return true;
            }
            self.metrics.fetches_failed.increment();
            drop(_slot);
            // Jitter keeps a hundred nodes from asking one origin at the same instant.
            let spread = pause.mul_f64(0.5 + rand_unit());
            tokio::time::sleep(spread).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        tracing::info!(file = %hash, "gave up: no node had the file in time");
        false
    }

    /// One round over all sources; true when the file is here.
    async fn fetch_once(&self, hash: &ItemHash) -> bool {
        if hash.kind() != HashKind::Storage {
            // Files addressed by CID come with the block exchange.
            return false;
        }
        let sources = self.peers.shuffled();
        let mut attempts = futures_util::stream::iter(sources.into_iter().map(|source| async move {
            let outcome = self.fetch_from(&source, hash).await;
            (source, outcome)
        }))
        .buffer_unordered(RACED);
        while let Some((source, outcome)) = attempts.next().await {
            match outcome {
                Ok(()) => return true,
                Err(error) => tracing::debug!(file = %hash, %source, %error, "source skipped"),
            }
        }
        false
    }

    async fn fetch_from(&self, source: &str, hash: &ItemHash) -> Result<(), FetchError> {
        let url = format!("{source}/api/v0/storage/raw/{hash}");
        let response = tokio::time::timeout(STALL, self.client.get(&url).send())
            .await
            .map_err(|_| FetchError::Stalled)?
            .map_err(FetchError::Http)?;
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        if response.content_length().is_some_and(|length| length > limits::STORAGE_FILE) {
            return Err(FetchError::TooLarge);
        }
        let mut writer = self.blobs.writer(limits::STORAGE_FILE);
        let mut body = response.bytes_stream();
        loop {
            match tokio::time::timeout(STALL, body.next()).await {
                Err(_) => return Err(FetchError::Stalled),
                Ok(None) => break,
                Ok(Some(chunk)) => {
                    writer.write(&chunk.map_err(FetchError::Http)?).await.map_err(FetchError::Blob)?;
                }
            }
        }
        writer.finish(Some(hash)).await.map_err(FetchError::Blob)?;
        Ok(())
    }
}

/// Why a source did not give the file.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("sent nothing for {} s", STALL.as_secs())]
    Stalled,
    #[error("answered status {0}")]
    Status(u16),
    #[error("the file is larger than {} bytes", limits::STORAGE_FILE)]
    TooLarge,
    #[error("request failed")]
    Http(#[source] reqwest::Error),
    #[error("{0}")]
    Blob(#[source] aleph_blobs::BlobError),
}

/// A number in [0, 1) good enough for jitter.
fn rand_unit() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let word = RandomState::new().hash_one(0u8) >> 11;
    word as f64 / (1u64 << 53) as f64
}
