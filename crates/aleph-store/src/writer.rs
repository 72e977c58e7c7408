//! The one writer: batches of decisions, one transaction each.

use aleph_rules::{Effect, Facts};
use aleph_types::content::{Content, PaymentType};
use aleph_types::{ItemHash, Message, MessageStatus, Rejection, Timestamp};
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use crate::digest::column::text;
use crate::digest::{Part, Sums};
use crate::facts::{StoredFacts, status_of};
use crate::{StoreError, effects};

/// The connection that writes. There is one per database.
#[derive(Debug)]
pub struct Writer {
    connection: Connection,
}

/// A processed message, ready to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewMessage<'a> {
    /// The envelope.
    pub message: &'a Message,
    /// Its content.
    pub content: &'a Content,
    /// The content document, where that is not the envelope's own text.
    pub document: Option<&'a str>,
    /// Bytes of the content.
    pub size: u64,
    /// When this node met the message.
    pub reception_time: Timestamp,
    /// Where it came from (a word of the pipeline).
    pub origin: &'a str,
}

/// A copy of a message that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingMessage {
    /// Row.
    pub id: i64,
    /// Identity.
    pub item_hash: ItemHash,
    /// JSON of the envelope.
    pub envelope: String,
    /// Where it came from (a word of the pipeline).
    pub origin: String,
    /// Key of the dependency.
    pub waits_on: String,
    /// When patience ends.
    pub deadline: Timestamp,
    /// When this node met it.
    pub reception_time: Timestamp,
    /// The refusal when patience ends.
    pub rejection: Rejection,
}

/// A copy of a message that is about to wait.
#[derive(Debug, Clone, Copy)]
pub struct NewPending<'a> {
    /// The envelope.
    pub message: &'a Message,
    /// JSON of the envelope.
    pub envelope: &'a str,
    /// Where it came from.
    pub origin: &'a str,
    /// Key of the dependency.
    pub waits_on: &'a str,
    /// When patience ends.
    pub deadline: Timestamp,
    /// The refusal that then applies.
    pub rejection: &'a Rejection,
    /// When this node met the message.
    pub reception_time: Timestamp,
}

impl Writer {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Starts a transaction; dropping it without [`Transaction::commit`] undoes everything.
    pub fn begin(&mut self) -> Result<Transaction<'_>, StoreError> {
        let transaction =
            self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let sums = Sums::load(&transaction)?;
        Ok(Transaction { transaction, sums })
    }

    /// Bounds the database to `pages` beyond its present size (`None` lifts the bound, `Some(0)` lets it
    /// not grow at all); returns its present size in pages. Further growth fails like a full disk.
    pub fn limit_pages(&self, pages: Option<i64>) -> Result<i64, StoreError> {
        let present: i64 = self.connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let limit = pages.map_or(i64::from(u32::MAX) - 1, |pages| present + pages);
        self.connection.query_row(&format!("PRAGMA max_page_count = {limit}"), [], |_| Ok(()))?;
        Ok(present)
    }

    /// Copies the log into the database file, as far as readers allow.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

/// One batch of changes, durable at [`Transaction::commit`] or never.
#[derive(Debug)]
pub struct Transaction<'a> {
    transaction: rusqlite::Transaction<'a>,
    sums: Sums,
}

impl Transaction<'_> {
    pub(crate) fn connection(&self) -> &Connection {
        &self.transaction
    }

    /// The facts as this transaction sees them, its own changes included.
    pub fn facts(&mut self) -> impl Facts<Error = StoreError> + '_ {
        StoredFacts { connection: &self.transaction }
    }

    /// The status of a hash.
    pub fn status(&self, hash: &ItemHash) -> Result<Option<MessageStatus>, StoreError> {
        Ok(status_of(&self.transaction, hash.as_str())?.map(|(status, _)| status))
    }

    /// Size and kind of a file that is on record.
    pub fn file_size(&self, hash: &ItemHash) -> Result<Option<u64>, StoreError> {
        Ok(self
            .transaction
            .prepare_cached("SELECT size FROM files WHERE hash = ?1")?
            .query_row([hash.as_str()], |row| row.get(0))
            .optional()?)
    }

    /// Stores a processed message and applies its effects; returns its place in the order of processing.
    pub fn process(&mut self, new: NewMessage<'_>, effects: &[Effect]) -> Result<i64, StoreError> {
        let message = new.message;
        let content = new.content;
        let (content_type, reference, key, content_hash) = indexed_fields(content);
        self.transaction
            .prepare_cached(
                "INSERT INTO messages (item_hash, message_type, chain, sender, owner, signature, item_type, \
                 item_content, content, size, time, content_time, channel, content_type, reference, \
                 content_key, content_hash, payment_type, reception_time, origin) \
                 VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)",
            )?
            .execute(rusqlite::params![
                message.item_hash.as_str(),
                message.message_type.as_str(),
                message.chain.as_str(),
                message.sender.as_str(),
                content.owner().as_str(),
                message.signature.as_ref().map(|signature| signature.as_str()),
                message.item_type.as_str(),
                message.item_content.as_deref(),
                new.document,
                new.size,
                message.time.as_micros(),
                content.time().as_micros(),
                message.channel.as_ref().map(|channel| channel.as_str()),
                content_type,
                reference,
                key,
                content_hash,
                payment_type(content).map(PaymentType::as_str),
                new.reception_time.as_micros(),
                new.origin,
            ])?;
        let seq = self.transaction.last_insert_rowid();
        let was =
            self.set_status(&message.item_hash, MessageStatus::Processed, new.reception_time, Some(seq))?;
        self.leave(&message.item_hash, was)?;
        for tag in content.tags() {
            self.transaction
                .prepare_cached(
                    "INSERT INTO message_tags (tag, message) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                )?
                .execute((tag, seq))?;
        }
        for effect in effects {
            effects::apply(&self.transaction, &mut self.sums, effect, seq)?;
        }
        Ok(seq)
    }

    /// Keeps a copy of a message that waits for something; returns the key that the same copy waited on
    /// before, if it did.
    pub fn wait(&mut self, new: NewPending<'_>) -> Result<Option<String>, StoreError> {
        let message = new.message;
        let signature = message.signature.as_ref().map_or("", |signature| signature.as_str());
        let before: Option<String> = self
            .transaction
            .prepare_cached(
                "SELECT waits_on FROM pending WHERE item_hash = ?1 AND sender = ?2 AND signature = ?3",
            )?
            .query_row((message.item_hash.as_str(), message.sender.as_str(), signature), |row| row.get(0))
            .optional()?;
        let was = self.set_status(&message.item_hash, MessageStatus::Pending, new.reception_time, None)?;
        if was == Some(MessageStatus::Rejected) {
            self.leave(&message.item_hash, was)?;
        }
        self.transaction
            .prepare_cached(
                "INSERT INTO pending (item_hash, sender, signature, envelope, origin, waits_on, deadline, \
                 error_code, details, reception_time) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10) \
                 ON CONFLICT (item_hash, sender, signature) DO UPDATE SET waits_on = excluded.waits_on, \
                 error_code = excluded.error_code, details = excluded.details",
            )?
            .execute(rusqlite::params![
                message.item_hash.as_str(),
                message.sender.as_str(),
                signature,
                new.envelope,
                new.origin,
                new.waits_on,
                new.deadline.as_micros(),
                new.rejection.code.as_i16(),
                new.rejection.details.as_ref().map(Value::to_string),
                new.reception_time.as_micros(),
            ])?;
        Ok(before)
    }

    /// What the waiting copies of a message wait on.
    pub fn waiting_keys(&self, hash: &ItemHash) -> Result<Vec<String>, StoreError> {
        let mut statement =
            self.transaction.prepare_cached("SELECT waits_on FROM pending WHERE item_hash = ?1")?;
        let keys = statement.query_map([hash.as_str()], |row| row.get(0))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    /// What one waiting copy waits on, if it still does.
    pub fn waiting_key(&self, id: i64) -> Result<Option<String>, StoreError> {
        Ok(self
            .transaction
            .prepare_cached("SELECT waits_on FROM pending WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?)
    }

    /// Records a refusal. `document` is the message as it came. A hash that has a better fate keeps it.
    pub fn reject(
        &mut self,
        hash: &ItemHash,
        document: &str,
        rejection: &Rejection,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        match self.status(hash)? {
            None | Some(MessageStatus::Rejected | MessageStatus::Pending) => {}
            Some(_) => return Ok(false),
        }
        self.set_status(hash, MessageStatus::Rejected, at, None)?;
        self.transaction
            .prepare_cached(
                "INSERT INTO rejected (item_hash, message, error_code, details, at) VALUES (?1,?2,?3,?4,?5) \
                 ON CONFLICT (item_hash) DO UPDATE SET message = excluded.message, \
                 error_code = excluded.error_code, details = excluded.details, at = excluded.at",
            )?
            .execute(rusqlite::params![
                hash.as_str(),
                document,
                rejection.code.as_i16(),
                rejection.details.as_ref().map(Value::to_string),
                at.as_micros(),
            ])?;
        Ok(true)
    }

    /// Forgets one waiting copy; true if other copies of the same message still wait.
    pub fn drop_pending(&mut self, id: i64, hash: &ItemHash) -> Result<bool, StoreError> {
        self.transaction.prepare_cached("DELETE FROM pending WHERE id = ?1")?.execute([id])?;
        let others: i64 = self
            .transaction
            .prepare_cached("SELECT COUNT(*) FROM pending WHERE item_hash = ?1")?
            .query_row([hash.as_str()], |row| row.get(0))?;
        Ok(others > 0)
    }

    /// Waiting copies of messages that wait on this dependency key.
    pub fn waiting_on(&self, key: &str) -> Result<Vec<PendingMessage>, StoreError> {
        self.pending_where("waits_on = ?1 ORDER BY id", key)
    }

    /// Waiting copies whose patience ended at `now`, the first `most` of them.
    pub fn impatient(&self, now: Timestamp, most: usize) -> Result<Vec<PendingMessage>, StoreError> {
        self.pending_where(&format!("deadline <= ?1 ORDER BY deadline LIMIT {most}"), now.as_micros())
    }

    /// Every waiting copy after row `after`, the first `most` of them.
    pub fn pending_after(&self, after: i64, most: usize) -> Result<Vec<PendingMessage>, StoreError> {
        self.pending_where(&format!("id > ?1 ORDER BY id LIMIT {most}"), after)
    }

    fn pending_where(
        &self,
        condition: &str,
        parameter: impl rusqlite::ToSql,
    ) -> Result<Vec<PendingMessage>, StoreError> {
        let sql = format!(
            "SELECT id, item_hash, envelope, origin, waits_on, deadline, reception_time, error_code, details \
             FROM pending WHERE {condition}"
        );
        let mut statement = self.transaction.prepare_cached(&sql)?;
        let mut rows = statement.query([parameter])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(PendingMessage {
                id: row.get(0)?,
                item_hash: crate::row::hash(row, 1)?,
                envelope: row.get(2)?,
                origin: row.get(3)?,
                waits_on: row.get(4)?,
                deadline: crate::row::time(row, 5)?,
                reception_time: crate::row::time(row, 6)?,
                rejection: crate::sync::read_rejection(row.get(7)?, row.get(8)?)?,
            });
        }
        Ok(found)
    }

    /// Records a file that this node holds.
    pub fn add_file(&mut self, hash: &ItemHash, size: u64, kind: &str) -> Result<(), StoreError> {
        effects::put_file(&self.transaction, hash, size, kind)
    }

    /// Keeps a file without any message until `delete_by` (an upload that a STORE may follow).
    pub fn add_grace_pin(
        &mut self,
        file: &ItemHash,
        created: Timestamp,
        delete_by: Timestamp,
    ) -> Result<(), StoreError> {
        effects::put_grace_pin(&self.transaction, file, "upload", created, delete_by)
    }

    /// Remembers where a program was placed by this node.
    pub fn set_allocation(
        &mut self,
        program: &ItemHash,
        document: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.transaction
            .prepare_cached(
                "INSERT INTO allocations (program, document, at) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (program) DO UPDATE SET document = excluded.document, at = excluded.at",
            )?
            .execute((program.as_str(), document, at.as_micros()))?;
        Ok(())
    }

    /// Forgets where a program was placed.
    pub fn remove_allocation(&mut self, program: &ItemHash) -> Result<(), StoreError> {
        self.transaction
            .prepare_cached("DELETE FROM allocations WHERE program = ?1")?
            .execute([program.as_str()])?;
        Ok(())
    }

    /// Makes everything durable.
    pub fn commit(self) -> Result<(), StoreError> {
        self.sums.store(&self.transaction)?;
        Ok(self.transaction.commit()?)
    }

    /// Sets the status of a hash and returns the one before. The first reception time stays.
    fn set_status(
        &mut self,
        hash: &ItemHash,
        status: MessageStatus,
        reception_time: Timestamp,
        message: Option<i64>,
    ) -> Result<Option<MessageStatus>, StoreError> {
        let was = status_of(&self.transaction, hash.as_str())?.map(|(status, _)| status);
        if was.is_none() {
            self.transaction
                .prepare_cached(
                    "INSERT INTO statuses (item_hash, status, reception_time, message) VALUES (?1,?2,?3,?4)",
                )?
                .execute((hash.as_str(), status.as_str(), reception_time.as_micros(), message))?;
        } else {
            self.transaction
                .prepare_cached("UPDATE statuses SET status = ?2, message = ?3 WHERE item_hash = ?1")?
                .execute((hash.as_str(), status.as_str(), message))?;
        }
        if let Some(was) = was.filter(|was| is_final(*was)) {
            self.sums.subtract(Part::Statuses, &[text(hash.as_str()), text(was.as_str())]);
        }
        if is_final(status) {
            self.sums.add(Part::Statuses, &[text(hash.as_str()), text(status.as_str())]);
        }
        Ok(was)
    }

    /// Clears the rows that belonged to the status before.
    fn leave(&self, hash: &ItemHash, was: Option<MessageStatus>) -> Result<(), StoreError> {
        let sql = match was {
            Some(MessageStatus::Rejected) => "DELETE FROM rejected WHERE item_hash = ?1",
            Some(MessageStatus::Pending) => "DELETE FROM pending WHERE item_hash = ?1",
            _ => return Ok(()),
        };
        self.transaction.prepare_cached(sql)?.execute([hash.as_str()])?;
        Ok(())
    }
}

/// Whether every node comes to this status alike: the digest covers it.
fn is_final(status: MessageStatus) -> bool {
    match status {
        MessageStatus::Processed
        | MessageStatus::Removing
        | MessageStatus::Forgotten
        | MessageStatus::Removed => true,
        MessageStatus::Pending | MessageStatus::Rejected => false,
    }
}

/// The columns that queries filter by: type, ref, key, file hash.
pub(crate) fn indexed_fields(content: &Content) -> (Option<&str>, Option<&str>, Option<&str>, Option<&str>) {
    match content {
        Content::Post(post) => (Some(&post.post_type), post.reference.as_deref(), None, None),
        Content::Aggregate(aggregate) => (None, None, Some(&aggregate.key), None),
        Content::Store(store) => (None, store.reference.as_deref(), None, Some(store.item_hash.as_str())),
        Content::Program(_) => (Some("vm-function"), None, None, None),
        Content::Instance(_) | Content::VProgram(_) | Content::Forget(_) => (None, None, None, None),
    }
}

pub(crate) fn payment_type(content: &Content) -> Option<PaymentType> {
    match content {
        Content::Store(store) => store.payment.as_ref().map(|payment| payment.payment_type),
        Content::Program(program) => program.base.payment.as_ref().map(|payment| payment.payment_type),
        Content::Instance(instance) => instance.base.payment.as_ref().map(|payment| payment.payment_type),
        Content::VProgram(program) => program.base.payment.as_ref().map(|payment| payment.payment_type),
        Content::Post(_) | Content::Aggregate(_) | Content::Forget(_) => None,
    }
}
