use aleph_types::{Address, ItemHash, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use super::SortOrder;
use super::message_filter::Start;
use super::rows;
use super::sql::{Sql, bound};
use crate::{Store, StoreError};

/// What a stored hash stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Bytes.
    File,
    /// An IPFS directory.
    Directory,
}

impl FileKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            FileKind::File => "file",
            FileKind::Directory => "dir",
        }
    }
}

impl std::str::FromStr for FileKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "file" => Ok(FileKind::File),
            "dir" => Ok(FileKind::Directory),
            _ => Err(()),
        }
    }
}

/// A file that the node keeps or means to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Its hash.
    pub hash: ItemHash,
    /// Bytes.
    pub size: u64,
    /// File or directory.
    pub kind: FileKind,
}

/// A file of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountFile {
    /// The file.
    pub file: FileInfo,
    /// `content.time` of the STORE.
    pub created: Timestamp,
    /// The STORE message.
    pub item_hash: ItemHash,
}

/// A file as a STORE message names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileVersion {
    /// The STORE's `ref`, or its own hash.
    pub reference: String,
    /// Who stores it.
    pub owner: Address,
    /// The file's hash.
    pub file: ItemHash,
    /// Bytes.
    pub size: u64,
}

/// A page of an account's files, by creation, ties by message (`spec: ccn-api.md §8.4`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileQuery {
    /// Whose.
    pub owner: Address,
    /// Only this file.
    pub file: Option<String>,
    /// Direction.
    pub order: SortOrder,
    /// First row.
    pub start: Start,
    /// Most rows.
    pub limit: u64,
}

fn read_info(row: &Row<'_>) -> rusqlite::Result<FileInfo> {
    Ok(FileInfo {
        hash: rows::hash(row, 0)?,
        size: rows::size(row, 1)?,
        kind: rows::word(row, 2, "kind of file")?,
    })
}

fn file(conn: &Connection, hash: &str) -> Result<Option<FileInfo>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT hash, size, kind FROM files WHERE hash = ?1")?;
    Ok(statement.query_row([hash], read_info).optional()?)
}

pub(super) fn list_sql(query: &FileQuery) -> Sql {
    let mut sql = Sql::new(
        "SELECT f.hash, f.size, f.kind, p.created, p.pinned_by FROM file_pins p INDEXED BY file_pins_owner \
         CROSS JOIN files f ON f.hash = p.file WHERE p.kind = 'message' AND p.owner = ",
    );
    sql.bind(query.owner.as_str().to_owned());
    if let Some(file) = &query.file {
        sql.push(" AND p.file = ").bind(file.clone());
    }
    if let Start::After(time, hash) = &query.start {
        let (time, later) = (time.as_micros(), query.order.later());
        sql.push(" AND p.created ").push(later).push("= ").bind(time);
        sql.push(" AND (p.created ").push(later).push(" ").bind(time);
        sql.push(" OR p.pinned_by > ").bind(hash.as_str().to_owned()).push(")");
    }
    sql.push(" ORDER BY p.created ")
        .push(query.order.sql())
        .push(", p.pinned_by LIMIT ")
        .bind(bound(query.limit));
    if let Start::Offset(offset) = query.start {
        sql.push(" OFFSET ").bind(bound(offset));
    }
    sql
}

fn list(conn: &Connection, query: &FileQuery) -> Result<Vec<AccountFile>, StoreError> {
    list_sql(query).rows(conn, |row| {
        Ok(AccountFile {
            file: read_info(row)?,
            created: rows::time(row, 3)?,
            item_hash: rows::hash(row, 4)?,
        })
    })
}

fn totals(conn: &Connection, owner: &str) -> Result<(u64, u64), StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT count(*), coalesce(sum(f.size), 0) FROM file_pins p INDEXED BY file_pins_owner \
         CROSS JOIN files f ON f.hash = p.file WHERE p.kind = 'message' AND p.owner = ?1",
    )?;
    Ok(statement.query_row([owner], |row| Ok((rows::size(row, 0)?, rows::size(row, 1)?)))?)
}

fn read_version(row: &Row<'_>) -> rusqlite::Result<FileVersion> {
    Ok(FileVersion {
        reference: row.get(0)?,
        owner: rows::address(row, 1)?,
        file: rows::hash(row, 2)?,
        size: rows::size(row, 3)?,
    })
}

fn of_message(conn: &Connection, message: &str) -> Result<Option<FileVersion>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT coalesce(p.reference, p.pinned_by), coalesce(p.owner, ''), p.file, f.size \
         FROM file_pins p INDEXED BY file_pins_message CROSS JOIN files f ON f.hash = p.file \
         WHERE p.pinned_by = ?1 AND p.kind = 'message'",
    )?;
    Ok(statement.query_row([message], read_version).optional()?)
}

fn of_tag(conn: &Connection, tag: &str) -> Result<Option<FileVersion>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT coalesce(p.reference, t.message), t.owner, t.file, f.size FROM file_tags t \
         CROSS JOIN files f ON f.hash = t.file \
         LEFT JOIN file_pins p INDEXED BY file_pins_message ON p.pinned_by = t.message AND p.kind = 'message' \
         WHERE t.tag = ?1",
    )?;
    Ok(statement.query_row([tag], read_version).optional()?)
}

fn count_pins(conn: &Connection, hash: &str) -> Result<u64, StoreError> {
    let mut sql = Sql::new("SELECT count(*) FROM file_pins WHERE file = ");
    sql.bind(hash.to_owned());
    sql.count(conn)
}

impl Store {
    /// The record of a file.
    pub async fn file(&self, hash: String) -> Result<Option<FileInfo>, StoreError> {
        self.read(move |conn| file(conn, &hash)).await
    }

    /// A page of an account's files.
    pub async fn list_files(&self, query: FileQuery) -> Result<Vec<AccountFile>, StoreError> {
        self.read(move |conn| list(conn, &query)).await
    }

    /// How many files an account stores, and their bytes.
    pub async fn file_totals(&self, owner: Address) -> Result<(u64, u64), StoreError> {
        self.read(move |conn| totals(conn, owner.as_str())).await
    }

    /// The file that a STORE message pins.
    pub async fn file_of_message(&self, message: ItemHash) -> Result<Option<FileVersion>, StoreError> {
        self.read(move |conn| of_message(conn, message.as_str())).await
    }

    /// The latest file of a tag: the hash of an original STORE, or `<owner>/<ref>`.
    pub async fn file_of_tag(&self, tag: String) -> Result<Option<FileVersion>, StoreError> {
        self.read(move |conn| of_tag(conn, &tag)).await
    }

    /// How many pins of any kind hold a file.
    pub async fn count_pins(&self, hash: String) -> Result<u64, StoreError> {
        self.read(move |conn| count_pins(conn, &hash)).await
    }
}
