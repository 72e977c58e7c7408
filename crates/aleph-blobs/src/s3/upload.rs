use std::fmt;

use aleph_types::ItemHash;
use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStore as _, ObjectStoreExt as _, PutMultipartOptions};
use tokio::task::JoinHandle;

use super::S3Store;
use crate::BlobError;

/// Bytes of each part but the last: the least that S3 takes. An upload holds two of them. At most 10,000 make
/// an object, far more than the largest file.
const PART: usize = 5 << 20;

/// An object on its way in: nothing can be read under its hash before [`Upload::finish`].
///
/// A small one is written in one request when its hash is known. A larger one goes in parts to a key of its
/// own and is copied inside the store at the end; dropped before, its parts are thrown away.
pub(crate) struct Upload {
    store: S3Store,
    temporary: Key,
    parts: Option<Box<dyn MultipartUpload>>,
    /// The part that is being filled.
    part: Vec<u8>,
    /// The part that is being sent.
    sending: Option<JoinHandle<object_store::Result<()>>>,
    /// Whether the temporary object is whole, so that there is an object to delete and no parts.
    complete: bool,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("temporary", &self.temporary).finish_non_exhaustive()
    }
}

impl Upload {
    pub(super) fn new(store: S3Store, temporary: Key) -> Self {
        Self { store, temporary, parts: None, part: Vec::new(), sending: None, complete: false }
    }

    /// Takes the next bytes; waits for the store when it is slower than the caller.
    pub(crate) async fn push(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.part.len() == PART {
                self.send().await?;
            }
            let (now, later) = rest.split_at(rest.len().min(PART - self.part.len()));
            // Growing by doubling would take more than a part; small files need no room for a whole one.
            if self.part.len() + now.len() > self.part.capacity() && self.part.len() + now.len() > PART / 8 {
                self.part.reserve_exact(PART - self.part.len());
            }
            self.part.extend_from_slice(now);
            rest = later;
        }
        Ok(())
    }

    /// Sends the part once the one before is there.
    async fn send(&mut self) -> Result<(), BlobError> {
        self.sent().await?;
        let part = Bytes::from(std::mem::take(&mut self.part));
        if self.parts.is_none() {
            let options = PutMultipartOptions::default();
            let begun = self.store.inner.store.put_multipart_opts(&self.temporary, options).await;
            self.parts = Some(begun.map_err(BlobError::remote("begin", &self.temporary))?);
        }
        if let Some(parts) = &mut self.parts {
            self.sending = Some(tokio::spawn(parts.put_part(part.into())));
        }
        Ok(())
    }

    async fn sent(&mut self) -> Result<(), BlobError> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let sent = sending.await;
        self.sending = None;
        let sent = sent.map_err(|_| BlobError::Interrupted)?;
        sent.map_err(BlobError::remote("write", &self.temporary))
    }

    /// Names the object. When this returns, the store has it.
    pub(crate) async fn finish(mut self, hash: &ItemHash, size: u64) -> Result<(), BlobError> {
        let store = self.store.clone();
        let key = store.key(hash)?;
        if self.parts.is_some() && store.size_of(&key).await? != Some(size) {
            self.complete().await?;
        }
        let _turn = store.lock(&key).lock().await;
        // An object that was about to be deleted has the same bytes: it is taken back.
        store.inner.withdrawn.lock().remove(&key);
        if store.size_of(&key).await? != Some(size) {
            if self.complete {
                let copied = store.inner.store.copy(&self.temporary, &key).await;
                copied.map_err(BlobError::remote("name", &key))?;
            } else if self.parts.is_none() {
                let part = Bytes::from(std::mem::take(&mut self.part));
                let put = store.inner.store.put(&key, part.into()).await;
                put.map_err(BlobError::remote("write", &key))?;
            } else {
                // It was here a moment ago, so nothing was kept: the caller starts again.
                return Err(BlobError::Interrupted);
            }
        }
        store.inner.known.lock().stored(&key, size);
        Ok(())
    }

    /// Makes an object of the parts, under its own key.
    async fn complete(&mut self) -> Result<(), BlobError> {
        if !self.part.is_empty() {
            self.send().await?;
        }
        self.sent().await?;
        if let Some(parts) = &mut self.parts {
            let completed = parts.complete().await;
            completed.map_err(BlobError::remote("complete", &self.temporary))?;
            self.complete = true;
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let sending = self.sending.take();
        let Some(mut parts) = self.parts.take() else { return };
        let (store, temporary, complete) = (self.store.clone(), self.temporary.clone(), self.complete);
        self.store.inner.runtime.spawn(async move {
            // A part that is still under way would outlive the upload that it belongs to.
            if let Some(sending) = sending {
                sending.await.ok();
            }
            let gone =
                if complete { store.inner.store.delete(&temporary).await } else { parts.abort().await };
            if let Err(error) = gone {
                tracing::warn!(key = %temporary, %error, "an unfinished upload takes place in the object store");
            }
        });
    }
}
