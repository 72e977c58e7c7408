//! Databases that are older than the table of what is hidden get its rows before a node uses them.

use serde_json::Value as Json;

use super::merged_by;
use crate::StoreError;
use crate::engine::{Session, values};

/// Where `meta` says how far this is: the place of the last element that was looked at, or [`DONE`].
pub(crate) const FILLED: &str = "aggregate_hidden";

const DONE: &str = "done";

/// Elements of one transaction.
const PAGE: usize = 1_000;

/// In the order of the index that leads through them.
pub(super) const ALL_ELEMENTS: &str = "SELECT content_key, owner, content_time, item_hash, seq FROM messages \
     WHERE content_key IS NOT NULL AND (content_key, owner, content_time, item_hash) > (?1, ?2, ?3, ?4) \
     ORDER BY content_key, owner, content_time, item_hash";

/// A place among all elements, in that order.
#[derive(Debug)]
struct Place {
    key: String,
    owner: String,
    time: i64,
    hash: String,
}

/// Looks at every element that is there, once in the life of a database. A start that was killed goes on where
/// it stopped.
pub(crate) fn fill(session: &Session) -> Result<(), StoreError> {
    let found =
        session.first("SELECT value FROM meta WHERE key = ?1", values![FILLED], |row| row.string(0))?;
    let mut place = match found.as_deref() {
        Some(DONE) => return Ok(()),
        Some(text) => Place::read(text)?,
        None => Place { key: String::new(), owner: String::new(), time: i64::MIN, hash: String::new() },
    };
    loop {
        session.begin()?;
        let next = page(session, &place).and_then(|next| session.commit().map(|()| next));
        match next.inspect_err(|_| session.roll_back())? {
            Some(next) => place = next,
            None => return Ok(()),
        }
    }
}

/// The next elements, and the note of how far this is; `None` after the last.
fn page(session: &Session, after: &Place) -> Result<Option<Place>, StoreError> {
    let mut elements = session.rows(
        &format!("{ALL_ELEMENTS} LIMIT {PAGE}"),
        values![&after.key, &after.owner, after.time, &after.hash],
        |row| {
            let (key, owner, time) = (row.string(0)?, row.string(1)?, row.int(2)?);
            Ok((Place { key, owner, time, hash: row.string(3)? }, row.int(4)?))
        },
    )?;
    // One content at a time: each may be large.
    for (element, seq) in &elements {
        let content = session.first(
            "SELECT COALESCE(content, item_content) FROM messages WHERE seq = ?1",
            values![*seq],
            |row| merged_by(row.text(0)?),
        )?;
        for field in content.unwrap_or_default().keys() {
            session.execute(
                "INSERT INTO aggregate_hidden (owner, key, field, time, hash) \
                 SELECT owner, key, field, CAST(?4 AS BIGINT), CAST(?5 AS TEXT) FROM aggregate_fields \
                 WHERE owner = ?1 AND key = ?2 AND field = ?3 AND hash <> ?5 ON CONFLICT DO NOTHING",
                values![&element.owner, &element.key, field, element.time, &element.hash],
            )?;
        }
    }
    let next = if elements.len() < PAGE { None } else { elements.pop().map(|(place, _)| place) };
    session.execute(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        values![FILLED, &next.as_ref().map_or_else(|| DONE.to_owned(), Place::write)],
    )?;
    Ok(next)
}

impl Place {
    fn write(&self) -> String {
        serde_json::json!([self.key, self.owner, self.time, self.hash]).to_string()
    }

    fn read(text: &str) -> Result<Self, StoreError> {
        let corrupt = || StoreError::corrupt("place among elements of aggregates", text);
        let place: Json = aleph_types::json::parse(text.as_bytes()).map_err(|_| corrupt())?;
        let string = |index: usize| place[index].as_str().map(str::to_owned).ok_or_else(corrupt);
        let time = place[2].as_i64().ok_or_else(corrupt)?;
        Ok(Self { key: string(0)?, owner: string(1)?, time, hash: string(3)? })
    }
}
