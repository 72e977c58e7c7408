//! Files by the hash of their content: in a local folder, or in an object store that speaks S3, behind one
//! type.
//!
//! Invariants:
//!
//! * A file that can be read under a hash was verified against that hash while it was written:
//!   a wrong, cut or oversized upload leaves nothing behind.
//! * What [`BlobWriter::finish`] or [`BlobStore::put_bytes`] answered is on disk (data, name and
//!   folder were synchronised first), or the object store has confirmed it.
//! * Only hashes that [`aleph_types::ItemHash::parse`] accepts become file names; the loose 64
//!   characters of envelopes can't reach the file system.
//! * A writer holds at most two blocks ([`BLOCK_SIZE`]) in memory, to an object store also two parts of 5 MiB,
//!   whatever the file's size, and never hashes or touches the disk on the async executor.
//!
//! ```
//! # async fn example() -> Result<(), aleph_blobs::BlobError> {
//! let folder = tempfile::tempdir().expect("temporary folder");
//! let store = aleph_blobs::BlobStore::open(folder.path())?;
//! let mut writer = store.writer(1 << 20);
//! writer.write(b"hello").await?;
//! let stored = writer.finish(None).await?;
//! assert_eq!(store.read(&stored.hash, 1 << 20).await?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```

mod blob;
mod error;
mod local;
mod s3;
mod store;
mod verifier;
mod withdrawn;
mod writer;

pub use blob::{Blob, BlobStream};
pub use error::{BlobError, ErrorKind};
pub use s3::S3Options;
pub use store::BlobStore;
pub use verifier::{Sha256Verifier, Verifier};
pub use withdrawn::{Withdrawal, Withdrawn};
pub use writer::{BLOCK_SIZE, BlobWriter, Stored};
