use std::sync::{Arc, LazyLock};

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

/// A stored message while its row is read: the texts are those of the database, and nothing is copied.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names are those of the envelope's fields")]
pub struct MessageRow<'r> {
    pub item_hash: &'r str,
    pub message_type: &'r str,
    pub chain: &'r str,
    pub sender: &'r str,
    pub signature: Option<&'r str>,
    pub item_type: &'r str,
    pub item_content: Option<&'r str>,
    pub time: Timestamp,
    pub channel: Option<&'r str>,
    /// The content document.
    pub content: &'r str,
    /// Size of the content, in bytes.
    pub size: u64,
    /// Transactions that carry it, oldest first.
    pub confirmations: Vec<ChainTx>,
}

impl<'r> MessageRow<'r> {
    /// A message with its content document, as a row shows it.
    pub fn new(message: &'r Message, content: &'r str, size: u64, confirmations: Vec<ChainTx>) -> Self {
        Self {
            item_hash: message.item_hash.as_str(),
            message_type: message.message_type.as_str(),
            chain: message.chain.as_str(),
            sender: message.sender.as_str(),
            signature: message.signature.as_ref().map(|signature| signature.as_str()),
            item_type: message.item_type.as_str(),
            item_content: message.item_content.as_deref(),
            time: message.time,
            channel: message.channel.as_ref().map(|channel| channel.as_str()),
            content,
            size,
            confirmations,
        }
    }

    /// From a row of [`ROW`]. On a server no question may be asked while a row is
    /// read.
    pub(super) fn read(session: &Session, row: &'r Row<'_>) -> Result<Self, StoreError> {
        let (item_hash, item_content) = (row.text(0)?, row.opt_text(6)?);
        let confirmations = match row.opt_int(11)? {
            Some(_) => confirmations::of_message(session, &row.hash(0)?)?,
            None => Vec::new(),
        };
        Ok(Self {
            item_hash,
            message_type: row.text(1)?,
            chain: row.text(2)?,
            sender: row.text(3)?,
            signature: row.opt_text(4)?,
            item_type: row.text(5)?,
            item_content,
            time: row.time(7)?,
            channel: row.opt_text(8)?,
            content: row.opt_text(9)?.or(item_content).unwrap_or("{}"),
            size: row.size(10)?,
            confirmations,
        })
    }
}

impl<'r> From<&'r StoredMessage> for MessageRow<'r> {
    fn from(stored: &'r StoredMessage) -> Self {
        Self::new(&stored.message, stored.content(), stored.size, stored.confirmations.clone())
    }
}

/// The statement whose rows [`MessageRow::read`] reads.
pub(super) static ROW: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {ENVELOPE}, m.content, m.size, m.confirmed_at FROM messages m WHERE m.seq = ?1")
});

/// Passes the message with this number to `visit`; says whether it is still there.
fn visit_by_seq(
    session: &Session,
    seq: i64,
    visit: impl FnOnce(&MessageRow<'_>),
) -> Result<bool, StoreError> {
    if session.is_remote() {
        let found = by_seq(session, seq)?;
        return Ok(found.inspect(|stored| visit(&MessageRow::from(stored))).is_some());
    }
    let read = |row: &Row<'_>| {
        visit(&MessageRow::read(session, row)?);
        Ok(())
    };
    Ok(session.first(&ROW, values![seq], read)?.is_some())
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
    static SQL: LazyLock<String> =
        LazyLock::new(|| format!("SELECT {} FROM messages m WHERE m.seq = ?1", columns()));
    let found = session.first(&SQL, values![seq], read)?;
    found.map(|message| with_confirmations(session, message)).transpose()
}

/// A page, by envelope time or, with `by_confirmation`, by first confirmation.
pub(super) fn list(
    session: &Session,
    catalogue: &Catalogue,
    query: &MessageQuery,
    by_confirmation: bool,
) -> Result<Vec<StoredMessage>, StoreError> {
    page_into(session, catalogue, query, by_confirmation, Vec::new, |session, seq, found| {
        let message = by_seq(session, seq)?;
        let is_there = message.is_some();
        found.extend(message);
        Ok(is_there)
    })
}

/// The same rows, each passed to `add` while it is read; `begin` makes what they go into.
pub(super) fn write<A>(
    session: &Session,
    catalogue: &Catalogue,
    query: &MessageQuery,
    by_confirmation: bool,
    begin: impl Fn() -> A,
    mut add: impl FnMut(&mut A, &MessageRow<'_>),
) -> Result<A, StoreError> {
    page_into(session, catalogue, query, by_confirmation, begin, |session, seq, page| {
        visit_by_seq(session, seq, |row| add(page, row))
    })
}

fn page_into<A>(
    session: &Session,
    catalogue: &Catalogue,
    query: &MessageQuery,
    by_confirmation: bool,
    begin: impl Fn() -> A,
    mut add: impl FnMut(&Session, i64, &mut A) -> Result<bool, StoreError>,
) -> Result<A, StoreError> {
    let selection = {
        // One snapshot for choosing, finding and reading.
        let snapshot = session.snapshot()?;
        let Some(plan) = Plan::choose(&snapshot, &query.filter)? else {
            return Ok(begin());
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
            let mut page = begin();
            for seq in places {
                add(&snapshot, seq, &mut page)?;
            }
            return Ok(page);
        }
        plan.selection(if by_confirmation { List::Confirmed } else { List::Messages })
    };
    catalogue.page_into(session, &selection, query.order, &query.start, query.limit, begin, add)
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

    /// A page of the stored messages, by envelope time or by their first confirmation; those without one are
    /// the newest, and the page must start after a number of rows. `begin` makes what `add` puts the rows
    /// into, one after the other, while they are read; both may be called again from the beginning.
    pub async fn write_messages<A: Send + 'static>(
        &self,
        query: MessageQuery,
        by_confirmation: bool,
        begin: impl Fn() -> A + Send + 'static,
        add: impl Fn(&mut A, &MessageRow<'_>) + Send + 'static,
    ) -> Result<A, StoreError> {
        let catalogue = self.catalogue();
        self.read(move |session| write(session, &catalogue, &query, by_confirmation, begin, add)).await
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
