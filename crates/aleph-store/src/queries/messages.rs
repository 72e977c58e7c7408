use std::sync::Arc;

use aleph_types::{Address, Message, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use super::message_filter::{MessageFilter, MessageQuery};
use super::message_plan::Plan;
use super::rows::{self, ENVELOPE, ENVELOPE_COLUMNS};
use super::sql::{Sql, bound};
use super::{Count, SMALL};
use crate::{Store, StoreError};

/// A message as this node keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    /// Its place in the order in which this node applied messages.
    pub seq: u64,
    /// The envelope.
    pub message: Message,
    /// The content document of messages that are not inline.
    pub fetched_content: Option<Arc<str>>,
    /// `content.address`.
    pub owner: Address,
    /// Size of the content, in bytes.
    pub size: u64,
    /// The payment type that the content names.
    pub payment_type: Option<String>,
    /// When this node first met the message.
    pub reception_time: Timestamp,
}

impl StoredMessage {
    /// The content document: the very text that was hashed for inline messages.
    pub fn content(&self) -> &str {
        // One of both is always stored; an empty object keeps answers well-formed whatever happened.
        self.fetched_content.as_deref().or(self.message.item_content.as_deref()).unwrap_or("{}")
    }
}

fn columns() -> String {
    format!("{ENVELOPE}, m.seq, m.content, m.owner, m.size, m.payment_type, m.reception_time")
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    const AFTER: usize = ENVELOPE_COLUMNS;
    Ok(StoredMessage {
        message: rows::envelope(row)?,
        seq: rows::size(row, AFTER)?,
        fetched_content: rows::optional_arc(row, AFTER + 1)?,
        owner: rows::address(row, AFTER + 2)?,
        size: rows::size(row, AFTER + 3)?,
        payment_type: rows::optional_string(row, AFTER + 4)?,
        reception_time: rows::time(row, AFTER + 5)?,
    })
}

/// The message with this number, if it is still there.
pub(super) fn by_seq(conn: &Connection, seq: i64) -> Result<Option<StoredMessage>, StoreError> {
    let sql = format!("SELECT {} FROM messages m WHERE m.seq = ?1", columns());
    Ok(conn.prepare_cached(&sql)?.query_row([seq], read).optional()?)
}

pub(super) fn list(conn: &Connection, query: &MessageQuery) -> Result<Vec<StoredMessage>, StoreError> {
    // One snapshot for choosing, finding and reading.
    let snapshot = conn.unchecked_transaction()?;
    let Some(plan) = Plan::choose(&snapshot, &query.filter)? else {
        return Ok(Vec::new());
    };
    let sql = format!("SELECT {} FROM messages m WHERE m.seq = ?1", columns());
    let mut statement = snapshot.prepare_cached(&sql)?;
    let mut messages = Vec::new();
    for (_, _, seq) in plan.places(&snapshot, query)? {
        messages.extend(statement.query_row([seq], read).optional()?);
    }
    Ok(messages)
}

pub(super) fn count(conn: &Connection, filter: &MessageFilter, most: u64) -> Result<Count, StoreError> {
    if *filter == MessageFilter::default() {
        let rows: i64 =
            conn.prepare_cached("SELECT count(*) FROM messages")?.query_row([], |row| row.get(0))?;
        return Ok(Count { rows: rows.unsigned_abs(), exact: true });
    }
    let snapshot = conn.unchecked_transaction()?;
    let Some(plan) = Plan::choose(&snapshot, filter)? else {
        return Ok(Count { rows: 0, exact: true });
    };
    let rows = plan.count(&snapshot, most.saturating_add(1))?;
    Ok(Count { rows: rows.min(most), exact: rows <= most })
}

/// How many messages are stored, and the highest `seq`; with `known`, the sum of that count and of what
/// came after, if that is at most `most`.
fn total(conn: &Connection, known: Option<MessageTotal>, most: u64) -> Result<MessageTotal, StoreError> {
    let snapshot = conn.unchecked_transaction()?;
    let last: Option<i64> =
        snapshot.prepare_cached("SELECT max(seq) FROM messages")?.query_row([], |row| row.get(0))?;
    let last = last.unwrap_or_default();
    if let Some(known) = known
        && last.saturating_sub(known.last) <= bound(most)
    {
        let mut statement = snapshot.prepare_cached("SELECT count(*) FROM messages WHERE seq > ?1")?;
        let new: i64 = statement.query_row([known.last], |row| row.get(0))?;
        return Ok(MessageTotal { rows: known.rows + new.unsigned_abs(), last });
    }
    let rows = Sql::new("SELECT count(*) FROM messages").count(&snapshot)?;
    Ok(MessageTotal { rows, last })
}

/// The triggers of programs: `(item hash, content)` of the PROGRAM messages with `on.message`.
fn programs_on_message(conn: &Connection, ascending: bool) -> Result<Vec<StoredMessage>, StoreError> {
    let direction = if ascending { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT {} FROM vms v CROSS JOIN statuses s ON s.item_hash = v.item_hash \
         CROSS JOIN messages m ON m.seq = s.message \
         WHERE v.on_message = 1 AND v.message_type = 'PROGRAM' ORDER BY m.time {direction}, m.item_hash",
        columns()
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let programs = statement.query_map([], read)?.collect::<rusqlite::Result<_>>()?;
    Ok(programs)
}

/// How many messages there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageTotal {
    /// Messages.
    pub rows: u64,
    /// The last of them in the order of processing.
    pub last: i64,
}

impl Store {
    /// How many messages are stored. Counting them all walks an index; given a count that is `known`, only
    /// what came after it is counted, up to [`Store::CHEAP_COUNT`] messages. Messages that went since are
    /// then still in the count.
    pub async fn total_messages(&self, known: Option<MessageTotal>) -> Result<MessageTotal, StoreError> {
        self.read(move |conn| total(conn, known, Self::CHEAP_COUNT)).await
    }

    /// A page of the stored messages.
    pub async fn list_messages(&self, query: MessageQuery) -> Result<Vec<StoredMessage>, StoreError> {
        self.read(move |conn| list(conn, &query)).await
    }

    /// How many messages match; counting ends at `most`.
    pub async fn count_messages(&self, filter: MessageFilter, most: u64) -> Result<Count, StoreError> {
        self.read(move |conn| count(conn, &filter, most)).await
    }

    /// Programs that want to be started by messages, by time.
    pub async fn programs_on_message(
        &self,
        order: super::SortOrder,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        self.read(move |conn| programs_on_message(conn, order == super::SortOrder::Ascending)).await
    }

    /// Rows up to which an exact count is cheap.
    pub const CHEAP_COUNT: u64 = SMALL * 5;
}
