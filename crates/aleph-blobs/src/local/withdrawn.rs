use std::fs;
use std::path::PathBuf;

use crate::BlobError;

/// What became of a file that was to be taken out of the store.
#[derive(Debug)]
pub enum Withdrawal {
    /// It was not here.
    Absent,
    /// Somebody stored it again a moment ago: it stays.
    InUse,
    /// It can't be read under its hash any more.
    Done(Withdrawn),
}

/// A file that was taken out of the store. Dropped, it comes back; [`Withdrawn::delete`] makes it final.
///
/// A process that dies in between leaves the file among the temporary ones, which the next start removes.
#[derive(Debug)]
pub struct Withdrawn {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    pub(super) size: u64,
    pub(super) settled: bool,
}

impl Withdrawn {
    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Frees the space. Blocks for as long as the file system needs for a large file.
    pub fn delete(mut self) -> Result<(), BlobError> {
        self.settled = true;
        fs::remove_file(&self.to).map_err(BlobError::io("remove", &self.to))
    }

    pub(super) fn restore(&mut self) -> Result<(), BlobError> {
        self.settled = true;
        // If it was stored anew meanwhile, the same bytes take the place of the same bytes.
        fs::rename(&self.to, &self.from).map_err(BlobError::io("name", &self.from))
    }
}

impl Drop for Withdrawn {
    fn drop(&mut self) {
        if !self.settled
            && let Err(error) = self.restore()
        {
            tracing::warn!(path = %self.from.display(), %error, "a withdrawn file could not be put back");
        }
    }
}
