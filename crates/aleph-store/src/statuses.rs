//! The fate of every item hash that this node has met.
//!
//! A message that is processed at once, as nearly all are, has no row in `statuses`: that its row stands in
//! `messages` says it, and one insertion into a b-tree of hashes is enough. `statuses` has a row for every
//! hash with another fate, and keeps it whatever follows; where both tables know a hash, `statuses` is right.
//!
//! Whatever asks for a fate inside a transaction, or changes it, does it here, so that the digest follows.

use std::collections::HashSet;

use aleph_rules::invariants::fate_may_follow;
use aleph_types::{ItemHash, MessageStatus, Timestamp};

use crate::digest::{Part, Sums};
use crate::engine::{Session, values};
use crate::{StoreError, watch};

/// Characters of a hash in the index of hashes. Rows whose hashes begin alike are told apart by the hash
/// itself: of SHA-256 these are 48 bits.
pub(crate) const START_CHARS: usize = 12;

/// The expression of that index.
pub(crate) const HASH_START: &str = "substr(m.item_hash, 1, 12)";

/// The condition that message `m` has this hash, as the index of hashes finds it.
macro_rules! has_hash {
    ($hash:literal) => {
        concat!("substr(m.item_hash, 1, 12) = substr(", $hash, ", 1, 12) AND m.item_hash = ", $hash)
    };
}
pub(crate) use has_hash;

/// The first characters of a text.
pub(crate) fn start_of(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

/// What is on record of a hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) status: MessageStatus,
    /// When this node first met it.
    pub(crate) reception_time: Timestamp,
    /// The row of its message while that is stored.
    pub(crate) message: Option<i64>,
}

/// The record of a hash, as the database has it.
pub(crate) fn record_of(session: &Session, hash: &str) -> Result<Option<Record>, StoreError> {
    const SQL: &str = concat!(
        "SELECT 1, status, reception_time, message FROM statuses WHERE item_hash = ?1 UNION ALL ",
        "SELECT 0, 'processed', m.reception_time, m.seq FROM messages m INDEXED BY messages_hash WHERE ",
        has_hash!("?1"),
    );
    let (mut found, mut is_certain) = (None, false);
    session.each(SQL, values![hash], |row| {
        let own_row = row.flag(0)?;
        if !is_certain {
            let status = row.word(1, "status")?;
            found = Some(Record { status, reception_time: row.time(2)?, message: row.opt_int(3)? });
            is_certain = own_row;
        }
        Ok(())
    })?;
    Ok(found)
}

/// Status of a hash, and the row of its message while that is stored.
pub(crate) fn status_of(
    session: &Session,
    hash: &str,
) -> Result<Option<(MessageStatus, Option<i64>)>, StoreError> {
    if let Some(known) = session.known_status(hash) {
        return Ok(known);
    }
    let found = record_of(session, hash)?.map(|record| (record.status, record.message));
    session.know_status(hash, found);
    Ok(found)
}

/// Reads the status of every hash that a batch is about, where one question for all is worth it.
pub(crate) fn prefetch(session: &Session, hashes: &[String]) -> Result<(), StoreError> {
    if !session.is_remote() || hashes.is_empty() {
        return Ok(());
    }
    for hash in hashes {
        session.know_status(hash, None);
    }
    each_status(session, hashes, |hash, status, message| session.know_status(hash, Some((status, message))))
}

/// Most hashes that one question is about.
const ASKED_AT_ONCE: usize = 2048;

/// Those of `hashes` that are on record with a status that `counts`. Many are asked about together: one by one,
/// each question costs several microseconds, of which looking it up is the smaller part.
pub(crate) fn with_status(
    session: &Session,
    hashes: &[ItemHash],
    counts: impl Fn(MessageStatus) -> bool,
) -> Result<HashSet<String>, StoreError> {
    let mut found = HashSet::new();
    for some in hashes.chunks(ASKED_AT_ONCE) {
        let some: Vec<String> = some.iter().map(|hash| hash.as_str().to_owned()).collect();
        each_status(session, &some, |hash, status, _| {
            if counts(status) {
                found.insert(hash.to_owned());
            } else {
                found.remove(hash);
            }
        })?;
    }
    Ok(found)
}

/// Tells what is on record of `hashes`; of one that both tables know, what is right comes last.
fn each_status(
    session: &Session,
    hashes: &[String],
    mut told: impl FnMut(&str, MessageStatus, Option<i64>),
) -> Result<(), StoreError> {
    let starts: HashSet<&str> = hashes.iter().map(|hash| start_of(hash, START_CHARS)).collect();
    let starts: Vec<String> = starts.into_iter().map(str::to_owned).collect();
    session.each(STORED, values![&starts[..], hashes], |row| {
        told(row.text(0)?, MessageStatus::Processed, Some(row.int(1)?));
        Ok(())
    })?;
    session.each(RECORDED, values![hashes], |row| {
        told(row.text(0)?, row.word(1, "status")?, row.opt_int(2)?);
        Ok(())
    })
}

/// Stored messages among hashes, of which the beginnings are told too, as the index of hashes has them.
pub(crate) const STORED: &str = "SELECT m.item_hash, m.seq FROM messages m INDEXED BY messages_hash \
     WHERE substr(m.item_hash, 1, 12) IN (SELECT value FROM json_each(?)) \
     AND m.item_hash IN (SELECT value FROM json_each(?))";

/// Rows of their own among hashes.
pub(crate) const RECORDED: &str =
    "SELECT item_hash, status, message FROM statuses WHERE item_hash IN (SELECT value FROM json_each(?1))";

/// Sets the status of a hash and returns the one before. The first reception time stays. Of a message that
/// is processed, the row follows this call.
pub(crate) fn set_status(
    session: &Session,
    sums: &mut Sums,
    hash: &ItemHash,
    status: MessageStatus,
    reception_time: Timestamp,
    message: Option<i64>,
) -> Result<Option<MessageStatus>, StoreError> {
    if let Some((was, before)) = status_of(session, hash.as_str())? {
        if let Some(before) = before {
            write_down(session, before)?;
        }
        change_status(session, sums, hash, was, status, message)?;
        return Ok(Some(was));
    }
    if status != MessageStatus::Processed {
        session.execute(
            "INSERT INTO statuses (item_hash, status, reception_time, message) VALUES (?1,?2,?3,?4)",
            values![hash.as_str(), status.as_str(), reception_time.as_micros(), message],
        )?;
    }
    session.know_status(hash.as_str(), Some((status, message)));
    if is_final(status) {
        sums.add(Part::Statuses, values![hash.as_str(), status.as_str()]);
    }
    Ok(None)
}

/// Gives the stored message in row `seq` a row of its own in `statuses`, if it has none: before it goes, and
/// before its status changes.
pub(crate) fn write_down(session: &Session, seq: i64) -> Result<(), StoreError> {
    session.execute(
        "INSERT INTO statuses (item_hash, status, reception_time, message) \
         SELECT m.item_hash, 'processed', m.reception_time, m.seq FROM messages m WHERE m.seq = ?1 \
         ON CONFLICT (item_hash) DO NOTHING",
        values![seq],
    )
}

/// Sets the status of a hash whose status `was` this one, and which has a row in `statuses`: one that was
/// processed, since [`write_down`].
pub(crate) fn change_status(
    session: &Session,
    sums: &mut Sums,
    hash: &ItemHash,
    was: MessageStatus,
    status: MessageStatus,
    message: Option<i64>,
) -> Result<(), StoreError> {
    if let Err(violation) = fate_may_follow(hash, Some(was), status) {
        watch::note(&violation);
    }
    session.execute(
        "UPDATE statuses SET status = ?2, message = ?3 WHERE item_hash = ?1",
        values![hash.as_str(), status.as_str(), message],
    )?;
    session.know_status(hash.as_str(), Some((status, message)));
    if (was == MessageStatus::Removing || status == MessageStatus::Removing)
        && let Some(seq) = message
    {
        sums.touch(seq);
    }
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
