//! Columns that several queries read alike.

use std::sync::Arc;

use aleph_types::{Channel, Message, Signature};

use crate::StoreError;
use crate::engine::Row;

/// The columns that [`envelope`] reads, in its order, of the table `messages` under the name `m`.
pub(super) const ENVELOPE: &str = "m.item_hash, m.message_type, m.chain, m.sender, m.signature, m.item_type, \
     m.item_content, m.time, m.channel";

/// Columns that [`ENVELOPE`] takes.
pub(super) const ENVELOPE_COLUMNS: usize = 9;

/// The envelope in the first [`ENVELOPE_COLUMNS`] columns.
pub(super) fn envelope(row: &Row<'_>) -> Result<Message, StoreError> {
    Ok(Message {
        item_hash: row.hash(0)?,
        message_type: row.word(1, "message type")?,
        chain: row.word(2, "chain")?,
        sender: row.address(3)?,
        signature: row.opt_text(4)?.map(Signature::from),
        item_type: row.word(5, "item type")?,
        item_content: row.opt_text(6)?.map(Arc::from),
        time: row.time(7)?,
        channel: row.opt_text(8)?.map(Channel::from),
    })
}
