//! Files by hash: fetched once however many ask, verified while they stream to disk.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aleph_blobs::{BlobError, BlobStore};
use aleph_types::{HashKind, ItemHash};
use futures_util::StreamExt;
use parking_lot::Mutex;
use reqwest::StatusCode;
use tokio::sync::{OnceCell, Semaphore};

use super::core_nodes::{CoreNodes, cause_of};
use crate::defaults::{MAX_DOWNLOADS, SWEEP_GRACE};

/// A file on this machine whose bytes have the hash that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalFile {
    pub(crate) hash: ItemHash,
    /// Only read it.
    pub(crate) path: PathBuf,
    /// Bytes.
    pub(crate) size: u64,
    /// Bytes that came over the network for it; 0 when it was here.
    pub(crate) fetched: u64,
}

/// Why a file is not here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileError {
    #[error("no core node has it ({0})")]
    Missing(String),
    #[error("every copy that was offered is wrong ({0})")]
    Corrupt(String),
    #[error("{size} bytes, {most} allowed")]
    TooLarge { size: u64, most: u64 },
    #[error("no core node answers ({0})")]
    Unreachable(String),
    #[error("files on IPFS are not fetched by this node; store the file with the storage engine instead")]
    Ipfs,
    #[error("this node can't keep it: {0}")]
    Local(String),
    #[error("this node's disk is full: {0}")]
    DiskFull(String),
}

type Flight = Arc<OnceCell<Result<LocalFile, FileError>>>;

/// Fetches files from core nodes into the local store.
#[derive(Debug)]
pub(crate) struct Files {
    store: BlobStore,
    core_nodes: Arc<CoreNodes>,
    stall: Duration,
    downloads: Semaphore,
    /// Who fetches now; others wait for the same result.
    flights: Mutex<HashMap<ItemHash, Flight>>,
}

/// What one source did.
enum Attempt {
    Missing,
    Wrong(String),
    TooLarge(u64),
    Failed(String),
    /// Another source would not help.
    Here(FileError),
}

impl Files {
    pub(crate) fn new(store: BlobStore, core_nodes: Arc<CoreNodes>, stall: Duration) -> Self {
        Self {
            store,
            core_nodes,
            stall,
            downloads: Semaphore::new(MAX_DOWNLOADS),
            flights: Mutex::new(HashMap::new()),
        }
    }

    /// The file `hash` of at most `most` bytes.
    ///
    /// Concurrent calls for one hash share one download: it goes on while at least one of them waits.
    pub(crate) async fn get(&self, hash: &ItemHash, most: u64) -> Result<LocalFile, FileError> {
        if let Some(file) = self.local(hash).await? {
            return if file.size > most {
                Err(FileError::TooLarge { size: file.size, most })
            } else {
                Ok(file)
            };
        }
        let flight = self.flights.lock().entry(hash.clone()).or_default().clone();
        let result = flight.get_or_init(|| self.fetch(hash, most)).await.clone();
        // The first to come back closes the flight; a failure is not remembered.
        let mut flights = self.flights.lock();
        if flights.get(hash).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
            flights.remove(hash);
        }
        result
    }

    async fn local(&self, hash: &ItemHash) -> Result<Option<LocalFile>, FileError> {
        let Some(size) = self.store.size(hash).await.map_err(local)? else { return Ok(None) };
        let path = self.store.local_path(hash).map_err(local)?;
        Ok(path.map(|path| LocalFile { hash: hash.clone(), path, size, fetched: 0 }))
    }

    async fn fetch(&self, hash: &ItemHash, most: u64) -> Result<LocalFile, FileError> {
        if hash.kind() != HashKind::Storage {
            return Err(FileError::Ipfs);
        }
        let Ok(_permit) = self.downloads.acquire().await else {
            return Err(FileError::Local("the node is shutting down".to_owned()));
        };
        let started = Instant::now();
        let (mut missing, mut wrong, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let mut too_large = None;
        for index in self.core_nodes.order() {
            let Some(url) = self.core_nodes.url(index, &format!("api/v0/storage/raw/{hash}")) else {
                continue;
            };
            let source = url.host_str().map_or_else(String::new, |host| {
                format!("{host}:{}", url.port_or_known_default().unwrap_or_default())
            });
            match self.fetch_from(url, hash, most).await {
                Ok(size) => {
                    self.core_nodes.prefer(index);
                    let seconds = started.elapsed().as_secs_f64();
                    tracing::info!(%hash, size, seconds, source, "file fetched");
                    let file = self.local(hash).await?;
                    return file.map(|file| LocalFile { fetched: size, ..file }).ok_or_else(|| {
                        FileError::Local("the file vanished after it was written".to_owned())
                    });
                }
                Err(Attempt::Missing) => missing.push(source),
                Err(Attempt::Wrong(cause)) => {
                    tracing::warn!(%hash, source, cause, "a core node sent a wrong file; refused");
                    wrong.push(format!("{source}: {cause}"));
                }
                Err(Attempt::TooLarge(size)) => too_large = Some(size),
                Err(Attempt::Failed(cause)) => failed.push(format!("{source}: {cause}")),
                Err(Attempt::Here(error)) => return Err(error),
            }
        }
        // What is certain about the file itself comes first.
        Err(match too_large {
            Some(size) => FileError::TooLarge { size, most },
            None if !wrong.is_empty() => FileError::Corrupt(wrong.join("; ")),
            None if !missing.is_empty() => FileError::Missing(format!("asked {}", missing.join(", "))),
            None => FileError::Unreachable(failed.join("; ")),
        })
    }

    /// Streams one copy into the store; nothing is kept unless its hash is right.
    async fn fetch_from(&self, url: reqwest::Url, hash: &ItemHash, most: u64) -> Result<u64, Attempt> {
        let stalled = || Attempt::Failed(format!("no byte for {} s", self.stall.as_secs()));
        let request = self.core_nodes.client().get(url).send();
        let response = tokio::time::timeout(self.stall, request)
            .await
            .map_err(|_| stalled())?
            .map_err(|error| Attempt::Failed(cause_of(error)))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Attempt::Missing),
            status => return Err(Attempt::Failed(format!("status {status}"))),
        }
        if let Some(size) = response.content_length()
            && size > most
        {
            return Err(Attempt::TooLarge(size));
        }
        let mut writer = self.store.writer(most);
        let mut chunks = response.bytes_stream();
        loop {
            let chunk = match tokio::time::timeout(self.stall, chunks.next()).await {
                Err(_) => return Err(stalled()),
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(Attempt::Failed(cause_of(error))),
                Ok(Some(Ok(chunk))) => chunk,
            };
            writer.write(&chunk).await.map_err(|error| attempt_of(error, writer_size(&chunk, most)))?;
        }
        let stored = writer.finish(Some(hash)).await.map_err(|error| attempt_of(error, most))?;
        Ok(stored.size)
    }

    /// Makes room in the local store when it holds more than `budget` bytes: the oldest files go first,
    /// but none in `needed`, none being fetched, and none that came a moment ago. Returns the bytes freed.
    pub(crate) async fn sweep(&self, budget: u64, needed: HashSet<ItemHash>) -> u64 {
        let store = self.store.clone();
        let listed = tokio::task::spawn_blocking(move || oldest_first(&store)).await.unwrap_or_default();
        let mut total: u64 = listed.iter().map(|file| file.size).sum();
        let mut freed = 0;
        for Kept { hash, size, age } in listed {
            if total <= budget {
                break;
            }
            if age < SWEEP_GRACE || needed.contains(&hash) || self.flights.lock().contains_key(&hash) {
                continue;
            }
            match self.store.remove(&hash).await {
                Ok(_) => {
                    total -= size;
                    freed += size;
                }
                Err(error) => tracing::warn!(%hash, %error, "a cached file can't be removed"),
            }
        }
        freed
    }

    /// The bytes of a small file.
    pub(crate) async fn bytes(&self, hash: &ItemHash, most: u64) -> Result<bytes::Bytes, FileError> {
        self.get(hash, most).await?;
        let read = self.store.read(hash, most).await.map_err(local)?;
        read.ok_or_else(|| FileError::Local("the file vanished after it was written".to_owned()))
    }
}

/// A file of the store and the time since it was written.
struct Kept {
    hash: ItemHash,
    size: u64,
    age: Duration,
}

/// Blocks.
fn oldest_first(store: &BlobStore) -> Vec<Kept> {
    let mut kept: Vec<Kept> = store
        .iter()
        .filter_map(|entry| {
            let (hash, size) = entry.ok()?;
            let path = store.local_path(&hash).ok()??;
            let age = path.metadata().ok()?.modified().ok()?.elapsed().unwrap_or_default();
            Some(Kept { hash, size, age })
        })
        .collect();
    kept.sort_by_key(|file| std::cmp::Reverse(file.age));
    kept
}

/// At least this many bytes came when the limit was passed.
fn writer_size(chunk: &[u8], most: u64) -> u64 {
    most.saturating_add(chunk.len().min(1) as u64)
}

/// A failure of the local store.
fn local(error: BlobError) -> FileError {
    match error {
        BlobError::NoSpace { .. } => FileError::DiskFull(error.to_string()),
        other => FileError::Local(other.to_string()),
    }
}

fn attempt_of(error: BlobError, size: u64) -> Attempt {
    match error {
        BlobError::WrongHash { actual, .. } => Attempt::Wrong(format!("its bytes hash to {actual}")),
        BlobError::TooLarge { .. } => Attempt::TooLarge(size),
        other => Attempt::Here(local(other)),
    }
}
