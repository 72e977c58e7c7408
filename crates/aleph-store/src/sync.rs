//! What nodes tell each other about what they have, and small state of the node itself.

use aleph_types::wire::Envelope;
use aleph_types::{ErrorCode, ItemHash, MessageStatus, Rejection};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::facts::status_of;
use crate::{Store, StoreError, Transaction, row};

/// One processed message in this node's order of processing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LogEntry {
    /// Place in the order; grows, never used twice.
    pub seq: i64,
    /// The message.
    pub item_hash: ItemHash,
}

impl Store {
    /// The fate of a hash: its status, and the refusal if it is rejected.
    pub async fn fate_summary(
        &self,
        hash: &ItemHash,
    ) -> Result<Option<(MessageStatus, Option<Rejection>)>, StoreError> {
        let hash = hash.clone();
        self.read(move |connection| fate_summary(connection, &hash)).await
    }

    /// Processed messages after `after`, in order, at most `limit`.
    pub async fn log_after(&self, after: i64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT seq, item_hash FROM messages WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
            let mut rows = statement.query((after, limit as i64))?;
            let mut entries = Vec::new();
            while let Some(row) = rows.next()? {
                entries.push(LogEntry { seq: row.get(0)?, item_hash: row::hash(row, 1)? });
            }
            Ok(entries)
        })
        .await
    }

    /// Those of `hashes` that this node has not met, or has rejected.
    pub async fn missing(&self, hashes: Vec<ItemHash>) -> Result<Vec<ItemHash>, StoreError> {
        self.read(move |connection| {
            let mut missing = Vec::new();
            for hash in hashes {
                match status_of(connection, hash.as_str())? {
                    None | Some((MessageStatus::Rejected, _)) => missing.push(hash),
                    Some(_) => {}
                }
            }
            Ok(missing)
        })
        .await
    }

    /// The envelopes of stored messages; hashes that are not stored are left out.
    pub async fn envelopes(&self, hashes: Vec<ItemHash>) -> Result<Vec<Envelope>, StoreError> {
        self.read(move |connection| {
            let mut envelopes = Vec::with_capacity(hashes.len());
            let mut statement = connection.prepare_cached(
                "SELECT chain, sender, message_type, channel, signature, time, item_type, item_content, \
                 item_hash FROM messages WHERE seq = ?1",
            )?;
            for hash in hashes {
                let Some((_, Some(seq))) = status_of(connection, hash.as_str())? else { continue };
                let mut rows = statement.query([seq])?;
                if let Some(row) = rows.next()? {
                    envelopes.push(read_envelope(row)?);
                }
            }
            Ok(envelopes)
        })
        .await
    }

    /// A value of the node's own small state.
    pub async fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let key = key.to_owned();
        self.read(move |connection| {
            Ok(connection
                .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
                .query_row([key], |row| row.get(0))
                .optional()?)
        })
        .await
    }

    /// Every program that is stored, oldest first.
    pub async fn programs(&self) -> Result<Vec<ItemHash>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT item_hash FROM vms WHERE message_type = 'PROGRAM' ORDER BY created, item_hash",
            )?;
            let mut rows = statement.query([])?;
            let mut programs = Vec::new();
            while let Some(row) = rows.next()? {
                programs.push(row::hash(row, 0)?);
            }
            Ok(programs)
        })
        .await
    }

    /// The content document of a stored message.
    pub async fn content_document(&self, hash: &ItemHash) -> Result<Option<String>, StoreError> {
        let hash = hash.clone();
        self.read(move |connection| {
            let Some((_, Some(seq))) = status_of(connection, hash.as_str())? else { return Ok(None) };
            Ok(connection
                .prepare_cached("SELECT COALESCE(content, item_content) FROM messages WHERE seq = ?1")?
                .query_row([seq], |row| row.get(0))
                .optional()?
                .flatten())
        })
        .await
    }

    /// The merged content of one aggregate.
    pub async fn aggregate_content(
        &self,
        owner: &str,
        key: &str,
    ) -> Result<Option<serde_json::Map<String, serde_json::Value>>, StoreError> {
        let (owner, key) = (owner.to_owned(), key.to_owned());
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT field, value FROM aggregate_fields WHERE owner = ?1 AND key = ?2")?;
            let mut rows = statement.query((owner, key))?;
            let mut content = serde_json::Map::new();
            while let Some(row) = rows.next()? {
                let text: String = row.get(1)?;
                let value = aleph_types::json::parse(text.as_bytes())
                    .map_err(|_| StoreError::corrupt("aggregate field", text))?;
                content.insert(row.get(0)?, value);
            }
            Ok(if content.is_empty() { None } else { Some(content) })
        })
        .await
    }

    /// The allocation document of a program that this node placed.
    pub async fn allocation(&self, program: &ItemHash) -> Result<Option<String>, StoreError> {
        let program = program.clone();
        self.read(move |connection| {
            Ok(connection
                .prepare_cached("SELECT document FROM allocations WHERE program = ?1")?
                .query_row([program.as_str()], |row| row.get(0))
                .optional()?)
        })
        .await
    }

    /// Every allocation document of this node.
    pub async fn allocations(&self) -> Result<Vec<(ItemHash, String)>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT program, document FROM allocations ORDER BY program")?;
            let mut rows = statement.query([])?;
            let mut allocations = Vec::new();
            while let Some(row) = rows.next()? {
                allocations.push((row::hash(row, 0)?, row.get(1)?));
            }
            Ok(allocations)
        })
        .await
    }
}

impl Transaction<'_> {
    /// Sets a value of the node's own small state.
    pub fn set_meta(&mut self, key: &str, value: &str) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached(
                "INSERT INTO meta (key, value) VALUES (?1, ?2) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            )?
            .execute((key, value))?;
        Ok(())
    }
}

fn fate_summary(
    connection: &Connection,
    hash: &ItemHash,
) -> Result<Option<(MessageStatus, Option<Rejection>)>, StoreError> {
    let Some((status, _)) = status_of(connection, hash.as_str())? else { return Ok(None) };
    if status != MessageStatus::Rejected {
        return Ok(Some((status, None)));
    }
    let found: Option<(i16, Option<String>)> = connection
        .prepare_cached("SELECT error_code, details FROM rejected WHERE item_hash = ?1")?
        .query_row([hash.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let rejection = found.map(|(code, details)| read_rejection(code, details)).transpose()?;
    Ok(Some((status, rejection)))
}

/// A refusal from its columns.
pub(crate) fn read_rejection(code: i16, details: Option<String>) -> Result<Rejection, StoreError> {
    Ok(Rejection {
        code: ErrorCode::from_i16(code).ok_or_else(|| StoreError::corrupt("error code", code.to_string()))?,
        details: details
            .map(|text| serde_json::from_str(&text).map_err(|_| StoreError::corrupt("details", text)))
            .transpose()?,
    })
}

fn read_envelope(row: &Row<'_>) -> Result<Envelope, StoreError> {
    Ok(Envelope {
        chain: row.get(0)?,
        sender: row.get(1)?,
        message_type: row.get(2)?,
        channel: row.get(3)?,
        signature: row.get(4)?,
        time: row::time(row, 5)?.as_secs_f64(),
        item_type: Some(row.get(6)?),
        item_content: row.get(7)?,
        item_hash: row.get(8)?,
    })
}
