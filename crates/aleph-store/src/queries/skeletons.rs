use aleph_types::content::PaymentType;
use aleph_types::{
    Address, Chain, Channel, ItemHash, ItemType, MessageStatus, MessageType, Signature, Timestamp,
};

use super::catalogue::Catalogue;
use super::message_filter::distinct;
use super::message_plan::SHALLOW;
use super::sql::{Sql, bound};
use super::{Count, SortOrder};
use crate::engine::{Row, Session, values};
use crate::{Store, StoreError};

/// What stays of a forgotten or removed message (`spec: ccn-api.md §3.2`).
#[derive(Debug, Clone, PartialEq)]
pub struct Skeleton {
    /// Identity.
    pub item_hash: ItemHash,
    /// `Forgotten` or `Removed`.
    pub status: MessageStatus,
    /// What the message was about.
    pub message_type: MessageType,
    /// Chain of the sender's key.
    pub chain: Chain,
    /// Who signed.
    pub sender: Address,
    /// On whose behalf.
    pub owner: Address,
    /// The signature.
    pub signature: Option<Signature>,
    /// Where the content was.
    pub item_type: ItemType,
    /// Envelope time.
    pub time: Timestamp,
    /// Free label.
    pub channel: Option<Channel>,
    /// Effective payment type.
    pub payment_type: String,
    /// Size of the stored file in bytes, of STORE messages.
    pub size: Option<u64>,
    /// Envelope time of the FORGET, or when this node removed the message.
    pub gone_at: Timestamp,
    /// Hashes of the FORGET messages, as JSON.
    pub forgotten_by: String,
}

/// Filters of the lists of gone messages: all must hold, an empty list never does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct SkeletonFilter {
    /// `Forgotten` or `Removed`.
    pub status: MessageStatus,
    pub types: Option<Vec<MessageType>>,
    pub senders: Option<Vec<String>>,
    pub owners: Option<Vec<String>>,
    pub chains: Option<Vec<Chain>>,
    pub channels: Option<Vec<String>>,
    pub hashes: Option<Vec<ItemHash>>,
    pub payment_types: Option<Vec<PaymentType>>,
    /// First time of going.
    pub start: Option<Timestamp>,
    /// First time that is too late.
    pub end: Option<Timestamp>,
}

/// A page of gone messages, by the time of their going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkeletonQuery {
    /// Which.
    pub filter: SkeletonFilter,
    /// Direction.
    pub order: SortOrder,
    /// Rows to skip.
    pub offset: u64,
    /// Most rows.
    pub limit: u64,
}

const COLUMNS: &str = "k.item_hash, k.status, k.message_type, k.chain, k.sender, k.owner, k.signature, k.item_type, \
     k.time, k.channel, k.payment_type, k.size, k.gone_at, k.forgotten_by";

fn read(row: &Row<'_>) -> Result<Skeleton, StoreError> {
    Ok(Skeleton {
        item_hash: row.hash(0)?,
        status: row.word(1, "status")?,
        message_type: row.word(2, "message type")?,
        chain: row.word(3, "chain")?,
        sender: row.address(4)?,
        owner: row.address(5)?,
        signature: row.opt_text(6)?.map(Signature::from),
        item_type: row.word(7, "item type")?,
        time: row.time(8)?,
        channel: row.opt_text(9)?.map(Channel::from),
        payment_type: row.string(10)?,
        size: row.opt_int(11)?.map(i64::unsigned_abs),
        gone_at: row.time(12)?,
        forgotten_by: row.string(13)?,
    })
}

impl SkeletonFilter {
    /// Whether rows have to pass tests besides those of their status and time.
    pub(super) fn tests_rows(&self) -> bool {
        let Self { types, senders, owners, chains, channels, hashes, payment_types, .. } = self;
        types.is_some()
            || senders.is_some()
            || owners.is_some()
            || chains.is_some()
            || channels.is_some()
            || hashes.is_some()
            || payment_types.is_some()
    }
}

fn push_tests(sql: &mut Sql, filter: &SkeletonFilter) {
    sql.and_one_of("k.message_type", distinct(&filter.types).as_deref());
    sql.and_one_of("k.sender", distinct(&filter.senders).as_deref());
    sql.and_one_of("k.owner", distinct(&filter.owners).as_deref());
    sql.and_one_of("k.chain", distinct(&filter.chains).as_deref());
    sql.and_one_of("k.channel", distinct(&filter.channels).as_deref());
    sql.and_one_of("k.payment_type", distinct(&filter.payment_types).as_deref());
}

fn push_selection(sql: &mut Sql, filter: &SkeletonFilter) {
    let hashes = distinct(&filter.hashes);
    if hashes.is_some() {
        sql.push(" FROM skeletons k WHERE ").push("k.status = ").bind(filter.status.as_str().to_owned());
        // The primary key drives.
        sql.and_one_of("k.item_hash", hashes.as_deref());
    } else {
        push_all(sql, filter.status);
    }
    push_tests(sql, filter);
    let micros = |time: Option<Timestamp>| time.map(|time| time.as_micros());
    sql.and_between("k.gone_at", micros(filter.start), micros(filter.end));
}

fn push_all(sql: &mut Sql, status: MessageStatus) {
    sql.push(" FROM skeletons k INDEXED BY skeletons_gone WHERE k.status = ")
        .bind(status.as_str().to_owned());
}

/// The times of all rows of a status, in the order of the list.
pub(super) fn times_sql(status: MessageStatus) -> Sql {
    let mut sql = Sql::new("SELECT k.gone_at");
    push_all(&mut sql, status);
    sql.push(" ORDER BY k.gone_at, k.item_hash");
    sql
}

/// Which of the same rows pass the tests of a filter.
pub(super) fn tests_sql(filter: &SkeletonFilter) -> Sql {
    let mut sql = Sql::new("SELECT CASE WHEN TRUE");
    push_tests(&mut sql, filter);
    sql.push(" THEN 1 ELSE 0 END");
    push_all(&mut sql, filter.status);
    sql.push(" ORDER BY k.gone_at, k.item_hash");
    sql
}

/// Rows that went at `time`, after the first of them.
pub(super) fn at_time(
    session: &Session,
    status: MessageStatus,
    time: i64,
    before: u64,
    most: u64,
) -> Result<Vec<Skeleton>, StoreError> {
    let mut sql = Sql::new(&format!("SELECT {COLUMNS}"));
    push_all(&mut sql, status);
    sql.push(" AND k.gone_at = ").bind(time).push(" ORDER BY k.item_hash LIMIT ").bind(bound(most));
    sql.push(" OFFSET ").bind(bound(before));
    sql.rows(session, read)
}

pub(super) fn list_sql(query: &SkeletonQuery) -> Sql {
    let mut sql = Sql::new(&format!("SELECT {COLUMNS}"));
    push_selection(&mut sql, &query.filter);
    sql.push(" ORDER BY k.gone_at ").push(query.order.sql()).push(", k.item_hash LIMIT ");
    sql.bind(bound(query.limit)).push(" OFFSET ").bind(bound(query.offset));
    sql
}

/// Whether a statement finds the page in bounded time.
fn is_bounded(query: &SkeletonQuery) -> bool {
    let is_start = query.offset.saturating_add(query.limit) <= SHALLOW;
    query.filter.hashes.is_some() || !query.filter.tests_rows() && is_start
}

pub(super) fn list(
    session: &Session,
    catalogue: &Catalogue,
    query: &SkeletonQuery,
) -> Result<Vec<Skeleton>, StoreError> {
    if is_bounded(query) {
        list_sql(query).rows(session, read)
    } else {
        catalogue.page_of_gone(session, query)
    }
}

pub(super) fn count(
    session: &Session,
    catalogue: &Catalogue,
    filter: &SkeletonFilter,
    most: u64,
) -> Result<Count, StoreError> {
    if filter.tests_rows() && filter.hashes.is_none() {
        return Ok(Count { rows: catalogue.count_gone(session, filter)?, exact: true });
    }
    let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1");
    push_selection(&mut sql, filter);
    sql.push(" LIMIT ").bind(bound(most.saturating_add(1))).push(") AS counted");
    let rows = sql.count(session)?;
    Ok(Count { rows: rows.min(most), exact: rows <= most })
}

pub(super) fn by_hash(session: &Session, item_hash: &ItemHash) -> Result<Option<Skeleton>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM skeletons k WHERE k.item_hash = ?1");
    session.first(&sql, values![item_hash.as_str()], read)
}

impl Store {
    /// A page of the forgotten or removed messages.
    pub async fn list_skeletons(&self, query: SkeletonQuery) -> Result<Vec<Skeleton>, StoreError> {
        let catalogue = self.catalogue();
        self.read(move |session| list(session, &catalogue, &query)).await
    }

    /// How many forgotten or removed messages match; counting ends at `most`.
    pub async fn count_skeletons(&self, filter: SkeletonFilter, most: u64) -> Result<Count, StoreError> {
        let catalogue = self.catalogue();
        self.read(move |session| count(session, &catalogue, &filter, most)).await
    }
}
