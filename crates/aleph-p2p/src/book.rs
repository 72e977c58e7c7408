//! The address book: what allowed peers announced, kept over restarts.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use libp2p::PeerId;
use serde::{Deserialize, Serialize};

use crate::PeerType;
use crate::defaults::KNOWN_PEERS;

/// Most bytes of the file; a full book has less than a tenth of it.
const MAX_BYTES: u64 = 8 << 20;

/// One announced address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Who announced it, as text.
    pub(crate) peer: String,
    pub(crate) kind: PeerType,
    pub(crate) address: String,
    /// When it was heard last, in seconds since 1970.
    pub(crate) seen: u64,
}

impl Entry {
    pub(crate) fn peer_id(&self) -> Option<PeerId> {
        self.peer.parse().ok()
    }
}

fn load(path: &Path) -> io::Result<Vec<Entry>> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
    }
    let mut entries: Vec<Entry> = serde_json::from_slice(&fs::read(path)?)?;
    entries.truncate(KNOWN_PEERS);
    Ok(entries)
}

/// The entries of a file; none, with a word in the log, when it can't be read: peers announce
/// themselves again.
pub(crate) fn load_or_tell(path: &Path) -> Vec<Entry> {
    match load(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the address book can't be read; starting a new one");
            Vec::new()
        }
    }
}

/// Writes the file, whole or not at all.
fn save(path: &Path, entries: &[Entry]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".peers-").tempfile_in(folder)?;
    file.write_all(&serde_json::to_vec_pretty(entries)?)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

pub(crate) fn save_or_tell(path: &Path, entries: &[Entry]) {
    if let Err(error) = save(path, entries) {
        tracing::warn!(path = %path.display(), %error, "the address book can't be written: check the disk");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_is_read_as_it_was_written_and_a_damaged_one_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.json");
        assert!(load_or_tell(&path).is_empty());
        let entry = Entry {
            peer: PeerId::random().to_string(),
            kind: PeerType::P2p,
            address: "/ip4/1.2.3.4/tcp/4025".to_owned(),
            seen: 1_700_000_000,
        };
        save_or_tell(&path, std::slice::from_ref(&entry));
        assert_eq!(load_or_tell(&path), [entry]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        for damage in ["", "{}", "[{\"peer\":1}]"] {
            fs::write(&path, damage).unwrap();
            assert!(load_or_tell(&path).is_empty(), "{damage}");
        }
    }
}
