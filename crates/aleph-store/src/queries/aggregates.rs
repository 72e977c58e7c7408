use aleph_types::{Address, ItemHash, Timestamp};

use super::message_filter::distinct;
use super::sql::{Sql, bound};
use super::{Count, SMALL, SortOrder};
use crate::engine::{Row, Session, values};
use crate::{Store, StoreError};

/// A merged document.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAggregate {
    /// Owner.
    pub owner: Address,
    /// Which of the owner's documents.
    pub key: String,
    /// The merged object, as JSON.
    pub content: String,
    /// `content.time` of the oldest element.
    pub created: Timestamp,
    /// `content.time` of the newest element.
    pub last_updated: Timestamp,
    /// The oldest element.
    pub first_hash: ItemHash,
    /// The newest element.
    pub last_hash: ItemHash,
}

/// What aggregates are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AggregateSort {
    /// The newest element's time.
    #[default]
    LastModified,
    /// The oldest element's time.
    CreationTime,
}

impl AggregateSort {
    fn column(self) -> &'static str {
        match self {
            AggregateSort::LastModified => "a.updated",
            AggregateSort::CreationTime => "a.created",
        }
    }

    fn index(self) -> &'static str {
        match self {
            AggregateSort::LastModified => "aggregates_updated",
            AggregateSort::CreationTime => "aggregates_created",
        }
    }
}

/// Filters of the aggregates: both must hold, an empty list never does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct AggregateFilter {
    pub keys: Option<Vec<String>>,
    pub owners: Option<Vec<String>>,
}

/// Where a page of aggregates starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AggregateStart {
    /// After this many rows.
    Offset(u64),
    /// After this row.
    After(AggregateKey),
}

/// A row's place in the order of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateKey {
    /// The time that is sorted by.
    pub time: Timestamp,
    /// Ties: key ascending, then owner ascending.
    pub key: String,
    /// See `key`.
    pub owner: String,
}

/// A page of aggregates (`spec: ccn-api.md §6.2`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateQuery {
    /// Which.
    pub filter: AggregateFilter,
    /// By which time.
    pub sort: AggregateSort,
    /// Direction.
    pub order: SortOrder,
    /// First row.
    pub start: AggregateStart,
    /// Most rows.
    pub limit: u64,
}

const COLUMNS: &str = "a.owner, a.key, a.created, a.first_hash, a.updated, a.last_hash";

fn read(row: &Row<'_>) -> Result<StoredAggregate, StoreError> {
    Ok(StoredAggregate {
        owner: row.address(0)?,
        key: row.string(1)?,
        content: String::new(),
        created: row.time(2)?,
        first_hash: row.hash(3)?,
        last_updated: row.time(4)?,
        last_hash: row.hash(5)?,
    })
}

/// Puts the fields of the document together.
fn content(session: &Session, owner: &str, key: &str) -> Result<String, StoreError> {
    const FIELDS: &str = "SELECT field, value FROM aggregate_fields WHERE owner = ?1 AND key = ?2";
    let mut content = String::from("{");
    session.each(FIELDS, values![owner, key], |row| {
        if content.len() > 1 {
            content.push(',');
        }
        content.push_str(&serde_json::Value::from(row.text(0)?).to_string());
        content.push(':');
        content.push_str(row.text(1)?);
        Ok(())
    })?;
    content.push('}');
    Ok(content)
}

fn with_content(
    session: &Session,
    mut found: Vec<StoredAggregate>,
) -> Result<Vec<StoredAggregate>, StoreError> {
    for aggregate in &mut found {
        aggregate.content = content(session, aggregate.owner.as_str(), &aggregate.key)?;
    }
    Ok(found)
}

fn of_owner(
    session: &Session,
    owner: &str,
    keys: Option<&[String]>,
) -> Result<Vec<StoredAggregate>, StoreError> {
    let session = session.snapshot()?;
    let mut sql = Sql::new(&format!("SELECT {COLUMNS} FROM aggregates a WHERE a.owner = "));
    sql.bind(owner.to_owned()).and_one_of("a.key", keys).push(" ORDER BY a.key");
    let found = sql.rows(&session, read)?;
    with_content(&session, found)
}

struct Plan {
    keys: Option<Vec<String>>,
    owners: Option<Vec<String>>,
    /// Reach the rows by owner or key and sort, instead of walking in order.
    few: bool,
}

impl Plan {
    fn choose(session: &Session, filter: &AggregateFilter) -> Result<Option<Self>, StoreError> {
        let (keys, owners) = (distinct(&filter.keys), distinct(&filter.owners));
        if [&keys, &owners].into_iter().any(|values| values.as_ref().is_some_and(Vec::is_empty)) {
            return Ok(None);
        }
        let mut plan = Self { keys, owners, few: true };
        if plan.keys.is_some() || plan.owners.is_some() {
            let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1");
            plan.push_selection(&mut sql, AggregateSort::default());
            sql.push(" LIMIT ").bind(bound(SMALL + 1)).push(") AS counted");
            plan.few = sql.count(session)? <= SMALL;
        } else {
            plan.few = false;
        }
        Ok(Some(plan))
    }

    fn push_selection(&self, sql: &mut Sql, sort: AggregateSort) {
        sql.push(" FROM aggregates a");
        match (self.few, &self.owners, &self.keys) {
            // The primary key drives.
            (true, Some(_), _) => {}
            (true, None, Some(_)) => {
                sql.push(" INDEXED BY aggregates_key");
            }
            (false, None, Some(keys)) if keys.len() == 1 && sort == AggregateSort::LastModified => {
                sql.push(" INDEXED BY aggregates_key");
            }
            _ => {
                sql.push(" INDEXED BY ").push(sort.index());
            }
        }
        sql.push(" WHERE TRUE");
        sql.and_one_of("a.owner", self.owners.as_deref()).and_one_of("a.key", self.keys.as_deref());
    }

    fn list_sql(&self, query: &AggregateQuery) -> Sql {
        let column = query.sort.column();
        let mut sql = Sql::new(&format!("SELECT {COLUMNS}"));
        self.push_selection(&mut sql, query.sort);
        if let AggregateStart::After(last) = &query.start {
            let (time, later) = (last.time.as_micros(), query.order.later());
            sql.push(" AND ").push(column).push(" ").push(later).push("= ").bind(time);
            sql.push(" AND (").push(column).push(" ").push(later).push(" ").bind(time);
            sql.push(" OR a.key > ").bind(last.key.clone());
            sql.push(" OR (a.key = ").bind(last.key.clone());
            sql.push(" AND a.owner > ").bind(last.owner.clone()).push("))");
        }
        sql.push(" ORDER BY ").push(column).push(" ").push(query.order.sql()).push(", a.key, a.owner LIMIT ");
        sql.bind(bound(query.limit));
        if let AggregateStart::Offset(offset) = query.start {
            sql.push(" OFFSET ").bind(bound(offset));
        }
        sql
    }
}

fn list(session: &Session, query: &AggregateQuery) -> Result<Vec<StoredAggregate>, StoreError> {
    let session = session.snapshot()?;
    let Some(plan) = Plan::choose(&session, &query.filter)? else {
        return Ok(Vec::new());
    };
    let found = plan.list_sql(query).rows(&session, read)?;
    with_content(&session, found)
}

/// The list's statement, for the test of plans.
#[cfg(test)]
pub(super) fn statement(session: &Session, query: &AggregateQuery) -> Option<Sql> {
    Plan::choose(session, &query.filter).unwrap().map(|plan| plan.list_sql(query))
}

fn count(session: &Session, filter: &AggregateFilter, most: u64) -> Result<Count, StoreError> {
    let Some(plan) = Plan::choose(session, filter)? else {
        return Ok(Count { rows: 0, exact: true });
    };
    let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1");
    plan.push_selection(&mut sql, AggregateSort::default());
    sql.push(" LIMIT ").bind(bound(most.saturating_add(1))).push(") AS counted");
    let rows = sql.count(session)?;
    Ok(Count { rows: rows.min(most), exact: rows <= most })
}

/// Owners whose `security` aggregate mentions `address`, with their documents, by owner.
fn security_mentioning(session: &Session, address: &str) -> Result<Vec<StoredAggregate>, StoreError> {
    let session = session.snapshot()?;
    let mut sql = Sql::new(&format!(
        "SELECT {COLUMNS} FROM aggregates a INDEXED BY aggregates_key \
         CROSS JOIN aggregate_fields f ON f.owner = a.owner AND f.key = a.key AND f.field = 'authorizations' \
         WHERE a.key = 'security' AND instr(f.value, "
    ));
    // As JSON writes it, without the quotes: the reader tests precisely.
    let written = serde_json::Value::from(address).to_string();
    sql.bind(written.trim_matches('"').to_owned()).push(") > 0 ORDER BY a.owner");
    let found = sql.rows(&session, read)?;
    with_content(&session, found)
}

impl Store {
    /// The aggregates of an owner, by key; all of them, or those with one of the keys.
    pub async fn aggregates_of(
        &self,
        owner: Address,
        keys: Option<Vec<String>>,
    ) -> Result<Vec<StoredAggregate>, StoreError> {
        self.read(move |session| of_owner(session, owner.as_str(), distinct(&keys).as_deref())).await
    }

    /// A page of aggregates.
    pub async fn list_aggregates(&self, query: AggregateQuery) -> Result<Vec<StoredAggregate>, StoreError> {
        self.read(move |session| list(session, &query)).await
    }

    /// How many aggregates match; counting ends at `most`.
    pub async fn count_aggregates(&self, filter: AggregateFilter, most: u64) -> Result<Count, StoreError> {
        self.read(move |session| count(session, &filter, most)).await
    }

    /// The `security` aggregates whose authorizations mention `address` somewhere, by owner.
    pub async fn security_aggregates_mentioning(
        &self,
        address: Address,
    ) -> Result<Vec<StoredAggregate>, StoreError> {
        self.read(move |session| security_mentioning(session, address.as_str())).await
    }
}
