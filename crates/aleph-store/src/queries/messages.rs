use std::sync::Arc;

use aleph_types::{Address, ChainTx, Message, Timestamp};

use super::SMALL;
use super::catalogue::{Catalogue, List};
use super::message_filter::{MessageFilter, MessageQuery, Start};
use super::message_plan::Plan;
use super::rows::{self, ENVELOPE, ENVELOPE_COLUMNS};
use super::sql::{Sql, bound};
use crate::engine::{Row, Session, values};
use crate::statuses::has_hash;
use crate::{Store, StoreError, confirmations};

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
    /// Transactions that carry it, oldest first.
    pub confirmations: Vec<ChainTx>,
    /// Whether there are any: they are read after the row.
    confirmed: bool,
}

impl StoredMessage {
    /// The content document: the very text that was hashed for inline messages.
    pub fn content(&self) -> &str {
        // One of both is always stored; an empty object keeps answers well-formed whatever happened.
        self.fetched_content.as_deref().or(self.message.item_content.as_deref()).unwrap_or("{}")
    }
}

fn columns() -> String {
    format!(
        "{ENVELOPE}, m.seq, m.content, m.owner, m.size, m.payment_type, m.reception_time, \
         m.confirmed_at"
    )
}

fn read(row: &Row<'_>) -> Result<StoredMessage, StoreError> {
    const AFTER: usize = ENVELOPE_COLUMNS;
    Ok(StoredMessage {
        message: rows::envelope(row)?,
        seq: row.size(AFTER)?,
        fetched_content: row.opt_text(AFTER + 1)?.map(Arc::from),
        owner: row.address(AFTER + 2)?,
        size: row.size(AFTER + 3)?,
        payment_type: row.opt_string(AFTER + 4)?,
        reception_time: row.time(AFTER + 5)?,
        confirmations: Vec::new(),
        confirmed: row.opt_int(AFTER + 6)?.is_some(),
    })
}

fn with_confirmations(session: &Session, mut message: StoredMessage) -> Result<StoredMessage, StoreError> {
    if message.confirmed {
        message.confirmations = confirmations::of_message(session, &message.message.item_hash)?;
    }
    Ok(message)
}

/// The message with this number, if it is still there.
pub(super) fn by_seq(session: &Session, seq: i64) -> Result<Option<StoredMessage>, StoreError> {
    let sql = format!("SELECT {} FROM messages m WHERE m.seq = ?1", columns());
    let found = session.first(&sql, values![seq], read)?;
    found.map(|message| with_confirmations(session, message)).transpose()
}

/// A page, by envelope time or, with `by_confirmation`, by first confirmation.
pub(super) fn list(
    session: &Session,
    catalogue: &Catalogue,
    query: &MessageQuery,
    by_confirmation: bool,
) -> Result<Vec<StoredMessage>, StoreError> {
    let selection = {
        // One snapshot for choosing, finding and reading.
        let snapshot = session.snapshot()?;
        let Some(plan) = Plan::choose(&snapshot, &query.filter)? else {
            return Ok(Vec::new());
        };
        let places: Option<Vec<i64>> = match &query.start {
            Start::Offset(offset) if by_confirmation && plan.reaches_few() => {
                Some(plan.places_by_confirmation(&snapshot, query.order, *offset, query.limit)?)
            }
            start if !by_confirmation && plan.is_bounded(start, query.limit) => {
                Some(plan.places(&snapshot, query)?.into_iter().map(|(_, _, seq)| seq).collect())
            }
            _ => None,
        };
        if let Some(places) = places {
            let mut messages = Vec::with_capacity(places.len());
            for seq in places {
                messages.extend(by_seq(&snapshot, seq)?);
            }
            return Ok(messages);
        }
        plan.selection(if by_confirmation { List::Confirmed } else { List::Messages })
    };
    catalogue.page(session, &selection, query.order, &query.start, query.limit, by_seq)
}

/// How many match, exactly.
pub(super) fn count(
    session: &Session,
    catalogue: &Catalogue,
    filter: &MessageFilter,
) -> Result<u64, StoreError> {
    if *filter == MessageFilter::default() {
        return session.count("SELECT count(*) FROM messages", &[]);
    }
    let selection = {
        let snapshot = session.snapshot()?;
        let Some(plan) = Plan::choose(&snapshot, filter)? else { return Ok(0) };
        if plan.reaches_few() {
            return plan.count(&snapshot, u64::MAX);
        }
        plan.selection(List::Messages)
    };
    catalogue.count(session, &selection)
}

/// How many messages are stored, and the highest `seq`; with `known`, the sum of that count and of what
/// came after, if that is at most `most`.
fn total(session: &Session, known: Option<MessageTotal>, most: u64) -> Result<MessageTotal, StoreError> {
    let snapshot = session.snapshot()?;
    let last = snapshot.first("SELECT max(seq) FROM messages", &[], |row| row.opt_int(0))?;
    let last = last.flatten().unwrap_or_default();
    if let Some(known) = known
        && last.saturating_sub(known.last) <= bound(most)
    {
        let new = snapshot.count("SELECT count(*) FROM messages WHERE seq > ?1", values![known.last])?;
        return Ok(MessageTotal { rows: known.rows + new, last });
    }
    let rows = Sql::new("SELECT count(*) FROM messages").count(&snapshot)?;
    Ok(MessageTotal { rows, last })
}

/// The triggers of programs: `(item hash, content)` of the PROGRAM messages with `on.message`.
fn programs_on_message(session: &Session, ascending: bool) -> Result<Vec<StoredMessage>, StoreError> {
    let direction = if ascending { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT {} FROM vms v CROSS JOIN messages m INDEXED BY messages_hash ON {} \
         WHERE v.on_message = 1 AND v.message_type = 'PROGRAM' ORDER BY m.time {direction}, m.item_hash",
        columns(),
        has_hash!("v.item_hash"),
    );
    session.rows(&sql, &[], read)
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
        self.read(move |session| total(session, known, Self::CHEAP_COUNT)).await
    }

    /// A page of the stored messages.
    pub async fn list_messages(&self, query: MessageQuery) -> Result<Vec<StoredMessage>, StoreError> {
        let catalogue = self.catalogue();
        self.read(move |session| list(session, &catalogue, &query, false)).await
    }

    /// A page of the stored messages by their first confirmation; those without one are the newest.
    pub async fn list_messages_by_confirmation(
        &self,
        filter: MessageFilter,
        order: super::SortOrder,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        let catalogue = self.catalogue();
        let query = MessageQuery { filter, order, start: Start::Offset(offset), limit };
        self.read(move |session| list(session, &catalogue, &query, true)).await
    }

    /// How many messages match.
    pub async fn count_messages(&self, filter: MessageFilter) -> Result<u64, StoreError> {
        let catalogue = self.catalogue();
        self.read(move |session| count(session, &catalogue, &filter)).await
    }

    /// Programs that want to be started by messages, by time.
    pub async fn programs_on_message(
        &self,
        order: super::SortOrder,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        self.read(move |session| programs_on_message(session, order == super::SortOrder::Ascending)).await
    }

    /// Rows up to which an exact count is cheap.
    pub const CHEAP_COUNT: u64 = SMALL * 5;
}
