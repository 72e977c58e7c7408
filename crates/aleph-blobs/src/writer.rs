use std::fmt;
use std::io::Write as _;

use aleph_types::{HashKind, ItemHash};
use tempfile::NamedTempFile;
use tokio::task::JoinHandle;

use crate::BlobError;
use crate::local::LocalFolder;
use crate::s3::Upload;
use crate::verifier::{Sha256Verifier, Verifier};

/// Bytes hashed and written at a time on a blocking thread, while the next ones are collected.
///
/// 512 KiB take one to two milliseconds to hash, a hundred times what handing them over costs; a
/// writer holds two such blocks, so that a hundred uploads at once stay near 100 MiB. A file that
/// fits in one block costs a single trip to a blocking thread.
pub const BLOCK_SIZE: usize = 512 << 10;

/// A file that is on disk under its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The hash that it can be read by.
    pub hash: ItemHash,
    /// Its size in bytes.
    pub size: u64,
}

/// A file on its way in; see [`crate::BlobStore::writer`].
pub struct BlobWriter {
    limit: u64,
    written: u64,
    /// Bytes that the sink has not got yet; shorter than [`BLOCK_SIZE`] between calls.
    pending: Vec<u8>,
    stage: Stage,
}

enum Stage {
    Idle(Box<Sink>),
    /// A block is being hashed and written.
    Busy(JoinHandle<Block>),
    /// A write failed or was cut; what was written is gone already.
    Failed,
}

/// A block that was taken: the sink, and the block's memory for the next one.
type Block = Result<(Box<Sink>, Vec<u8>), BlobError>;

/// The hash so far, and what was written so far.
struct Sink {
    verifier: Box<dyn Verifier>,
    target: Target,
}

enum Target {
    /// A temporary file, once there is one.
    Local(LocalFolder, Option<NamedTempFile>),
    S3(Upload),
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobWriter")
            .field("limit", &self.limit)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl BlobWriter {
    pub(crate) fn local(folder: LocalFolder, limit: u64, verifier: Box<dyn Verifier>) -> Self {
        Self::new(limit, Sink { verifier, target: Target::Local(folder, None) })
    }

    pub(crate) fn remote(upload: Upload, limit: u64, verifier: Box<dyn Verifier>) -> Self {
        Self::new(limit, Sink { verifier, target: Target::S3(upload) })
    }

    fn new(limit: u64, sink: Sink) -> Self {
        Self { limit, written: 0, pending: Vec::new(), stage: Stage::Idle(Box::new(sink)) }
    }

    /// Bytes taken so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Takes the next bytes. Waits for the disk when it is slower than the caller.
    ///
    /// After an error, and after a call that was cancelled, only dropping the writer is of use.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        let total = self.written.saturating_add(chunk.len() as u64);
        if total > self.limit {
            self.stage = Stage::Failed;
            return Err(BlobError::TooLarge { limit: self.limit });
        }
        let mut rest = chunk;
        while !rest.is_empty() {
            let room = BLOCK_SIZE - self.pending.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.pending.extend_from_slice(now);
            self.written += now.len() as u64;
            rest = later;
            if self.pending.len() == BLOCK_SIZE {
                self.hand_over().await?;
            }
        }
        Ok(())
    }

    /// Waits until the verifier has seen everything that was written: for callers that know it.
    pub async fn pass(&mut self) -> Result<(), BlobError> {
        if !self.pending.is_empty() {
            self.hand_over().await?;
        }
        let (sink, _) = self.settle().await?;
        self.stage = Stage::Idle(sink);
        Ok(())
    }

    /// Ends the file: checks its hash, synchronises it and gives it its name.
    ///
    /// With `expected`, any other content fails with [`BlobError::WrongHash`] and is removed.
    pub async fn finish(mut self, expected: Option<&ItemHash>) -> Result<Stored, BlobError> {
        let (sink, _) = self.settle().await?;
        let Sink { mut verifier, target } = *sink;
        let pending = std::mem::take(&mut self.pending);
        let (size, expected) = (self.written, expected.cloned());
        let named = move |pending: &[u8]| {
            verifier.update(pending);
            let hash = verifier.finish(expected.as_ref());
            check(&hash, expected)?;
            Ok(hash)
        };
        match target {
            Target::Local(folder, file) => {
                crate::store::blocking(move || store(&folder, named(&pending)?, size, file, &pending)).await
            }
            Target::S3(mut upload) => {
                let done = crate::store::blocking(move || Ok((named(&pending)?, pending))).await;
                let (hash, pending) = done?;
                upload.push(&pending).await?;
                drop(pending);
                upload.finish(&hash, size).await?;
                Ok(Stored { hash, size })
            }
        }
    }

    /// Sends the block to a blocking thread, once the one before is done.
    async fn hand_over(&mut self) -> Result<(), BlobError> {
        let (mut sink, spare) = self.settle().await?;
        let block = std::mem::replace(&mut self.pending, spare);
        self.stage = Stage::Busy(match sink.target {
            Target::Local(..) => tokio::task::spawn_blocking(move || {
                sink.take(&block)?;
                Ok((sink, block))
            }),
            Target::S3(_) => tokio::spawn(async move {
                let work = crate::store::blocking(move || {
                    sink.verifier.update(&block);
                    Ok((sink, block))
                });
                let (mut sink, block) = work.await?;
                if let Target::S3(upload) = &mut sink.target {
                    upload.push(&block).await?;
                }
                Ok((sink, block))
            }),
        });
        Ok(())
    }

    /// Waits for the block that is under way; gives its memory back, emptied.
    async fn settle(&mut self) -> Block {
        if let Stage::Busy(job) = &mut self.stage {
            let done = job.await.unwrap_or(Err(BlobError::Interrupted));
            self.stage = Stage::Failed;
            let (sink, mut block) = done?;
            block.clear();
            return Ok((sink, block));
        }
        match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Idle(sink) => Ok((sink, Vec::new())),
            Stage::Busy(_) | Stage::Failed => Err(BlobError::Interrupted),
        }
    }
}

impl Sink {
    /// Hashes and writes a block to the disk.
    fn take(&mut self, block: &[u8]) -> Result<(), BlobError> {
        self.verifier.update(block);
        let Target::Local(folder, file) = &mut self.target else { return Ok(()) };
        let file = match file {
            Some(file) => file,
            None => file.insert(folder.temporary()?),
        };
        let path = file.path().to_owned();
        file.write_all(block).map_err(BlobError::io("write", &path))
    }
}

/// Stores `content` by its SHA-256 on the calling thread.
pub(crate) fn put(folder: &LocalFolder, content: &[u8]) -> Result<Stored, BlobError> {
    let mut verifier = Box::<Sha256Verifier>::default();
    verifier.update(content);
    store(folder, verifier.finish(None), content.len() as u64, None, content)
}

fn check(actual: &ItemHash, expected: Option<ItemHash>) -> Result<(), BlobError> {
    match expected {
        Some(expected) if expected != *actual => {
            if expected.kind() == HashKind::Ipfs && actual.kind() == HashKind::Storage {
                return Err(BlobError::Unverifiable(expected));
            }
            Err(BlobError::WrongHash { expected, actual: actual.clone() })
        }
        _ => Ok(()),
    }
}

/// Names a verified file: `file` holds what was written before, `tail` the rest.
fn store(
    folder: &LocalFolder,
    hash: ItemHash,
    size: u64,
    file: Option<NamedTempFile>,
    tail: &[u8],
) -> Result<Stored, BlobError> {
    if folder.size(&hash)? == Some(size) && folder.confirm(&hash)? {
        return Ok(Stored { hash, size });
    }
    let mut file = match file {
        Some(file) => file,
        None => folder.temporary()?,
    };
    file.write_all(tail).map_err(BlobError::io("write", file.path()))?;
    folder.adopt(file, &hash)?;
    Ok(Stored { hash, size })
}
