//! A statement under construction: its text and what is bound to it.

use std::collections::BTreeSet;

use super::SortOrder;
use crate::engine::{Row, Session, Value};
use crate::{StoreError, statuses};

/// A value that a statement owns.
#[derive(Debug, Clone)]
pub(crate) enum Bound {
    Int(i64),
    Text(String),
    Texts(Vec<String>),
}

impl From<i64> for Bound {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<String> for Bound {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// SQL text with positional binds. Texts depend on which filters are present, never on their values, so
/// that the statement cache of a connection holds them all.
#[derive(Debug, Default)]
pub(crate) struct Sql {
    pub(super) text: String,
    pub(super) binds: Vec<Bound>,
}

impl Sql {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), binds: Vec::new() }
    }

    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Goes on with another statement.
    pub(crate) fn append(&mut self, other: Self) -> &mut Self {
        self.text.push_str(&other.text);
        self.binds.extend(other.binds);
        self
    }

    /// Binds `value` at this place of the text.
    pub(crate) fn bind(&mut self, value: impl Into<Bound>) -> &mut Self {
        self.text.push('?');
        self.binds.push(value.into());
        self
    }

    /// Binds a list where `json_each` reads it.
    pub(crate) fn bind_list(&mut self, values: &[String]) -> &mut Self {
        self.text.push('?');
        self.binds.push(Bound::Texts(values.to_vec()));
        self
    }

    /// `column` is one of `values`.
    pub(crate) fn one_of(&mut self, column: &str, values: &[String]) -> &mut Self {
        let start = match column {
            // PostgreSQL's index holds the starts of channels; to SQLite the first test says nothing new.
            "m.channel" => Some((CHANNEL_START, START_CHARS)),
            "m.item_hash" => Some((statuses::HASH_START, statuses::START_CHARS)),
            _ => None,
        };
        if let Some((expression, characters)) = start {
            let starts = values.iter().map(|value| statuses::start_of(value, characters).to_owned());
            let starts: BTreeSet<String> = starts.collect();
            self.is_one_of(expression, &Vec::from_iter(starts)).push(" AND ");
        }
        self.is_one_of(column, values)
    }

    /// `column` is the number of one of these owners.
    pub(crate) fn one_of_owners(&mut self, column: &str, owners: &[String]) -> &mut Self {
        self.push(column).push(if owners.len() == 1 { " = " } else { " IN " });
        self.push("(SELECT o.id FROM owners o WHERE ").is_one_of("o.address", owners).push(")")
    }

    fn is_one_of(&mut self, column: &str, values: &[String]) -> &mut Self {
        match values {
            [value] => self.push(column).push(" = ").bind(value.clone()),
            values => {
                self.push(column).push(" IN (SELECT value FROM json_each(").bind_list(values).push("))")
            }
        }
    }

    /// ` AND column is one of values`, if there are values to test.
    pub(crate) fn and_one_of(&mut self, column: &str, values: Option<&[String]>) -> &mut Self {
        if let Some(values) = values {
            self.push(" AND ").one_of(column, values);
        }
        self
    }

    /// ` AND low <= column AND column < high`, in microseconds.
    pub(crate) fn and_between(&mut self, column: &str, low: Option<i64>, high: Option<i64>) -> &mut Self {
        if let Some(low) = low {
            self.push(" AND ").push(column).push(" >= ").bind(low);
        }
        if let Some(high) = high {
            self.push(" AND ").push(column).push(" < ").bind(high);
        }
        self
    }

    fn values(&self) -> Vec<Value<'_>> {
        let value = |bound| match bound {
            &Bound::Int(number) => Value::Int(number),
            Bound::Text(text) => Value::Text(text),
            Bound::Texts(texts) => Value::Texts(texts),
        };
        self.binds.iter().map(value).collect()
    }

    /// Every row through `read`.
    pub(crate) fn rows<T>(
        &self,
        session: &Session,
        read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        session.rows(&self.text, &self.values(), read)
    }

    /// Passes every row to `visit`, without keeping them.
    pub(crate) fn each(
        &self,
        session: &Session,
        visit: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        session.each(&self.text, &self.values(), visit)
    }

    /// The one number of a counting statement.
    pub(crate) fn count(&self, session: &Session) -> Result<u64, StoreError> {
        session.count(&self.text, &self.values())
    }
}

/// The expression of PostgreSQL's index of channels.
pub(super) const CHANNEL_START: &str = "substr(m.channel, 1, 512)";

/// Characters of a channel in that index.
pub(super) const START_CHARS: usize = 512;

/// The times of a list's rows, `(least, first too great)`, that can come at or after a row with this time.
/// An index is entered at one bound: of two, the engine may take the wider one and walk to the other.
pub(super) fn times_from(
    (low, high): (Option<i64>, Option<i64>),
    order: SortOrder,
    time: i64,
) -> (Option<i64>, Option<i64>) {
    match order {
        SortOrder::Ascending => (Some(low.map_or(time, |low| low.max(time))), high),
        SortOrder::Descending => {
            let end = time.saturating_add(1);
            (low, Some(high.map_or(end, |high| high.min(end))))
        }
    }
}

/// What `LIMIT` and `OFFSET` take.
pub(crate) fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The steps of a statement's plan, for tests.
#[cfg(test)]
pub(crate) fn plan(session: &Session, sql: &Sql) -> Vec<String> {
    let (explain, column) = match session {
        Session::Sqlite(_) => ("EXPLAIN QUERY PLAN", 3),
        Session::Postgres(_) => ("EXPLAIN", 0),
    };
    let explain = Sql { text: format!("{explain} {}", sql.text), binds: sql.binds.clone() };
    explain.rows(session, |row| row.string(column)).unwrap()
}
