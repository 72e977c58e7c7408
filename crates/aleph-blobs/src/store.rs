use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aleph_types::{HashKind, ItemHash};
use bytes::Bytes;

use crate::BlobError;
use crate::local::{Iter, LocalFolder, Withdrawal};
use crate::verifier::{Sha256Verifier, Verifier};
use crate::writer::{self, BlobWriter, Stored};

/// The files of one node, by hash. Cheap to clone; all clones share one folder.
#[derive(Debug, Clone)]
pub struct BlobStore {
    backend: Arc<Backend>,
}

/// Where files live. An object store becomes a second variant.
#[derive(Debug)]
enum Backend {
    Local(LocalFolder),
}

impl BlobStore {
    /// Opens the folder `root`, making it when absent, and removes what interrupted writers left
    /// in `<root>/tmp`.
    ///
    /// Touches only `root` and `root/tmp`, never the stored files, so that start stays fast with
    /// millions of them.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, BlobError> {
        let local = LocalFolder::open(root.as_ref())?;
        Ok(Self { backend: Arc::new(Backend::Local(local)) })
    }

    fn local(&self) -> &LocalFolder {
        let Backend::Local(local) = &*self.backend;
        local
    }

    /// Starts a file of at most `limit` bytes, known by its SHA-256.
    ///
    /// Nothing touches the disk before [`crate::BLOCK_SIZE`] bytes came or
    /// [`BlobWriter::finish`] is called. A writer that is dropped leaves nothing.
    pub fn writer(&self, limit: u64) -> BlobWriter {
        self.writer_with(limit, Box::<Sha256Verifier>::default())
    }

    /// Starts a file of at most `limit` bytes, known by the hash that `verifier` computes.
    pub fn writer_with(&self, limit: u64, verifier: Box<dyn Verifier>) -> BlobWriter {
        BlobWriter::new(self.local().clone(), limit, verifier)
    }

    /// Stores `content` under its SHA-256; a file that is there already is not written again.
    pub async fn put_bytes(&self, content: impl Into<Bytes>) -> Result<Stored, BlobError> {
        let content = content.into();
        let local = self.local().clone();
        blocking(move || writer::put(&local, &content)).await
    }

    /// As [`BlobStore::put_bytes`], on the calling thread: for threads that may block.
    pub fn put_bytes_sync(&self, content: &[u8]) -> Result<Stored, BlobError> {
        writer::put(self.local(), content)
    }

    /// The whole content of `hash`, or `None` when the file is not here.
    ///
    /// Fails with [`BlobError::TooLarge`] above `cap` bytes: stream such files with
    /// [`BlobStore::open_file`].
    pub async fn read(&self, hash: &ItemHash, cap: u64) -> Result<Option<Bytes>, BlobError> {
        let (local, hash) = (self.local().clone(), hash.clone());
        blocking(move || local.read(&hash, cap)).await
    }

    /// As [`BlobStore::read`], on the calling thread.
    pub fn read_sync(&self, hash: &ItemHash, cap: u64) -> Result<Option<Bytes>, BlobError> {
        self.local().read(hash, cap)
    }

    /// The open file of `hash` and its size in bytes, for streaming and ranges.
    ///
    /// The file stays readable until dropped, even when it is removed meanwhile.
    pub async fn open_file(&self, hash: &ItemHash) -> Result<Option<(tokio::fs::File, u64)>, BlobError> {
        let (local, hash) = (self.local().clone(), hash.clone());
        let opened = blocking(move || local.open_file(&hash)).await?;
        Ok(opened.map(|(file, size)| (tokio::fs::File::from_std(file), size)))
    }

    /// As [`BlobStore::open_file`], on the calling thread.
    pub fn open_file_sync(&self, hash: &ItemHash) -> Result<Option<(fs::File, u64)>, BlobError> {
        self.local().open_file(hash)
    }

    /// The size of `hash` in bytes, or `None` when the file is not here.
    pub async fn size(&self, hash: &ItemHash) -> Result<Option<u64>, BlobError> {
        let (local, hash) = (self.local().clone(), hash.clone());
        blocking(move || local.size(&hash)).await
    }

    /// As [`BlobStore::size`], on the calling thread: one `stat`.
    pub fn size_sync(&self, hash: &ItemHash) -> Result<Option<u64>, BlobError> {
        self.local().size(hash)
    }

    /// Whether `hash` is here.
    pub async fn contains(&self, hash: &ItemHash) -> Result<bool, BlobError> {
        Ok(self.size(hash).await?.is_some())
    }

    /// As [`BlobStore::contains`], on the calling thread: one `stat`.
    pub fn contains_sync(&self, hash: &ItemHash) -> Result<bool, BlobError> {
        Ok(self.size_sync(hash)?.is_some())
    }

    /// Removes `hash`; says whether it was here. Open readers keep what they have.
    pub async fn remove(&self, hash: &ItemHash) -> Result<bool, BlobError> {
        let (local, hash) = (self.local().clone(), hash.clone());
        blocking(move || local.remove(&hash)).await
    }

    /// Takes `hash` out of the store, unless it was stored, or stored again, less than `idle` ago. Quick
    /// whatever the size; for threads that may block.
    ///
    /// Whoever stores the same content from now on stores it anew. Open readers keep what they have.
    pub fn withdraw_sync(&self, hash: &ItemHash, idle: Duration) -> Result<Withdrawal, BlobError> {
        self.local().withdraw(hash, idle)
    }

    /// Reads `hash` again from the disk and says whether its bytes still have that SHA-256;
    /// `None` when it is not here. Only storage hashes can be checked so.
    pub async fn verify(&self, hash: &ItemHash) -> Result<Option<bool>, BlobError> {
        if hash.kind() != HashKind::Storage {
            return Err(BlobError::Unverifiable(hash.clone()));
        }
        let (local, hash) = (self.local().clone(), hash.clone());
        blocking(move || local.verify(&hash)).await
    }

    /// Every stored file with its size, in no order. Blocks: call it on a thread that may.
    ///
    /// Files that come or go meanwhile may be seen or not.
    pub fn iter(&self) -> Iter {
        self.local().iter()
    }

    /// The path of `hash` on the local disk, for readers outside this process (`None`: not here).
    ///
    /// The file must not be written to. An object store backend will have no such path, so that
    /// callers fall back to [`BlobStore::open_file`].
    pub fn local_path(&self, hash: &ItemHash) -> Result<Option<std::path::PathBuf>, BlobError> {
        let path = self.local().path(hash)?;
        Ok(self.local().size(hash)?.map(|_| path))
    }
}

/// Runs file system work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(BlobError::Interrupted))
}
