//! An object store that speaks S3: `<prefix>files/<hash>`, unfinished uploads in `<prefix>tmp/`.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aleph_types::ItemHash;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ClientOptions, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, RetryConfig};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;

use crate::BlobError;
use crate::blob::{Blob, BlobStream};
use crate::verifier::{Sha256Verifier, Verifier};
use crate::withdrawn::Withdrawal;
use crate::writer::Stored;

mod known;
mod upload;

use known::Known;
pub(crate) use upload::Upload;

/// Connecting takes no longer anywhere; a store that is down is found out about quickly.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest silence of a store that answers. There is no limit on a whole transfer: readers may be slow.
const SILENCE: Duration = Duration::from_secs(20);

/// Tries of a request that failed in a way that may pass, and how long they may take together.
const RETRIES: usize = 3;
const RETRIES_END: Duration = Duration::from_secs(15);

/// Locks that keep deleting and naming one object apart.
const LOCKS: usize = 64;

/// Which object store, and how to be let in.
#[derive(Clone)]
pub struct S3Options {
    /// The store's address; none is AWS itself.
    pub endpoint: Option<String>,
    /// The bucket, which must be there.
    pub bucket: String,
    /// What the keys of this node start with. No other node may use the same one.
    pub prefix: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The name of the key that requests are signed with. Without one, the environment is asked as AWS's own
    /// tools do it.
    pub access_key_id: Option<String>,
    /// The secret of that key.
    pub secret_access_key: Option<String>,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("endpoint", &self.endpoint)
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// Objects by hash. One process at a time may use a prefix: what this one has seen stays as it is.
#[derive(Debug, Clone)]
pub(crate) struct S3Store {
    inner: Arc<Inner>,
    /// What names end in: empty for files.
    suffix: &'static str,
}

#[derive(Debug)]
struct Inner {
    store: AmazonS3,
    prefix: Key,
    /// For callers on threads that may block.
    runtime: Handle,
    started: Instant,
    /// Names the unfinished uploads of this process.
    process: String,
    uploads: AtomicU64,
    known: Mutex<Known>,
    /// How many objects were taken away: what was looked up before the last one may not be remembered.
    removals: AtomicU64,
    /// Objects that can't be read any more and are about to be deleted.
    withdrawn: Mutex<HashSet<Key>>,
    locks: Vec<tokio::sync::Mutex<()>>,
}

impl S3Store {
    pub(crate) fn open(options: &S3Options) -> Result<Self, BlobError> {
        let client = ClientOptions::new()
            .with_allow_http(true)
            .with_connect_timeout(CONNECT)
            .with_timeout_disabled()
            .with_read_timeout(SILENCE);
        let retry =
            RetryConfig { max_retries: RETRIES, retry_timeout: RETRIES_END, ..RetryConfig::default() };
        let builder = match (&options.access_key_id, &options.secret_access_key) {
            (Some(id), Some(secret)) => {
                AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret)
            }
            _ => AmazonS3Builder::from_env(),
        };
        let builder = builder
            .with_bucket_name(&options.bucket)
            .with_region(&options.region)
            .with_client_options(client)
            .with_retry(retry);
        let builder = match &options.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint),
            None => builder,
        };
        let prefix = Key::from(options.prefix.as_str());
        let store = builder.build().map_err(BlobError::remote("use", &prefix))?;
        let inner = Inner {
            store,
            prefix,
            runtime: Handle::try_current().map_err(|_| BlobError::Interrupted)?,
            started: Instant::now(),
            process: format!("{:016x}", random()),
            uploads: AtomicU64::new(0),
            known: Mutex::default(),
            removals: AtomicU64::new(0),
            withdrawn: Mutex::default(),
            locks: (0..LOCKS).map(|_| tokio::sync::Mutex::default()).collect(),
        };
        let store = Self { inner: Arc::new(inner), suffix: "" };
        let leftovers = store.clone();
        store.inner.runtime.spawn(async move {
            if let Err(error) = leftovers.remove_leftovers().await {
                tracing::warn!(%error, "interrupted uploads of an earlier run were not removed");
            }
        });
        Ok(store)
    }

    /// The same store, of what is named with `suffix`.
    pub(crate) fn with_suffix(&self, suffix: &'static str) -> Self {
        Self { suffix, ..self.clone() }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.inner.runtime
    }

    fn folder(&self, name: &'static str) -> Key {
        self.inner.prefix.clone().join(name)
    }

    fn key(&self, hash: &ItemHash) -> Result<Key, BlobError> {
        if ItemHash::parse(hash.as_str()).is_err() {
            return Err(BlobError::UnsafeName(hash.clone()));
        }
        Ok(self.folder("files").join(format!("{hash}{}", self.suffix)))
    }

    fn lock(&self, key: &Key) -> &tokio::sync::Mutex<()> {
        let sum =
            key.as_ref().bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        &self.inner.locks[sum % LOCKS]
    }

    fn is_withdrawn(&self, key: &Key) -> bool {
        self.inner.withdrawn.lock().contains(key)
    }

    /// What is known of an object that goes away.
    fn forget(&self, key: &Key) {
        let mut known = self.inner.known.lock();
        self.inner.removals.fetch_add(1, Ordering::AcqRel);
        known.remove(key);
    }

    /// Whether the store answers and lets this node in.
    pub(crate) async fn check(&self) -> Result<(), BlobError> {
        let folder = self.folder("tmp");
        let listed = self.inner.store.list_with_delimiter(Some(&folder)).await;
        listed.map(drop).map_err(BlobError::remote("list", &folder))
    }

    /// Removes objects that another run of the node had not named yet.
    async fn remove_leftovers(&self) -> Result<(), BlobError> {
        let folder = self.folder("tmp");
        let mut listed = self.inner.store.list(Some(&folder));
        while let Some(object) = listed.try_next().await.map_err(BlobError::remote("list", &folder))? {
            let ours = object.location.filename().is_some_and(|name| name.starts_with(&self.inner.process));
            if !ours {
                let deleted = self.inner.store.delete(&object.location).await;
                deleted.map_err(BlobError::remote("delete", &object.location))?;
                tracing::info!(key = %object.location, "removed an interrupted upload");
            }
        }
        Ok(())
    }

    /// Bytes of an object, and when it was written.
    async fn head(&self, key: &Key) -> Result<Option<object_store::ObjectMeta>, BlobError> {
        match self.inner.store.head(key).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(BlobError::remote("look up", key)(error)),
        }
    }

    async fn size_of(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        if self.is_withdrawn(key) {
            return Ok(None);
        }
        if let Some(size) = self.inner.known.lock().size(key) {
            return Ok(Some(size));
        }
        let removals = self.inner.removals.load(Ordering::Acquire);
        let size = self.head(key).await?.map(|meta| meta.size);
        let mut known = self.inner.known.lock();
        if let Some(size) = size.filter(|_| self.inner.removals.load(Ordering::Acquire) == removals) {
            known.insert(key, size);
        }
        Ok(size)
    }

    pub(crate) async fn size(&self, hash: &ItemHash) -> Result<Option<u64>, BlobError> {
        self.size_of(&self.key(hash)?).await
    }

    pub(crate) async fn find(&self, hash: &ItemHash) -> Result<Option<Blob>, BlobError> {
        let key = self.key(hash)?;
        let size = self.size_of(&key).await?;
        Ok(size.map(|size| Blob::remote(Object { store: self.clone(), key }, size)))
    }

    pub(crate) async fn read(&self, hash: &ItemHash, cap: u64) -> Result<Option<Bytes>, BlobError> {
        let Some(blob) = self.find(hash).await? else { return Ok(None) };
        if blob.size() > cap {
            return Err(BlobError::TooLarge { limit: cap });
        }
        blob.read_at(0..blob.size()).await.map(Some)
    }

    pub(crate) async fn remove(&self, hash: &ItemHash) -> Result<bool, BlobError> {
        let key = self.key(hash)?;
        let _turn = self.lock(&key).lock().await;
        if self.size_of(&key).await?.is_none() {
            return Ok(false);
        }
        self.forget(&key);
        self.inner.store.delete(&key).await.map_err(BlobError::remote("delete", &key))?;
        Ok(true)
    }

    pub(crate) async fn put(&self, content: Bytes) -> Result<Stored, BlobError> {
        let digest = {
            let content = content.clone();
            crate::store::blocking(move || Ok(Sha256::digest(&content))).await?
        };
        let (hash, size) = (ItemHash::from_digest(digest.into()), content.len() as u64);
        let mut upload = self.upload();
        upload.push(&content).await?;
        upload.finish(&hash, size).await?;
        Ok(Stored { hash, size })
    }

    pub(crate) fn upload(&self) -> Upload {
        let number = self.inner.uploads.fetch_add(1, Ordering::Relaxed);
        Upload::new(self.clone(), self.folder("tmp").join(format!("{}-{number}", self.inner.process)))
    }

    /// Takes `hash` out of reach, unless it was stored or confirmed less than `idle` ago.
    pub(crate) async fn withdraw(&self, hash: &ItemHash, idle: Duration) -> Result<Withdrawal, BlobError> {
        let key = self.key(hash)?;
        let _turn = self.lock(&key).lock().await;
        if self.is_withdrawn(&key) {
            return Ok(Withdrawal::Absent);
        }
        let Some(meta) = self.head(&key).await? else { return Ok(Withdrawal::Absent) };
        // What an earlier run of the node confirmed without writing is not known: it gets the same time.
        let rested = self.inner.started.elapsed() >= idle && !self.inner.known.lock().is_fresh(&key, idle);
        let age = age_of(&meta);
        if !rested || age.is_none_or(|age| age < idle) {
            return Ok(Withdrawal::InUse);
        }
        self.inner.withdrawn.lock().insert(key.clone());
        self.forget(&key);
        let object = WithdrawnObject { store: self.clone(), key, size: meta.size, settled: false };
        Ok(Withdrawal::Done(object.into()))
    }

    pub(crate) async fn verify(&self, hash: &ItemHash) -> Result<Option<bool>, BlobError> {
        let Some(blob) = self.find(hash).await? else { return Ok(None) };
        let mut verifier = Box::<Sha256Verifier>::default();
        let mut pieces = blob.stream(0..blob.size());
        while let Some(piece) = pieces.try_next().await? {
            verifier.update(&piece);
        }
        Ok(Some(verifier.finish(Some(hash)) == *hash))
    }

    /// Every object with its size; blocks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<(ItemHash, u64), BlobError>> + use<> {
        let (store, folder) = (self.clone(), self.folder("files"));
        let mut listed = self.inner.store.list(Some(&folder));
        std::iter::from_fn(move || {
            loop {
                let object = match store.inner.runtime.block_on(listed.next())? {
                    Ok(object) => object,
                    Err(error) => return Some(Err(BlobError::remote("list", &folder)(error))),
                };
                let name = object.location.filename().and_then(|name| name.strip_suffix(store.suffix));
                if let Some(Ok(hash)) = name.map(ItemHash::parse)
                    && !store.is_withdrawn(&object.location)
                {
                    return Some(Ok((hash, object.size)));
                }
            }
        })
    }
}

/// How long ago an object was written; none when the store's clock is ahead of this one's.
fn age_of(meta: &object_store::ObjectMeta) -> Option<Duration> {
    std::time::SystemTime::from(meta.last_modified).elapsed().ok()
}

/// A number that no other process has.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// One object, to be read.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    store: S3Store,
    key: Key,
}

impl Object {
    pub(crate) async fn read(&self, range: Range<u64>) -> Result<Bytes, BlobError> {
        let read = self.store.inner.store.get_range(&self.key, range.clone()).await;
        let bytes = read.map_err(BlobError::remote("read", &self.key))?;
        // A store that answers another range than was asked for is not believed.
        if bytes.len() as u64 == range.end - range.start { Ok(bytes) } else { Err(BlobError::Interrupted) }
    }

    pub(crate) fn read_sync(&self, range: Range<u64>) -> Result<Bytes, BlobError> {
        self.store.inner.runtime.block_on(self.read(range))
    }

    /// One request, read as fast as the caller takes it.
    pub(crate) fn stream(&self, range: Range<u64>) -> BlobStream {
        let object = self.clone();
        let opened = async move {
            let length = range.end - range.start;
            let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
            let answer = object.store.inner.store.get_opts(&object.key, options).await;
            let answer = answer.map_err(BlobError::remote("read", &object.key))?;
            if answer.range.end - answer.range.start != length {
                return Err(BlobError::Interrupted);
            }
            let key = object.key;
            Ok(answer.into_stream().map_err(move |error| BlobError::remote("read", &key)(error)))
        };
        futures_util::stream::once(opened).try_flatten().boxed()
    }
}

/// An object that was taken out of reach. Dropped, it comes back.
///
/// A process that dies in between leaves an object that nobody asks for; storing it anew takes it back.
#[derive(Debug)]
pub(crate) struct WithdrawnObject {
    store: S3Store,
    key: Key,
    size: u64,
    settled: bool,
}

impl WithdrawnObject {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn delete(mut self) -> Result<(), BlobError> {
        self.settled = true;
        let (store, key) = (self.store.clone(), self.key.clone());
        store.inner.runtime.block_on(async {
            let _turn = store.lock(&key).lock().await;
            // Whoever stored it again in the meantime has taken it back.
            if !store.is_withdrawn(&key) {
                return Ok(());
            }
            let deleted = store.inner.store.delete(&key).await;
            // Nobody can read it, deleted or not: it is asked for no more.
            store.inner.withdrawn.lock().remove(&key);
            deleted.map_err(BlobError::remote("delete", &key))
        })
    }
}

impl Drop for WithdrawnObject {
    fn drop(&mut self) {
        if !self.settled {
            self.store.inner.withdrawn.lock().remove(&self.key);
        }
    }
}
