use std::fs;
use std::path::PathBuf;

use crate::BlobError;

/// A file that was renamed out of reach. Dropped, it comes back.
///
/// A process that dies in between leaves the file among the temporary ones, which the next start removes.
#[derive(Debug)]
pub(crate) struct WithdrawnFile {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    pub(super) size: u64,
    pub(super) settled: bool,
}

impl WithdrawnFile {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn delete(mut self) -> Result<(), BlobError> {
        self.settled = true;
        fs::remove_file(&self.to).map_err(BlobError::io("remove", &self.to))
    }

    pub(super) fn restore(&mut self) -> Result<(), BlobError> {
        self.settled = true;
        // If it was stored anew meanwhile, the same bytes take the place of the same bytes.
        fs::rename(&self.to, &self.from).map_err(BlobError::io("name", &self.from))
    }
}

impl Drop for WithdrawnFile {
    fn drop(&mut self) {
        if !self.settled
            && let Err(error) = self.restore()
        {
            tracing::warn!(path = %self.from.display(), %error, "a withdrawn file could not be put back");
        }
    }
}
