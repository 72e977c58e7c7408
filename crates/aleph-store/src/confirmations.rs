//! Transactions of chains that confirm messages (`spec: messages.md §25`).
//!
//! They belong to this node's view of the chains: the digest of the state does not cover them.

use aleph_types::{ChainTx, ItemHash, Timestamp};

use crate::engine::{Session, values};
use crate::statuses::status_of;
use crate::{Store, StoreError, Transaction};

impl Transaction<'_> {
    /// Notes that `tx` carries the message `hash`, which waits or is stored; the same one twice is one.
    pub fn confirm(&mut self, hash: &ItemHash, tx: &ChainTx) -> Result<(), StoreError> {
        let session = self.session();
        session.execute(
            "INSERT INTO confirmations (item_hash, chain, tx_hash, height, time, publisher) \
             VALUES (?1,?2,?3,?4,?5,?6) ON CONFLICT DO NOTHING",
            values![
                hash.as_str(),
                tx.chain.as_str(),
                &tx.hash,
                tx.height,
                tx.time.as_micros(),
                &tx.publisher,
            ],
        )?;
        let Some((_, Some(seq))) = status_of(session, hash.as_str())? else { return Ok(()) };
        settle(session, hash, seq)?;
        self.parts().1.touch(seq);
        Ok(())
    }

    /// A verified copy of a stored message had this envelope time: the smaller one stays
    /// (`spec: messages.md §25`).
    pub fn lower_time(&mut self, hash: &ItemHash, time: Timestamp) -> Result<(), StoreError> {
        let session = self.session();
        let Some((_, Some(seq))) = status_of(session, hash.as_str())? else { return Ok(()) };
        session.execute(
            "UPDATE messages SET time = ?2 WHERE seq = ?1 AND time > ?2",
            values![seq, time.as_micros()],
        )?;
        self.parts().1.touch(seq);
        Ok(())
    }
}

/// Brings the message's first confirmation up to date with the table.
pub(crate) fn settle(session: &Session, hash: &ItemHash, seq: i64) -> Result<(), StoreError> {
    session.execute(
        "UPDATE messages SET \
         confirmed_at = (SELECT min(c.time) FROM confirmations c WHERE c.item_hash = ?2), \
         confirmed_height = (SELECT min(c.height) FROM confirmations c WHERE c.item_hash = ?2) \
         WHERE seq = ?1",
        values![seq, hash.as_str()],
    )
}

/// Forgets the confirmations of a message that goes.
pub(crate) fn remove(session: &Session, hash: &ItemHash) -> Result<(), StoreError> {
    session.execute("DELETE FROM confirmations WHERE item_hash = ?1", values![hash.as_str()])
}

/// The confirmations of a message, by time and hash of the transaction.
pub(crate) fn of_message(session: &Session, hash: &ItemHash) -> Result<Vec<ChainTx>, StoreError> {
    session.rows(
        "SELECT chain, tx_hash, height, time, publisher FROM confirmations WHERE item_hash = ?1 \
         ORDER BY time, chain, tx_hash",
        values![hash.as_str()],
        |row| {
            Ok(ChainTx {
                chain: row.word(0, "chain")?,
                hash: row.string(1)?,
                height: row.size(2)?,
                time: row.time(3)?,
                publisher: row.string(4)?,
            })
        },
    )
}

impl Store {
    /// Every transaction that is known to carry a message.
    pub async fn confirmations(&self, hash: ItemHash) -> Result<Vec<ChainTx>, StoreError> {
        self.read(move |session| of_message(session, &hash)).await
    }
}
