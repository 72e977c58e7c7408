//! Files on their way: hashed, counted and never held in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aleph_types::ItemHash;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::error::{Error, Result};

/// Bytes read or sent at once.
pub(crate) const CHUNK: usize = 256 * 1024;

/// A transfer that moves no byte for so long is given up.
pub(crate) const STALL: Duration = Duration::from_secs(60);

/// What a transfer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading a local file to learn its hash.
    Hashing,
    /// Bytes go to a node.
    Sending,
    /// Bytes come from a node.
    Receiving,
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, if known.
    pub total: Option<u64>,
}

/// Told about progress, about once per 256 KiB; must not block.
#[derive(Clone)]
pub struct ProgressListener(Arc<dyn Fn(Progress) + Send + Sync>);

impl std::fmt::Debug for ProgressListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProgressListener")
    }
}

impl ProgressListener {
    /// Calls `listener` on every step.
    pub fn new(listener: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Listens to nothing.
    pub fn silent() -> Self {
        Self::new(|_| ())
    }

    pub(crate) fn tell(&self, progress: Progress) {
        (self.0)(progress);
    }
}

/// Hash and size of a local file, read once.
pub(crate) async fn hash_file(path: &Path, listener: ProgressListener) -> Result<(ItemHash, u64)> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || hash_blocking(&path, &listener))
        .await
        .map_err(|error| Error::Broken { what: "hashing the file", source: error.into() })?
}

fn hash_blocking(path: &Path, listener: &ProgressListener) -> Result<(ItemHash, u64)> {
    use std::io::Read;
    let failed = |error: io::Error| Error::file("read", path, error);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(Error::input(format!("{} is a folder, not a file", path.display())));
    }
    let total = metadata.is_file().then_some(metadata.len());
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; CHUNK];
    let mut done = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&buffer[..read]);
                done += read as u64;
                listener.tell(Progress { phase: Phase::Hashing, done, total });
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok((ItemHash::from_digest(hasher.finalize().into()), done))
}

/// What goes into an upload; can be read again for a retry.
#[derive(Debug, Clone)]
pub(crate) enum UploadSource {
    File(PathBuf),
    Memory(Bytes),
}

/// Counts the bytes that left for the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct SentCounter(Arc<AtomicU64>);

impl SentCounter {
    pub(crate) fn sent(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The source's bytes as a stream of exactly `size` bytes; a file that changed meanwhile breaks it.
pub(crate) fn source_stream(
    source: &UploadSource,
    size: u64,
    counter: SentCounter,
    listener: ProgressListener,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    enum State {
        Closed(UploadSource),
        File(File),
        Memory(Bytes),
        End,
    }
    let start = (State::Closed(source.clone()), 0u64);
    stream::try_unfold(start, move |(state, sent)| {
        let counter = counter.clone();
        let listener = listener.clone();
        async move {
            let mut state = state;
            if let State::Closed(source) = state {
                state = match source {
                    UploadSource::File(path) => State::File(File::open(path).await?),
                    UploadSource::Memory(bytes) => State::Memory(bytes),
                };
            }
            let (chunk, state) = match state {
                State::Memory(mut rest) => {
                    let chunk = rest.split_to(rest.len().min(CHUNK));
                    (chunk, State::Memory(rest))
                }
                State::File(mut file) => {
                    let mut buffer = BytesMut::with_capacity(CHUNK);
                    file.read_buf(&mut buffer).await?;
                    (buffer.freeze(), State::File(file))
                }
                State::Closed(_) | State::End => (Bytes::new(), State::End),
            };
            let now = sent + chunk.len() as u64;
            if now > size || (chunk.is_empty() && now < size) {
                return Err(io::Error::other("the file changed while it was sent"));
            }
            if chunk.is_empty() {
                return Ok(None);
            }
            counter.0.store(now, Ordering::Relaxed);
            listener.tell(Progress { phase: Phase::Sending, done: now, total: Some(size) });
            Ok(Some((chunk, (state, now))))
        }
    })
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    async fn drain(source: UploadSource, size: u64) -> io::Result<Vec<u8>> {
        let stream = source_stream(&source, size, SentCounter::default(), ProgressListener::silent());
        let chunks: Vec<Bytes> = stream.try_collect().await?;
        Ok(chunks.concat())
    }

    #[tokio::test]
    async fn sources_give_exactly_their_bytes() {
        let bytes = vec![7u8; CHUNK * 2 + 5];
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let size = bytes.len() as u64;
        assert_eq!(drain(UploadSource::Memory(bytes.clone().into()), size).await.unwrap(), bytes);
        assert_eq!(drain(UploadSource::File(file.path().into()), size).await.unwrap(), bytes);
        // Shorter or longer than what was hashed: never a silent success.
        assert!(drain(UploadSource::File(file.path().into()), size + 1).await.is_err());
        assert!(drain(UploadSource::File(file.path().into()), size - 1).await.is_err());
        assert_eq!(drain(UploadSource::Memory(Bytes::new()), 0).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn files_are_hashed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"abc").unwrap();
        let (hash, size) = hash_file(file.path(), ProgressListener::silent()).await.unwrap();
        assert_eq!((hash, size), (ItemHash::sha256(b"abc"), 3));
        assert!(hash_file(Path::new("/nowhere/at/all"), ProgressListener::silent()).await.is_err());
        assert!(hash_file(Path::new("/"), ProgressListener::silent()).await.is_err());
    }
}
