//! Opening a database, and the bounded pool of readers that never wait for the writer.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::engine::{Session, SqliteSession};
use crate::{Location, StoreError, Writer, digest, engine, migrations};

/// Queries that may run at once; each holds a connection with its own page cache.
const READERS: usize = 4;

/// The node's database: cheap to clone, safe to share.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    location: Location,
    idle: Mutex<Vec<Session>>,
    permits: Arc<Semaphore>,
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
        let session = match &location {
            Location::Sqlite(path) => Session::Sqlite(SqliteSession::writer(path)?),
        };
        migrations::apply(&session, &location)?;
        digest::prepare(&session)?;
        let inner =
            Inner { location, idle: Mutex::new(Vec::new()), permits: Arc::new(Semaphore::new(READERS)) };
        Ok((Store { inner: Arc::new(inner) }, Writer::new(session)))
    }

    /// Where the database is.
    pub fn location(&self) -> &Location {
        &self.inner.location
    }

    /// Bytes that the database takes on disk.
    pub fn disk_size(&self) -> u64 {
        match &self.inner.location {
            Location::Sqlite(path) => engine::sqlite::disk_size(path),
        }
    }

    /// Runs `query` on a reader, off the executor. At most [`READERS`] run at once, others wait their turn.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Session) -> Result<T, StoreError> + Send + 'static,
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
        query: impl FnOnce(&Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let taken = self.inner.idle.lock().pop();
        let session = match taken {
            Some(session) => session,
            None => self.open_reader()?,
        };
        let answer = query(&session);
        let mut idle = self.inner.idle.lock();
        if idle.len() < READERS {
            idle.push(session);
        }
        answer
    }

    fn open_reader(&self) -> Result<Session, StoreError> {
        match &self.inner.location {
            Location::Sqlite(path) => Ok(Session::Sqlite(SqliteSession::reader(path)?)),
        }
    }
}
