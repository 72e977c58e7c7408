//! Costs computed anew, with the prices in force when each message was sent
//! (`spec: ccn-api.md §9.5`, `payments.md §12`).

use aleph_ledger::{CostError, Estimates, Workload};
use aleph_rules::Tariff;
use aleph_types::content::Content;
use aleph_types::{ItemHash, MessageStatus, MessageType, Timestamp};

use super::set_costs;
use crate::engine::{Session, values};
use crate::facts::Ledger;
use crate::statuses::status_of;
use crate::{Store, StoreError, Transaction};

/// What became of one message.
#[derive(Debug, Clone, PartialEq)]
pub enum Recalculated {
    /// Its costs are computed anew.
    Done,
    /// It is not stored (any more), or of a type that costs nothing.
    Gone,
    /// The prices of its time can't price it; the costs stay as they were.
    Unpriced(CostError),
}

/// A place in the order of messages by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostPlace {
    /// Envelope time.
    pub time: Timestamp,
    /// The message.
    pub message: ItemHash,
}

/// Message types that cost something.
pub(super) const PRICED: [MessageType; 4] =
    [MessageType::Store, MessageType::Program, MessageType::Instance, MessageType::VProgram];

/// A stored message as far as its price cares: type, envelope time, content.
fn stored(session: &Session, seq: i64) -> Result<Option<(MessageType, Timestamp, Content)>, StoreError> {
    let row = session.first(
        "SELECT message_type, time, COALESCE(content, item_content) FROM messages WHERE seq = ?1",
        values![seq],
        |row| Ok((row.word::<MessageType>(0, "message type")?, row.time(1)?, row.opt_string(2)?)),
    )?;
    let Some((message_type, time, Some(text))) = row else { return Ok(None) };
    if !PRICED.contains(&message_type) {
        return Ok(None);
    }
    let document = aleph_types::json::parse(text.as_bytes())
        .map_err(|_| StoreError::corrupt("content", text.as_str()))?;
    match Content::parse_value(message_type, document) {
        Ok(content) => Ok(Some((message_type, time, content))),
        Err(_) => Err(StoreError::corrupt("content", text)),
    }
}

impl Transaction<'_> {
    /// Computes what one message costs anew, with the prices of its envelope time. The lines keep their
    /// place in the order of age.
    pub fn recalculate_costs(
        &mut self,
        message: &ItemHash,
        tariff: &Tariff,
    ) -> Result<Recalculated, StoreError> {
        let session = self.session();
        let Some((MessageStatus::Processed | MessageStatus::Removing, Some(seq))) =
            status_of(session, message.as_str())?
        else {
            return Ok(Recalculated::Gone);
        };
        let Some((_, time, content)) = stored(session, seq)? else { return Ok(Recalculated::Gone) };
        let mut files = Ledger { session, now: Timestamp::EPOCH };
        let Some(workload) = Workload::of(message, &content, &Estimates::default(), &mut files)? else {
            return Ok(Recalculated::Gone);
        };
        match workload.price(tariff.timeline.at(time), &tariff.settings) {
            Ok(costing) => {
                set_costs(session, &workload.owner, message, &costing)?;
                Ok(Recalculated::Done)
            }
            Err(error) => Ok(Recalculated::Unpriced(error)),
        }
    }
}

impl Store {
    /// Stored messages that cost something, oldest first, at most `most` after `after`.
    pub async fn priced_messages(
        &self,
        after: Option<CostPlace>,
        most: u64,
    ) -> Result<Vec<CostPlace>, StoreError> {
        self.read(move |session| {
            let mut all = Vec::new();
            let (time, hash) = match &after {
                Some(place) => (place.time.as_micros(), place.message.as_str()),
                None => (i64::MIN, ""),
            };
            // One walk for each type: each is driven by its own index.
            for message_type in PRICED {
                all.extend(session.rows(
                    "SELECT time, item_hash FROM messages WHERE message_type = ?1 \
                     AND (time, item_hash) > (?2, ?3) ORDER BY time, item_hash LIMIT ?4",
                    values![message_type.as_str(), time, hash, most],
                    |row| Ok(CostPlace { time: row.time(0)?, message: row.hash(1)? }),
                )?);
            }
            all.sort_by(|a, b| (a.time, &a.message).cmp(&(b.time, &b.message)));
            all.truncate(usize::try_from(most).unwrap_or(usize::MAX));
            Ok(all)
        })
        .await
    }
}
