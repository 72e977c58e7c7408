use aleph_types::{ItemHash, MessageStatus, Timestamp};

use super::SortOrder;
use super::sql::{Sql, bound};
use crate::engine::Session;
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

fn push_selection(sql: &mut Sql, filter: &HashesFilter) {
    sql.push(
        " FROM messages m INDEXED BY messages_reception \
         LEFT JOIN statuses r INDEXED BY statuses_removing ON r.item_hash = m.item_hash AND r.status = 'removing' \
         WHERE TRUE",
    );
    push_dates(sql, filter);
    match filter.status {
        Some(MessageStatus::Processed) => sql.push(" AND r.item_hash IS NULL"),
        Some(MessageStatus::Removing) => sql.push(" AND r.item_hash IS NOT NULL"),
        _ => sql,
    };
}

fn push_dates(sql: &mut Sql, filter: &HashesFilter) {
    let micros = |time: Option<Timestamp>| time.map(|time| time.as_micros());
    sql.and_between("m.reception_time", micros(filter.start), micros(filter.end));
}

pub(super) fn list_sql(filter: &HashesFilter, order: SortOrder, offset: u64, limit: u64) -> Sql {
    let mut sql = Sql::new("SELECT m.item_hash, m.reception_time, r.item_hash IS NOT NULL");
    push_selection(&mut sql, filter);
    sql.push(" ORDER BY m.reception_time ").push(order.sql()).push(", m.item_hash LIMIT ").bind(bound(limit));
    sql.push(" OFFSET ").bind(bound(offset));
    sql
}

fn list(
    session: &Session,
    filter: &HashesFilter,
    order: SortOrder,
    offset: u64,
    limit: u64,
) -> Result<Vec<ProcessedHash>, StoreError> {
    if !lists(filter) {
        return Ok(Vec::new());
    }
    list_sql(filter, order, offset, limit).rows(session, |row| {
        let removing = row.flag(2)?;
        let status = if removing { MessageStatus::Removing } else { MessageStatus::Processed };
        Ok(ProcessedHash { item_hash: row.hash(0)?, reception_time: row.time(1)?, status })
    })
}

fn count(session: &Session, filter: &HashesFilter) -> Result<u64, StoreError> {
    if !lists(filter) {
        return Ok(0);
    }
    // Removing messages are few: they are counted apart, so that nothing is looked up for the others.
    let removing = || {
        let mut sql = Sql::new(
            "SELECT count(*) FROM statuses r INDEXED BY statuses_removing \
             CROSS JOIN messages m ON m.seq = r.message WHERE r.status = 'removing'",
        );
        push_dates(&mut sql, filter);
        sql.count(session)
    };
    let all = || {
        let mut sql = Sql::new("SELECT count(*) FROM messages m");
        if filter.start.is_some() || filter.end.is_some() {
            sql.push(" INDEXED BY messages_reception");
        }
        sql.push(" WHERE TRUE");
        push_dates(&mut sql, filter);
        sql.count(session)
    };
    match filter.status {
        Some(MessageStatus::Removing) => removing(),
        Some(_) => Ok(all()?.saturating_sub(removing()?)),
        None => all(),
    }
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
        self.read(move |session| list(session, &filter, order, offset, limit)).await
    }

    /// How many there are, exactly.
    pub async fn count_hashes(&self, filter: HashesFilter) -> Result<u64, StoreError> {
        self.read(move |session| count(session, &filter)).await
    }
}
