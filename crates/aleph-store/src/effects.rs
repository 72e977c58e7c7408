//! How each effect of the rules changes the tables.

use std::collections::BTreeSet;

use aleph_rules::{Effect, PinnedFile, PostVersion, Stamp, TagTarget, VmRecord};
use aleph_types::{ItemHash, MessageStatus, Timestamp};

use crate::aggregates::{self, Merged, Reduced, WrittenFields};
use crate::digest::{Part, Sums};
use crate::engine::{Session, Value, values};
use crate::statuses::{change_status, has_hash, status_of, write_down};
use crate::{StoreError, collect, confirmations, money};

/// How long a file that nothing holds any more is kept: 24 hours (`spec: messages.md §16`).
pub(crate) const GRACE_MICROS: i64 = 24 * 3600 * 1_000_000;

/// The post of an original's hash: posts are kept by the place of the original's message.
const POST_OF: &str =
    concat!("message = (SELECT m.seq FROM messages m INDEXED BY messages_hash WHERE ", has_hash!("?1"), ")");

/// Applies one effect of the message in row `seq`, to the tables and to their digest.
pub(crate) fn apply(
    session: &Session,
    sums: &mut Sums,
    written: &mut WrittenFields,
    effect: &Effect,
    seq: i64,
) -> Result<(), StoreError> {
    match effect {
        Effect::PinContent { file, size, owner, created } => {
            put_file(session, file, *size, "file")?;
            session.execute(
                "INSERT INTO file_pins (file, kind, pinned_by, owner, created) \
                     VALUES (?1, 'content', ?1, ?2, ?3) ON CONFLICT DO NOTHING",
                values![file.as_str(), owner.as_str(), created.as_micros()],
            )?;
            drop_grace_pins(session, file)?;
        }
        Effect::CreatePost { original, owner, post_type, reference, channel } => {
            session.execute(
                "INSERT INTO posts (original, message, owner, post_type, reference, channel, created, \
                     latest, latest_message, last_updated) VALUES (?1,?2,?3,?4,?5,?6,?7,?1,?2,?7)",
                values![
                    original.hash.as_str(),
                    seq,
                    owner.as_str(),
                    post_type,
                    reference.as_deref(),
                    channel.as_ref().map(|channel| channel.as_str()),
                    original.time.as_micros(),
                ],
            )?;
            sums.add(
                Part::Posts,
                &[
                    Value::from(original.hash.as_str()),
                    Value::from(owner.as_str()),
                    Value::from(post_type),
                    Value::from(reference.as_deref()),
                    Value::from(channel.as_ref().map(|channel| channel.as_str())),
                    Value::from(original.time.as_micros()),
                    Value::from(original.hash.as_str()),
                    Value::from(original.time.as_micros()),
                ],
            );
        }
        Effect::AddAmend { original, amend } => {
            session.execute(
                "INSERT INTO amends (original, time, amend, message) VALUES (?1,?2,?3,?4)",
                values![original.as_str(), amend.time.as_micros(), amend.hash.as_str(), seq],
            )?;
            sums.add(Part::Amends, &amend_row(original, amend));
        }
        Effect::ShowVersion(version) => show_version(session, sums, version)?,
        Effect::RemovePost(original) => {
            sums.subtract_stored(session, Part::Posts, POST_OF, values![original.as_str()])?;
            sums.subtract_stored(session, Part::Amends, "original = ?1", values![original.as_str()])?;
            touch_post(session, sums, original)?;
            session.execute(&format!("DELETE FROM posts WHERE {POST_OF}"), values![original.as_str()])?;
            session.execute("DELETE FROM amends WHERE original = ?1", values![original.as_str()])?;
        }
        Effect::RemoveAmend { original, amend } => {
            let removed = session.execute_counted(
                "DELETE FROM amends WHERE original = ?1 AND time = ?2 AND amend = ?3",
                values![original.as_str(), amend.time.as_micros(), amend.hash.as_str()],
            )?;
            if removed > 0 {
                sums.subtract(Part::Amends, &amend_row(original, amend));
            }
        }
        Effect::MergeAggregate { state, before, won, lost } => {
            let merged = Merged { state, before: before.as_ref(), won, lost };
            aggregates::merge(session, sums, written, &merged)?;
        }
        Effect::ReduceAggregate { state, before, fields, dropped, unhidden } => {
            let reduced = Reduced { state, before, fields, dropped, unhidden };
            aggregates::reduce(session, sums, &reduced)?;
        }
        Effect::RemoveAggregate { owner, key } => aggregates::remove(session, sums, owner, key)?,
        Effect::PinFile(pin) => pin_file(session, sums, pin)?,
        Effect::SetTag(target) => set_tag(session, sums, target)?,
        Effect::RemoveTag(tag) => {
            sums.subtract_stored(session, Part::FileTags, "tag = ?1", values![tag])?;
            session.execute("DELETE FROM file_tags WHERE tag = ?1", values![tag])?;
        }
        Effect::Unpin { file, message, grace } => {
            let pin = values![file.as_str(), message.as_str()];
            sums.subtract_stored(session, Part::FilePins, "file = ?1 AND pinned_by = ?2", pin)?;
            session.execute(
                "DELETE FROM file_pins WHERE file = ?1 AND kind = 'message' AND pinned_by = ?2",
                pin,
            )?;
            if *grace {
                let now = now_of_message(session, seq)?;
                put_grace_pin(session, file, message.as_str(), now, now.plus_micros(GRACE_MICROS))?;
            }
        }
        Effect::CreateVm(vm) => create_vm(session, sums, vm)?,
        Effect::RemoveVm(vm) => {
            sums.subtract_stored(session, Part::Vms, "item_hash = ?1", values![vm.as_str()])?;
            sums.subtract_stored(session, Part::VmReferences, "vm = ?1", values![vm.as_str()])?;
            session.execute("DELETE FROM vms WHERE item_hash = ?1", values![vm.as_str()])?;
            session.execute("DELETE FROM vm_references WHERE vm = ?1", values![vm.as_str()])?;
        }
        Effect::Forget(forgotten) => {
            forget(session, sums, &forgotten.target, &forgotten.by, forgotten.at, seq)?;
        }
        Effect::SetBalances { chain, dapp, height, entries, source } => {
            money::set_balances(session, sums, (chain, dapp, *height), entries, source)?;
        }
        Effect::Credits(changes) => money::apply_credits(session, sums, changes)?,
        Effect::SetCosts { message, owner, costing } => {
            money::set_costs(session, owner, message, costing)?;
        }
    }
    Ok(())
}

pub(crate) fn put_file(session: &Session, hash: &ItemHash, size: u64, kind: &str) -> Result<(), StoreError> {
    session.execute(
        "INSERT INTO files (hash, size, kind) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        values![hash.as_str(), size, kind],
    )?;
    Ok(())
}

pub(crate) fn put_grace_pin(
    session: &Session,
    file: &ItemHash,
    reason: &str,
    created: Timestamp,
    delete_by: Timestamp,
) -> Result<(), StoreError> {
    session.execute(
        "INSERT INTO file_pins (file, kind, pinned_by, created, delete_by) \
             VALUES (?1, 'grace_period', ?2, ?3, ?4) \
             ON CONFLICT (file, kind, pinned_by) DO UPDATE SET delete_by = excluded.delete_by",
        values![file.as_str(), reason, created.as_micros(), delete_by.as_micros()],
    )?;
    Ok(())
}

/// A file that a message holds needs no grace.
fn drop_grace_pins(session: &Session, file: &ItemHash) -> Result<(), StoreError> {
    session
        .execute("DELETE FROM file_pins WHERE file = ?1 AND kind = 'grace_period'", values![file.as_str()])?;
    Ok(())
}

/// The instant at which this node met the message that is being applied: the clock of its effects.
fn now_of_message(session: &Session, seq: i64) -> Result<Timestamp, StoreError> {
    session
        .first("SELECT reception_time FROM messages WHERE seq = ?1", values![seq], |row| row.time(0))?
        .ok_or_else(|| StoreError::corrupt("message that is being applied", seq.to_string()))
}

fn amend_row<'a>(original: &'a ItemHash, amend: &'a Stamp) -> [Value<'a>; 3] {
    [Value::from(original.as_str()), Value::from(amend.time.as_micros()), Value::from(amend.hash.as_str())]
}

/// Readers must be told of a post that changes or goes.
fn touch_post(session: &Session, sums: &mut Sums, original: &ItemHash) -> Result<(), StoreError> {
    if let Some((_, Some(seq))) = status_of(session, original.as_str())? {
        sums.touch(seq);
    }
    Ok(())
}

fn show_version(session: &Session, sums: &mut Sums, version: &PostVersion) -> Result<(), StoreError> {
    touch_post(session, sums, &version.original)?;
    sums.subtract_stored(session, Part::Posts, POST_OF, values![version.original.as_str()])?;
    session.execute(
        &format!(
            "UPDATE posts SET latest = ?2, last_updated = ?3, \
             latest_message = (SELECT m.seq FROM messages m INDEXED BY messages_hash WHERE {}) WHERE {POST_OF}",
            has_hash!("?2"),
        ),
        values![version.original.as_str(), version.latest.hash.as_str(), version.latest.time.as_micros(),],
    )?;
    sums.add_stored(session, Part::Posts, POST_OF, values![version.original.as_str()])
}

pub(crate) fn pin_file(session: &Session, sums: &mut Sums, pin: &PinnedFile) -> Result<(), StoreError> {
    put_file(session, &pin.file, pin.info.size, pin.info.kind.as_str())?;
    let inserted = session.execute_counted(
        "INSERT INTO file_pins (file, kind, pinned_by, owner, reference, tag, created) \
             VALUES (?1, 'message', ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        values![
            pin.file.as_str(),
            pin.message.as_str(),
            pin.owner.as_str(),
            pin.reference.as_deref(),
            &pin.tag,
            pin.created.as_micros(),
        ],
    )?;
    if inserted > 0 {
        sums.add(
            Part::FilePins,
            &[
                Value::from(pin.file.as_str()),
                Value::from(pin.message.as_str()),
                Value::from(pin.owner.as_str()),
                Value::from(pin.reference.as_deref()),
                Value::from(&pin.tag),
                Value::from(pin.created.as_micros()),
            ],
        );
    }
    drop_grace_pins(session, &pin.file)
}

pub(crate) fn set_tag(session: &Session, sums: &mut Sums, target: &TagTarget) -> Result<(), StoreError> {
    sums.subtract_stored(session, Part::FileTags, "tag = ?1", values![&target.tag])?;
    session.execute(
        "INSERT INTO file_tags (tag, owner, file, message, time) VALUES (?1,?2,?3,?4,?5) \
             ON CONFLICT (tag) DO UPDATE SET owner = excluded.owner, file = excluded.file, \
             message = excluded.message, time = excluded.time",
        values![
            &target.tag,
            target.owner.as_str(),
            target.file.as_str(),
            target.stamp.hash.as_str(),
            target.stamp.time.as_micros(),
        ],
    )?;
    sums.add(
        Part::FileTags,
        values![
            &target.tag,
            target.owner.as_str(),
            target.file.as_str(),
            target.stamp.hash.as_str(),
            target.stamp.time.as_micros(),
        ],
    );
    Ok(())
}

fn create_vm(session: &Session, sums: &mut Sums, vm: &VmRecord) -> Result<(), StoreError> {
    session.execute(
        "INSERT INTO vms (item_hash, message_type, owner, created, replaces, allow_amend, on_message, \
             persistent) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)",
        values![
            vm.item_hash.as_str(),
            vm.message_type.as_str(),
            vm.owner.as_str(),
            vm.created.as_micros(),
            vm.replaces.as_ref().map(ItemHash::as_str),
            vm.allow_amend,
            vm.on_message,
            vm.persistent,
        ],
    )?;
    sums.add(
        Part::Vms,
        values![
            vm.item_hash.as_str(),
            vm.message_type.as_str(),
            vm.owner.as_str(),
            vm.created.as_micros(),
            vm.replaces.as_ref().map(ItemHash::as_str),
            vm.allow_amend,
            vm.on_message,
            vm.persistent,
        ],
    );
    // A machine may need the same STORE twice.
    let references: BTreeSet<&str> = vm.references.iter().map(ItemHash::as_str).collect();
    for reference in references {
        session.execute(
            "INSERT INTO vm_references (reference, vm) VALUES (?1, ?2)",
            values![reference, vm.item_hash.as_str()],
        )?;
        sums.add(Part::VmReferences, values![reference, vm.item_hash.as_str()]);
    }
    Ok(())
}

/// Deletes a message's content and keeps its skeleton.
fn forget(
    session: &Session,
    sums: &mut Sums,
    target: &ItemHash,
    by: &ItemHash,
    at: Timestamp,
    forget_seq: i64,
) -> Result<(), StoreError> {
    let Some((was, Some(seq))) = status_of(session, target.as_str())? else {
        // Already gone: name this FORGET as well.
        let stored = session.first(
            "SELECT forgotten_by FROM skeletons WHERE item_hash = ?1",
            values![target.as_str()],
            |row| row.string(0),
        )?;
        if let Some(stored) = stored {
            let mut list: Vec<String> =
                serde_json::from_str(&stored).map_err(|_| StoreError::corrupt("list of FORGETs", stored))?;
            list.push(by.as_str().to_owned());
            session.execute(
                "UPDATE skeletons SET forgotten_by = ?2 WHERE item_hash = ?1",
                values![target.as_str(), &serde_json::Value::from(list).to_string()],
            )?;
        }
        return Ok(());
    };
    if was == MessageStatus::Removing {
        money::forget_removal(session, sums, target, seq)?;
    }
    session.execute(
        "INSERT INTO skeletons (item_hash, status, message_type, chain, sender, owner, signature, \
             item_type, time, channel, payment_type, size, gone_at, forgotten_by) \
             SELECT m.item_hash, 'forgotten', m.message_type, m.chain, m.sender, m.owner, m.signature, \
             m.item_type, m.time, m.channel, COALESCE(m.payment_type, 'hold'), f.size, ?2, ?3 \
             FROM messages m LEFT JOIN files f ON f.hash = m.content_hash WHERE m.seq = ?1",
        values![seq, at.as_micros(), &serde_json::json!([by]).to_string()],
    )?;
    write_down(session, seq)?;
    sums.touch(seq);
    sums.let_go();
    session.execute("DELETE FROM messages WHERE seq = ?1", values![seq])?;
    session.execute("DELETE FROM message_tags WHERE message = ?1", values![seq])?;
    confirmations::remove(session, target)?;
    money::remove_costs(session, target)?;
    collect::release_content(session, target, now_of_message(session, forget_seq)?)?;
    change_status(session, sums, target, was, MessageStatus::Forgotten, None)
}
