//! Between columns and domain types. What was stored was valid; anything else is corruption.

use aleph_types::{Chain, ItemHash, MessageType, Timestamp};
use rusqlite::Row;

use crate::StoreError;

pub(crate) fn hash(row: &Row<'_>, column: usize) -> Result<ItemHash, StoreError> {
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    ItemHash::recognise(text).map_err(|_| StoreError::corrupt("item hash", text))
}

pub(crate) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_micros(row.get(column)?))
}

pub(crate) fn message_type(row: &Row<'_>, column: usize) -> Result<MessageType, StoreError> {
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    text.parse().map_err(|()| StoreError::corrupt("message type", text))
}

pub(crate) fn chain(row: &Row<'_>, column: usize) -> Result<Chain, StoreError> {
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    text.parse().map_err(|_| StoreError::corrupt("chain", text))
}
