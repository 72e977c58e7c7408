use aleph_types::{ItemHash, MessageStatus, Timestamp};

use super::messages::{self, StoredMessage};
use super::skeletons::{self, Skeleton};
use crate::engine::{Session, values};
use crate::statuses::{Record, record_of};
use crate::{Store, StoreError};

/// One of the copies of a pending message, which differ in sender or signature.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingCopy {
    /// The envelope, as JSON.
    pub envelope: String,
    /// When this node received the copy.
    pub reception_time: Timestamp,
}

/// What became of a message on this node (`spec: messages.md §6`).
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum MessageFate {
    Pending {
        reception_time: Timestamp,
        copies: Vec<PendingCopy>,
    },
    Processed {
        reception_time: Timestamp,
        message: Box<StoredMessage>,
    },
    Removing {
        reception_time: Timestamp,
        message: Box<StoredMessage>,
    },
    Forgotten {
        reception_time: Timestamp,
        skeleton: Box<Skeleton>,
    },
    /// Without a skeleton nothing but the status was kept.
    Removed {
        reception_time: Timestamp,
        skeleton: Option<Box<Skeleton>>,
    },
    /// The message as JSON, its code, and the details as JSON.
    Rejected {
        reception_time: Timestamp,
        message: String,
        code: i64,
        details: Option<String>,
    },
}

impl MessageFate {
    /// Its word.
    pub fn status(&self) -> MessageStatus {
        match self {
            MessageFate::Pending { .. } => MessageStatus::Pending,
            MessageFate::Processed { .. } => MessageStatus::Processed,
            MessageFate::Removing { .. } => MessageStatus::Removing,
            MessageFate::Forgotten { .. } => MessageStatus::Forgotten,
            MessageFate::Removed { .. } => MessageStatus::Removed,
            MessageFate::Rejected { .. } => MessageStatus::Rejected,
        }
    }

    /// When this node first met the message.
    pub fn reception_time(&self) -> Timestamp {
        match self {
            MessageFate::Pending { reception_time, .. }
            | MessageFate::Processed { reception_time, .. }
            | MessageFate::Removing { reception_time, .. }
            | MessageFate::Forgotten { reception_time, .. }
            | MessageFate::Removed { reception_time, .. }
            | MessageFate::Rejected { reception_time, .. } => *reception_time,
        }
    }
}

/// `None`: unknown, or its record is gone. The caller holds a transaction, so that all is of one instant.
pub(super) fn fate(session: &Session, hash: &ItemHash) -> Result<Option<MessageFate>, StoreError> {
    let Some(Record { status, reception_time, message }) = record_of(session, hash.as_str())? else {
        return Ok(None);
    };
    let stored = || match message {
        Some(seq) => messages::by_seq(session, seq).map(|message| message.map(Box::new)),
        None => Ok(None),
    };
    let fate = match status {
        MessageStatus::Pending => {
            let copies = session.rows(
                "SELECT envelope, reception_time FROM pending WHERE item_hash = ?1 ORDER BY reception_time, id",
                values![hash.as_str()],
                |row| Ok(PendingCopy { envelope: row.string(0)?, reception_time: row.time(1)? }),
            )?;
            Some(MessageFate::Pending { reception_time, copies })
        }
        MessageStatus::Processed => {
            stored()?.map(|message| MessageFate::Processed { reception_time, message })
        }
        MessageStatus::Removing => stored()?.map(|message| MessageFate::Removing { reception_time, message }),
        MessageStatus::Forgotten => skeletons::by_hash(session, hash)?
            .map(|skeleton| MessageFate::Forgotten { reception_time, skeleton: Box::new(skeleton) }),
        MessageStatus::Removed => {
            let skeleton = skeletons::by_hash(session, hash)?.map(Box::new);
            Some(MessageFate::Removed { reception_time, skeleton })
        }
        MessageStatus::Rejected => session.first(
            "SELECT message, error_code, details FROM rejected WHERE item_hash = ?1",
            values![hash.as_str()],
            |row| {
                Ok(MessageFate::Rejected {
                    reception_time,
                    message: row.string(0)?,
                    code: row.int(1)?,
                    details: row.opt_string(2)?,
                })
            },
        )?,
    };
    Ok(fate)
}

impl Store {
    /// Everything this node knows about a message; `None` when it never met it.
    pub async fn message_fate(&self, hash: ItemHash) -> Result<Option<MessageFate>, StoreError> {
        self.read(move |session| fate(&*session.snapshot()?, &hash)).await
    }

    /// The status of a message and when this node first met it.
    pub async fn message_status(
        &self,
        hash: ItemHash,
    ) -> Result<Option<(MessageStatus, Timestamp)>, StoreError> {
        self.read(move |session| {
            let record = record_of(session, hash.as_str())?;
            Ok(record.map(|record| (record.status, record.reception_time)))
        })
        .await
    }

    /// Keys of what the copies of a pending message wait for; none of a message that waits no more.
    pub async fn awaited(&self, hash: ItemHash) -> Result<Vec<String>, StoreError> {
        self.read(move |session| {
            let sql = "SELECT waits_on FROM pending WHERE item_hash = ?1";
            session.rows(sql, values![hash.as_str()], |row| row.string(0))
        })
        .await
    }
}
