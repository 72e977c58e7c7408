//! The one writer: batches of decisions, one transaction each.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aleph_rules::{AggregateState, Effect, Facts, Tariff};
use aleph_types::content::{Content, PaymentType};
use aleph_types::{ItemHash, Message, MessageStatus, Rejection, Timestamp};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::aggregates::{self, WrittenFields};
use crate::changes::Changes;
use crate::digest::Sums;
use crate::engine::{DiskLog, Row, Session, Value, values};
use crate::facts::{KnownTariff, ParsedFields, StoredFacts};
use crate::owners::Owners;
use crate::statuses::{self, set_status, status_of};
use crate::{Location, StoreError, confirmations, effects, store};

/// The session that writes. There is one per database.
#[derive(Debug)]
pub struct Writer {
    session: Session,
    location: Location,
    /// As of the last commit; `None` until it is read, and after a failed commit.
    kept: Option<Kept>,
    /// Commits of this process.
    commits: u64,
    /// Prices and settings, until they change.
    tariff: KnownTariff,
    /// Large fields of aggregates as the rules read them last.
    parsed: ParsedFields,
    /// Fields of aggregates that were written last.
    written: WrittenFields,
    /// Numbers of owners, those of the open transaction included.
    owners: Owners,
    /// Where readers learn which rows changed.
    changes: Arc<Changes>,
}

/// Where `meta` keeps, on PostgreSQL, the place of the last processed message and which commit wrote it.
pub(crate) const COMMIT: &str = "commit";

/// How long a commit of unknown end keeps asking for it.
const DOUBT: Duration = Duration::from_secs(15);

/// What the one writer knows without asking.
#[derive(Debug, Clone)]
struct Kept {
    sums: Sums,
    /// Place of the last processed message in the order of processing.
    last_seq: i64,
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
    pub(crate) fn new(session: Session, location: Location, changes: Arc<Changes>) -> Self {
        Self {
            session,
            location,
            kept: None,
            commits: 0,
            tariff: None,
            parsed: ParsedFields::default(),
            written: WrittenFields::default(),
            owners: Owners::default(),
            changes,
        }
    }

    /// Starts a transaction; dropping it without [`Transaction::commit`] undoes everything. A connection
    /// that was lost is made again.
    pub fn begin(&mut self) -> Result<Transaction<'_>, StoreError> {
        if !self.session.is_open() {
            self.reconnect()?;
        }
        self.session.disk_log().is_sound()?;
        self.session.begin()?;
        let now = match &self.kept {
            Some(kept) => kept.clone(),
            None => Kept::load(&self.session).inspect_err(|_| self.session.roll_back())?,
        };
        let Kept { sums, last_seq } = now.clone();
        self.kept = Some(now);
        Ok(Transaction { writer: self, sums, last_seq, open: true })
    }

    /// The connection itself, for what is neither a message nor a job of a node.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// What makes commits durable.
    pub fn disk_log(&self) -> DiskLog {
        self.session.disk_log()
    }

    /// Deletes everything that the node knows: for tests that want many empty databases.
    #[doc(hidden)]
    pub fn empty(&mut self) -> Result<(), StoreError> {
        const TABLES: [&str; 28] = [
            "statuses",
            "owners",
            "messages",
            "message_tags",
            "pending",
            "rejected",
            "skeletons",
            "posts",
            "amends",
            "aggregates",
            "aggregate_fields",
            "aggregate_hidden",
            "files",
            "file_pins",
            "file_tags",
            "vms",
            "vm_references",
            "balances",
            "allocations",
            "confirmations",
            "account_costs",
            "account_totals",
            "credit_history",
            "credit_lots",
            "credit_lots_anew",
            "credit_deferred",
            "removals",
            "jobs",
        ];
        self.kept = None;
        self.tariff = None;
        self.owners.clear();
        self.session.begin()?;
        for table in TABLES {
            self.session.execute(&format!("DELETE FROM {table}"), &[])?;
        }
        self.session
            .execute("DELETE FROM meta WHERE key NOT IN ('database', ?1)", values![aggregates::FILLED])?;
        let sums = Sums::of_nothing();
        sums.store(&self.session)?;
        self.session.commit().inspect_err(|_| self.session.roll_back())?;
        self.kept = Some(Kept { sums: sums.as_stored(), last_seq: 0 });
        self.changes.add_everything();
        self.changes.add_gone();
        Ok(())
    }

    fn reconnect(&mut self) -> Result<(), StoreError> {
        self.kept = None;
        self.session = store::open_writer(&self.location)?;
        Ok(())
    }

    /// Notes in the transaction what only it can have written; SQLite's last place in the order of
    /// processing is its own to keep.
    fn mark_commit(&mut self, now: &Kept) -> Result<String, StoreError> {
        self.commits += 1;
        let mark = format!("{} {}", now.last_seq, self.commits);
        if let Session::Postgres(_) = self.session {
            self.session.execute(
                "INSERT INTO meta (key, value) VALUES (?1, ?2) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                values![COMMIT, &mark],
            )?;
        }
        Ok(mark)
    }

    /// The connection went while the server committed: asks a new one whether it did.
    fn find_out(&mut self, mark: String, lost: StoreError) -> Result<(), StoreError> {
        let start = Instant::now();
        while let Err(error) = self.reconnect() {
            if start.elapsed() > DOUBT {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        if read_mark(&self.session)? == Some(mark) { Ok(()) } else { Err(lost) }
    }

    /// Bounds the database to `pages` beyond its present size (`None` lifts the bound, `Some(0)` lets it
    /// not grow at all); returns its present size in pages. Further growth fails like a full disk. For
    /// tests, on SQLite; a server's database has no such bound.
    pub fn limit_pages(&self, pages: Option<i64>) -> Result<i64, StoreError> {
        match &self.session {
            Session::Sqlite(session) => session.limit_pages(pages),
            Session::Postgres(_) => Ok(0),
        }
    }

    /// Copies the log of SQLite into the database file, as far as readers allow.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        match &self.session {
            Session::Sqlite(session) => session.checkpoint(),
            Session::Postgres(_) => Ok(()),
        }
    }
}

impl Kept {
    fn load(session: &Session) -> Result<Self, StoreError> {
        Ok(Self { sums: Sums::load(session)?, last_seq: last_seq(session)? })
    }
}

/// Place of the last message that was ever processed: places are never used twice, though messages go.
/// SQLite remembers it itself; for PostgreSQL, `meta` does.
pub(crate) fn last_seq(session: &Session) -> Result<i64, StoreError> {
    let number = |sql| session.first(sql, &[], |row| Ok(row.opt_int(0)?.unwrap_or_default()));
    let stored = number("SELECT max(seq) FROM messages")?;
    let counted = match session {
        Session::Sqlite(_) => number("SELECT seq FROM sqlite_sequence WHERE name = 'messages'")?,
        Session::Postgres(_) => None,
    };
    let mark = read_mark(session)?;
    let marked = mark.and_then(|mark| mark.split(' ').next().and_then(|seq| seq.parse().ok()));
    Ok(stored.max(counted).max(marked).unwrap_or_default())
}

fn read_mark(session: &Session) -> Result<Option<String>, StoreError> {
    session.first("SELECT value FROM meta WHERE key = ?1", values![COMMIT], |row| row.string(0))
}

/// One batch of changes, durable at [`Transaction::commit`] or never.
#[derive(Debug)]
pub struct Transaction<'a> {
    writer: &'a mut Writer,
    sums: Sums,
    last_seq: i64,
    open: bool,
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            self.writer.session.roll_back();
            // They may be of what was undone.
            self.writer.tariff = None;
            self.writer.owners.clear();
        }
    }
}

impl Transaction<'_> {
    pub(crate) fn session(&self) -> &Session {
        &self.writer.session
    }

    pub(crate) fn parts(&mut self) -> (&Session, &mut Sums) {
        (&self.writer.session, &mut self.sums)
    }

    /// Reads ahead what the store is about to be asked for these messages: one question in place of one
    /// for each, where an engine is far away. Changes no answer.
    pub fn prefetch<'h>(&mut self, hashes: impl Iterator<Item = &'h ItemHash>) -> Result<(), StoreError> {
        if !self.writer.session.is_remote() {
            return Ok(());
        }
        let hashes: Vec<String> = hashes.map(|hash| hash.as_str().to_owned()).collect();
        statuses::prefetch(&self.writer.session, &hashes)
    }

    /// The facts as this transaction sees them, its own changes included.
    pub fn facts(&mut self) -> impl Facts<Error = StoreError> + '_ {
        StoredFacts {
            session: &self.writer.session,
            tariff: &mut self.writer.tariff,
            parsed: Some(&mut self.writer.parsed),
        }
    }

    /// The status of a hash.
    pub fn status(&self, hash: &ItemHash) -> Result<Option<MessageStatus>, StoreError> {
        Ok(status_of(&self.writer.session, hash.as_str())?.map(|(status, _)| status))
    }

    /// Size and kind of a file that is on record.
    pub fn file_size(&self, hash: &ItemHash) -> Result<Option<u64>, StoreError> {
        self.writer
            .session
            .first("SELECT size FROM files WHERE hash = ?1", values![hash.as_str()], |row| row.size(0))
    }

    /// Stores a processed message and applies its effects; returns its place in the order of processing.
    pub fn process(&mut self, new: NewMessage<'_>, effects: &[Effect]) -> Result<i64, StoreError> {
        let message = new.message;
        let content = new.content;
        let (content_type, reference, key, content_hash) = indexed_fields(content);
        self.last_seq += 1;
        let seq = self.last_seq;
        let own = if message.sender == *content.owner() {
            Some(self.writer.owners.number(&self.writer.session, content.owner(), seq)?)
        } else {
            None
        };
        let hash = &message.item_hash;
        let status = MessageStatus::Processed;
        let was =
            set_status(&self.writer.session, &mut self.sums, hash, status, new.reception_time, Some(seq))?;
        self.writer.session.execute(
            "INSERT INTO messages (seq, item_hash, message_type, chain, sender, owner, signature, item_type, \
                 item_content, content, size, time, content_time, channel, content_type, reference, \
                 content_key, content_hash, payment_type, reception_time, origin, own) \
                 VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22)",
            values![
                seq,
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
                own,
            ],
        )?;
        self.leave(&message.item_hash, was)?;
        if was == Some(MessageStatus::Pending) {
            confirmations::settle(&self.writer.session, hash, seq)?;
        }
        for tag in content.tags() {
            self.writer.session.execute(
                "INSERT INTO message_tags (tag, message) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                values![tag.as_str(), seq],
            )?;
        }
        for effect in effects {
            effects::apply(&self.writer.session, &mut self.sums, &mut self.writer.written, effect, seq)?;
            if let Effect::MergeAggregate { state: AggregateState { key, .. }, .. }
            | Effect::ReduceAggregate { state: AggregateState { key, .. }, .. }
            | Effect::RemoveAggregate { key, .. } = effect
                && Tariff::is_part(key)
            {
                self.writer.tariff = None;
            }
        }
        Ok(seq)
    }

    /// Keeps a copy of a message that waits for something; returns the key that the same copy waited on
    /// before, if it did.
    pub fn wait(&mut self, new: NewPending<'_>) -> Result<Option<String>, StoreError> {
        let message = new.message;
        let signature = copy_key(message.signature.as_ref().map_or("", |signature| signature.as_str()));
        let signature = &*signature;
        let before = self.writer.session.first(
            "SELECT waits_on FROM pending WHERE item_hash = ?1 AND sender = ?2 AND signature = ?3",
            values![message.item_hash.as_str(), message.sender.as_str(), signature],
            |row| row.string(0),
        )?;
        let (hash, status) = (&message.item_hash, MessageStatus::Pending);
        let was = set_status(&self.writer.session, &mut self.sums, hash, status, new.reception_time, None)?;
        if was == Some(MessageStatus::Rejected) {
            self.leave(&message.item_hash, was)?;
        }
        let details = new.rejection.details.as_ref().map(Json::to_string);
        self.writer.session.execute(
            "INSERT INTO pending (item_hash, sender, signature, envelope, origin, waits_on, deadline, \
                 error_code, details, reception_time) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10) \
                 ON CONFLICT (item_hash, sender, signature) DO UPDATE SET waits_on = excluded.waits_on, \
                 error_code = excluded.error_code, details = excluded.details",
            values![
                message.item_hash.as_str(),
                message.sender.as_str(),
                signature,
                new.envelope,
                new.origin,
                new.waits_on,
                new.deadline.as_micros(),
                new.rejection.code.as_i16(),
                details.as_deref(),
                new.reception_time.as_micros(),
            ],
        )?;
        Ok(before)
    }

    /// What the waiting copies of a message wait on.
    pub fn waiting_keys(&self, hash: &ItemHash) -> Result<Vec<String>, StoreError> {
        self.writer.session.rows(
            "SELECT waits_on FROM pending WHERE item_hash = ?1",
            values![hash.as_str()],
            |row| row.string(0),
        )
    }

    /// What one waiting copy of a message waits on, if it still does. The number of a row that is gone may
    /// be another message's by now.
    pub fn waiting_key(&self, id: i64, hash: &ItemHash) -> Result<Option<String>, StoreError> {
        self.writer.session.first(
            "SELECT waits_on FROM pending WHERE id = ?1 AND item_hash = ?2",
            values![id, hash.as_str()],
            |row| row.string(0),
        )
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
        confirmations::remove(&self.writer.session, hash)?;
        set_status(&self.writer.session, &mut self.sums, hash, MessageStatus::Rejected, at, None)?;
        let details = rejection.details.as_ref().map(Json::to_string);
        self.writer.session.execute(
            "INSERT INTO rejected (item_hash, message, error_code, details, at) VALUES (?1,?2,?3,?4,?5) \
                 ON CONFLICT (item_hash) DO UPDATE SET message = excluded.message, \
                 error_code = excluded.error_code, details = excluded.details, at = excluded.at",
            values![hash.as_str(), document, rejection.code.as_i16(), details.as_deref(), at.as_micros(),],
        )?;
        Ok(true)
    }

    /// Forgets one waiting copy, if it is still that message's; true if other copies of the same message still wait.
    pub fn drop_pending(&mut self, id: i64, hash: &ItemHash) -> Result<bool, StoreError> {
        self.writer
            .session
            .execute("DELETE FROM pending WHERE id = ?1 AND item_hash = ?2", values![id, hash.as_str()])?;
        let others = self
            .writer
            .session
            .count("SELECT count(*) FROM pending WHERE item_hash = ?1", values![hash.as_str()])?;
        Ok(others > 0)
    }

    /// Waiting copies of messages that wait on this dependency key, after row `after`, the first `most`.
    pub fn waiting_on(&self, key: &str, after: i64, most: usize) -> Result<Vec<PendingMessage>, StoreError> {
        let condition = format!("waits_on = ?1 AND id > ?2 ORDER BY id LIMIT {most}");
        self.pending_where(&condition, values![key, after])
    }

    /// How many copies wait on each dependency key.
    pub fn waiting_counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let sql = "SELECT waits_on, count(*) FROM pending GROUP BY waits_on";
        self.writer.session.rows(sql, &[], |row| Ok((row.string(0)?, row.size(1)?)))
    }

    /// Waiting copies whose patience ended at `now`, the first `most` of them.
    pub fn impatient(&self, now: Timestamp, most: usize) -> Result<Vec<PendingMessage>, StoreError> {
        let condition = format!("deadline <= ?1 ORDER BY deadline LIMIT {most}");
        self.pending_where(&condition, values![now.as_micros()])
    }

    /// Every waiting copy after row `after`, the first `most` of them.
    pub fn pending_after(&self, after: i64, most: usize) -> Result<Vec<PendingMessage>, StoreError> {
        self.pending_where(&format!("id > ?1 ORDER BY id LIMIT {most}"), values![after])
    }

    fn pending_where(
        &self,
        condition: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<PendingMessage>, StoreError> {
        let sql = format!(
            "SELECT id, item_hash, envelope, origin, waits_on, deadline, reception_time, error_code, details \
             FROM pending WHERE {condition}"
        );
        self.writer.session.rows(&sql, values, read_pending)
    }

    /// Records a file that this node holds.
    pub fn add_file(&mut self, hash: &ItemHash, size: u64, kind: &str) -> Result<(), StoreError> {
        effects::put_file(&self.writer.session, hash, size, kind)
    }

    /// Keeps a file without any message until `delete_by` (an upload that a STORE may follow).
    pub fn add_grace_pin(
        &mut self,
        file: &ItemHash,
        created: Timestamp,
        delete_by: Timestamp,
    ) -> Result<(), StoreError> {
        effects::put_grace_pin(&self.writer.session, file, "upload", created, delete_by)
    }

    /// Remembers where a program was placed by this node.
    pub fn set_allocation(
        &mut self,
        program: &ItemHash,
        document: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer.session.execute(
            "INSERT INTO allocations (program, document, at) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (program) DO UPDATE SET document = excluded.document, at = excluded.at",
            values![program.as_str(), document, at.as_micros()],
        )?;
        Ok(())
    }

    /// Forgets where a program was placed.
    pub fn remove_allocation(&mut self, program: &ItemHash) -> Result<(), StoreError> {
        self.writer
            .session
            .execute("DELETE FROM allocations WHERE program = ?1", values![program.as_str()])?;
        Ok(())
    }

    /// Makes everything durable.
    pub fn commit(self) -> Result<(), StoreError> {
        let log = self.writer.disk_log();
        self.commit_ahead()?;
        log.sync()
    }

    /// Makes everything visible, to the next transaction as well; it is durable after [`DiskLog::sync`].
    pub fn commit_ahead(mut self) -> Result<(), StoreError> {
        let sums = self.sums.as_stored();
        let now = Kept { sums, last_seq: self.last_seq };
        // Unless this ends well, the next transaction reads anew what is there.
        self.writer.kept = None;
        self.sums.store(&self.writer.session)?;
        let mark = self.writer.mark_commit(&now)?;
        match self.writer.session.commit_ahead() {
            Err(error) if error.is_lost() => self.writer.find_out(mark, error)?,
            done => done?,
        }
        self.open = false;
        self.writer.kept = Some(now);
        self.writer.changes.add(self.sums.touched());
        if self.sums.has_let_go() {
            self.writer.changes.add_gone();
        }
        Ok(())
    }

    /// Clears the rows that belonged to the status before.
    pub(crate) fn leave(&self, hash: &ItemHash, was: Option<MessageStatus>) -> Result<(), StoreError> {
        let sql = match was {
            Some(MessageStatus::Rejected) => "DELETE FROM rejected WHERE item_hash = ?1",
            Some(MessageStatus::Pending) => "DELETE FROM pending WHERE item_hash = ?1",
            _ => return Ok(()),
        };
        self.writer.session.execute(sql, values![hash.as_str()])?;
        Ok(())
    }
}

fn read_pending(row: &Row<'_>) -> Result<PendingMessage, StoreError> {
    Ok(PendingMessage {
        id: row.int(0)?,
        item_hash: row.hash(1)?,
        envelope: row.string(2)?,
        origin: row.string(3)?,
        waits_on: row.string(4)?,
        deadline: row.time(5)?,
        reception_time: row.time(6)?,
        rejection: crate::sync::read_rejection(row.int(7)?, row.opt_string(8)?)?,
    })
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

/// What tells copies of a message apart: the signature, or its hash where it is long (some chains' are JSON
/// with room for more, and an entry of an index of PostgreSQL is limited).
fn copy_key(signature: &str) -> Cow<'_, str> {
    if signature.len() <= 512 {
        return Cow::Borrowed(signature);
    }
    Cow::Owned(format!("sha256:{}", hex::encode(Sha256::digest(signature))))
}
