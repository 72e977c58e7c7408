//! What the rules ask, answered inside the writer's transaction.

use aleph_rules::{
    AggregateFact, AmendFact, ElementFact, Facts, Fate, PinFact, PostFact, Stamp, StoredMessage, TagFact,
    TagVersion, VmFact,
};
use aleph_types::{Address, Channel, ItemHash, MessageStatus};
use rusqlite::{Connection, OptionalExtension, Params, Row};
use serde_json::{Map, Value};

use crate::{StoreError, row};

/// The answers of one connection at one instant.
#[derive(Debug)]
pub(crate) struct StoredFacts<'a> {
    pub(crate) connection: &'a Connection,
}

/// Status of a hash, and the row of its message while that is stored.
pub(crate) fn status_of(
    connection: &Connection,
    hash: &str,
) -> Result<Option<(MessageStatus, Option<i64>)>, StoreError> {
    let found: Option<(String, Option<i64>)> = connection
        .prepare_cached("SELECT status, message FROM statuses WHERE item_hash = ?1")?
        .query_row([hash], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found
        .map(|(status, message)| {
            let status = status.parse().map_err(|()| StoreError::corrupt("status", status.clone()))?;
            Ok((status, message))
        })
        .transpose()
}

fn stamp(row: &Row<'_>, time: usize, hash: usize) -> Result<Stamp, StoreError> {
    Ok(Stamp { time: row::time(row, time)?, hash: row::hash(row, hash)? })
}

fn json(text: &str) -> Result<Value, StoreError> {
    aleph_types::json::parse(text.as_bytes()).map_err(|_| StoreError::corrupt("JSON value", text))
}

/// Runs a cached statement and reads every row.
fn all<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut answers = Vec::new();
    while let Some(row) = rows.next()? {
        answers.push(read(row)?);
    }
    Ok(answers)
}

/// Runs a cached statement and reads the first row, if any.
fn first<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    rows.next()?.map(read).transpose()
}

fn read_vm(row: &Row<'_>) -> Result<VmFact, StoreError> {
    let replaces: Option<String> = row.get(4)?;
    Ok(VmFact {
        item_hash: row::hash(row, 0)?,
        message_type: row::message_type(row, 1)?,
        owner: Address::from(row.get::<_, String>(2)?),
        created: row::time(row, 3)?,
        replaces: replaces.as_deref().and_then(|text| ItemHash::recognise(text).ok()),
        allow_amend: row.get(5)?,
    })
}

impl Facts for StoredFacts<'_> {
    type Error = StoreError;

    fn fate(&mut self, hash: &ItemHash) -> Result<Fate, StoreError> {
        let Some((status, message)) = status_of(self.connection, hash.as_str())? else {
            return Ok(Fate::Unknown);
        };
        match (status, message) {
            (MessageStatus::Pending, _) => Ok(Fate::Pending),
            (MessageStatus::Rejected, _) => Ok(Fate::Rejected),
            (MessageStatus::Forgotten | MessageStatus::Removed, _) => Ok(Fate::Gone),
            (MessageStatus::Processed | MessageStatus::Removing, None) => {
                Err(StoreError::corrupt("status without a message", hash.as_str()))
            }
            (MessageStatus::Processed | MessageStatus::Removing, Some(seq)) => {
                let stored: Option<StoredMessage> = first(
                    self.connection,
                    "SELECT item_hash, message_type, chain, sender, owner, channel, content_time, \
                     content_type, content_key, reference, content_hash FROM messages WHERE seq = ?1",
                    [seq],
                    |row| {
                        let file: Option<String> = row.get(10)?;
                        Ok(StoredMessage {
                            item_hash: row::hash(row, 0)?,
                            message_type: row::message_type(row, 1)?,
                            chain: row::chain(row, 2)?,
                            sender: Address::from(row.get::<_, String>(3)?),
                            owner: Address::from(row.get::<_, String>(4)?),
                            channel: row.get::<_, Option<String>>(5)?.map(Channel::from),
                            content_time: row::time(row, 6)?,
                            post_type: row.get(7)?,
                            aggregate_key: row.get(8)?,
                            reference: row.get(9)?,
                            file: file.as_deref().and_then(|text| ItemHash::recognise(text).ok()),
                        })
                    },
                )?;
                match stored {
                    Some(stored) => Ok(Fate::Stored(Box::new(stored))),
                    None => Err(StoreError::corrupt("status without a message", hash.as_str())),
                }
            }
        }
    }

    fn aggregate_field(
        &mut self,
        owner: &Address,
        key: &str,
        field: &str,
    ) -> Result<Option<(Value, Stamp)>, StoreError> {
        first(
            self.connection,
            "SELECT value, time, hash FROM aggregate_fields WHERE owner = ?1 AND key = ?2 AND field = ?3",
            (owner.as_str(), key, field),
            |row| {
                let text: String = row.get(0)?;
                Ok((json(&text)?, stamp(row, 1, 2)?))
            },
        )
    }

    fn field_stamps(
        &mut self,
        owner: &Address,
        key: &str,
        fields: &[&str],
    ) -> Result<Vec<Option<Stamp>>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT time, hash FROM aggregate_fields WHERE owner = ?1 AND key = ?2 AND field = ?3",
        )?;
        let mut stamps = Vec::with_capacity(fields.len());
        for field in fields {
            let mut rows = statement.query((owner.as_str(), key, field))?;
            stamps.push(match rows.next()? {
                Some(row) => Some(stamp(row, 0, 1)?),
                None => None,
            });
        }
        Ok(stamps)
    }

    fn aggregate(&mut self, owner: &Address, key: &str) -> Result<Option<AggregateFact>, StoreError> {
        first(
            self.connection,
            "SELECT created, first_hash, updated, last_hash, elements FROM aggregates \
             WHERE owner = ?1 AND key = ?2",
            (owner.as_str(), key),
            |row| {
                Ok(AggregateFact { first: stamp(row, 0, 1)?, last: stamp(row, 2, 3)?, elements: row.get(4)? })
            },
        )
    }

    fn elements(&mut self, owner: &Address, key: &str) -> Result<Vec<ElementFact>, StoreError> {
        all(
            self.connection,
            "SELECT content_time, item_hash, COALESCE(content, item_content) FROM messages \
             WHERE content_key = ?1 AND owner = ?2",
            (key, owner.as_str()),
            |row| {
                let text: String = row.get(2)?;
                let content = match json(&text)? {
                    Value::Object(mut document) => match document.remove("content") {
                        Some(Value::Object(content)) => content,
                        _ => Map::new(),
                    },
                    _ => Map::new(),
                };
                Ok(ElementFact { stamp: stamp(row, 0, 1)?, content })
            },
        )
    }

    fn post(&mut self, original: &ItemHash) -> Result<Option<PostFact>, StoreError> {
        first(
            self.connection,
            "SELECT owner, created, last_updated, latest FROM posts WHERE original = ?1",
            [original.as_str()],
            |row| {
                Ok(PostFact {
                    owner: Address::from(row.get::<_, String>(0)?),
                    created: row::time(row, 1)?,
                    latest: stamp(row, 2, 3)?,
                })
            },
        )
    }

    fn amends(&mut self, original: &ItemHash) -> Result<Vec<AmendFact>, StoreError> {
        all(
            self.connection,
            "SELECT time, amend FROM amends WHERE original = ?1",
            [original.as_str()],
            |row| Ok(AmendFact { stamp: stamp(row, 0, 1)? }),
        )
    }

    fn message_pin(&mut self, store: &ItemHash) -> Result<Option<PinFact>, StoreError> {
        first(
            self.connection,
            "SELECT p.file, p.owner, f.size, p.reference, p.tag FROM file_pins p JOIN files f ON f.hash = p.file \
             WHERE p.pinned_by = ?1 AND p.kind = 'message'",
            [store.as_str()],
            |row| {
                Ok(PinFact {
                    file: row::hash(row, 0)?,
                    owner: Address::from(row.get::<_, Option<String>>(1)?.unwrap_or_default()),
                    size: row.get(2)?,
                    reference: row.get(3)?,
                    tag: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
                })
            },
        )
    }

    fn other_pins(&mut self, file: &ItemHash, store: &ItemHash) -> Result<u64, StoreError> {
        let count = self
            .connection
            .prepare_cached("SELECT COUNT(*) FROM file_pins WHERE file = ?1 AND pinned_by <> ?2")?
            .query_row((file.as_str(), store.as_str()), |row| row.get(0))?;
        Ok(count)
    }

    fn tag(&mut self, tag: &str) -> Result<Option<TagFact>, StoreError> {
        first(
            self.connection,
            "SELECT t.owner, t.file, f.size, t.time, t.message FROM file_tags t \
             JOIN files f ON f.hash = t.file WHERE t.tag = ?1",
            [tag],
            |row| {
                Ok(TagFact {
                    owner: Address::from(row.get::<_, String>(0)?),
                    file: row::hash(row, 1)?,
                    size: row.get(2)?,
                    stamp: stamp(row, 3, 4)?,
                })
            },
        )
    }

    fn tag_versions(&mut self, tag: &str) -> Result<Vec<TagVersion>, StoreError> {
        all(
            self.connection,
            "SELECT owner, file, created, pinned_by FROM file_pins WHERE tag = ?1 AND kind = 'message'",
            [tag],
            |row| {
                Ok(TagVersion {
                    owner: Address::from(row.get::<_, Option<String>>(0)?.unwrap_or_default()),
                    file: row::hash(row, 1)?,
                    stamp: stamp(row, 2, 3)?,
                })
            },
        )
    }

    fn vm_using(&mut self, store: &ItemHash) -> Result<Option<ItemHash>, StoreError> {
        first(
            self.connection,
            "SELECT vm FROM vm_references WHERE reference = ?1 ORDER BY vm LIMIT 1",
            [store.as_str()],
            |row| row::hash(row, 0),
        )
    }

    fn vm(&mut self, hash: &ItemHash) -> Result<Option<VmFact>, StoreError> {
        first(
            self.connection,
            "SELECT item_hash, message_type, owner, created, replaces, allow_amend FROM vms \
             WHERE item_hash = ?1",
            [hash.as_str()],
            read_vm,
        )
    }

    fn vm_updates(&mut self, original: &ItemHash) -> Result<Vec<VmFact>, StoreError> {
        all(
            self.connection,
            "SELECT item_hash, message_type, owner, created, replaces, allow_amend FROM vms \
             WHERE replaces = ?1",
            [original.as_str()],
            read_vm,
        )
    }
}
