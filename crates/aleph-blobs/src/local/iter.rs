use std::fs::{self, ReadDir};
use std::io;
use std::path::{Path, PathBuf};

use aleph_types::ItemHash;

use crate::BlobError;

/// Walks the stored files of a folder; see [`crate::BlobStore::iter`].
#[derive(Debug)]
pub(crate) struct Iter {
    /// The open folders on the way down: root, first shard, second shard.
    levels: Vec<(PathBuf, ReadDir)>,
    failed: Option<BlobError>,
    suffix: &'static str,
}

/// Files are two folders below the root.
const DEPTH: usize = 3;

impl Iter {
    pub(super) fn new(root: &Path, suffix: &'static str) -> Self {
        let mut iter = Self { levels: Vec::with_capacity(DEPTH), failed: None, suffix };
        iter.descend(root.to_owned());
        iter
    }

    fn descend(&mut self, folder: PathBuf) {
        match fs::read_dir(&folder) {
            Ok(entries) => self.levels.push((folder, entries)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.failed = Some(BlobError::io("list", &folder)(error)),
        }
    }
}

impl Iterator for Iter {
    /// The hash and the size in bytes.
    type Item = Result<(ItemHash, u64), BlobError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(error) = self.failed.take() {
                return Some(Err(error));
            }
            let depth = self.levels.len();
            let (folder, entries) = self.levels.last_mut()?;
            let entry = match entries.next() {
                None => {
                    self.levels.pop();
                    continue;
                }
                Some(Err(error)) => return Some(Err(BlobError::io("list", folder)(error))),
                Some(Ok(entry)) => entry,
            };
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if depth < DEPTH {
                // Whatever else lies in the folder (temporary files, an operator's notes) is not ours.
                if name.len() == 2 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    self.descend(entry.path());
                }
                continue;
            }
            let Some(name) = name.strip_suffix(self.suffix) else { continue };
            let Ok(hash) = ItemHash::parse(name) else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => return Some(Ok((hash, metadata.len()))),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Some(Err(BlobError::io("look up", &entry.path())(error))),
            }
        }
    }
}
