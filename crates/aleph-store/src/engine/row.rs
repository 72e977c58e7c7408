//! From columns to domain types. What was stored was valid; anything else is corruption.

use std::str::FromStr;

use aleph_types::{Address, ItemHash, Timestamp};

use super::{Value, postgres, sqlite};
use crate::StoreError;

/// One row of an answer, for as long as it is read.
#[derive(Debug)]
pub(crate) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

impl Row<'_> {
    /// Columns.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Sqlite(row) => row.as_ref().column_count(),
            Self::Postgres(row) => row.len(),
        }
    }

    /// A column of whatever kind.
    pub(crate) fn value(&self, column: usize) -> Result<Value<'_>, StoreError> {
        match self {
            Self::Sqlite(row) => sqlite::value(row, column),
            Self::Postgres(row) => postgres::value(row, column),
        }
    }

    pub(crate) fn opt_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            other => Err(unexpected(column, other)),
        }
    }

    pub(crate) fn text(&self, column: usize) -> Result<&str, StoreError> {
        match self.value(column)? {
            Value::Text(text) => Ok(text),
            other => Err(unexpected(column, other)),
        }
    }

    pub(crate) fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Int(number) => Ok(Some(number)),
            other => Err(unexpected(column, other)),
        }
    }

    pub(crate) fn int(&self, column: usize) -> Result<i64, StoreError> {
        match self.value(column)? {
            Value::Int(number) => Ok(number),
            other => Err(unexpected(column, other)),
        }
    }

    pub(crate) fn flag(&self, column: usize) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }

    /// A number that is never negative.
    pub(crate) fn size(&self, column: usize) -> Result<u64, StoreError> {
        Ok(self.int(column)?.unsigned_abs())
    }

    pub(crate) fn string(&self, column: usize) -> Result<String, StoreError> {
        self.text(column).map(str::to_owned)
    }

    pub(crate) fn opt_string(&self, column: usize) -> Result<Option<String>, StoreError> {
        Ok(self.opt_text(column)?.map(str::to_owned))
    }

    pub(crate) fn time(&self, column: usize) -> Result<Timestamp, StoreError> {
        self.int(column).map(Timestamp::from_micros)
    }

    pub(crate) fn hash(&self, column: usize) -> Result<ItemHash, StoreError> {
        let text = self.text(column)?;
        ItemHash::recognise(text).map_err(|_| StoreError::corrupt("item hash", text))
    }

    pub(crate) fn address(&self, column: usize) -> Result<Address, StoreError> {
        self.text(column).map(Address::from)
    }

    /// A value with a fixed set of words, as `what` names them.
    pub(crate) fn word<T: FromStr>(&self, column: usize, what: &'static str) -> Result<T, StoreError> {
        let text = self.text(column)?;
        text.parse().map_err(|_| StoreError::corrupt(what, text))
    }
}

fn unexpected(column: usize, value: Value<'_>) -> StoreError {
    StoreError::corrupt("column", format!("{column}: {value:?}"))
}
