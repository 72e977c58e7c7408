//! What nodes tell each other about what they have, and small state of the node itself.

use aleph_types::wire::Envelope;
use aleph_types::{ErrorCode, ItemHash, ItemType, Message, MessageStatus, Rejection, Timestamp};

use crate::engine::{Row, Session, values};
use crate::statuses::{set_status, status_of, with_status};
use crate::{Store, StoreError, Transaction};

/// One processed message in this node's order of processing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Place in the order; grows, never used twice.
    pub seq: i64,
    /// The message.
    pub item_hash: ItemHash,
}

/// A message that this node has accepted once: its text may be gone by now (forgotten, removed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedItem {
    /// The envelope's time.
    pub time: Timestamp,
    /// The message.
    pub item_hash: ItemHash,
}

/// What is left of a message that was forgotten: enough to check who signed it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Skeleton {
    /// The envelope without its content.
    pub envelope: Envelope,
    /// Who owned it.
    pub owner: String,
    /// The FORGETs that name it, at least one.
    pub forgotten_by: Vec<ItemHash>,
}

impl Store {
    /// Accepted messages after the place `after` in the order of processing, at most `limit`, and the place
    /// of the last one (`after` if there is none).
    pub async fn accepted_after(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<(i64, Vec<AcceptedItem>), StoreError> {
        self.read(move |session| {
            let mut last = after;
            let items = session.rows(
                "SELECT seq, time, item_hash FROM messages WHERE seq > ?1 ORDER BY seq LIMIT ?2",
                values![after, limit as i64],
                |row| {
                    last = row.int(0)?;
                    Ok(AcceptedItem { time: row.time(1)?, item_hash: row.hash(2)? })
                },
            )?;
            Ok((last, items))
        })
        .await
    }

    /// How many messages were accepted once and are gone (forgotten, removed).
    pub async fn gone_count(&self) -> Result<u64, StoreError> {
        self.read(|session| session.count("SELECT COUNT(*) FROM skeletons", &[])).await
    }

    /// Those messages in the order of their hashes, after `after`, at most `limit`.
    pub async fn gone_after(&self, after: String, limit: usize) -> Result<Vec<AcceptedItem>, StoreError> {
        self.read(move |session| {
            session.rows(
                "SELECT time, item_hash FROM skeletons WHERE item_hash > ?1 ORDER BY item_hash LIMIT ?2",
                values![&after, limit as i64],
                |row| Ok(AcceptedItem { time: row.time(0)?, item_hash: row.hash(1)? }),
            )
        })
        .await
    }

    /// What is left of those of `hashes` that were forgotten.
    pub async fn skeletons(&self, hashes: Vec<ItemHash>) -> Result<Vec<Skeleton>, StoreError> {
        self.read(move |session| {
            let mut skeletons = Vec::new();
            for hash in hashes {
                skeletons.extend(skeleton_of(session, hash.as_str())?);
            }
            Ok(skeletons)
        })
        .await
    }

    /// The fate of a hash: its status, and the refusal if it is rejected.
    pub async fn fate_summary(
        &self,
        hash: &ItemHash,
    ) -> Result<Option<(MessageStatus, Option<Rejection>)>, StoreError> {
        let hash = hash.clone();
        self.read(move |session| fate_summary(session, &hash)).await
    }

    /// Processed messages after `after`, in order, at most `limit`.
    pub async fn log_after(&self, after: i64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.read(move |session| {
            session.rows(
                "SELECT seq, item_hash FROM messages WHERE seq > ?1 ORDER BY seq LIMIT ?2",
                values![after, limit as i64],
                |row| Ok(LogEntry { seq: row.int(0)?, item_hash: row.hash(1)? }),
            )
        })
        .await
    }

    /// Those of `hashes` that this node has not met, or has rejected.
    pub async fn missing(&self, hashes: Vec<ItemHash>) -> Result<Vec<ItemHash>, StoreError> {
        self.read(move |session| {
            let met = with_status(session, &hashes, |status| status != MessageStatus::Rejected)?;
            Ok(hashes.into_iter().filter(|hash| !met.contains(hash.as_str())).collect())
        })
        .await
    }

    /// Those of `hashes` whose fate is final and not a refusal: another copy changes nothing.
    pub async fn settled(&self, hashes: Vec<ItemHash>) -> Result<Vec<ItemHash>, StoreError> {
        self.read(move |session| {
            // A waiting copy may be another signer's, and be refused in the end.
            let settles = |status| !matches!(status, MessageStatus::Rejected | MessageStatus::Pending);
            let settled = with_status(session, &hashes, settles)?;
            Ok(hashes.into_iter().filter(|hash| settled.contains(hash.as_str())).collect())
        })
        .await
    }

    /// The envelopes of stored messages; hashes that are not stored are left out.
    pub async fn envelopes(&self, hashes: Vec<ItemHash>) -> Result<Vec<Envelope>, StoreError> {
        self.read(move |session| {
            let mut envelopes = Vec::with_capacity(hashes.len());
            for hash in hashes {
                let Some((_, Some(seq))) = status_of(session, hash.as_str())? else { continue };
                envelopes.extend(session.first(
                    "SELECT chain, sender, message_type, channel, signature, time, item_type, item_content, \
                     item_hash FROM messages WHERE seq = ?1",
                    values![seq],
                    read_envelope,
                )?);
            }
            Ok(envelopes)
        })
        .await
    }

    /// A value of the node's own small state.
    pub async fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let key = key.to_owned();
        self.read(move |session| {
            session.first("SELECT value FROM meta WHERE key = ?1", values![&key], |row| row.string(0))
        })
        .await
    }

    /// Every program that is stored, oldest first.
    pub async fn programs(&self) -> Result<Vec<ItemHash>, StoreError> {
        self.read(|session| {
            session.rows(
                "SELECT item_hash FROM vms WHERE message_type = 'PROGRAM' ORDER BY created, item_hash",
                &[],
                |row| row.hash(0),
            )
        })
        .await
    }

    /// The content document of a stored message.
    pub async fn content_document(&self, hash: &ItemHash) -> Result<Option<String>, StoreError> {
        let hash = hash.clone();
        self.read(move |session| {
            let Some((_, Some(seq))) = status_of(session, hash.as_str())? else { return Ok(None) };
            let content = "SELECT COALESCE(content, item_content) FROM messages WHERE seq = ?1";
            Ok(session.first(content, values![seq], |row| row.opt_string(0))?.flatten())
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
        self.read(move |session| {
            let mut content = serde_json::Map::new();
            session.each(
                "SELECT field, value FROM aggregate_fields WHERE owner = ?1 AND key = ?2",
                values![&owner, &key],
                |row| {
                    let text = row.text(1)?;
                    let value = aleph_types::json::parse(text.as_bytes())
                        .map_err(|_| StoreError::corrupt("aggregate field", text))?;
                    content.insert(row.string(0)?, value);
                    Ok(())
                },
            )?;
            Ok(if content.is_empty() { None } else { Some(content) })
        })
        .await
    }

    /// The allocation document of a program that this node placed.
    pub async fn allocation(&self, program: &ItemHash) -> Result<Option<String>, StoreError> {
        let program = program.clone();
        self.read(move |session| {
            session.first(
                "SELECT document FROM allocations WHERE program = ?1",
                values![program.as_str()],
                |row| row.string(0),
            )
        })
        .await
    }

    /// Every allocation document of this node.
    pub async fn allocations(&self) -> Result<Vec<(ItemHash, String)>, StoreError> {
        self.read(|session| {
            session.rows("SELECT program, document FROM allocations ORDER BY program", &[], |row| {
                Ok((row.hash(0)?, row.string(1)?))
            })
        })
        .await
    }
}

impl Transaction<'_> {
    /// Remembers that a message was forgotten before this node could get it. Its signature was checked, its
    /// content is lost. Returns whether that is news: a hash that this node has met already stays as it is,
    /// unless it was refused, since anybody can send a wrong copy of a message, or waits for what may be gone.
    pub fn remember_forgotten(
        &mut self,
        message: &Message,
        item_type: ItemType,
        owner: &str,
        by: &[ItemHash],
        gone_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let before = self.status(&message.item_hash)?;
        if !matches!(before, None | Some(MessageStatus::Rejected | MessageStatus::Pending)) {
            return Ok(false);
        }
        self.leave(&message.item_hash, before)?;
        let (session, sums) = self.parts();
        session.execute(
            "INSERT INTO skeletons (item_hash, status, message_type, chain, sender, owner, signature, \
             item_type, time, channel, payment_type, size, gone_at, forgotten_by) \
             VALUES (?1, 'forgotten', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'hold', NULL, ?10, ?11)",
            values![
                message.item_hash.as_str(),
                message.message_type.as_str(),
                message.chain.as_str(),
                message.sender.as_str(),
                owner,
                message.signature.as_ref().map(|signature| signature.as_str()),
                item_type.as_str(),
                message.time.as_micros(),
                message.channel.as_ref().map(|channel| channel.as_str()),
                gone_at.as_micros(),
                &serde_json::json!(by).to_string(),
            ],
        )?;
        sums.let_go();
        set_status(session, sums, &message.item_hash, MessageStatus::Forgotten, now, None)?;
        Ok(true)
    }

    /// Sets a value of the node's own small state. The character NUL, which PostgreSQL can't hold, is left
    /// out: other nodes' words end up here.
    pub fn set_meta(&mut self, key: &str, value: &str) -> Result<(), StoreError> {
        self.session().execute(
            "INSERT INTO meta (key, value) VALUES (?1, ?2) \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            values![&key.replace('\0', ""), &value.replace('\0', "")],
        )
    }
}

/// What is left of a message that was forgotten.
pub(crate) fn skeleton_of(session: &Session, hash: &str) -> Result<Option<Skeleton>, StoreError> {
    session.first(
        "SELECT chain, sender, message_type, channel, signature, time, item_type, NULL, item_hash, \
         owner, forgotten_by FROM skeletons WHERE item_hash = ?1 AND status = 'forgotten'",
        values![hash],
        |row| {
            let by = row.string(10)?;
            Ok(Skeleton {
                envelope: read_envelope(row)?,
                owner: row.string(9)?,
                forgotten_by: serde_json::from_str(&by)
                    .map_err(|_| StoreError::corrupt("list of FORGETs", by))?,
            })
        },
    )
}

fn fate_summary(
    session: &Session,
    hash: &ItemHash,
) -> Result<Option<(MessageStatus, Option<Rejection>)>, StoreError> {
    let Some((status, _)) = status_of(session, hash.as_str())? else { return Ok(None) };
    if status != MessageStatus::Rejected {
        return Ok(Some((status, None)));
    }
    let rejection = session.first(
        "SELECT error_code, details FROM rejected WHERE item_hash = ?1",
        values![hash.as_str()],
        |row| read_rejection(row.int(0)?, row.opt_string(1)?),
    )?;
    Ok(Some((status, rejection)))
}

/// A refusal from its columns.
pub(crate) fn read_rejection(code: i64, details: Option<String>) -> Result<Rejection, StoreError> {
    Ok(Rejection {
        code: i16::try_from(code)
            .ok()
            .and_then(ErrorCode::from_i16)
            .ok_or_else(|| StoreError::corrupt("error code", code.to_string()))?,
        details: details
            .map(|text| serde_json::from_str(&text).map_err(|_| StoreError::corrupt("details", text)))
            .transpose()?,
    })
}

fn read_envelope(row: &Row<'_>) -> Result<Envelope, StoreError> {
    Ok(Envelope {
        chain: row.string(0)?,
        sender: row.string(1)?,
        message_type: row.string(2)?,
        channel: row.opt_string(3)?,
        signature: row.opt_string(4)?,
        time: row.time(5)?.as_secs_f64(),
        item_type: Some(row.string(6)?),
        item_content: row.opt_string(7)?,
        item_hash: row.string(8)?,
    })
}
