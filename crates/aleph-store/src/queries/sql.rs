//! A statement under construction: its text and what is bound to it.

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::StoreError;

/// SQL text with positional binds. Texts depend on which filters are present, never on their values, so
/// that the statement cache of a connection holds them all.
#[derive(Debug, Default)]
pub(super) struct Sql {
    pub(super) text: String,
    pub(super) binds: Vec<Value>,
}

impl Sql {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), binds: Vec::new() }
    }

    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Binds `value` at this place of the text.
    pub(super) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.text.push('?');
        self.binds.push(value.into());
        self
    }

    /// `column` is one of `values`.
    pub(super) fn one_of(&mut self, column: &str, values: &[String]) -> &mut Self {
        match values {
            [value] => self.push(column).push(" = ").bind(value.clone()),
            values => {
                self.push(column).push(" IN (SELECT value FROM json_each(").bind(json_list(values)).push("))")
            }
        }
    }

    /// ` AND column is one of values`, if there are values to test.
    pub(super) fn and_one_of(&mut self, column: &str, values: Option<&[String]>) -> &mut Self {
        if let Some(values) = values {
            self.push(" AND ").one_of(column, values);
        }
        self
    }

    /// ` AND low <= column AND column < high`, in microseconds.
    pub(super) fn and_between(&mut self, column: &str, low: Option<i64>, high: Option<i64>) -> &mut Self {
        if let Some(low) = low {
            self.push(" AND ").push(column).push(" >= ").bind(low);
        }
        if let Some(high) = high {
            self.push(" AND ").push(column).push(" < ").bind(high);
        }
        self
    }

    /// Every row through `read`.
    pub(super) fn rows<T>(
        &self,
        conn: &Connection,
        mut read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = conn.prepare_cached(&self.text)?;
        let mut rows = statement.query(rusqlite::params_from_iter(&self.binds))?;
        let mut read_rows = Vec::new();
        while let Some(row) = rows.next()? {
            read_rows.push(read(row)?);
        }
        Ok(read_rows)
    }

    /// The one number of a counting statement.
    pub(super) fn count(&self, conn: &Connection) -> Result<u64, StoreError> {
        let mut statement = conn.prepare_cached(&self.text)?;
        let count: i64 = statement.query_row(rusqlite::params_from_iter(&self.binds), |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }
}

/// A JSON list of texts.
pub(super) fn json_list(values: &[String]) -> String {
    serde_json::Value::from(values).to_string()
}

/// What `LIMIT` and `OFFSET` take.
pub(super) fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The steps of a statement's plan, for tests.
#[cfg(test)]
pub(super) fn plan(conn: &Connection, sql: &Sql) -> Vec<String> {
    let explain = Sql { text: format!("EXPLAIN QUERY PLAN {}", sql.text), binds: sql.binds.clone() };
    explain.rows(conn, |row| row.get::<_, String>(3)).unwrap()
}
