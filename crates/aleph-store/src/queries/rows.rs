//! From columns to domain types.

use std::sync::Arc;

use aleph_types::{Address, Channel, ItemHash, Message, Signature, Timestamp};
use rusqlite::Row;
use rusqlite::types::Type;

/// A stored value that is none of ours: the database was written by something else, or is damaged.
#[derive(Debug, thiserror::Error)]
#[error("column {column} holds a {what} that this version doesn't know: '{text}'")]
struct Unreadable {
    column: usize,
    what: &'static str,
    text: String,
}

fn unreadable(column: usize, what: &'static str, text: &str) -> rusqlite::Error {
    let source = Unreadable { column, what, text: text.to_owned() };
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(source))
}

fn text<'row>(row: &'row Row<'_>, column: usize) -> rusqlite::Result<&'row str> {
    row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)
}

fn optional_text<'row>(row: &'row Row<'_>, column: usize) -> rusqlite::Result<Option<&'row str>> {
    row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from)
}

pub(super) fn word<T: std::str::FromStr>(
    row: &Row<'_>,
    column: usize,
    what: &'static str,
) -> rusqlite::Result<T> {
    let text = text(row, column)?;
    text.parse().map_err(|_| unreadable(column, what, text))
}

pub(super) fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<ItemHash> {
    let text = text(row, column)?;
    ItemHash::recognise(text).map_err(|_| unreadable(column, "item hash", text))
}

pub(super) fn address(row: &Row<'_>, column: usize) -> rusqlite::Result<Address> {
    text(row, column).map(Address::from)
}

pub(super) fn optional_arc(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Arc<str>>> {
    Ok(optional_text(row, column)?.map(Arc::from))
}

pub(super) fn optional_string(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(optional_text(row, column)?.map(str::to_owned))
}

pub(super) fn channel(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Channel>> {
    Ok(optional_text(row, column)?.map(Channel::from))
}

pub(super) fn signature(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Signature>> {
    Ok(optional_text(row, column)?.map(Signature::from))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_micros)
}

pub(super) fn size(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let size: i64 = row.get(column)?;
    Ok(size.unsigned_abs())
}

/// The columns that [`envelope`] reads, in its order, of the table `messages` under the name `m`.
pub(super) const ENVELOPE: &str = "m.item_hash, m.message_type, m.chain, m.sender, m.signature, m.item_type, \
     m.item_content, m.time, m.channel";

/// Columns that [`ENVELOPE`] takes.
pub(super) const ENVELOPE_COLUMNS: usize = 9;

/// The envelope in the first [`ENVELOPE_COLUMNS`] columns.
pub(super) fn envelope(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        item_hash: hash(row, 0)?,
        message_type: word(row, 1, "message type")?,
        chain: word(row, 2, "chain")?,
        sender: address(row, 3)?,
        signature: signature(row, 4)?,
        item_type: word(row, 5, "item type")?,
        item_content: optional_arc(row, 6)?,
        time: time(row, 7)?,
        channel: channel(row, 8)?,
    })
}
