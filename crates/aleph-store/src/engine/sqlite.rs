//! SQLite: a file, one writing connection, readers that never wait for it (WAL).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql, params_from_iter};

use super::fold::Folding;
use super::known::KnownStatuses;
use super::log::DiskLog;
use super::{Row, Value, gather, page_cache};
use crate::StoreError;

/// Most page cache of the writer and of one reader, in KiB; taken as it is needed. The writer's holds the
/// upper levels of every index of some millions of messages and all pages of a large transaction: with a
/// million messages stored, a batch of 3,000 changes some 10,000 pages, and those that do not fit are
/// written to the log and read from it again before the commit (`docs/adr/0014-speed-of-the-writer.md`).
const WRITER_CACHE_KIB: i64 = 96 * 1024;
const READER_CACHE_KIB: i64 = 2 * 1024;

/// How long a connection waits for another one's lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a database file.
#[derive(Debug)]
pub(crate) struct SqliteSession {
    connection: Connection,
    known: KnownStatuses,
    log: DiskLog,
}

impl SqliteSession {
    /// The connection that writes; makes the file and its folder when they are missing.
    pub(crate) fn writer(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| StoreError::Folder { path: folder.into(), source })?;
        }
        page_cache::install();
        let mut connection = match gather::name() {
            Some(name) => Connection::open_with_flags_and_vfs(path, OpenFlags::default(), name)?,
            None => Connection::open(path)?,
        };
        // Readers see the last commit while the writer works. The log is synchronised by `DiskLog`; SQLite
        // does it before it is folded in, which is all that the order of commits needs.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        let mut folding = Folding::of(path);
        connection.wal_hook(Some(move |log: &mut Wal, pages| {
            folding.committed(log, pages);
            Ok(())
        }))?;
        connection.pragma_update(None, "foreign_keys", "OFF")?;
        keep_plans(&connection)?;
        connection.busy_timeout(LOCK_PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(256);
        Ok(Self { connection, known: KnownStatuses::default(), log: DiskLog::of_file(path) })
    }

    /// A connection that only reads.
    pub(crate) fn reader(path: &Path) -> Result<Self, StoreError> {
        page_cache::install();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        connection.pragma_update(None, "query_only", "ON")?;
        keep_plans(&connection)?;
        connection.busy_timeout(LOCK_PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self { connection, known: KnownStatuses::default(), log: DiskLog::of_file(path) })
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        self.each(sql, values, |row| {
            found.push(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    pub(super) fn each(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut visit: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            visit(&Row::Sqlite(row))?;
        }
        Ok(())
    }

    pub(super) fn first<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        rows.next()?.map(|row| read(&Row::Sqlite(row))).transpose()
    }

    pub(super) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let changed = self.connection.prepare_cached(sql)?.execute(params_from_iter(values))?;
        Ok(changed as u64)
    }

    pub(super) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch(sql)?)
    }

    pub(super) fn begin(&self) -> Result<(), StoreError> {
        self.batch("BEGIN IMMEDIATE")?;
        self.known.open();
        Ok(())
    }

    pub(super) fn commit(&self) -> Result<(), StoreError> {
        self.batch("COMMIT")?;
        self.known.close();
        Ok(())
    }

    pub(super) fn disk_log(&self) -> &DiskLog {
        &self.log
    }

    /// What the open transaction knows.
    pub(super) fn known(&self) -> &KnownStatuses {
        &self.known
    }

    pub(super) fn roll_back(&self) {
        self.known.close();
        // Some errors, a full disk among them, undo the transaction by themselves.
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// Bounds the file to `pages` beyond its present size; returns that size in pages.
    pub(crate) fn limit_pages(&self, pages: Option<i64>) -> Result<i64, StoreError> {
        let present: i64 = self.connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let limit = pages.map_or(i64::from(u32::MAX) - 1, |pages| present + pages);
        self.connection.query_row(&format!("PRAGMA max_page_count = {limit}"), [], |_| Ok(()))?;
        Ok(present)
    }

    /// Copies the log into the database file, as far as readers allow.
    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

/// A statement keeps its plan. Otherwise, where the planner compared a placeholder with anything (and a join
/// or an order is enough for that), it plans anew for each value: 20 to 40 µs that no plan here needs.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(|_| ())
}

/// Bytes of the database file and its log.
pub(crate) fn disk_size(path: &Path) -> u64 {
    let size = |path: &Path| std::fs::metadata(path).map(|data| data.len()).unwrap_or(0);
    let mut log = path.to_owned().into_os_string();
    log.push("-wal");
    size(path) + size(&PathBuf::from(log))
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Texts(texts) => {
                ToSqlOutput::Owned(rusqlite::types::Value::Text(serde_json::Value::from(*texts).to_string()))
            }
        })
    }
}

/// A column as this crate stores it; it stores neither fractions nor bytes.
pub(super) fn value<'r>(row: &'r rusqlite::Row<'_>, column: usize) -> Result<Value<'r>, StoreError> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(number) => Ok(Value::Int(number)),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Ok(Value::Text(text)),
            Err(_) => Err(StoreError::corrupt("text", String::from_utf8_lossy(text))),
        },
        other => Err(StoreError::corrupt("column", format!("{other:?}"))),
    }
}
