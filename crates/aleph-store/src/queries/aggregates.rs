use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use aleph_types::{Address, ItemHash, Timestamp};
use parking_lot::Mutex;

use super::catalogue::Catalogue;
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

    /// Where all of few rows are.
    fn places_sql(&self, sort: AggregateSort) -> Sql {
        let mut sql = Sql::new(&format!("SELECT {}, a.key, a.owner", sort.column()));
        self.push_selection(&mut sql, sort);
        sql
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

/// Rows in an order, or nothing where they are many.
type Places = Option<Arc<Vec<AggregateKey>>>;

/// What a filter selects, as long as it is what it was.
#[derive(Debug)]
struct Kept {
    of: (AggregateFilter, AggregateSort, SortOrder),
    version: (i64, u64),
    places: Places,
}

/// Filters whose rows are kept in their order: at most some hundred kilobytes each.
const KEPT: usize = 16;

/// The rows of the filters that were asked for lately; the newest last.
#[derive(Debug, Default)]
pub(crate) struct KeptAggregates(Mutex<VecDeque<Kept>>);

impl AggregateKey {
    /// The order of a list.
    fn cmp_in(&self, other: &Self, order: SortOrder) -> Ordering {
        let by_time = match order {
            SortOrder::Ascending => self.time.cmp(&other.time),
            SortOrder::Descending => other.time.cmp(&self.time),
        };
        by_time.then_with(|| (&self.key, &self.owner).cmp(&(&other.key, &other.owner)))
    }
}

impl KeptAggregates {
    /// The rows of a filter that has some, in their order, in a snapshot of this version.
    fn places(
        &self,
        session: &Session,
        version: (i64, u64),
        filter: &AggregateFilter,
        sort: AggregateSort,
        order: SortOrder,
    ) -> Result<Places, StoreError> {
        let is_it = |kept: &Kept| kept.of.1 == sort && kept.of.2 == order && kept.of.0 == *filter;
        if let Some(kept) = self.0.lock().iter().find(|kept| kept.version == version && is_it(kept)) {
            return Ok(kept.places.clone());
        }
        let places = match Plan::choose(session, filter)? {
            None => Some(Arc::default()),
            Some(plan) if !plan.few => None,
            Some(plan) => {
                let mut places = plan.places_sql(sort).rows(session, |row| {
                    Ok(AggregateKey { time: row.time(0)?, key: row.string(1)?, owner: row.string(2)? })
                })?;
                places.sort_unstable_by(|one, other| one.cmp_in(other, order));
                Some(Arc::new(places))
            }
        };
        let mut all = self.0.lock();
        all.retain(|kept| !is_it(kept));
        if all.len() == KEPT {
            all.pop_front();
        }
        all.push_back(Kept { of: (filter.clone(), sort, order), version, places: places.clone() });
        Ok(places)
    }
}

/// One row.
fn at(session: &Session, place: &AggregateKey) -> Result<Option<StoredAggregate>, StoreError> {
    static SQL: LazyLock<String> =
        LazyLock::new(|| format!("SELECT {COLUMNS} FROM aggregates a WHERE a.owner = ?1 AND a.key = ?2"));
    session.first(&SQL, values![&place.owner, &place.key], read)
}

pub(super) fn list(
    session: &Session,
    catalogue: &Catalogue,
    query: &AggregateQuery,
) -> Result<Vec<StoredAggregate>, StoreError> {
    let (session, version) = catalogue.versioned(session)?;
    let AggregateQuery { filter, sort, order, start, limit } = query;
    if filter.keys.is_some() || filter.owners.is_some() {
        let kept = catalogue.aggregates().places(&session, version, filter, *sort, *order)?;
        if let Some(places) = kept {
            let skipped = match start {
                AggregateStart::Offset(offset) => usize::try_from(*offset).unwrap_or(usize::MAX),
                AggregateStart::After(last) => {
                    places.partition_point(|place| place.cmp_in(last, *order) != Ordering::Greater)
                }
            };
            let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
            let mut found = Vec::new();
            for place in places.iter().skip(skipped).take(limit) {
                found.extend(at(&session, place)?);
            }
            return with_content(&session, found);
        }
    }
    // Without a filter, or of many: in the order of an index.
    let filtered = (distinct(&filter.keys), distinct(&filter.owners));
    let plan = Plan { keys: filtered.0, owners: filtered.1, few: false };
    let found = plan.list_sql(query).rows(&session, read)?;
    with_content(&session, found)
}

/// The list's statement, for the test of plans.
#[cfg(test)]
pub(super) fn statement(session: &Session, query: &AggregateQuery) -> Option<Sql> {
    let plan = Plan::choose(session, &query.filter).unwrap()?;
    Some(if plan.few { plan.places_sql(query.sort) } else { plan.list_sql(query) })
}

pub(super) fn count(
    session: &Session,
    catalogue: &Catalogue,
    filter: &AggregateFilter,
    most: u64,
) -> Result<Count, StoreError> {
    let (session, version) = catalogue.versioned(session)?;
    if filter.keys.is_some() || filter.owners.is_some() {
        let (sort, order) = (AggregateSort::default(), SortOrder::default());
        let kept = catalogue.aggregates().places(&session, version, filter, sort, order)?;
        if let Some(places) = kept {
            let rows = places.len() as u64;
            return Ok(Count { rows: rows.min(most), exact: rows <= most });
        }
    }
    let filtered = (distinct(&filter.keys), distinct(&filter.owners));
    let plan = Plan { keys: filtered.0, owners: filtered.1, few: false };
    let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1");
    plan.push_selection(&mut sql, AggregateSort::default());
    sql.push(" LIMIT ").bind(bound(most.saturating_add(1))).push(") AS counted");
    let rows = sql.count(&session)?;
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
        let catalogue = self.catalogue();
        self.read(move |session| list(session, &catalogue, &query)).await
    }

    /// How many aggregates match; counting ends at `most`.
    pub async fn count_aggregates(&self, filter: AggregateFilter, most: u64) -> Result<Count, StoreError> {
        let catalogue = self.catalogue();
        self.read(move |session| count(session, &catalogue, &filter, most)).await
    }

    /// The `security` aggregates whose authorizations mention `address` somewhere, by owner.
    pub async fn security_aggregates_mentioning(
        &self,
        address: Address,
    ) -> Result<Vec<StoredAggregate>, StoreError> {
        self.read(move |session| security_mentioning(session, address.as_str())).await
    }
}
