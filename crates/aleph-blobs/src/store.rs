use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aleph_types::{HashKind, ItemHash};
use bytes::Bytes;

use crate::BlobError;
use crate::blob::Blob;
use crate::local::LocalFolder;
use crate::s3::{S3Options, S3Store};
use crate::verifier::{Sha256Verifier, Verifier};
use crate::withdrawn::Withdrawal;
use crate::writer::{self, BlobWriter, Stored};

/// What the names of archives end in.
const ARCHIVE: &str = ".car";

/// The files of one node, by hash. Cheap to clone; all clones share one place.
///
/// Methods whose names end in `_sync` are for threads that may block and are none of a runtime.
#[derive(Debug, Clone)]
pub struct BlobStore {
    backend: Arc<Backend>,
}

/// Where files live.
#[derive(Debug)]
enum Backend {
    Local(LocalFolder),
    S3(S3Store),
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

    /// Opens a bucket of an object store, inside a runtime. Nothing is asked of the store yet: a node may
    /// start while it is down ([`BlobStore::check`] says so). What interrupted writers left in `tmp/` is
    /// removed in the background; a rule of the bucket that ends unfinished uploads after a day takes care of
    /// parts that a killed process left.
    ///
    /// # Errors
    /// The settings can't be used.
    pub fn open_s3(options: &S3Options) -> Result<Self, BlobError> {
        let store = S3Store::open(options)?;
        Ok(Self { backend: Arc::new(Backend::S3(store)) })
    }

    /// The archives of the same place: other files under the same kind of hashes. What is stored in one is not
    /// seen in the other.
    #[must_use]
    pub fn archives(&self) -> Self {
        let backend = match &*self.backend {
            Backend::Local(local) => Backend::Local(local.with_suffix(ARCHIVE)),
            Backend::S3(store) => Backend::S3(store.with_suffix(ARCHIVE)),
        };
        Self { backend: Arc::new(backend) }
    }

    /// Whether files can be stored now.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> Result<(), BlobError> {
        match &*self.backend {
            Backend::Local(local) => {
                let local = local.clone();
                blocking(move || local.check()).await
            }
            Backend::S3(store) => store.check().await,
        }
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
        match &*self.backend {
            Backend::Local(local) => BlobWriter::local(local.clone(), limit, verifier),
            Backend::S3(store) => BlobWriter::remote(store.upload(), limit, verifier),
        }
    }

    /// Stores `content` under its SHA-256; a file that is there already is not written again.
    pub async fn put_bytes(&self, content: impl Into<Bytes>) -> Result<Stored, BlobError> {
        let content = content.into();
        match &*self.backend {
            Backend::Local(local) => {
                let local = local.clone();
                blocking(move || writer::put(&local, &content)).await
            }
            Backend::S3(store) => store.put(content).await,
        }
    }

    /// As [`BlobStore::put_bytes`], on the calling thread.
    pub fn put_bytes_sync(&self, content: &[u8]) -> Result<Stored, BlobError> {
        match &*self.backend {
            Backend::Local(local) => writer::put(local, content),
            Backend::S3(store) => store.runtime().block_on(store.put(Bytes::copy_from_slice(content))),
        }
    }

    /// The whole content of `hash`, or `None` when the file is not here.
    ///
    /// Fails with [`BlobError::TooLarge`] above `cap` bytes: stream such files with [`BlobStore::find`].
    pub async fn read(&self, hash: &ItemHash, cap: u64) -> Result<Option<Bytes>, BlobError> {
        match &*self.backend {
            Backend::Local(local) => {
                let (local, hash) = (local.clone(), hash.clone());
                blocking(move || local.read(&hash, cap)).await
            }
            Backend::S3(store) => store.read(hash, cap).await,
        }
    }

    /// As [`BlobStore::read`], on the calling thread.
    pub fn read_sync(&self, hash: &ItemHash, cap: u64) -> Result<Option<Bytes>, BlobError> {
        match &*self.backend {
            Backend::Local(local) => local.read(hash, cap),
            Backend::S3(store) => store.runtime().block_on(store.read(hash, cap)),
        }
    }

    /// The file of `hash`, for streaming and ranges.
    pub async fn find(&self, hash: &ItemHash) -> Result<Option<Blob>, BlobError> {
        match &*self.backend {
            Backend::Local(local) => {
                let (local, hash) = (local.clone(), hash.clone());
                let opened = blocking(move || local.open_file(&hash)).await?;
                Ok(opened.map(|(file, size)| Blob::local(file, size)))
            }
            Backend::S3(store) => store.find(hash).await,
        }
    }

    /// As [`BlobStore::find`], on the calling thread.
    pub fn find_sync(&self, hash: &ItemHash) -> Result<Option<Blob>, BlobError> {
        match &*self.backend {
            Backend::Local(local) => Ok(local.open_file(hash)?.map(|(file, size)| Blob::local(file, size))),
            Backend::S3(store) => store.runtime().block_on(store.find(hash)),
        }
    }

    /// The size of `hash` in bytes, or `None` when the file is not here.
    pub async fn size(&self, hash: &ItemHash) -> Result<Option<u64>, BlobError> {
        match &*self.backend {
            Backend::Local(local) => {
                let (local, hash) = (local.clone(), hash.clone());
                blocking(move || local.size(&hash)).await
            }
            Backend::S3(store) => store.size(hash).await,
        }
    }

    /// As [`BlobStore::size`], on the calling thread: one `stat`, or one request where this process has not
    /// seen the file yet.
    pub fn size_sync(&self, hash: &ItemHash) -> Result<Option<u64>, BlobError> {
        match &*self.backend {
            Backend::Local(local) => local.size(hash),
            Backend::S3(store) => store.runtime().block_on(store.size(hash)),
        }
    }

    /// Whether `hash` is here.
    pub async fn contains(&self, hash: &ItemHash) -> Result<bool, BlobError> {
        Ok(self.size(hash).await?.is_some())
    }

    /// As [`BlobStore::contains`], on the calling thread.
    pub fn contains_sync(&self, hash: &ItemHash) -> Result<bool, BlobError> {
        Ok(self.size_sync(hash)?.is_some())
    }

    /// Removes `hash`; says whether it was here.
    pub async fn remove(&self, hash: &ItemHash) -> Result<bool, BlobError> {
        match &*self.backend {
            Backend::Local(local) => {
                let (local, hash) = (local.clone(), hash.clone());
                blocking(move || local.remove(&hash)).await
            }
            Backend::S3(store) => store.remove(hash).await,
        }
    }

    /// Takes `hash` out of the store, unless it was stored, or stored again, less than `idle` ago. Quick
    /// whatever the size; for threads that may block.
    ///
    /// Whoever stores the same content from now on stores it anew. Open readers of a folder keep what they
    /// have.
    pub fn withdraw_sync(&self, hash: &ItemHash, idle: Duration) -> Result<Withdrawal, BlobError> {
        match &*self.backend {
            Backend::Local(local) => local.withdraw(hash, idle),
            Backend::S3(store) => store.runtime().block_on(store.withdraw(hash, idle)),
        }
    }

    /// Reads `hash` again and says whether its bytes still have that SHA-256; `None` when it is not here.
    /// Only storage hashes can be checked so.
    pub async fn verify(&self, hash: &ItemHash) -> Result<Option<bool>, BlobError> {
        if hash.kind() != HashKind::Storage {
            return Err(BlobError::Unverifiable(hash.clone()));
        }
        match &*self.backend {
            Backend::Local(local) => {
                let (local, hash) = (local.clone(), hash.clone());
                blocking(move || local.verify(&hash)).await
            }
            Backend::S3(store) => store.verify(hash).await,
        }
    }

    /// Every stored file with its size, in no order. Blocks: call it on a thread that may.
    ///
    /// Files that come or go meanwhile may be seen or not.
    pub fn iter(&self) -> Box<dyn Iterator<Item = Result<(ItemHash, u64), BlobError>> + Send> {
        match &*self.backend {
            Backend::Local(local) => Box::new(local.iter()),
            Backend::S3(store) => Box::new(store.iter()),
        }
    }

    /// The path of `hash` on the local disk, for readers outside this process; `None` when it is not here, or
    /// in an object store.
    ///
    /// The file must not be written to.
    pub fn local_path(&self, hash: &ItemHash) -> Result<Option<std::path::PathBuf>, BlobError> {
        let Backend::Local(local) = &*self.backend else { return Ok(None) };
        let path = local.path(hash)?;
        Ok(local.size(hash)?.map(|_| path))
    }
}

/// Runs file system work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(BlobError::Interrupted))
}
