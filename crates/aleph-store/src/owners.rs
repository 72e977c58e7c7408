//! Short numbers for the owners of messages: indexes by owner hold a number where an address would take ten
//! times the room, so that several owners share a page (`docs/adr/0014-speed-of-the-writer.md`).

use std::collections::HashMap;

use aleph_types::Address;

use crate::StoreError;
use crate::engine::{Session, values};

/// Owners whose numbers are at hand, at most: some 8 MiB.
const KEPT: usize = 65_536;

/// The numbers that the writer knows.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    known: HashMap<Address, i64>,
}

impl Owners {
    /// The number of the owner of the message that takes the place `seq`. A new owner gets that place as its
    /// number: one message has one owner, and no place is used twice.
    pub(crate) fn number(&mut self, session: &Session, owner: &Address, seq: i64) -> Result<i64, StoreError> {
        if let Some(number) = self.known.get(owner) {
            return Ok(*number);
        }
        let sql = "SELECT id FROM owners WHERE address = ?1";
        let number = match session.first(sql, values![owner.as_str()], |row| row.int(0))? {
            Some(number) => number,
            None => {
                session.execute(
                    "INSERT INTO owners (address, id) VALUES (?1, ?2)",
                    values![owner.as_str(), seq],
                )?;
                seq
            }
        };
        if self.known.len() >= KEPT {
            self.known.clear();
        }
        self.known.insert(owner.clone(), number);
        Ok(number)
    }

    /// Forgets them all: some may be of a transaction that was undone.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }
}
