//! Messages as they are handed on to other nodes: many at a time, each written once.

use serde::Serialize;

use crate::engine::{Row, Session, values};
use crate::statuses::has_hash;
use crate::sync::{Skeleton, skeleton_of};
use crate::{Store, StoreError};

/// An `Envelope` (of `aleph_types::wire`) whose texts stand in a row.
#[derive(Debug, Serialize)]
struct EnvelopeRow<'a> {
    chain: &'a str,
    sender: &'a str,
    #[serde(rename = "type")]
    message_type: &'a str,
    channel: Option<&'a str>,
    signature: Option<&'a str>,
    time: f64,
    item_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_content: Option<&'a str>,
    item_hash: &'a str,
}

/// Reads messages one after the other within one reading of the database.
#[derive(Debug)]
pub struct Handing<'a> {
    session: &'a Session,
}

impl Handing<'_> {
    /// Appends the envelope of a stored message to `out`, as JSON that `Envelope` of `aleph_types::wire` reads back; false if no
    /// such message is stored.
    ///
    /// # Errors
    /// When the database fails, or the row holds what no message can.
    pub fn envelope(&self, hash: &str, out: &mut Vec<u8>) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "SELECT m.chain, m.sender, m.message_type, m.channel, m.signature, m.time, m.item_type, ",
            "m.item_content, m.item_hash FROM messages m INDEXED BY messages_hash WHERE ",
            has_hash!("?1"),
        );
        let found = self.session.first(SQL, values![hash], |row| write_row(row, out))?;
        Ok(found.is_some())
    }

    /// What is left of a message that was forgotten.
    ///
    /// # Errors
    /// When the database fails.
    pub fn skeleton(&self, hash: &str) -> Result<Option<Skeleton>, StoreError> {
        skeleton_of(self.session, hash)
    }
}

fn write_row(row: &Row<'_>, out: &mut Vec<u8>) -> Result<(), StoreError> {
    let envelope = EnvelopeRow {
        chain: row.text(0)?,
        sender: row.text(1)?,
        message_type: row.text(2)?,
        channel: row.opt_text(3)?,
        signature: row.opt_text(4)?,
        time: row.time(5)?.as_secs_f64(),
        item_type: row.text(6)?,
        item_content: row.opt_text(7)?,
        item_hash: row.text(8)?,
    };
    serde_json::to_writer(out, &envelope).map_err(|_| StoreError::corrupt("envelope", envelope.item_hash))
}

impl Store {
    /// Passes a [`Handing`] to `read`, on a thread that may take its time.
    ///
    /// # Errors
    /// Those of `read`, and [`StoreError::Closed`].
    pub async fn hand_on<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Handing<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.read(move |session| read(&Handing { session })).await
    }
}

#[cfg(test)]
mod tests {
    use aleph_types::wire::Envelope;

    use super::*;

    #[test]
    fn a_row_is_written_as_its_envelope_is() {
        for (content, channel) in [(Some("{\"a\":\"\\u0001é\"}"), None), (None, Some("TEST"))] {
            let row = EnvelopeRow {
                chain: "ETH",
                sender: "0xA",
                message_type: "POST",
                channel,
                signature: Some("0x1"),
                time: 1_700_000_000.123_456,
                item_type: "inline",
                item_content: content,
                item_hash: "aa",
            };
            let envelope = Envelope {
                chain: "ETH".to_owned(),
                sender: "0xA".to_owned(),
                message_type: "POST".to_owned(),
                channel: channel.map(str::to_owned),
                signature: Some("0x1".to_owned()),
                time: row.time,
                item_type: Some("inline".to_owned()),
                item_content: content.map(str::to_owned),
                item_hash: "aa".to_owned(),
            };
            assert_eq!(serde_json::to_string(&row).unwrap(), serde_json::to_string(&envelope).unwrap());
        }
    }
}
