use aleph_ledger::removal::{Circumstances, Event, RemovalEffect, Standing, Subject, step};
use aleph_rules::{FileInfo, FileKind, PinnedFile, Stamp, TagTarget, TagVersion};
use aleph_types::content::{Content, PaymentType, StoreContent};
use aleph_types::{Address, ItemHash, MessageStatus, MessageType, Timestamp};

use super::remove_costs;
use crate::digest::{Part, Sums};
use crate::engine::{Session, values};
use crate::statuses::{change_status, status_of, write_down};
use crate::{Store, StoreError, Transaction, collect, confirmations, effects};

/// The record of a message that goes, or went, for lack of funds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The message.
    pub item_hash: ItemHash,
    /// Who should have paid.
    pub owner: Address,
    /// Bytes of a STORE's file.
    pub size: Option<u64>,
    /// How it pays.
    pub payment: PaymentType,
    /// When the removal began.
    pub since: Timestamp,
    /// When the message may go.
    pub until: Option<Timestamp>,
    /// When it went.
    pub removed_at: Option<Timestamp>,
}

/// What one step of a removal did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueRemoval {
    /// Whether anything was stored.
    pub changed: bool,
    /// Where the message is now.
    pub standing: Standing,
}

/// A stored message, as far as its removal cares.
struct Victim {
    seq: i64,
    status: MessageStatus,
    message_type: MessageType,
    owner: String,
    payment: PaymentType,
    content_hash: Option<ItemHash>,
    file_bytes: Option<u64>,
}

fn victim(session: &Session, message: &ItemHash) -> Result<Option<Victim>, StoreError> {
    let Some((status, Some(seq))) = status_of(session, message.as_str())? else { return Ok(None) };
    session.first(
        "SELECT m.message_type, m.owner, COALESCE(m.payment_type, 'hold'), m.content_hash, f.size \
         FROM messages m LEFT JOIN files f ON f.hash = m.content_hash WHERE m.seq = ?1",
        values![seq],
        |row| {
            Ok(Victim {
                seq,
                status,
                message_type: row.word(0, "message type")?,
                owner: row.string(1)?,
                payment: row.word(2, "payment type")?,
                content_hash: row.opt_text(3)?.and_then(|text| ItemHash::recognise(text).ok()),
                file_bytes: row.opt_int(4)?.map(i64::unsigned_abs),
            })
        },
    )
}

fn deadline(session: &Session, message: &ItemHash) -> Result<Option<Timestamp>, StoreError> {
    let until = session.first(
        "SELECT until FROM removals WHERE item_hash = ?1",
        values![message.as_str()],
        |row| row.opt_int(0),
    )?;
    Ok(until.flatten().map(Timestamp::from_micros))
}

/// The content of a stored STORE.
fn content_of(session: &Session, seq: i64) -> Result<Option<StoreContent>, StoreError> {
    let text = session.first(
        "SELECT COALESCE(content, item_content) FROM messages WHERE seq = ?1",
        values![seq],
        |row| row.opt_string(0),
    )?;
    let Some(text) = text.flatten() else { return Ok(None) };
    let document = aleph_types::json::parse(text.as_bytes())
        .map_err(|_| StoreError::corrupt("content", text.as_str()))?;
    match Content::parse_value(MessageType::Store, document) {
        Ok(Content::Store(store)) => Ok(Some(store)),
        _ => Err(StoreError::corrupt("content of a STORE", text)),
    }
}

/// Lets a tag point to the newest version that is left, or goes with the last one.
fn rebuild_tag(session: &Session, sums: &mut Sums, tag: &str) -> Result<(), StoreError> {
    let versions = session.rows(
        "SELECT owner, file, created, pinned_by FROM file_pins WHERE tag = ?1 AND kind = 'message'",
        values![tag],
        |row| {
            Ok(TagVersion {
                owner: Address::from(row.opt_text(0)?.unwrap_or_default()),
                file: row.hash(1)?,
                stamp: Stamp { time: row.time(2)?, hash: row.hash(3)? },
            })
        },
    )?;
    let latest = versions
        .into_iter()
        .reduce(|best, next| if next.stamp.supersedes(&best.stamp) { next } else { best });
    match latest {
        Some(TagVersion { owner, file, stamp }) => {
            effects::set_tag(session, sums, &TagTarget { tag: tag.to_owned(), owner, file, stamp })
        }
        None => {
            sums.subtract_stored(session, Part::FileTags, "tag = ?1", values![tag])?;
            session.execute("DELETE FROM file_tags WHERE tag = ?1", values![tag])
        }
    }
}

/// A message that is on its way out is forgotten: the record goes, and its version of a tag.
pub(crate) fn forget_removal(
    session: &Session,
    sums: &mut Sums,
    message: &ItemHash,
    seq: i64,
) -> Result<(), StoreError> {
    session.execute("DELETE FROM removals WHERE item_hash = ?1", values![message.as_str()])?;
    let is_store =
        session.first("SELECT message_type FROM messages WHERE seq = ?1", values![seq], |row| {
            row.word::<MessageType>(0, "message type")
        })?;
    if is_store == Some(MessageType::Store)
        && let Some(store) = content_of(session, seq)?
    {
        rebuild_tag(session, sums, &store.tag(message))?;
    }
    Ok(())
}

/// The message's own pin becomes one that ends at `until`.
fn grace_file(
    session: &Session,
    sums: &mut Sums,
    message: &ItemHash,
    file: &ItemHash,
    (now, until): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    const PIN: &str = "file = ?1 AND kind = 'message' AND pinned_by = ?2";
    let pin = values![file.as_str(), message.as_str()];
    sums.subtract_stored(session, Part::FilePins, PIN, pin)?;
    session.execute(&format!("DELETE FROM file_pins WHERE {PIN}"), pin)?;
    effects::put_grace_pin(session, file, message.as_str(), now, until)
}

fn restore_file(
    session: &Session,
    sums: &mut Sums,
    message: &ItemHash,
    victim: &Victim,
) -> Result<(), StoreError> {
    let Some(store) = content_of(session, victim.seq)? else { return Ok(()) };
    let tag = store.tag(message);
    let kind = session.first(
        "SELECT kind FROM files WHERE hash = ?1",
        values![store.item_hash.as_str()],
        |row| {
            Ok(if row.text(0)? == FileKind::Directory.as_str() {
                FileKind::Directory
            } else {
                FileKind::File
            })
        },
    )?;
    let info = FileInfo { size: victim.file_bytes.unwrap_or_default(), kind: kind.unwrap_or(FileKind::File) };
    let pin = PinnedFile {
        file: store.item_hash,
        info,
        owner: store.address,
        message: message.clone(),
        reference: store.reference,
        tag: tag.clone(),
        created: store.time,
    };
    effects::pin_file(session, sums, &pin)?;
    rebuild_tag(session, sums, &tag)
}

/// Deletes a message's content, its costs and what it provided, and keeps its skeleton.
fn remove(
    session: &Session,
    sums: &mut Sums,
    message: &ItemHash,
    victim: &Victim,
    at: Timestamp,
) -> Result<(), StoreError> {
    let tag = match victim.message_type {
        MessageType::Store => content_of(session, victim.seq)?.map(|store| store.tag(message)),
        _ => None,
    };
    session.execute(
        "INSERT INTO skeletons (item_hash, status, message_type, chain, sender, owner, signature, item_type, \
         time, channel, payment_type, size, gone_at, forgotten_by) \
         SELECT m.item_hash, 'removed', m.message_type, m.chain, m.sender, m.owner, m.signature, m.item_type, \
         m.time, m.channel, COALESCE(m.payment_type, 'hold'), f.size, ?2, '[]' \
         FROM messages m LEFT JOIN files f ON f.hash = m.content_hash WHERE m.seq = ?1",
        values![victim.seq, at.as_micros()],
    )?;
    write_down(session, victim.seq)?;
    sums.touch(victim.seq);
    sums.let_go();
    session.execute("DELETE FROM messages WHERE seq = ?1", values![victim.seq])?;
    session.execute("DELETE FROM message_tags WHERE message = ?1", values![victim.seq])?;
    confirmations::remove(session, message)?;
    collect::release_content(session, message, at)?;
    remove_costs(session, message)?;
    if let (Some(tag), Some(file)) = (tag, &victim.content_hash) {
        session.execute(
            "DELETE FROM file_pins WHERE file = ?1 AND kind = 'grace_period' AND pinned_by = ?2",
            values![file.as_str(), message.as_str()],
        )?;
        rebuild_tag(session, sums, &tag)?;
    } else {
        sums.subtract_stored(session, Part::Vms, "item_hash = ?1", values![message.as_str()])?;
        sums.subtract_stored(session, Part::VmReferences, "vm = ?1", values![message.as_str()])?;
        session.execute("DELETE FROM vms WHERE item_hash = ?1", values![message.as_str()])?;
        session.execute("DELETE FROM vm_references WHERE vm = ?1", values![message.as_str()])?;
    }
    session.execute(
        "UPDATE removals SET removed_at = ?2 WHERE item_hash = ?1",
        values![message.as_str(), at.as_micros()],
    )?;
    change_status(session, sums, message, victim.status, MessageStatus::Removed, None)
}

fn apply(
    session: &Session,
    sums: &mut Sums,
    message: &ItemHash,
    victim: &Victim,
    effect: RemovalEffect,
    now: Timestamp,
) -> Result<(), StoreError> {
    match effect {
        RemovalEffect::StartRemoval { until, file_bytes } => {
            write_down(session, victim.seq)?;
            change_status(session, sums, message, victim.status, MessageStatus::Removing, Some(victim.seq))?;
            session.execute(
                "INSERT INTO removals (item_hash, owner, size, payment_type, since, until) \
                 VALUES (?1,?2,?3,?4,?5,?6) ON CONFLICT (item_hash) DO UPDATE SET owner = excluded.owner, \
                 size = excluded.size, payment_type = excluded.payment_type, since = excluded.since, \
                 until = excluded.until",
                values![
                    message.as_str(),
                    &victim.owner,
                    file_bytes,
                    victim.payment.as_str(),
                    now.as_micros(),
                    until.as_micros(),
                ],
            )
        }
        RemovalEffect::SetDeadline(until) => session.execute(
            "INSERT INTO removals (item_hash, owner, size, payment_type, since, until) \
             VALUES (?1,?2,?3,?4,?5,?6) ON CONFLICT (item_hash) DO UPDATE SET until = excluded.until",
            values![
                message.as_str(),
                &victim.owner,
                victim.file_bytes,
                victim.payment.as_str(),
                now.as_micros(),
                until.as_micros(),
            ],
        ),
        RemovalEffect::GraceFile(until) => match &victim.content_hash {
            Some(file) => grace_file(session, sums, message, file, (now, until)),
            None => Ok(()),
        },
        RemovalEffect::RestoreFile => restore_file(session, sums, message, victim),
        RemovalEffect::StopRemoval => {
            change_status(session, sums, message, victim.status, MessageStatus::Processed, Some(victim.seq))?;
            session.execute("DELETE FROM removals WHERE item_hash = ?1", values![message.as_str()])
        }
        RemovalEffect::Remove(at) => remove(session, sums, message, victim, at),
    }
}

impl Transaction<'_> {
    /// Leads a message one step on its way out, or back: what the step changes is stored, if anything.
    pub fn step_removal(
        &mut self,
        message: &ItemHash,
        event: Event,
        circumstances: &Circumstances,
    ) -> Result<DueRemoval, StoreError> {
        let (session, sums) = self.parts();
        let Some(victim) = victim(session, message)? else {
            return Ok(DueRemoval { changed: false, standing: Standing::Elsewhere });
        };
        let standing = match victim.status {
            MessageStatus::Processed => Standing::Processed,
            MessageStatus::Removing => Standing::Removing { until: deadline(session, message)? },
            _ => Standing::Elsewhere,
        };
        let subject = Subject {
            message_type: victim.message_type,
            payment: victim.payment,
            file_bytes: victim.file_bytes,
        };
        let (standing, changes) = step(standing, event, &subject, circumstances);
        let changed = !changes.is_empty();
        for effect in changes {
            apply(session, sums, message, &victim, effect, circumstances.now)?;
        }
        Ok(DueRemoval { changed, standing })
    }
}

impl Store {
    /// The record of a message that goes, or went, for lack of funds.
    pub async fn removal(&self, message: ItemHash) -> Result<Option<Removal>, StoreError> {
        self.read(move |session| {
            session.first(
                "SELECT item_hash, owner, size, payment_type, since, until, removed_at FROM removals \
                 WHERE item_hash = ?1",
                values![message.as_str()],
                |row| {
                    Ok(Removal {
                        item_hash: row.hash(0)?,
                        owner: row.address(1)?,
                        size: row.opt_int(2)?.map(i64::unsigned_abs),
                        payment: row.word(3, "payment type")?,
                        since: row.time(4)?,
                        until: row.opt_int(5)?.map(Timestamp::from_micros),
                        removed_at: row.opt_int(6)?.map(Timestamp::from_micros),
                    })
                },
            )
        })
        .await
    }
}
