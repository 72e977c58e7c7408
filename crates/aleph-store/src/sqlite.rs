//! Connections: one writer, and a bounded pool of readers that never wait for it (WAL).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use crate::{StoreError, Writer, digest, migrations};

/// Queries that may run at once; each holds a connection with its own page cache.
const READERS: usize = 4;

/// Most page cache of the writer and of one reader, in KiB; taken as it is needed. The writer's holds the
/// upper levels of every index of some millions of messages and the pages of a large transaction.
const WRITER_CACHE_KIB: i64 = 32 * 1024;
const READER_CACHE_KIB: i64 = 2 * 1024;

/// Pages of the log before it is folded into the database: 64 MiB, so that pages which many transactions
/// change are folded in once.
const CHECKPOINT_PAGES: i64 = 16_384;

/// The node's database: cheap to clone, safe to share.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens (or makes) the database file `path`, brings its schema up to date and returns the shared
    /// readers and the one writer.
    pub fn open(path: &Path) -> Result<(Store, Writer), StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| StoreError::Folder { path: folder.into(), source })?;
        }
        let mut connection = Connection::open(path)?;
        // Readers see the last commit while the writer works; a commit is one fsync of the log.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "foreign_keys", "OFF")?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.set_prepared_statement_cache_capacity(256);
        migrations::apply(&mut connection, path)?;
        digest::prepare(&mut connection)?;
        let inner = Inner {
            path: path.to_owned(),
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(READERS)),
        };
        Ok((Store { inner: Arc::new(inner) }, Writer::new(connection)))
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Bytes of the database file and its log.
    pub fn disk_size(&self) -> u64 {
        let size = |path: &Path| std::fs::metadata(path).map(|data| data.len()).unwrap_or(0);
        let mut log = self.inner.path.clone().into_os_string();
        log.push("-wal");
        size(&self.inner.path) + size(Path::new(&log))
    }

    /// Runs `query` on a reader, off the executor. At most [`READERS`] run at once, others wait their turn.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.inner.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let store = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            store.read_blocking(query)
        });
        match answer.await {
            Ok(answer) => answer,
            Err(join) => match join.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled) => Err(StoreError::Closed),
            },
        }
    }

    /// The same on the calling thread.
    pub(crate) fn read_blocking<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let taken = self.inner.idle.lock().pop();
        let connection = match taken {
            Some(connection) => connection,
            None => self.open_reader()?,
        };
        let answer = query(&connection);
        let mut idle = self.inner.idle.lock();
        if idle.len() < READERS {
            idle.push(connection);
        }
        answer
    }

    fn open_reader(&self) -> Result<Connection, StoreError> {
        let connection = Connection::open_with_flags(
            &self.inner.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        connection.pragma_update(None, "query_only", "ON")?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }
}
