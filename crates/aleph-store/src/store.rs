//! Opening a database, and the bounded pool of readers that never wait for the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use crate::engine::{PostgresSession, Session, SqliteSession};
use crate::queries::Catalogue;
use crate::{Location, StoreError, Writer, aggregates, digest, engine, migrations};

/// Queries that may run at once; each holds a connection with its own page cache.
const READERS: usize = 4;

/// How long a new writer waits for the one before to be gone: a server notices a killed node late.
const SUCCESSION: Duration = Duration::from_secs(5);

/// The node's database: cheap to clone, safe to share.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    location: Location,
    /// Of a server's database, when it was last asked for.
    size: AtomicU64,
    idle: Mutex<Vec<Session>>,
    permits: Arc<Semaphore>,
    catalogue: Arc<Catalogue>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("location", &self.inner.location).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens (or makes) the database at `location`, brings its schema up to date and returns the shared
    /// readers and the one writer.
    pub fn open(location: impl Into<Location>) -> Result<(Store, Writer), StoreError> {
        let location = location.into();
        let session = open_writer(&location)?;
        migrations::apply(&session, &location)?;
        aggregates::fill(&session)?;
        digest::prepare(&session)?;
        let catalogue = Arc::new(Catalogue::default());
        let writer = Writer::new(session, location.clone(), catalogue.changes());
        let inner = Inner {
            location,
            size: AtomicU64::new(0),
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(READERS)),
            catalogue,
        };
        Ok((Store { inner: Arc::new(inner) }, writer))
    }

    /// Where the database is.
    pub fn location(&self) -> &Location {
        &self.inner.location
    }

    /// Sets and orders in memory.
    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.inner.catalogue)
    }

    /// Bytes that the database takes on disk; of a server's database, as of the last
    /// [`node_counts`](Store::node_counts).
    pub fn disk_size(&self) -> u64 {
        match &self.inner.location {
            Location::Sqlite(path) => engine::sqlite::disk_size(path),
            Location::Postgres(_) => self.inner.size.load(Ordering::Relaxed),
        }
    }

    /// Asks a server for the size of the database.
    pub(crate) fn measure(&self, session: &Session) -> Result<(), StoreError> {
        if let Session::Postgres(_) = session {
            let size = session.count("SELECT pg_database_size(current_database())", &[])?;
            self.inner.size.store(size, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Runs `query` on a reader, off the executor. At most [`READERS`] run at once, others wait their turn.
    ///
    /// A turn is never held by who is not polled: a reader that is free is taken at once, and who has to wait
    /// does so in a task of its own, which reads when its turn comes.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Session) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permits = &self.inner.permits;
        match Arc::clone(permits).try_acquire_owned() {
            Ok(permit) => self.read_within(permit, query).await,
            Err(TryAcquireError::Closed) => Err(StoreError::Closed),
            Err(TryAcquireError::NoPermits) => {
                let (store, permits) = (self.clone(), Arc::clone(permits));
                let turn = tokio::spawn(async move {
                    let permit = permits.acquire_owned().await.map_err(|_| StoreError::Closed)?;
                    store.read_within(permit, query).await
                });
                joined(AbortOnDropHandle::new(turn).await)
            }
        }
    }

    async fn read_within<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        query: impl FnOnce(&Session) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            store.read_blocking(query)
        });
        joined(answer.await)
    }

    /// The same on the calling thread.
    pub(crate) fn read_blocking<T>(
        &self,
        query: impl FnOnce(&Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let session = match self.idle_session() {
            Some(session) => session,
            None => self.open_reader()?,
        };
        let answer = query(&session);
        if session.is_open() {
            let mut idle = self.inner.idle.lock();
            if idle.len() < READERS {
                idle.push(session);
            }
        }
        answer
    }

    /// A session of the pool; those whose server went away meanwhile are dropped.
    fn idle_session(&self) -> Option<Session> {
        loop {
            let session = self.inner.idle.lock().pop()?;
            if session.is_open() {
                return Some(session);
            }
        }
    }

    fn open_reader(&self) -> Result<Session, StoreError> {
        match &self.inner.location {
            Location::Sqlite(path) => Ok(Session::Sqlite(SqliteSession::reader(path)?)),
            Location::Postgres(url) => Ok(Session::Postgres(Box::new(PostgresSession::reader(url)?))),
        }
    }
}

/// What a task read; its panic goes on in the caller.
fn joined<T>(answer: Result<Result<T, StoreError>, JoinError>) -> Result<T, StoreError> {
    answer.unwrap_or_else(|join| match join.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_cancelled) => Err(StoreError::Closed),
    })
}

/// The session that writes, once no other node does.
pub(crate) fn open_writer(location: &Location) -> Result<Session, StoreError> {
    match location {
        Location::Sqlite(path) => Ok(Session::Sqlite(SqliteSession::writer(path)?)),
        Location::Postgres(url) => {
            let start = Instant::now();
            loop {
                match PostgresSession::writer(url) {
                    Err(StoreError::InUse) if start.elapsed() < SUCCESSION => {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    opened => return Ok(Session::Postgres(Box::new(opened?))),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

    use std::sync::mpsc;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_for_a_reader_and_is_not_polled_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _writer) = Store::open(dir.path().join("node.sqlite3")).unwrap();
        let mut busy = Vec::new();
        for _ in 0..READERS {
            let (end, ended) = mpsc::channel::<()>();
            let store = store.clone();
            let reading = tokio::spawn(async move {
                store.read(move |_| ended.recv().map_err(|_| StoreError::Closed)).await
            });
            busy.push((end, reading));
        }
        while store.inner.permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        // They are asked for once, and never again: as one arm of a `select!` is while another one runs.
        let mut waiting: Vec<_> = (0..READERS).map(|_| Box::pin(store.read(|_| Ok(())))).collect();
        for read in &mut waiting {
            assert!(read.now_or_never().is_none());
        }
        for (end, reading) in busy {
            end.send(()).unwrap();
            reading.await.unwrap().unwrap();
        }
        let read = tokio::time::timeout(Duration::from_secs(20), store.read(|_| Ok(7)));
        assert_eq!(read.await.unwrap().unwrap(), 7);
        for read in waiting {
            read.await.unwrap();
        }
    }
}
