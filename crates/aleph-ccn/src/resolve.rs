//! Files that messages wait for, fetched by hash from whoever has them.
//!
//! Sources are the HTTP APIs of other nodes, tried two at a time in random order, and for CIDs at last the
//! node of IPFS beside this one, if there is one. A source that sends nothing for a while is given up, one
//! that sends the wrong bytes is skipped; what was received is kept only if it has the hash that was asked
//! for. The fetch is repeated with growing pauses until the file is here or nobody waits for it any more.
//!
//! A file under a CID comes as plain bytes, if they lead to the CID under one of the layouts in use, or else
//! as an archive; a directory always comes as an archive.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aleph_blobs::BlobWriter;
use aleph_cid::Cid;
use aleph_types::{HashKind, ItemHash, limits};
use futures_util::StreamExt;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::files::archive::ImportError;
use crate::files::{Files, canonical};
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
    files: Files,
    peers: HttpPeers,
    client: reqwest::Client,
    pipeline: Pipeline,
    metrics: Arc<Metrics>,
    under_way: Mutex<HashSet<ItemHash>>,
    slots: Semaphore,
    /// For the node of IPFS beside this one.
    beside: Semaphore,
    patience: Duration,
    stopping: CancellationToken,
}

impl Resolver {
    pub(crate) fn new(
        files: Files,
        peers: HttpPeers,
        client: reqwest::Client,
        pipeline: Pipeline,
        metrics: Arc<Metrics>,
        patience: Duration,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                files,
                peers,
                client,
                pipeline,
                metrics,
                under_way: Mutex::default(),
                slots: Semaphore::new(FETCHES),
                beside: Semaphore::new(FETCHES),
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
            match self.files.contains(hash).await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => tracing::warn!(file = %hash, %error, "file store can't be read"),
            }
            let Ok(slot) = self.slots.acquire().await else { return false };
            self.metrics.fetches.increment();
            let round = Instant::now();
            let fetched = self.fetch_once(hash).await;
            drop(slot);
            if fetched || self.fetch_beside(hash).await {
                let millis = u64::try_from(round.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.metrics.fetch_millis.add(millis);
                return true;
            }
            self.metrics.fetches_failed.increment();
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
        let sources = self.peers.shuffled();
        let mut attempts = futures_util::stream::iter(sources.into_iter().map(|source| async move {
            let outcome = self.fetch_from(&source, hash).await;
            (source, outcome)
        }))
        .buffer_unordered(RACED);
        while let Some((source, outcome)) = attempts.next().await {
            match outcome {
                Ok(()) => {
                    self.files.hand_over(hash, &self.stopping);
                    return true;
                }
                Err(error) => tracing::debug!(file = %hash, %source, %error, "source skipped"),
            }
        }
        false
    }

    /// From the node of IPFS beside this one. What it has to look for takes long, and holds up nobody who
    /// waits for other nodes.
    async fn fetch_beside(&self, hash: &ItemHash) -> bool {
        let Some(kubo) = self.files.kubo().filter(|_| hash.kind() == HashKind::Ipfs) else { return false };
        let Ok(_slot) = self.beside.acquire().await else { return false };
        match kubo.fetch(&self.files, hash).await {
            Ok(_) => {
                if let Err(error) = kubo.pin(hash).await {
                    tracing::warn!(file = %hash, %error, "the IPFS node does not keep what it gave");
                }
                true
            }
            Err(error) => {
                tracing::debug!(file = %hash, %error, "the IPFS node has not given it");
                false
            }
        }
    }

    async fn fetch_from(&self, source: &str, hash: &ItemHash) -> Result<(), FetchError> {
        let url = format!("{source}/api/v0/storage/raw/{hash}");
        if hash.kind() == HashKind::Storage {
            let response = self.ask(&url, limits::STORAGE_FILE).await?;
            let writer = self.files.writer(limits::STORAGE_FILE);
            return self.receive(response, writer, hash).await;
        }
        let cid = Cid::try_from(hash).map_err(ImportError::from)?;
        let most = self.files.limits().file_bytes;
        let response = self.ask(&url, most).await?;
        // Nobody calls plain bytes a tar: that is a directory.
        let plain = if is_type(response.headers(), "application/x-tar") {
            Err(FetchError::Directory)
        } else {
            let writer = self.files.check_writer(most, &cid);
            self.receive(response, writer, &canonical(hash)).await
        };
        match plain {
            Err(FetchError::Directory | FetchError::Blob(aleph_blobs::BlobError::WrongHash { .. })) => {}
            settled => return settled,
        }
        let most = self.files.limits().archive_bytes;
        let response = self.ask(&format!("{url}?format=car"), most).await?;
        if !is_type(response.headers(), CAR) {
            return Err(FetchError::NoArchive);
        }
        let mut writer = self.files.archive_writer(most);
        let mut body = response.bytes_stream();
        while let Some(chunk) = next_chunk(body.next()).await? {
            writer.write(&chunk).await?;
        }
        writer.finish(Some(&cid)).await?;
        Ok(())
    }

    async fn ask(&self, url: &str, most: u64) -> Result<reqwest::Response, FetchError> {
        let response = tokio::time::timeout(STALL, self.client.get(url).send())
            .await
            .map_err(|_| FetchError::Stalled)?
            .map_err(FetchError::Http)?;
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        if response.content_length().is_some_and(|length| length > most) {
            return Err(FetchError::TooLarge(most));
        }
        Ok(response)
    }

    async fn receive(
        &self,
        response: reqwest::Response,
        mut writer: BlobWriter,
        hash: &ItemHash,
    ) -> Result<(), FetchError> {
        let mut body = response.bytes_stream();
        while let Some(chunk) = next_chunk(body.next()).await? {
            writer.write(&chunk).await.map_err(FetchError::Blob)?;
        }
        writer.finish(Some(hash)).await.map_err(FetchError::Blob)?;
        Ok(())
    }
}

/// What an archive is called.
const CAR: &str = "application/vnd.ipld.car";

fn is_type(headers: &HeaderMap, expected: &str) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(expected))
}

/// The next piece of a body; none at its end.
async fn next_chunk(
    next: impl Future<Output = Option<reqwest::Result<bytes::Bytes>>>,
) -> Result<Option<bytes::Bytes>, FetchError> {
    match tokio::time::timeout(STALL, next).await {
        Err(_) => Err(FetchError::Stalled),
        Ok(chunk) => chunk.transpose().map_err(FetchError::Http),
    }
}

/// Why a source did not give the file.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("sent nothing for {} s", STALL.as_secs())]
    Stalled,
    #[error("answered status {0}")]
    Status(u16),
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    #[error("it is a directory")]
    Directory,
    #[error("it gives no archive of what plain bytes can't show")]
    NoArchive,
    #[error(transparent)]
    Import(#[from] ImportError),
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
