//! What this node remembers of a program on disk: enough to start it, and to say whose it is, while no
//! core node answers.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

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
