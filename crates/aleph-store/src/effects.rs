//! How each effect of the rules changes the tables.

use aleph_rules::{AggregateState, Effect, FieldValue, PinnedFile, PostVersion, Stamp, TagTarget, VmRecord};
use aleph_types::{ItemHash, Timestamp};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use crate::StoreError;
use crate::digest::column::{number, optional, text};
use crate::digest::{Part, Sums};

/// How long a file that nothing holds any more is kept: 24 hours (`spec: messages.md §16`).
const GRACE_MICROS: i64 = 24 * 3600 * 1_000_000;

/// Applies one effect of the message whose row is `seq`, to the tables and to their digest.
pub(crate) fn apply(
    connection: &Connection,
    sums: &mut Sums,
    effect: &Effect,
    seq: i64,
) -> Result<(), StoreError> {
    match effect {
        Effect::PinContent { file, size, owner, created } => {
            put_file(connection, file, *size, "file")?;
            connection
                .prepare_cached(
                    "INSERT INTO file_pins (file, kind, pinned_by, owner, created) \
                     VALUES (?1, 'content', ?1, ?2, ?3) ON CONFLICT DO NOTHING",
                )?
                .execute((file.as_str(), owner.as_str(), created.as_micros()))?;
            drop_grace_pins(connection, file)?;
        }
        Effect::CreatePost { original, owner, post_type, reference, channel } => {
            connection
                .prepare_cached(
                    "INSERT INTO posts (original, message, owner, post_type, reference, channel, created, \
                     latest, latest_message, last_updated) VALUES (?1,?2,?3,?4,?5,?6,?7,?1,?2,?7)",
                )?
                .execute(rusqlite::params![
                    original.hash.as_str(),
                    seq,
                    owner.as_str(),
                    post_type,
                    reference,
                    channel.as_ref().map(|channel| channel.as_str()),
                    original.time.as_micros(),
                ])?;
            sums.add(
                Part::Posts,
                &[
                    text(original.hash.as_str()),
                    text(owner.as_str()),
                    text(post_type),
                    optional(reference.as_deref()),
                    optional(channel.as_ref().map(|channel| channel.as_str())),
                    number(original.time.as_micros()),
                    text(original.hash.as_str()),
                    number(original.time.as_micros()),
                ],
            );
        }
        Effect::AddAmend { original, amend } => {
            connection
                .prepare_cached("INSERT INTO amends (original, time, amend, message) VALUES (?1,?2,?3,?4)")?
                .execute((original.as_str(), amend.time.as_micros(), amend.hash.as_str(), seq))?;
            sums.add(Part::Amends, &amend_row(original, amend));
        }
        Effect::ShowVersion(version) => show_version(connection, sums, version)?,
        Effect::RemovePost(original) => {
            sums.subtract_stored(connection, Part::Posts, "original = ?1", [original.as_str()])?;
            sums.subtract_stored(connection, Part::Amends, "original = ?1", [original.as_str()])?;
            connection
                .prepare_cached("DELETE FROM posts WHERE original = ?1")?
                .execute([original.as_str()])?;
            connection
                .prepare_cached("DELETE FROM amends WHERE original = ?1")?
                .execute([original.as_str()])?;
        }
        Effect::RemoveAmend { original, amend } => {
            let removed = connection
                .prepare_cached("DELETE FROM amends WHERE original = ?1 AND time = ?2 AND amend = ?3")?
                .execute((original.as_str(), amend.time.as_micros(), amend.hash.as_str()))?;
            if removed > 0 {
                sums.subtract(Part::Amends, &amend_row(original, amend));
            }
        }
        Effect::MergeAggregate { state, fields } => {
            put_aggregate(connection, sums, state)?;
            for field in fields {
                put_field(connection, sums, &state.owner, &state.key, field)?;
            }
        }
        Effect::ReplaceAggregate { owner, key, state, fields } => {
            let of_aggregate = (owner.as_str(), key.as_str());
            sums.subtract_stored(connection, Part::AggregateFields, "owner = ?1 AND key = ?2", of_aggregate)?;
            connection
                .prepare_cached("DELETE FROM aggregate_fields WHERE owner = ?1 AND key = ?2")?
                .execute((owner.as_str(), key))?;
            match state {
                None => {
                    sums.subtract_stored(
                        connection,
                        Part::Aggregates,
                        "owner = ?1 AND key = ?2",
                        of_aggregate,
                    )?;
                    connection
                        .prepare_cached("DELETE FROM aggregates WHERE owner = ?1 AND key = ?2")?
                        .execute((owner.as_str(), key))?;
                }
                Some(state) => {
                    put_aggregate(connection, sums, state)?;
                    for field in fields {
                        put_field(connection, sums, owner, key, field)?;
                    }
                }
            }
        }
        Effect::PinFile(pin) => pin_file(connection, sums, pin)?,
        Effect::SetTag(target) => set_tag(connection, sums, target)?,
        Effect::RemoveTag(tag) => {
            sums.subtract_stored(connection, Part::FileTags, "tag = ?1", [tag])?;
            connection.prepare_cached("DELETE FROM file_tags WHERE tag = ?1")?.execute([tag])?;
        }
        Effect::Unpin { file, message, grace } => {
            let pin = (file.as_str(), message.as_str());
            sums.subtract_stored(connection, Part::FilePins, "file = ?1 AND pinned_by = ?2", pin)?;
            connection
                .prepare_cached(
                    "DELETE FROM file_pins WHERE file = ?1 AND kind = 'message' AND pinned_by = ?2",
                )?
                .execute(pin)?;
            if *grace {
                let now = now_of_message(connection, seq)?;
                put_grace_pin(connection, file, message.as_str(), now, now.plus_micros(GRACE_MICROS))?;
            }
        }
        Effect::CreateVm(vm) => create_vm(connection, sums, vm)?,
        Effect::RemoveVm(vm) => {
            sums.subtract_stored(connection, Part::Vms, "item_hash = ?1", [vm.as_str()])?;
            sums.subtract_stored(connection, Part::VmReferences, "vm = ?1", [vm.as_str()])?;
            connection.prepare_cached("DELETE FROM vms WHERE item_hash = ?1")?.execute([vm.as_str()])?;
            connection.prepare_cached("DELETE FROM vm_references WHERE vm = ?1")?.execute([vm.as_str()])?;
        }
        Effect::Forget(forgotten) => {
            forget(connection, sums, &forgotten.target, &forgotten.by, forgotten.at)?;
        }
        Effect::SetBalances { chain, dapp, height, entries } => {
            let mut statement = connection.prepare_cached(
                "INSERT INTO balances (address, chain, dapp, amount, height) VALUES (?1,?2,?3,?4,?5) \
                 ON CONFLICT (address, chain, dapp) DO UPDATE SET amount = excluded.amount, \
                 height = excluded.height WHERE excluded.height > balances.height",
            )?;
            const ONE: &str = "address = ?1 AND chain = ?2 AND dapp = ?3";
            for entry in entries {
                let of_entry = (entry.address.as_str(), chain.as_str(), dapp.as_str());
                sums.subtract_stored(connection, Part::Balances, ONE, of_entry)?;
                statement.execute((entry.address.as_str(), chain, dapp, &entry.amount, height))?;
                sums.add_stored(connection, Part::Balances, ONE, of_entry)?;
            }
        }
    }
    Ok(())
}

pub(crate) fn put_file(
    connection: &Connection,
    hash: &ItemHash,
    size: u64,
    kind: &str,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO files (hash, size, kind) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
        .execute((hash.as_str(), size, kind))?;
    Ok(())
}

pub(crate) fn put_grace_pin(
    connection: &Connection,
    file: &ItemHash,
    reason: &str,
    created: Timestamp,
    delete_by: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO file_pins (file, kind, pinned_by, created, delete_by) \
             VALUES (?1, 'grace_period', ?2, ?3, ?4) \
             ON CONFLICT (file, kind, pinned_by) DO UPDATE SET delete_by = excluded.delete_by",
        )?
        .execute((file.as_str(), reason, created.as_micros(), delete_by.as_micros()))?;
    Ok(())
}

/// A file that a message holds needs no grace.
fn drop_grace_pins(connection: &Connection, file: &ItemHash) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM file_pins WHERE file = ?1 AND kind = 'grace_period'")?
        .execute([file.as_str()])?;
    Ok(())
}

/// The instant at which this node met the message that is being applied: the clock of its effects.
fn now_of_message(connection: &Connection, seq: i64) -> Result<Timestamp, StoreError> {
    let micros = connection
        .prepare_cached("SELECT reception_time FROM messages WHERE seq = ?1")?
        .query_row([seq], |row| row.get(0))?;
    Ok(Timestamp::from_micros(micros))
}

fn amend_row<'a>(original: &'a ItemHash, amend: &'a Stamp) -> [ValueRef<'a>; 3] {
    [text(original.as_str()), number(amend.time.as_micros()), text(amend.hash.as_str())]
}

fn show_version(connection: &Connection, sums: &mut Sums, version: &PostVersion) -> Result<(), StoreError> {
    sums.subtract_stored(connection, Part::Posts, "original = ?1", [version.original.as_str()])?;
    connection
        .prepare_cached(
            "UPDATE posts SET latest = ?2, last_updated = ?3, \
             latest_message = (SELECT message FROM statuses WHERE item_hash = ?2) WHERE original = ?1",
        )?
        .execute((
            version.original.as_str(),
            version.latest.hash.as_str(),
            version.latest.time.as_micros(),
        ))?;
    sums.add_stored(connection, Part::Posts, "original = ?1", [version.original.as_str()])
}

fn put_aggregate(connection: &Connection, sums: &mut Sums, state: &AggregateState) -> Result<(), StoreError> {
    let of_aggregate = (state.owner.as_str(), state.key.as_str());
    sums.subtract_stored(connection, Part::Aggregates, "owner = ?1 AND key = ?2", of_aggregate)?;
    connection
        .prepare_cached(
            "INSERT INTO aggregates (owner, key, created, first_hash, updated, last_hash, elements) \
             VALUES (?1,?2,?3,?4,?5,?6,?7) ON CONFLICT (owner, key) DO UPDATE SET \
             created = excluded.created, first_hash = excluded.first_hash, updated = excluded.updated, \
             last_hash = excluded.last_hash, elements = excluded.elements",
        )?
        .execute(rusqlite::params![
            state.owner.as_str(),
            state.key,
            state.first.time.as_micros(),
            state.first.hash.as_str(),
            state.last.time.as_micros(),
            state.last.hash.as_str(),
            state.elements,
        ])?;
    sums.add(
        Part::Aggregates,
        &[
            text(state.owner.as_str()),
            text(&state.key),
            number(state.first.time.as_micros()),
            text(state.first.hash.as_str()),
            number(state.last.time.as_micros()),
            text(state.last.hash.as_str()),
            number(i64::try_from(state.elements).unwrap_or(i64::MAX)),
        ],
    );
    Ok(())
}

fn put_field(
    connection: &Connection,
    sums: &mut Sums,
    owner: &aleph_types::Address,
    key: &str,
    field: &FieldValue,
) -> Result<(), StoreError> {
    let of_field = (owner.as_str(), key, field.field.as_str());
    let value = field.value.to_string();
    sums.subtract_stored(
        connection,
        Part::AggregateFields,
        "owner = ?1 AND key = ?2 AND field = ?3",
        of_field,
    )?;
    connection
        .prepare_cached(
            "INSERT INTO aggregate_fields (owner, key, field, value, time, hash) VALUES (?1,?2,?3,?4,?5,?6) \
             ON CONFLICT (owner, key, field) DO UPDATE SET value = excluded.value, time = excluded.time, \
             hash = excluded.hash",
        )?
        .execute(rusqlite::params![
            owner.as_str(),
            key,
            field.field,
            value,
            field.stamp.time.as_micros(),
            field.stamp.hash.as_str(),
        ])?;
    sums.add(
        Part::AggregateFields,
        &[
            text(owner.as_str()),
            text(key),
            text(&field.field),
            text(&value),
            number(field.stamp.time.as_micros()),
            text(field.stamp.hash.as_str()),
        ],
    );
    Ok(())
}

fn pin_file(connection: &Connection, sums: &mut Sums, pin: &PinnedFile) -> Result<(), StoreError> {
    put_file(connection, &pin.file, pin.info.size, pin.info.kind.as_str())?;
    let inserted = connection
        .prepare_cached(
            "INSERT INTO file_pins (file, kind, pinned_by, owner, reference, tag, created) \
             VALUES (?1, 'message', ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        )?
        .execute(rusqlite::params![
            pin.file.as_str(),
            pin.message.as_str(),
            pin.owner.as_str(),
            pin.reference,
            pin.tag,
            pin.created.as_micros(),
        ])?;
    if inserted > 0 {
        sums.add(
            Part::FilePins,
            &[
                text(pin.file.as_str()),
                text(pin.message.as_str()),
                text(pin.owner.as_str()),
                optional(pin.reference.as_deref()),
                text(&pin.tag),
                number(pin.created.as_micros()),
            ],
        );
    }
    drop_grace_pins(connection, &pin.file)
}

fn set_tag(connection: &Connection, sums: &mut Sums, target: &TagTarget) -> Result<(), StoreError> {
    sums.subtract_stored(connection, Part::FileTags, "tag = ?1", [&target.tag])?;
    connection
        .prepare_cached(
            "INSERT INTO file_tags (tag, owner, file, message, time) VALUES (?1,?2,?3,?4,?5) \
             ON CONFLICT (tag) DO UPDATE SET owner = excluded.owner, file = excluded.file, \
             message = excluded.message, time = excluded.time",
        )?
        .execute((
            &target.tag,
            target.owner.as_str(),
            target.file.as_str(),
            target.stamp.hash.as_str(),
            target.stamp.time.as_micros(),
        ))?;
    sums.add_stored(connection, Part::FileTags, "tag = ?1", [&target.tag])
}

fn create_vm(connection: &Connection, sums: &mut Sums, vm: &VmRecord) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO vms (item_hash, message_type, owner, created, replaces, allow_amend, on_message, \
             persistent) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)",
        )?
        .execute(rusqlite::params![
            vm.item_hash.as_str(),
            vm.message_type.as_str(),
            vm.owner.as_str(),
            vm.created.as_micros(),
            vm.replaces.as_ref().map(ItemHash::as_str),
            vm.allow_amend,
            vm.on_message,
            vm.persistent,
        ])?;
    sums.add_stored(connection, Part::Vms, "item_hash = ?1", [vm.item_hash.as_str()])?;
    let mut statement = connection
        .prepare_cached("INSERT INTO vm_references (reference, vm) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    for reference in &vm.references {
        if statement.execute((reference.as_str(), vm.item_hash.as_str()))? > 0 {
            sums.add(Part::VmReferences, &[text(reference.as_str()), text(vm.item_hash.as_str())]);
        }
    }
    Ok(())
}

/// Deletes a message's content and keeps its skeleton.
fn forget(
    connection: &Connection,
    sums: &mut Sums,
    target: &ItemHash,
    by: &ItemHash,
    at: Timestamp,
) -> Result<(), StoreError> {
    let seq: Option<i64> = connection
        .prepare_cached("SELECT message FROM statuses WHERE item_hash = ?1")?
        .query_row([target.as_str()], |row| row.get(0))
        .optional()?
        .flatten();
    let Some(seq) = seq else {
        // Already gone: name this FORGET as well.
        let by_list: Option<String> = connection
            .prepare_cached("SELECT forgotten_by FROM skeletons WHERE item_hash = ?1")?
            .query_row([target.as_str()], |row| row.get(0))
            .optional()?;
        if let Some(stored) = by_list {
            let mut list: Vec<String> =
                serde_json::from_str(&stored).map_err(|_| StoreError::corrupt("list of FORGETs", stored))?;
            list.push(by.as_str().to_owned());
            connection
                .prepare_cached("UPDATE skeletons SET forgotten_by = ?2 WHERE item_hash = ?1")?
                .execute((target.as_str(), serde_json::Value::from(list).to_string()))?;
        }
        return Ok(());
    };
    connection
        .prepare_cached(
            "INSERT INTO skeletons (item_hash, status, message_type, chain, sender, owner, signature, \
             item_type, time, channel, payment_type, size, gone_at, forgotten_by) \
             SELECT m.item_hash, 'forgotten', m.message_type, m.chain, m.sender, m.owner, m.signature, \
             m.item_type, m.time, m.channel, COALESCE(m.payment_type, 'hold'), f.size, ?2, ?3 \
             FROM messages m LEFT JOIN files f ON f.hash = m.content_hash WHERE m.seq = ?1",
        )?
        .execute((seq, at.as_micros(), serde_json::json!([by]).to_string()))?;
    connection.prepare_cached("DELETE FROM messages WHERE seq = ?1")?.execute([seq])?;
    connection.prepare_cached("DELETE FROM message_tags WHERE message = ?1")?.execute([seq])?;
    sums.subtract_stored(connection, Part::Statuses, "item_hash = ?1", [target.as_str()])?;
    connection
        .prepare_cached("UPDATE statuses SET status = 'forgotten', message = NULL WHERE item_hash = ?1")?
        .execute([target.as_str()])?;
    sums.add_stored(connection, Part::Statuses, "item_hash = ?1", [target.as_str()])
}
