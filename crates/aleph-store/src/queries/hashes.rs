use aleph_types::{ItemHash, MessageStatus, Timestamp};

use super::SortOrder;
use super::catalogue::{Catalogue, Key, List, Selection, Trait};
use super::message_filter::Start;
use super::message_plan::SHALLOW;
use super::sql::{Sql, bound};
use crate::engine::{Session, values};
use crate::{Store, StoreError};

/// Which hashes (`spec: ccn-api.md §3.4`): by the time of their reception.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HashesFilter {
    /// Of messages with this status; only `Processed` and `Removing` ones are listed.
    pub status: Option<MessageStatus>,
    /// First reception time.
    pub start: Option<Timestamp>,
    /// First reception time that is too late.
    pub end: Option<Timestamp>,
}

/// A row of the list of hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessedHash {
    /// Of the message.
    pub item_hash: ItemHash,
    /// When this node first met it.
    pub reception_time: Timestamp,
    /// `Processed` or `Removing`.
    pub status: MessageStatus,
}

/// Whether some status can be listed at all.
fn lists(filter: &HashesFilter) -> bool {
    matches!(filter.status, None | Some(MessageStatus::Processed | MessageStatus::Removing))
}

/// How a page is found.
pub(super) enum Way {
    /// The start of the list, walked in its order.
    Statement(Sql),
    /// Anything else.
    Catalogue(Selection),
}

pub(super) fn way(filter: &HashesFilter, order: SortOrder, offset: u64, limit: u64) -> Way {
    if filter.status.is_some() || offset.saturating_add(limit) > SHALLOW {
        return Way::Catalogue(selection(filter));
    }
    let mut sql = Sql::new(
        "SELECT m.item_hash, m.reception_time, m.seq FROM messages m INDEXED BY messages_reception WHERE TRUE",
    );
    let micros = |time: Option<Timestamp>| time.map(|time| time.as_micros());
    sql.and_between("m.reception_time", micros(filter.start), micros(filter.end));
    sql.push(" ORDER BY m.reception_time ").push(order.sql()).push(", m.item_hash LIMIT ").bind(bound(limit));
    sql.push(" OFFSET ").bind(bound(offset));
    Way::Statement(sql)
}

fn selection(filter: &HashesFilter) -> Selection {
    let mut selection = Selection::new(List::Received);
    let removing = Key { of: Trait::Removing, values: Vec::new() };
    match filter.status {
        Some(MessageStatus::Processed) => selection.none.push(removing),
        Some(_) => selection.all.push(removing),
        None => {}
    }
    let micros = |time: Option<Timestamp>| time.map(|time| time.as_micros());
    Selection { times: (micros(filter.start), micros(filter.end)), ..selection }
}

fn by_seq(session: &Session, seq: i64) -> Result<Option<ProcessedHash>, StoreError> {
    const ROW: &str = "SELECT m.item_hash, m.reception_time, (SELECT s.status FROM statuses s \
         WHERE s.item_hash = m.item_hash) FROM messages m WHERE m.seq = ?1";
    session.first(ROW, values![seq], |row| {
        let is_removing = row.opt_text(2)? == Some(MessageStatus::Removing.as_str());
        let status = if is_removing { MessageStatus::Removing } else { MessageStatus::Processed };
        Ok(ProcessedHash { item_hash: row.hash(0)?, reception_time: row.time(1)?, status })
    })
}

pub(super) fn list(
    session: &Session,
    catalogue: &Catalogue,
    filter: &HashesFilter,
    order: SortOrder,
    offset: u64,
    limit: u64,
) -> Result<Vec<ProcessedHash>, StoreError> {
    if !lists(filter) {
        return Ok(Vec::new());
    }
    match way(filter, order, offset, limit) {
        Way::Statement(sql) => {
            let snapshot = session.snapshot()?;
            let mut rows = Vec::new();
            for seq in sql.rows(&snapshot, |row| row.int(2))? {
                rows.extend(by_seq(&snapshot, seq)?);
            }
            Ok(rows)
        }
        Way::Catalogue(selection) => {
            catalogue.page(session, &selection, order, &Start::Offset(offset), limit, by_seq)
        }
    }
}

pub(super) fn count(
    session: &Session,
    catalogue: &Catalogue,
    filter: &HashesFilter,
) -> Result<u64, StoreError> {
    if !lists(filter) { Ok(0) } else { catalogue.count(session, &selection(filter)) }
}

impl Store {
    /// A page of the hashes of stored messages, by the time of their reception.
    pub async fn list_hashes(
        &self,
        filter: HashesFilter,
        order: SortOrder,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<ProcessedHash>, StoreError> {
        let catalogue = self.catalogue();
        self.read(move |session| list(session, &catalogue, &filter, order, offset, limit)).await
    }

    /// How many there are, exactly.
    pub async fn count_hashes(&self, filter: HashesFilter) -> Result<u64, StoreError> {
        let catalogue = self.catalogue();
        self.read(move |session| count(session, &catalogue, &filter)).await
    }
}
