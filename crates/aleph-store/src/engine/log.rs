//! The log of SQLite on its way to the disk.
//!
//! A commit writes to the log; what was committed survives the end of the process, and that of the machine once
//! the log was synchronised. SQLite would do that inside of each commit. Here it is a step of its own, so that
//! a bulk's next transaction may run meanwhile (`docs/adr/0014-speed-of-the-writer.md`). The order of commits
//! is kept whatever the disk had: a log is read up to the first gap.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::StoreError;

/// Makes commits durable; on any thread, beside the one that writes.
#[derive(Debug, Clone)]
pub struct DiskLog {
    /// None where commits are durable by themselves.
    log: Option<Arc<Log>>,
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    /// The writer's connection keeps the file as long as it is open.
    file: OnceLock<File>,
    /// What the system said when it could not be synchronised.
    failed: OnceLock<String>,
}

impl DiskLog {
    /// Of a server that does it by itself.
    pub(crate) fn of_server() -> Self {
        Self { log: None }
    }

    /// Of a file of SQLite.
    pub(crate) fn of_file(database: &Path) -> Self {
        let mut path = database.to_owned().into_os_string();
        path.push("-wal");
        Self {
            log: Some(Arc::new(Log { path: path.into(), file: OnceLock::new(), failed: OnceLock::new() })),
        }
    }

    /// Returns when everything that was committed before is durable.
    ///
    /// # Errors
    /// What was committed may then be lost when the machine ends. The system tells such a failure once, and
    /// forgets what it could not write, so nothing is durable from then on.
    pub fn sync(&self) -> Result<(), StoreError> {
        let Some(log) = &self.log else { return Ok(()) };
        self.is_sound()?;
        let synced = match log.file.get() {
            Some(file) => file.sync_data(),
            None => File::open(&log.path).and_then(|file| log.file.get_or_init(|| file).sync_data()),
        };
        synced.map_err(|source| {
            let reason = log.failed.get_or_init(|| source.to_string()).clone();
            StoreError::NotDurable { reason }
        })
    }

    /// An error once a [`DiskLog::sync`] has failed.
    pub(crate) fn is_sound(&self) -> Result<(), StoreError> {
        match self.log.as_ref().and_then(|log| log.failed.get()) {
            Some(reason) => Err(StoreError::NotDurable { reason: reason.clone() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_durable_after_a_failure() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("x.sqlite3");
        let log = DiskLog::of_file(&database);
        assert!(matches!(log.sync(), Err(StoreError::NotDurable { .. })), "there is no file");
        std::fs::write(folder.path().join("x.sqlite3-wal"), "").expect("written");
        assert!(matches!(log.sync(), Err(StoreError::NotDurable { .. })), "what failed stays so");
        assert!(log.is_sound().is_err());
        let anew = DiskLog::of_file(&database);
        assert!(anew.sync().is_ok() && anew.is_sound().is_ok());
        assert!(DiskLog::of_server().sync().is_ok());
    }
}
