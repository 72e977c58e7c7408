//! The lists of aggregates, in the same way.

use aleph_types::Timestamp;

use super::combinations::ORDERS;
use super::{ROWS, insert, some};
use crate::engine::{Session, values};
use crate::queries::SortOrder;
use crate::queries::aggregates::{
    self, AggregateFilter, AggregateKey, AggregateQuery, AggregateSort, AggregateStart,
};
use crate::queries::catalogue::Catalogue;

const SORTS: [AggregateSort; 2] = [AggregateSort::LastModified, AggregateSort::CreationTime];

fn filters() -> Vec<AggregateFilter> {
    let owners: Vec<String> = (100..220).chain([ROWS + 9]).map(|number| format!("0xO{number}")).collect();
    let of = |keys: Option<&[&str]>, owners: Option<Vec<String>>| AggregateFilter {
        keys: keys.and_then(some),
        owners,
    };
    vec![
        of(None, None),
        of(Some(&["key0"]), None),
        of(Some(&["key0", "key1"]), None),
        of(Some(&["none"]), None),
        of(None, Some(owners.clone())),
        of(Some(&["key1"]), Some(owners)),
        of(None, Some(Vec::new())),
    ]
}

/// All rows of a filter by a walk over everything.
fn wanted(session: &Session, filter: &AggregateFilter, sort: AggregateSort) -> Vec<AggregateKey> {
    let rows = session
        .rows("SELECT owner, key, created, updated FROM aggregates", &[], |row| {
            let time = match sort {
                AggregateSort::LastModified => row.time(3)?,
                AggregateSort::CreationTime => row.time(2)?,
            };
            Ok(AggregateKey { time, key: row.string(1)?, owner: row.string(0)? })
        })
        .unwrap();
    let is_one = |values: &Option<Vec<String>>, value: &String| {
        values.as_ref().is_none_or(|values| values.contains(value))
    };
    rows.into_iter()
        .filter(|row| is_one(&filter.keys, &row.key) && is_one(&filter.owners, &row.owner))
        .collect()
}

fn check(session: &Session, catalogue: &Catalogue, what: &str) {
    for filter in filters() {
        for sort in SORTS {
            let mut all = wanted(session, &filter, sort);
            let count = aggregates::count(session, catalogue, &filter, 100_000).unwrap();
            assert_eq!((count.rows, count.exact), (all.len() as u64, true), "{what}: {filter:?}");
            for order in ORDERS {
                all.sort_by(|one, other| {
                    let by_time = match order {
                        SortOrder::Ascending => one.time.cmp(&other.time),
                        SortOrder::Descending => other.time.cmp(&one.time),
                    };
                    by_time.then((&one.key, &one.owner).cmp(&(&other.key, &other.owner)))
                });
                let offsets =
                    [0, 7, 100, 9_000].map(|offset| (offset, AggregateStart::Offset(offset as u64)));
                let rows = [0, 50, 119].into_iter().filter(|place| *place < all.len());
                let after = rows.map(|place| (place + 1, AggregateStart::After(all[place].clone())));
                for (from, start) in offsets.into_iter().chain(after) {
                    let query = AggregateQuery { filter: filter.clone(), sort, order, start, limit: 20 };
                    let found = aggregates::list(session, catalogue, &query).unwrap();
                    let found: Vec<_> = found.iter().map(|one| (one.owner.as_str(), &one.key)).collect();
                    let page = all.iter().skip(from).take(20).map(|one| (one.owner.as_str(), &one.key));
                    assert_eq!(found, page.collect::<Vec<_>>(), "{what}: {query:?}");
                }
            }
        }
    }
}

pub(super) fn every_list_of_aggregates(session: &Session) {
    let catalogue = Catalogue::default();
    check(session, &catalogue, "at first");
    let Some(writer) = super::writer_of(session) else { return };
    insert(writer, ROWS + 9).unwrap();
    check(session, &catalogue, "a new message");
    let sql = "UPDATE aggregates SET created = ?1, updated = ?1 WHERE owner = '0xO150'";
    writer.execute(sql, values![Timestamp::from_secs(77).as_micros()]).unwrap();
    catalogue.changes().add(&[151]);
    check(session, &catalogue, "an element went");
    writer.execute("DELETE FROM aggregates WHERE owner = '0xO160'", &[]).unwrap();
    catalogue.changes().add_everything();
    check(session, &catalogue, "everything changed");
}
