//! The local folder: `<root>/ab/cd/<hash>`, temporary files in `<root>/tmp`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aleph_types::{HashKind, ItemHash};
use bytes::Bytes;
use tempfile::NamedTempFile;

use crate::BlobError;
use crate::verifier::{Sha256Verifier, Verifier};
use crate::withdrawn::Withdrawal;

mod iter;
mod withdrawn;

pub(crate) use iter::Iter;
pub(crate) use withdrawn::WithdrawnFile;

/// Three letters: never one of the two-character shard folders.
const TEMPORARY: &str = "tmp";
const TEMPORARY_PREFIX: &str = "upload-";
const WITHDRAWN_PREFIX: &str = "withdrawn-";

/// A folder of files by hash.
#[derive(Debug, Clone)]
pub(crate) struct LocalFolder {
    root: Arc<Path>,
    temporary: Arc<Path>,
    /// What names end in: empty for files.
    suffix: &'static str,
}

impl LocalFolder {
    pub(crate) fn open(root: &Path) -> Result<Self, BlobError> {
        let temporary = root.join(TEMPORARY);
        fs::create_dir_all(&temporary).map_err(BlobError::io("create the folder", &temporary))?;
        let folder = Self { root: root.into(), temporary: temporary.into(), suffix: "" };
        folder.remove_leftovers()?;
        Ok(folder)
    }

    /// The same folder, of what is named with `suffix`.
    pub(crate) fn with_suffix(&self, suffix: &'static str) -> Self {
        Self { suffix, ..self.clone() }
    }

    /// Whether files can be made here now.
    pub(crate) fn check(&self) -> Result<(), BlobError> {
        self.temporary().map(drop)
    }

    /// Removes temporary files whose writer is gone: a living writer holds a lock on its file.
    fn remove_leftovers(&self) -> Result<(), BlobError> {
        let entries = fs::read_dir(&self.temporary).map_err(BlobError::io("list", &self.temporary))?;
        for entry in entries {
            let path = entry.map_err(BlobError::io("list", &self.temporary))?.path();
            let Ok(file) = File::open(&path) else { continue };
            if file.try_lock().is_err() {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "removed an interrupted upload"),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "can't remove an interrupted upload");
                }
            }
        }
        Ok(())
    }

    /// Where `hash` lives, for names that are safe on a file system.
    pub(crate) fn path(&self, hash: &ItemHash) -> Result<PathBuf, BlobError> {
        let name = hash.as_str();
        // The strict recogniser admits hexadecimal, base58 and base32 digits only.
        if ItemHash::parse(name).is_err() {
            return Err(BlobError::UnsafeName(hash.clone()));
        }
        // The first characters of a CID say its format; the last ones spread evenly.
        let (first, second) = match hash.kind() {
            HashKind::Storage => (&name[0..2], &name[2..4]),
            HashKind::Ipfs => (&name[name.len() - 4..name.len() - 2], &name[name.len() - 2..]),
        };
        let mut path = PathBuf::with_capacity(self.root.as_os_str().len() + name.len() + 16);
        path.push(&self.root);
        path.push(first);
        path.push(second);
        path.push(format!("{name}{}", self.suffix));
        Ok(path)
    }

    pub(crate) fn size(&self, hash: &ItemHash) -> Result<Option<u64>, BlobError> {
        let path = self.path(hash)?;
        match fs::symlink_metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) => absent(error, "look up", &path),
        }
    }

    pub(crate) fn open_file(&self, hash: &ItemHash) -> Result<Option<(File, u64)>, BlobError> {
        let path = self.path(hash)?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => return absent(error, "open", &path),
        };
        let size = file.metadata().map_err(BlobError::io("look up", &path))?.len();
        Ok(Some((file, size)))
    }

    pub(crate) fn read(&self, hash: &ItemHash, cap: u64) -> Result<Option<Bytes>, BlobError> {
        let Some((file, size)) = self.open_file(hash)? else { return Ok(None) };
        if size > cap {
            return Err(BlobError::TooLarge { limit: cap });
        }
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        // Stored files never grow; the bound makes memory safe even if one is tampered with.
        file.take(cap).read_to_end(&mut content).map_err(BlobError::io("read", &self.path(hash)?))?;
        Ok(Some(content.into()))
    }

    pub(crate) fn remove(&self, hash: &ItemHash) -> Result<bool, BlobError> {
        let path = self.path(hash)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) => absent::<()>(error, "remove", &path).map(|gone| gone.is_some()),
        }
    }

    /// Takes `hash` out, unless it was stored or confirmed less than `idle` ago.
    pub(crate) fn withdraw(&self, hash: &ItemHash, idle: Duration) -> Result<Withdrawal, BlobError> {
        let from = self.path(hash)?;
        let to = self.temporary.join(format!("{WITHDRAWN_PREFIX}{hash}{}", self.suffix));
        match fs::rename(&from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Withdrawal::Absent),
            Err(error) => return Err(BlobError::io("withdraw", &from)(error)),
        }
        let mut withdrawn = WithdrawnFile { from, to, size: 0, settled: false };
        // Looked at after the file lost its name: nobody can confirm it any more without storing it anew.
        let metadata =
            fs::symlink_metadata(&withdrawn.to).map_err(BlobError::io("look up", &withdrawn.to))?;
        withdrawn.size = metadata.len();
        // A time in the future says nothing: the file stays.
        let rested = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
        if rested.is_none_or(|rested| rested < idle) {
            withdrawn.restore()?;
            return Ok(Withdrawal::InUse);
        }
        Ok(Withdrawal::Done(withdrawn.into()))
    }

    pub(crate) fn verify(&self, hash: &ItemHash) -> Result<Option<bool>, BlobError> {
        let Some((mut file, _)) = self.open_file(hash)? else { return Ok(None) };
        let mut verifier = Box::<Sha256Verifier>::default();
        let mut block = vec![0; crate::BLOCK_SIZE];
        loop {
            match file.read(&mut block) {
                Ok(0) => break,
                Ok(length) => verifier.update(&block[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(BlobError::io("read", &self.path(hash)?)(error)),
            }
        }
        Ok(Some(verifier.finish(Some(hash)) == *hash))
    }

    pub(crate) fn iter(&self) -> Iter {
        Iter::new(&self.root, self.suffix)
    }

    /// A new, empty, locked file in the temporary folder; removed when dropped.
    pub(crate) fn temporary(&self) -> Result<NamedTempFile, BlobError> {
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .permissions(stored_permissions())
            .tempfile_in(&self.temporary)
            .map_err(BlobError::io("create a file in", &self.temporary))?;
        file.as_file().lock().map_err(BlobError::io("lock", file.path()))?;
        Ok(file)
    }

    /// Gives the finished temporary file its name, durably.
    pub(crate) fn adopt(&self, file: NamedTempFile, hash: &ItemHash) -> Result<(), BlobError> {
        let target = self.path(hash)?;
        file.as_file().sync_all().map_err(BlobError::io("synchronise", file.path()))?;
        let shard = self.make_shard(&target)?;
        // Dropping the error's file removes it.
        file.persist(&target).map_err(|error| BlobError::io("name", &target)(error.error))?;
        synchronise_folder(&shard)
    }

    /// Makes what a file that is here already has durable: it may have been named by a process
    /// that died before it synchronised the folder. False if it was withdrawn meanwhile.
    pub(crate) fn confirm(&self, hash: &ItemHash) -> Result<bool, BlobError> {
        let target = self.path(hash)?;
        // From now on it was stored a moment ago: see `withdraw`.
        let touched = File::open(&target).and_then(|file| file.set_modified(SystemTime::now()));
        match touched {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            // A folder that can only be read still serves what it has.
            Err(error) => tracing::debug!(path = %target.display(), %error, "file can't be touched"),
        }
        if let Some(shard) = target.parent() {
            synchronise_folder(shard)?;
        }
        Ok(target.exists())
    }

    fn make_shard(&self, target: &Path) -> Result<PathBuf, BlobError> {
        let shard = target.parent().unwrap_or(&self.root);
        if shard.is_dir() {
            return Ok(shard.to_owned());
        }
        fs::create_dir_all(shard).map_err(BlobError::io("create the folder", shard))?;
        // Both levels may be new: each name is an entry of the folder above it.
        if let Some(upper) = shard.parent() {
            synchronise_folder(upper)?;
        }
        synchronise_folder(&self.root)?;
        Ok(shard.to_owned())
    }
}

fn stored_permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    // Other processes of the node read files directly; the umask still applies.
    fs::Permissions::from_mode(0o644)
}

fn synchronise_folder(path: &Path) -> Result<(), BlobError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(BlobError::io("synchronise", path))
}

/// `None` for a file that is not there.
fn absent<T>(error: io::Error, action: &'static str, path: &Path) -> Result<Option<T>, BlobError> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(BlobError::io(action, path)(error)),
    }
}
