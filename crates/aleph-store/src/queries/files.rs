use aleph_types::{Address, ItemHash, Timestamp};

use super::SortOrder;
use super::message_filter::Start;
use super::sql::{Sql, bound};
use crate::engine::{Row, Session, values};
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

fn read_info(row: &Row<'_>) -> Result<FileInfo, StoreError> {
    Ok(FileInfo { hash: row.hash(0)?, size: row.size(1)?, kind: row.word(2, "kind of file")? })
}

fn file(session: &Session, hash: &str) -> Result<Option<FileInfo>, StoreError> {
    session.first("SELECT hash, size, kind FROM files WHERE hash = ?1", values![hash], read_info)
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

fn list(session: &Session, query: &FileQuery) -> Result<Vec<AccountFile>, StoreError> {
    list_sql(query).rows(session, |row| {
        Ok(AccountFile { file: read_info(row)?, created: row.time(3)?, item_hash: row.hash(4)? })
    })
}

fn totals(session: &Session, owner: &str) -> Result<(u64, u64), StoreError> {
    let found = session.first(
        "SELECT count(*), CAST(coalesce(sum(f.size), 0) AS BIGINT) FROM file_pins p INDEXED BY file_pins_owner \
         CROSS JOIN files f ON f.hash = p.file WHERE p.kind = 'message' AND p.owner = ?1",
        values![owner],
        |row| Ok((row.size(0)?, row.size(1)?)),
    )?;
    Ok(found.unwrap_or_default())
}

fn read_version(row: &Row<'_>) -> Result<FileVersion, StoreError> {
    Ok(FileVersion {
        reference: row.string(0)?,
        owner: row.address(1)?,
        file: row.hash(2)?,
        size: row.size(3)?,
    })
}

fn of_message(session: &Session, message: &str) -> Result<Option<FileVersion>, StoreError> {
    session.first(
        "SELECT coalesce(p.reference, p.pinned_by), coalesce(p.owner, ''), p.file, f.size \
         FROM file_pins p INDEXED BY file_pins_message CROSS JOIN files f ON f.hash = p.file \
         WHERE p.pinned_by = ?1 AND p.kind = 'message'",
        values![message],
        read_version,
    )
}

fn of_tag(session: &Session, tag: &str) -> Result<Option<FileVersion>, StoreError> {
    session.first(
        "SELECT coalesce(p.reference, t.message), t.owner, t.file, f.size FROM file_tags t \
         CROSS JOIN files f ON f.hash = t.file \
         LEFT JOIN file_pins p INDEXED BY file_pins_message ON p.pinned_by = t.message AND p.kind = 'message' \
         WHERE t.tag = ?1",
        values![tag],
        read_version,
    )
}

fn count_pins(session: &Session, hash: &str) -> Result<u64, StoreError> {
    let mut sql = Sql::new("SELECT count(*) FROM file_pins WHERE file = ");
    sql.bind(hash.to_owned());
    sql.count(session)
}

impl Store {
    /// The record of a file.
    pub async fn file(&self, hash: String) -> Result<Option<FileInfo>, StoreError> {
        self.read(move |session| file(session, &hash)).await
    }

    /// A page of an account's files.
    pub async fn list_files(&self, query: FileQuery) -> Result<Vec<AccountFile>, StoreError> {
        self.read(move |session| list(session, &query)).await
    }

    /// How many files an account stores, and their bytes.
    pub async fn file_totals(&self, owner: Address) -> Result<(u64, u64), StoreError> {
        self.read(move |session| totals(session, owner.as_str())).await
    }

    /// The file that a STORE message pins.
    pub async fn file_of_message(&self, message: ItemHash) -> Result<Option<FileVersion>, StoreError> {
        self.read(move |session| of_message(session, message.as_str())).await
    }

    /// The latest file of a tag: the hash of an original STORE, or `<owner>/<ref>`.
    pub async fn file_of_tag(&self, tag: String) -> Result<Option<FileVersion>, StoreError> {
        self.read(move |session| of_tag(session, &tag)).await
    }

    /// How many pins of any kind hold a file.
    pub async fn count_pins(&self, hash: String) -> Result<u64, StoreError> {
        self.read(move |session| count_pins(session, &hash)).await
    }
}
