use std::io;
use std::path::{Path, PathBuf};

use aleph_types::ItemHash;

/// Why a file can't be kept or given.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The hash holds characters that no stored file's name may hold.
    #[error("'{0}' names no storable file: lower-case sha256 or a CID is needed")]
    UnsafeName(ItemHash),
    /// The content is not the one that was asked for; nothing was kept.
    #[error("content hashes to {actual}, not to {expected}: fetch it from another source")]
    WrongHash {
        /// The hash that the caller asked for.
        expected: ItemHash,
        /// The hash of the bytes that came.
        actual: ItemHash,
    },
    /// The content is larger than the caller allows; nothing was kept.
    #[error("content is larger than the {limit} bytes allowed here")]
    TooLarge {
        /// Most bytes allowed.
        limit: u64,
    },
    /// A CID was expected but the writer only computes SHA-256.
    #[error("{0} can't be verified by sha256: open the writer with a verifier for this kind of hash")]
    Unverifiable(ItemHash),
    /// The disk or the quota is full; nothing was kept.
    #[error("no space left for '{}': free space or move the folder, then retry", path.display())]
    NoSpace {
        /// The file or folder that could not grow.
        path: PathBuf,
        /// The system's own error.
        #[source]
        source: io::Error,
    },
    /// Any other failure of the file system.
    #[error("can't {action} '{}' ({source}): check the disk and the permissions there, then retry", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's own error.
        #[source]
        source: io::Error,
    },
    /// The object store failed or can't be reached.
    #[error(
        "can't {action} '{key}' in the object store ({source}): see that it runs, and check the settings of `files.s3`"
    )]
    Remote {
        /// What was tried, as a verb.
        action: &'static str,
        /// The object.
        key: String,
        /// The store's own error.
        #[source]
        source: Box<object_store::Error>,
    },
    /// The background task that did the work was cancelled, as happens when the runtime stops, or
    /// an earlier write of the same writer failed.
    #[error("the write was interrupted: start it again")]
    Interrupted,
}

/// What a caller can do about a [`BlobError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The input is at fault; the same input fails again.
    Rejected,
    /// The disk is full: an operator must act.
    NoSpace,
    /// The same call may succeed later.
    Unavailable,
    /// The calling code is at fault.
    Bug,
}

impl BlobError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnsafeName(_) | Self::WrongHash { .. } | Self::TooLarge { .. } => ErrorKind::Rejected,
            Self::NoSpace { .. } => ErrorKind::NoSpace,
            Self::Io { .. } | Self::Remote { .. } | Self::Interrupted => ErrorKind::Unavailable,
            Self::Unverifiable(_) => ErrorKind::Bug,
        }
    }

    /// Wraps an error of the object store.
    pub(crate) fn remote(
        action: &'static str,
        key: &object_store::path::Path,
    ) -> impl FnOnce(object_store::Error) -> Self {
        let key = key.to_string();
        move |source| Self::Remote { action, key, source: Box::new(source) }
    }

    /// Wraps an error of the file system, telling a full disk from the rest.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::NoSpace { path, source }
            }
            _ => Self::Io { action, path, source },
        }
    }
}
