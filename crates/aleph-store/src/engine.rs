//! The seam under everything else: sessions that take portable SQL, bind values and give rows back.
//!
//! Statements are written once, in the dialect of SQLite and within what [`postgres`] can translate:
//! numbered placeholders (`?1`), explicit columns, `ON CONFLICT`, `CAST … AS BIGINT` around sums, `TRUE`
//! for "everything". An index that a statement names with `INDEXED BY`, and an order of tables that it
//! fixes with `CROSS JOIN … ON`, hold on SQLite.

mod error;
mod fold;
mod gather;
mod known;
mod log;
mod page_cache;
mod postgres;
mod row;
pub(crate) mod sqlite;
mod value;

pub(crate) use error::EngineError;
pub(crate) use known::KnownStatus;
pub use log::DiskLog;
pub(crate) use postgres::PostgresSession;
pub(crate) use row::Row;
pub(crate) use sqlite::SqliteSession;
pub(crate) use value::{Value, values};

use self::known::KnownStatuses;
use crate::StoreError;

/// One connection. Blocks the thread that uses it, and is used by one thread at a time.
#[derive(Debug)]
pub(crate) enum Session {
    Sqlite(SqliteSession),
    Postgres(Box<PostgresSession>),
}

impl Session {
    /// Every row of a query.
    pub(crate) fn rows<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        match self {
            Self::Sqlite(session) => session.rows(sql, values, read),
            Self::Postgres(session) => session.rows(sql, values, read),
        }
    }

    /// Passes every row of a query to `visit`, without keeping them.
    pub(crate) fn each(
        &self,
        sql: &str,
        values: &[Value<'_>],
        visit: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(session) => session.each(sql, values, visit),
            Self::Postgres(session) => session.each(sql, values, visit),
        }
    }

    /// The first row of a query, if there is one.
    pub(crate) fn first<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match self {
            Self::Sqlite(session) => session.first(sql, values, read),
            Self::Postgres(session) => session.first(sql, values, read),
        }
    }

    /// The number in the one row of a counting query.
    pub(crate) fn count(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        Ok(self.first(sql, values, |row| row.size(0))?.unwrap_or_default())
    }

    /// Changes rows. Inside a transaction the engine may put it off until something needs an answer; an
    /// error then comes from there, at the latest from [`Session::commit`].
    pub(crate) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(session) => session.execute(sql, values).map(|_| ()),
            Self::Postgres(session) => session.execute(sql, values),
        }
    }

    /// Changes rows, and says how many it changed.
    pub(crate) fn execute_counted(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(session) => session.execute(sql, values),
            Self::Postgres(session) => session.execute_counted(sql, values),
        }
    }

    /// Runs several statements of this engine's own dialect, without values.
    pub(crate) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(session) => session.batch(sql),
            Self::Postgres(session) => session.batch(sql),
        }
    }

    /// Begins a transaction that writes.
    pub(crate) fn begin(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(session) => session.begin(),
            Self::Postgres(session) => session.begin(),
        }
    }

    /// Makes the transaction's changes durable.
    pub(crate) fn commit(&self) -> Result<(), StoreError> {
        self.commit_ahead()?;
        self.disk_log().sync()
    }

    /// Makes the transaction's changes; they are durable after [`DiskLog::sync`].
    pub(crate) fn commit_ahead(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(session) => session.commit(),
            Self::Postgres(session) => session.commit(),
        }
    }

    /// What makes commits durable.
    pub(crate) fn disk_log(&self) -> DiskLog {
        match self {
            Self::Sqlite(session) => session.disk_log().clone(),
            Self::Postgres(_) => DiskLog::of_server(),
        }
    }

    /// Undoes what the open transaction changed; nothing if none is open. A session that can't even do
    /// that has lost the transaction anyway.
    pub(crate) fn roll_back(&self) {
        match self {
            Self::Sqlite(session) => session.roll_back(),
            Self::Postgres(session) => session.roll_back(),
        }
    }

    /// Whether the session can still be used, as far as can be told without asking the engine.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Sqlite(_) => true,
            Self::Postgres(session) => session.is_open(),
        }
    }

    /// Whether one question about many rows is much cheaper than one for each.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// The status of a hash, if the open transaction has seen it.
    pub(crate) fn known_status(&self, hash: &str) -> Option<KnownStatus> {
        self.known().get(hash)
    }

    /// Keeps the status of a hash for as long as the transaction is open.
    pub(crate) fn know_status(&self, hash: &str, status: KnownStatus) {
        self.known().put(hash, status);
    }

    fn known(&self) -> &KnownStatuses {
        match self {
            Self::Sqlite(session) => session.known(),
            Self::Postgres(session) => session.known(),
        }
    }

    /// Holds one instant of the database for several queries, until the snapshot is dropped.
    pub(crate) fn snapshot(&self) -> Result<Snapshot<'_>, StoreError> {
        match self {
            Self::Sqlite(session) => session.batch("BEGIN DEFERRED")?,
            Self::Postgres(session) => session.begin_snapshot()?,
        }
        Ok(Snapshot { session: self })
    }
}

/// A session that sees one instant of the database.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    session: &'a Session,
}

impl std::ops::Deref for Snapshot<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        self.session.roll_back();
    }
}
