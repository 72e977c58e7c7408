//! What the ledger of a database lacks that is older than the ledger, from the messages that are stored: in
//! pages, each a transaction with the place that it came to, so that a kill repeats at most one. What is there
//! already stays as it is.

use aleph_rules::{Effect, Network, Tariff, stored_money};
use aleph_types::content::{Content, PostContent};
use aleph_types::{Channel, ItemHash, MessageType};

use super::recalculate::PRICED;
use super::{apply_credits, set_balances};
use crate::engine::values;
use crate::facts::{self, Ledger};
use crate::{StoreError, Transaction, Writer};

/// Where `meta` has the place of the last message that was looked at; a migration put it there.
const KEY: &str = "backfill";

/// How far the backfill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backfill {
    /// Places in the order of processing that were looked at.
    pub done: u64,
    /// Of how many.
    pub all: u64,
    /// Whether that was the last page.
    pub is_complete: bool,
}

/// A stored message that may concern the ledger.
struct Found {
    hash: ItemHash,
    message_type: MessageType,
    channel: Option<Channel>,
    content: String,
}

/// Messages of types that cost something, and posts of the words that move money.
pub(super) fn found_sql() -> String {
    let types = PRICED.map(|one| format!("'{}'", one.as_str())).join(", ");
    let posts = aleph_rules::MONEY_POSTS.map(|one| format!("'{one}'")).join(", ");
    format!(
        "SELECT item_hash, message_type, channel, COALESCE(content, item_content) FROM messages \
         WHERE seq > ?1 AND seq <= ?2 AND (message_type IN ({types}) \
         OR (message_type = 'POST' AND content_type IN ({posts}))) ORDER BY seq"
    )
}

impl Transaction<'_> {
    /// What one stored message lacks in the ledger.
    fn catch_up(
        &mut self,
        found: &Found,
        network: &Network,
        tariff: &mut Option<Tariff>,
    ) -> Result<(), StoreError> {
        let message = &found.hash;
        if found.message_type != MessageType::Post {
            let Some(payments) = &network.payments else { return Ok(()) };
            let has_costs = self.session().first(
                "SELECT 1 FROM account_costs WHERE item_hash = ?1 LIMIT 1",
                values![message.as_str()],
                |row| row.int(0),
            )?;
            if has_costs.is_none() {
                let tariff = match tariff {
                    Some(known) => &*known,
                    None => tariff.insert(facts::tariff(self.session(), &payments.publisher)?),
                };
                self.recalculate_costs(message, tariff)?;
            }
            return Ok(());
        }
        let Some(post) = post_of(found)? else { return Ok(()) };
        let (session, sums) = self.parts();
        let mut ledger = Ledger { session, now: aleph_types::Timestamp::EPOCH };
        let effects = stored_money(message, &post, found.channel.as_ref(), &network.publishers, &mut ledger)?;
        for effect in &effects {
            match effect {
                Effect::SetBalances { chain, dapp, height, entries, source } => {
                    set_balances(session, sums, (chain, dapp, *height), entries, source)?;
                }
                Effect::Credits(changes) => apply_credits(session, sums, changes)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn post_of(found: &Found) -> Result<Option<PostContent>, StoreError> {
    let document = aleph_types::json::parse(found.content.as_bytes())
        .map_err(|_| StoreError::corrupt("content", found.content.as_str()))?;
    match Content::parse_value(MessageType::Post, document) {
        Ok(Content::Post(post)) => Ok(Some(post)),
        _ => Err(StoreError::corrupt("content of a POST", found.content.as_str())),
    }
}

impl Writer {
    /// Gives the ledger what it lacks of the next `most` places in the order of processing; `None` when
    /// there is nothing to do. To be called, until then, before anything is processed: what accounts have
    /// decides what is accepted.
    ///
    /// Posts of credits count in the order of their times, and transfers that nobody checked move what was
    /// there. Costs are those of the prices at a message's own time.
    pub fn backfill(&mut self, network: &Network, most: u32) -> Result<Option<Backfill>, StoreError> {
        let mut transaction = self.begin()?;
        let place =
            transaction
                .session()
                .first("SELECT value FROM meta WHERE key = ?1", values![KEY], |row| row.string(0))?;
        let Some(place) = place else { return Ok(None) };
        let after: i64 = place.parse().map_err(|_| StoreError::corrupt("place of the backfill", &place))?;
        let last = transaction
            .session()
            .first("SELECT max(seq) FROM messages", &[], |row| row.opt_int(0))?
            .flatten()
            .unwrap_or_default();
        let until = after.saturating_add(i64::from(most)).min(last);
        let found = transaction.session().rows(&found_sql(), values![after, until], |row| {
            Ok(Found {
                hash: row.hash(0)?,
                message_type: row.word(1, "message type")?,
                channel: row.opt_text(2)?.map(Channel::from),
                content: row.opt_string(3)?.unwrap_or_default(),
            })
        })?;
        let mut tariff = None;
        for found in &found {
            transaction.catch_up(found, network, &mut tariff)?;
        }
        let is_complete = until >= last;
        match is_complete {
            true => transaction.session().execute("DELETE FROM meta WHERE key = ?1", values![KEY])?,
            false => transaction
                .session()
                .execute("UPDATE meta SET value = ?2 WHERE key = ?1", values![KEY, &until.to_string()])?,
        }
        transaction.commit()?;
        let number = |seq: i64| u64::try_from(seq).unwrap_or_default();
        Ok(Some(Backfill { done: number(until), all: number(last), is_complete }))
    }
}
