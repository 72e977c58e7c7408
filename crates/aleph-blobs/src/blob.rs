use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};

use crate::BlobError;
use crate::s3::Object;

/// Bytes of a stored file as they come.
pub type BlobStream = Pin<Box<dyn Stream<Item = Result<Bytes, BlobError>> + Send>>;

/// Bytes that are read from a disk at a time.
const PIECE: u64 = 256 * 1024;

/// A stored file, to be read in any order. Cheap to clone.
///
/// A file of a folder stays readable until the last clone is dropped, even when it is removed meanwhile; one
/// of an object store fails then.
#[derive(Debug, Clone)]
pub struct Blob {
    place: Place,
    size: u64,
}

#[derive(Debug, Clone)]
enum Place {
    Local(Arc<File>),
    S3(Object),
}

impl Blob {
    pub(crate) fn local(file: File, size: u64) -> Self {
        Self { place: Place::Local(Arc::new(file)), size }
    }

    pub(crate) fn remote(object: Object, size: u64) -> Self {
        Self { place: Place::S3(object), size }
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of `range` that the file has; past its end there are none. Takes as much memory.
    ///
    /// # Errors
    /// The disk or the object store failed.
    pub async fn read_at(&self, range: Range<u64>) -> Result<Bytes, BlobError> {
        let Some(range) = self.clip(range) else { return Ok(Bytes::new()) };
        match &self.place {
            Place::Local(file) => {
                let file = Arc::clone(file);
                crate::store::blocking(move || read_local(&file, range)).await
            }
            Place::S3(object) => object.read(range).await,
        }
    }

    /// As [`Blob::read_at`], on the calling thread, which must be one that may block.
    ///
    /// # Errors
    /// The disk or the object store failed.
    pub fn read_at_sync(&self, range: Range<u64>) -> Result<Bytes, BlobError> {
        let Some(range) = self.clip(range) else { return Ok(Bytes::new()) };
        match &self.place {
            Place::Local(file) => read_local(file, range),
            Place::S3(object) => object.read_sync(range),
        }
    }

    /// The bytes of `range` in pieces, as fast as they are taken.
    pub fn stream(&self, range: Range<u64>) -> BlobStream {
        let Some(range) = self.clip(range) else { return stream::empty().boxed() };
        match &self.place {
            Place::Local(_) => {
                let next = |(blob, rest): (Self, Range<u64>)| async move {
                    if rest.start >= rest.end {
                        return Ok(None);
                    }
                    let end = rest.end.min(rest.start + PIECE);
                    let piece = blob.read_at(rest.start..end).await?;
                    Ok(Some((piece, (blob, end..rest.end))))
                };
                stream::try_unfold((self.clone(), range), next).boxed()
            }
            Place::S3(object) => object.stream(range),
        }
    }

    fn clip(&self, range: Range<u64>) -> Option<Range<u64>> {
        let end = range.end.min(self.size);
        (range.start < end).then_some(range.start..end)
    }
}

fn read_local(file: &File, range: Range<u64>) -> Result<Bytes, BlobError> {
    let len =
        usize::try_from(range.end - range.start).map_err(|_| BlobError::TooLarge { limit: u64::MAX })?;
    let mut bytes = vec![0; len];
    // Stored files never shrink; one that was tampered with ends the reading.
    file.read_exact_at(&mut bytes, range.start).map_err(|error| {
        let error = if error.kind() == io::ErrorKind::UnexpectedEof {
            io::Error::other("the file is shorter than it was")
        } else {
            error
        };
        BlobError::io("read", Path::new("a stored file"))(error)
    })?;
    Ok(bytes.into())
}
