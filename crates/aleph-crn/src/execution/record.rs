//! What this node remembers of a program on disk: enough to start it, and to say whose it is, while no
//! core node answers.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aleph_types::ItemHash;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::network::messages::StoredFile;

/// A file of the last preparation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FetchedFile {
    /// `code`, `runtime`, `data`, `volume`.
    pub(crate) what: String,
    /// How the reference was understood.
    pub(crate) stored: StoredFile,
    /// Bytes.
    pub(crate) size: u64,
    /// Bytes that came over the network for it this time.
    #[serde(default)]
    pub(crate) fetched: u64,
}

/// A prepared program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The message.
    pub(crate) document: Value,
    /// Its files.
    pub(crate) files: Vec<FetchedFile>,
}

impl Record {
    fn path(folder: &Path, hash: &ItemHash) -> PathBuf {
        folder.join(format!("{hash}.json"))
    }

    /// The record of `hash`, if there is one that can be read.
    pub(crate) fn load(folder: &Path, hash: &ItemHash) -> Option<Self> {
        let bytes = std::fs::read(Self::path(folder, hash)).ok()?;
        match serde_json::from_slice(&bytes) {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::warn!(%hash, %error, "the record of a program can't be read; it will be fetched again");
                None
            }
        }
    }

    /// Writes the record so that it is there whole or not at all.
    pub(crate) fn save(&self, folder: &Path, hash: &ItemHash) -> io::Result<()> {
        write_atomically(&Self::path(folder, hash), &serde_json::to_vec(self)?)
    }

    /// Removes the records that `keep` does not name and that were not written for `age`. Blocks.
    pub(crate) fn sweep(folder: &Path, age: Duration, keep: impl Fn(&ItemHash) -> bool) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let hash = name.to_str().and_then(|name| ItemHash::parse(name.strip_suffix(".json")?).ok());
            let written = entry.metadata().and_then(|metadata| metadata.modified());
            let old = written.is_ok_and(|at| at.elapsed().is_ok_and(|elapsed| elapsed > age));
            if let Some(hash) = hash.filter(|hash| old && !keep(hash)) {
                Self::remove(folder, &hash);
            }
        }
    }

    /// Removes the record.
    pub(crate) fn remove(folder: &Path, hash: &ItemHash) {
        if let Err(error) = std::fs::remove_file(Self::path(folder, hash))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%hash, %error, "the record of a program can't be removed");
        }
    }
}

/// Replaces a small file: written beside it, synchronised, renamed.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, other) = (ItemHash::sha256(b"1"), ItemHash::sha256(b"2"));
        let record = Record { document: serde_json::json!({"a": 1}), files: Vec::new() };
        for hash in [&kept, &other] {
            record.save(folder.path(), hash).unwrap();
            assert_eq!(Record::load(folder.path(), hash).as_ref(), Some(&record));
        }
        Record::sweep(folder.path(), Duration::from_secs(3600), |_| false);
        assert!(Record::load(folder.path(), &other).is_some(), "too young");
        Record::sweep(folder.path(), Duration::ZERO, |hash| *hash == kept);
        assert!(Record::load(folder.path(), &kept).is_some());
        assert!(Record::load(folder.path(), &other).is_none());
        std::fs::write(folder.path().join(format!("{kept}.json")), "{").unwrap();
        assert_eq!(Record::load(folder.path(), &kept), None, "a damaged record is fetched again");
    }
}
