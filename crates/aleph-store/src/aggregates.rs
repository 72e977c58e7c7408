//! Aggregates as tables: the head, each field with the element that counts for it, and behind it, in the
//! order of who counts next, the elements that don't.

mod fill;
mod written;

use std::collections::BTreeSet;

use aleph_rules::{AggregateFact, AggregateState, ElementFact, FieldValue, HiddenField, Stamp, WonField};
use aleph_types::{Address, ItemHash};
use serde_json::{Map, Value as Json};

pub(crate) use fill::{FILLED, fill};
pub(crate) use written::WrittenFields;

use crate::StoreError;
use crate::digest::{Part, RowHash, Sums};
use crate::engine::{Session, Value, values};
use crate::facts::{json, stamp};
use crate::statuses::status_of;

/// Elements in the order of times, then of hashes.
const ELEMENTS: &str = "SELECT content_time, item_hash FROM messages WHERE content_key = ?1 AND owner = ?2 \
     AND (content_time, item_hash) > (?3, ?4) ORDER BY content_time, item_hash";

/// The latest time of an element that is not after this one.
const LATEST: &str = "SELECT content_time FROM messages WHERE content_key = ?1 AND owner = ?2 \
     AND content_time <= ?3 ORDER BY content_time DESC LIMIT 1";

/// Elements of one time, in the order of hashes.
const AT_ONE_TIME: &str = "SELECT content_time, item_hash FROM messages WHERE content_key = ?1 AND owner = ?2 \
     AND content_time = ?3 ORDER BY item_hash";

/// Those that do not count for a field, in the order of who counts next.
const HIDDEN: &str = "SELECT time, hash FROM aggregate_hidden WHERE owner = ?1 AND key = ?2 AND field = ?3 \
     ORDER BY time DESC, hash";

/// The elements of an aggregate with what they merge.
pub(crate) fn elements_with_content(
    session: &Session,
    owner: &Address,
    key: &str,
) -> Result<Vec<ElementFact>, StoreError> {
    session.rows(
        "SELECT content_time, item_hash, COALESCE(content, item_content) FROM messages \
         WHERE content_key = ?1 AND owner = ?2",
        values![key, owner.as_str()],
        |row| Ok(ElementFact { stamp: stamp(row, 0, 1)?, content: merged_by(row.text(2)?)? }),
    )
}

/// What the element with this content document merges.
fn merged_by(document: &str) -> Result<Map<String, Json>, StoreError> {
    Ok(match json(document)? {
        Json::Object(mut document) => match document.remove("content") {
            Some(Json::Object(content)) => content,
            _ => Map::new(),
        },
        _ => Map::new(),
    })
}

/// What a stored element merges.
pub(crate) fn element(session: &Session, hash: &ItemHash) -> Result<Map<String, Json>, StoreError> {
    let content = match status_of(session, hash.as_str())? {
        Some((_, Some(seq))) => session.first(
            "SELECT COALESCE(content, item_content) FROM messages WHERE seq = ?1",
            values![seq],
            |row| merged_by(row.text(0)?),
        )?,
        _ => None,
    };
    content.ok_or_else(|| StoreError::corrupt("element of an aggregate without a message", hash.as_str()))
}

/// Elements after this one, in the order of times, then of hashes.
pub(crate) fn elements(
    session: &Session,
    owner: &Address,
    key: &str,
    after: Option<&Stamp>,
    most: usize,
) -> Result<Vec<Stamp>, StoreError> {
    let (time, hash) = after.map_or((i64::MIN, ""), |stamp| (stamp.time.as_micros(), stamp.hash.as_str()));
    session.rows(&format!("{ELEMENTS} LIMIT {most}"), values![key, owner.as_str(), time, hash], |row| {
        stamp(row, 0, 1)
    })
}

/// The oldest element that is not gone.
pub(crate) fn oldest(
    session: &Session,
    owner: &Address,
    key: &str,
    gone: &BTreeSet<ItemHash>,
) -> Result<Option<Stamp>, StoreError> {
    first_left(gone, |most| elements(session, owner, key, None, most))
}

/// The newest element that is not gone; of equal times the one with the smallest hash. Time by time, for no
/// index has the later times and the smaller hashes first.
pub(crate) fn newest(
    session: &Session,
    owner: &Address,
    key: &str,
    gone: &BTreeSet<ItemHash>,
) -> Result<Option<Stamp>, StoreError> {
    let mut latest = i64::MAX;
    while let Some(time) = session.first(LATEST, values![key, owner.as_str(), latest], |row| row.int(0))? {
        let found = first_left(gone, |most| {
            let sql = format!("{AT_ONE_TIME} LIMIT {most}");
            session.rows(&sql, values![key, owner.as_str(), time], |row| stamp(row, 0, 1))
        })?;
        if found.is_some() {
            return Ok(found);
        }
        latest = time.saturating_sub(1);
    }
    Ok(None)
}

/// The best element that sets a field, does not count for it and is not gone.
pub(crate) fn hidden(
    session: &Session,
    owner: &Address,
    key: &str,
    field: &str,
    gone: &BTreeSet<ItemHash>,
) -> Result<Option<Stamp>, StoreError> {
    first_left(gone, |most| {
        let sql = format!("{HIDDEN} LIMIT {most}");
        session.rows(&sql, values![owner.as_str(), key, field], |row| stamp(row, 0, 1))
    })
}

/// The first of a list that is not gone. The list is read in parts that grow, so that at most four times as
/// many rows are read as are gone.
fn first_left(
    gone: &BTreeSet<ItemHash>,
    read: impl Fn(usize) -> Result<Vec<Stamp>, StoreError>,
) -> Result<Option<Stamp>, StoreError> {
    let mut most = 2;
    loop {
        let found = read(most)?;
        let is_all = found.len() < most;
        let left = found.into_iter().find(|stamp| !gone.contains(&stamp.hash));
        if left.is_some() || is_all {
            return Ok(left);
        }
        most *= 4;
    }
}

/// A new element of an aggregate.
pub(crate) struct Merged<'a> {
    pub(crate) state: &'a AggregateState,
    pub(crate) before: Option<&'a AggregateFact>,
    pub(crate) won: &'a [WonField],
    pub(crate) lost: &'a [HiddenField],
}

/// Applies a new element.
pub(crate) fn merge(
    session: &Session,
    sums: &mut Sums,
    written: &mut WrittenFields,
    merged: &Merged<'_>,
) -> Result<(), StoreError> {
    let Merged { state, before, won, lost } = merged;
    put_head(session, sums, state, *before)?;
    let (owner, key) = (state.owner.as_str(), state.key.as_str());
    for WonField { field, over } in *won {
        let name = field.field.as_str();
        if let Some(over) = over {
            match written.take(&over.hash, name) {
                Some(row) => sums.subtract_row(Part::AggregateFields, row),
                None => subtract_field(session, sums, owner, key, name)?,
            }
            hide(session, owner, key, name, over)?;
        }
        let row = put_field(session, sums, owner, key, field)?;
        written.remember(&field.stamp.hash, name, row);
    }
    for lost in *lost {
        hide(session, owner, key, &lost.field, &lost.stamp)?;
    }
    Ok(())
}

/// An aggregate without some of its elements.
pub(crate) struct Reduced<'a> {
    pub(crate) state: &'a AggregateState,
    pub(crate) before: &'a AggregateFact,
    pub(crate) fields: &'a [FieldValue],
    pub(crate) dropped: &'a [String],
    pub(crate) unhidden: &'a [HiddenField],
}

/// Takes elements out.
pub(crate) fn reduce(session: &Session, sums: &mut Sums, reduced: &Reduced<'_>) -> Result<(), StoreError> {
    let Reduced { state, before, fields, dropped, unhidden } = reduced;
    put_head(session, sums, state, Some(before))?;
    let (owner, key) = (state.owner.as_str(), state.key.as_str());
    for HiddenField { field, stamp } in *unhidden {
        session.execute(
            "DELETE FROM aggregate_hidden WHERE owner = ?1 AND key = ?2 AND field = ?3 AND time = ?4 \
             AND hash = ?5",
            values![owner, key, field, stamp.time.as_micros(), stamp.hash.as_str()],
        )?;
    }
    for field in *dropped {
        subtract_field(session, sums, owner, key, field)?;
        session.execute(
            "DELETE FROM aggregate_fields WHERE owner = ?1 AND key = ?2 AND field = ?3",
            values![owner, key, field],
        )?;
    }
    for field in *fields {
        subtract_field(session, sums, owner, key, &field.field)?;
        put_field(session, sums, owner, key, field)?;
    }
    Ok(())
}

/// Deletes an aggregate.
pub(crate) fn remove(
    session: &Session,
    sums: &mut Sums,
    owner: &Address,
    key: &str,
) -> Result<(), StoreError> {
    const OF_AGGREGATE: &str = "owner = ?1 AND key = ?2";
    let of_aggregate = values![owner.as_str(), key];
    sums.subtract_stored(session, Part::AggregateFields, OF_AGGREGATE, of_aggregate)?;
    sums.subtract_stored(session, Part::Aggregates, OF_AGGREGATE, of_aggregate)?;
    for table in ["aggregate_hidden", "aggregate_fields", "aggregates"] {
        session.execute(&format!("DELETE FROM {table} WHERE {OF_AGGREGATE}"), of_aggregate)?;
    }
    Ok(())
}

fn put_head(
    session: &Session,
    sums: &mut Sums,
    state: &AggregateState,
    before: Option<&AggregateFact>,
) -> Result<(), StoreError> {
    if let Some(before) = before {
        sums.subtract(Part::Aggregates, &head_row(state, before));
    }
    let row = head_row(state, &state.head);
    session.execute(
        "INSERT INTO aggregates (owner, key, created, first_hash, updated, last_hash, elements) \
             VALUES (?1,?2,?3,?4,?5,?6,?7) ON CONFLICT (owner, key) DO UPDATE SET \
             created = excluded.created, first_hash = excluded.first_hash, updated = excluded.updated, \
             last_hash = excluded.last_hash, elements = excluded.elements",
        &row,
    )?;
    sums.add(Part::Aggregates, &row);
    Ok(())
}

fn head_row<'a>(state: &'a AggregateState, head: &'a AggregateFact) -> [Value<'a>; 7] {
    [
        Value::from(state.owner.as_str()),
        Value::from(&state.key),
        Value::from(head.first.time.as_micros()),
        Value::from(head.first.hash.as_str()),
        Value::from(head.last.time.as_micros()),
        Value::from(head.last.hash.as_str()),
        Value::from(head.elements),
    ]
}

/// The field's row changes or goes.
fn subtract_field(
    session: &Session,
    sums: &mut Sums,
    owner: &str,
    key: &str,
    field: &str,
) -> Result<(), StoreError> {
    let condition = "owner = ?1 AND key = ?2 AND field = ?3";
    sums.subtract_stored(session, Part::AggregateFields, condition, values![owner, key, field])
}

fn put_field(
    session: &Session,
    sums: &mut Sums,
    owner: &str,
    key: &str,
    field: &FieldValue,
) -> Result<RowHash, StoreError> {
    let value = field.value.to_string();
    let row =
        values![owner, key, &field.field, &value, field.stamp.time.as_micros(), field.stamp.hash.as_str(),];
    session.execute(
        "INSERT INTO aggregate_fields (owner, key, field, value, time, hash) VALUES (?1,?2,?3,?4,?5,?6) \
             ON CONFLICT (owner, key, field) DO UPDATE SET value = excluded.value, time = excluded.time, \
             hash = excluded.hash",
        row,
    )?;
    Ok(sums.add(Part::AggregateFields, row))
}

/// An element does not count for a field, or no longer.
fn hide(session: &Session, owner: &str, key: &str, field: &str, stamp: &Stamp) -> Result<(), StoreError> {
    session.execute(
        "INSERT INTO aggregate_hidden (owner, key, field, time, hash) VALUES (?1,?2,?3,?4,?5) \
             ON CONFLICT DO NOTHING",
        values![owner, key, field, stamp.time.as_micros(), stamp.hash.as_str()],
    )
}

#[cfg(test)]
mod tests {
    use super::{AT_ONE_TIME, ELEMENTS, HIDDEN, LATEST, fill};
    use crate::Store;
    use crate::engine::values;

    #[test]
    fn every_look_follows_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let (_store, writer) = Store::open(folder.path().join("node.sqlite3")).unwrap();
        for (sql, count) in
            [(ELEMENTS, 4), (LATEST, 3), (AT_ONE_TIME, 3), (HIDDEN, 3), (fill::ALL_ELEMENTS, 4)]
        {
            let explain = format!("EXPLAIN QUERY PLAN {sql}");
            let plan =
                writer.session().rows(&explain, &values!["", "", 1_i64, ""][..count], |row| row.string(3));
            let plan = plan.unwrap().join("; ");
            assert!(plan.starts_with("SEARCH") && !plan.contains("TEMP B-TREE"), "{plan}: {sql}");
        }
    }
}
