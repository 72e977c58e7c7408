//! The fate of every item hash that this node has met. Whatever reads or changes the table `statuses`
//! inside a transaction does it here, so that the digest follows.

use aleph_types::{ItemHash, MessageStatus, Timestamp};

use crate::StoreError;
use crate::digest::{Part, Sums};
use crate::engine::{Session, values};

/// Status of a hash, and the row of its message while that is stored.
pub(crate) fn status_of(
    session: &Session,
    hash: &str,
) -> Result<Option<(MessageStatus, Option<i64>)>, StoreError> {
    if let Some(known) = session.known_status(hash) {
        return Ok(known);
    }
    let found =
        session.first("SELECT status, message FROM statuses WHERE item_hash = ?1", values![hash], |row| {
            Ok((row.word(0, "status")?, row.opt_int(1)?))
        })?;
    session.know_status(hash, found);
    Ok(found)
}

/// Reads the status of every hash that a batch is about, where one question for all is worth it.
pub(crate) fn prefetch(session: &Session, hashes: &[String]) -> Result<(), StoreError> {
    if !session.knows_statuses() || hashes.is_empty() {
        return Ok(());
    }
    for hash in hashes {
        session.know_status(hash, None);
    }
    session.each(
        "SELECT item_hash, status, message FROM statuses WHERE item_hash IN (SELECT value FROM json_each(?1))",
        values![hashes],
        |row| {
            session.know_status(row.text(0)?, Some((row.word(1, "status")?, row.opt_int(2)?)));
            Ok(())
        },
    )
}

/// Sets the status of a hash and returns the one before. The first reception time stays.
pub(crate) fn set_status(
    session: &Session,
    sums: &mut Sums,
    hash: &ItemHash,
    status: MessageStatus,
    reception_time: Timestamp,
    message: Option<i64>,
) -> Result<Option<MessageStatus>, StoreError> {
    const INSERT: &str =
        "INSERT INTO statuses (item_hash, status, reception_time, message) VALUES (?1,?2,?3,?4)";
    const NEW: &str = "INSERT INTO statuses (item_hash, status, reception_time, message) \
         VALUES (?1,?2,?3,?4) ON CONFLICT (item_hash) DO NOTHING";
    let new = values![hash.as_str(), status.as_str(), reception_time.as_micros(), message];
    // Nearly every hash is new: where a question is not answered from memory, the insertion asks it.
    let inserted = !session.knows_statuses() && session.execute_counted(NEW, new)? > 0;
    if !inserted {
        if let Some((was, _)) = status_of(session, hash.as_str())? {
            change_status(session, sums, hash, was, status, message)?;
            return Ok(Some(was));
        }
        session.execute(INSERT, new)?;
    }
    session.know_status(hash.as_str(), Some((status, message)));
    if is_final(status) {
        sums.add(Part::Statuses, values![hash.as_str(), status.as_str()]);
    }
    Ok(None)
}

/// Sets the status of a hash whose status `was` this one.
pub(crate) fn change_status(
    session: &Session,
    sums: &mut Sums,
    hash: &ItemHash,
    was: MessageStatus,
    status: MessageStatus,
    message: Option<i64>,
) -> Result<(), StoreError> {
    session.execute(
        "UPDATE statuses SET status = ?2, message = ?3 WHERE item_hash = ?1",
        values![hash.as_str(), status.as_str(), message],
    )?;
    session.know_status(hash.as_str(), Some((status, message)));
    if is_final(was) {
        sums.subtract(Part::Statuses, values![hash.as_str(), was.as_str()]);
    }
    if is_final(status) {
        sums.add(Part::Statuses, values![hash.as_str(), status.as_str()]);
    }
    Ok(())
}

/// Whether every node comes to this status alike: the digest covers it.
fn is_final(status: MessageStatus) -> bool {
    match status {
        MessageStatus::Processed
        | MessageStatus::Removing
        | MessageStatus::Forgotten
        | MessageStatus::Removed => true,
        MessageStatus::Pending | MessageStatus::Rejected => false,
    }
}
