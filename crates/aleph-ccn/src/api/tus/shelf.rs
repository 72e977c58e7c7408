//! Unfinished uploads on the disk: for each a file that grows, and a record beside it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aleph_types::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::config::UploadsConfig;

/// Finished uploads that are remembered, for each that may be unfinished.
const REMEMBERED: usize = 4;

/// What is kept of an upload beside its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// Bytes of the whole file.
    pub(super) length: u64,
    /// `Upload-Metadata` as it was sent.
    pub(super) metadata: String,
    /// Whose it is, where clients are told apart.
    pub(super) client: Option<String>,
    /// When it is thrown away, in microseconds since 1970.
    pub(super) expires: i64,
    /// What became of it.
    pub(super) finished: Option<Finished>,
}

/// A finished upload: nothing of it but this is left here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Finished {
    /// The file's hash.
    pub(super) hash: String,
    /// What became of the STORE message that came with it.
    pub(super) message_status: Option<String>,
}

/// An upload and the right to change it, which one request at a time has.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) id: String,
    record: Mutex<Record>,
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}

impl Upload {
    pub(super) fn record(&self) -> Record {
        self.record.lock().clone()
    }
}

/// Why an upload can't be begun.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShelfError {
    /// As many as this node takes.
    #[error("this node holds as many unfinished uploads as it takes; come back later")]
    Full,
    /// As many as one client may have.
    #[error("this address has {0} unfinished uploads already; finish or delete some")]
    ClientFull(usize),
    /// The disk.
    #[error("the folder of uploads can't be used")]
    Disk(#[from] io::Error),
}

/// All uploads of the node.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    settings: UploadsConfig,
    uploads: Mutex<HashMap<String, Arc<Upload>>>,
}

impl Shelf {
    /// Reads what is there from before.
    ///
    /// # Errors
    /// When the folder can't be made or read.
    pub(super) fn open(folder: PathBuf, settings: UploadsConfig) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut uploads = HashMap::new();
        let mut stray = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let Some(id) = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else {
                continue;
            };
            if path.extension().is_some_and(|end| end == "json") {
                match read_record(&path) {
                    Ok(record) => {
                        let upload = Upload { id: id.clone(), record: record.into(), turn: Arc::default() };
                        uploads.insert(id, Arc::new(upload));
                    }
                    Err(error) => tracing::warn!(%error, path = %path.display(), "record of an upload"),
                }
            } else {
                stray.push((id, path));
            }
        }
        for (id, path) in stray {
            // Bytes without a record, and records that were not written to their end.
            if !uploads.contains_key(&id) || path.extension().is_none_or(|end| end != "part") {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(Self { folder, settings, uploads: Mutex::new(uploads) })
    }

    /// How long an upload stays that does not go on.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.settings.expire_after_seconds)
    }

    fn deadline(&self, now: Timestamp) -> i64 {
        let micros = i64::try_from(self.patience().as_micros()).unwrap_or(i64::MAX);
        now.as_micros().saturating_add(micros)
    }

    /// Makes room for a new upload.
    ///
    /// # Errors
    /// When there are too many, or the disk fails.
    pub(super) fn begin(
        &self,
        length: u64,
        metadata: String,
        client: Option<String>,
        now: Timestamp,
    ) -> Result<Arc<Upload>, ShelfError> {
        let record = Record { length, metadata, client, expires: self.deadline(now), finished: None };
        self.forget_finished();
        let id = format!("{:032x}", rand::random::<u128>());
        let upload = Arc::new(Upload { id: id.clone(), record: record.clone().into(), turn: Arc::default() });
        {
            let mut uploads = self.uploads.lock();
            let records: Vec<Record> = uploads.values().map(|upload| upload.record()).collect();
            let unfinished = || records.iter().filter(|record| record.finished.is_none());
            let bytes: u64 = unfinished().map(|record| record.length).sum();
            if unfinished().count() >= self.settings.count
                || bytes.saturating_add(length) > self.settings.total_bytes
            {
                return Err(ShelfError::Full);
            }
            let of_client =
                unfinished().filter(|one| one.client.is_some() && one.client == record.client).count();
            if of_client >= self.settings.count_per_client {
                return Err(ShelfError::ClientFull(of_client));
            }
            uploads.insert(id.clone(), Arc::clone(&upload));
        }
        let made = std::fs::File::create(self.bytes_of(&id)).and_then(|_| self.write(&id, &record));
        if let Err(error) = made {
            self.remove(&id);
            return Err(error.into());
        }
        Ok(upload)
    }

    /// Forgets how the oldest finished uploads ended when there are very many of them: their files stay.
    fn forget_finished(&self) {
        let most = self.settings.count.saturating_mul(REMEMBERED);
        let mut finished: Vec<(i64, String)> = {
            let uploads = self.uploads.lock();
            if uploads.len() <= most {
                return;
            }
            let ended = |upload: &&Arc<Upload>| upload.record().finished.is_some();
            let named = |upload: &Arc<Upload>| (upload.record().expires, upload.id.clone());
            uploads.values().filter(ended).map(named).collect()
        };
        finished.sort();
        for (_, id) in finished.iter().take(finished.len() / 2) {
            self.remove(id);
        }
    }

    /// The upload with this id. Ids are 32 hexadecimal digits: others name no file.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Upload>> {
        self.uploads.lock().get(id).cloned()
    }

    /// Where its bytes are.
    pub(super) fn bytes_of(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.part"))
    }

    /// How many bytes of it are here.
    ///
    /// # Errors
    /// When the disk can't be read.
    pub(super) fn offset(&self, upload: &Upload) -> io::Result<u64> {
        let record = upload.record();
        if record.finished.is_some() {
            return Ok(record.length);
        }
        Ok(std::fs::metadata(self.bytes_of(&upload.id))?.len().min(record.length))
    }

    /// It goes on: it stays a while longer.
    pub(super) fn touch(&self, upload: &Upload, now: Timestamp) -> io::Result<()> {
        let record = {
            let mut record = upload.record.lock();
            record.expires = self.deadline(now);
            record.clone()
        };
        self.write(&upload.id, &record)
    }

    /// It is finished: its bytes are elsewhere now.
    pub(super) fn finish(&self, upload: &Upload, finished: Finished) -> io::Result<()> {
        let record = {
            let mut record = upload.record.lock();
            record.finished = Some(finished);
            record.clone()
        };
        self.write(&upload.id, &record)?;
        remove_if_there(&self.bytes_of(&upload.id))
    }

    /// Nothing of it is left.
    pub(super) fn remove(&self, id: &str) {
        self.uploads.lock().remove(id);
        // The record last: bytes without a record are removed at the next start.
        for path in [self.record_of(id), self.bytes_of(id)] {
            if let Err(error) = remove_if_there(&path) {
                tracing::warn!(%error, path = %path.display(), "upload not removed");
            }
        }
    }

    /// Those whose time has come.
    pub(super) fn expired(&self, now: Timestamp) -> Vec<Arc<Upload>> {
        let uploads = self.uploads.lock();
        uploads.values().filter(|upload| upload.record().expires <= now.as_micros()).cloned().collect()
    }

    /// Those that have all their bytes and were not finished: the node ended in between.
    pub(super) fn complete(&self) -> Vec<Arc<Upload>> {
        let all: Vec<_> = self.uploads.lock().values().cloned().collect();
        let is_complete = |upload: &Arc<Upload>| {
            let record = upload.record();
            record.finished.is_none() && self.offset(upload).is_ok_and(|offset| offset == record.length)
        };
        all.into_iter().filter(is_complete).collect()
    }

    fn record_of(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    /// Writes a record so that it is there whole or not at all.
    fn write(&self, id: &str, record: &Record) -> io::Result<()> {
        use std::io::Write as _;
        let unfinished = self.folder.join(format!("{id}.new"));
        let mut file = std::fs::File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_data()?;
        std::fs::rename(unfinished, self.record_of(id))
    }
}

fn read_record(path: &Path) -> io::Result<Record> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> UploadsConfig {
        UploadsConfig { count: 3, count_per_client: 2, total_bytes: 1000, ..UploadsConfig::default() }
    }

    fn begin(shelf: &Shelf, length: u64, client: &str) -> Result<Arc<Upload>, ShelfError> {
        shelf.begin(length, String::new(), Some(client.to_owned()), Timestamp::EPOCH)
    }

    #[test]
    fn number_and_bytes_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path().join("uploads"), settings()).unwrap();
        let first = begin(&shelf, 100, "a").unwrap();
        begin(&shelf, 100, "a").unwrap();
        assert!(matches!(begin(&shelf, 100, "a"), Err(ShelfError::ClientFull(2))));
        assert!(matches!(begin(&shelf, 900, "b"), Err(ShelfError::Full)));
        begin(&shelf, 100, "b").unwrap();
        assert!(matches!(begin(&shelf, 1, "c"), Err(ShelfError::Full)));
        shelf.remove(&first.id);
        // Finished ones take no place, and not all of them are remembered.
        for _ in 0..100 {
            let upload = begin(&shelf, 1, "c").unwrap();
            shelf.finish(&upload, Finished { hash: "h".to_owned(), message_status: None }).unwrap();
        }
        assert!(shelf.uploads.lock().len() <= 3 * REMEMBERED + 1);
    }

    #[test]
    fn what_was_begun_is_there_after_a_restart_and_strays_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("uploads");
        let shelf = Shelf::open(path.clone(), settings()).unwrap();
        let upload = begin(&shelf, 4, "a").unwrap();
        std::fs::write(shelf.bytes_of(&upload.id), b"abc").unwrap();
        std::fs::write(path.join("0123.part"), b"x").unwrap();
        std::fs::write(path.join(format!("{}.new", upload.id)), b"{").unwrap();
        drop(shelf);
        let shelf = Shelf::open(path.clone(), settings()).unwrap();
        let upload = shelf.get(&upload.id).unwrap();
        assert_eq!(shelf.offset(&upload).unwrap(), 3);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 2);
        assert!(shelf.complete().is_empty());
        std::fs::write(shelf.bytes_of(&upload.id), b"abcd").unwrap();
        assert_eq!(shelf.complete().len(), 1);
        let later = Timestamp::EPOCH.plus_micros(25 * 3600 * 1_000_000);
        assert_eq!(shelf.expired(Timestamp::EPOCH).len(), 0);
        assert_eq!(shelf.expired(later).len(), 1);
        shelf.finish(&upload, Finished { hash: "h".to_owned(), message_status: None }).unwrap();
        assert_eq!(shelf.offset(&upload).unwrap(), 4);
        shelf.remove(&upload.id);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    }
}
