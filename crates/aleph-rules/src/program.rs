use aleph_types::content::{ProgramContent, Volume, VolumeKind};
use aleph_types::{ErrorCode, ItemHash, MessageType, Rejection};
use serde_json::{Value, json};

use crate::permissions::{self, Subject};
use crate::{Candidate, Decision, Dependency, Effect, Facts, VmFact, VmRecord};

const MIB: u64 = 1024 * 1024;

/// PROGRAM (`spec: messages.md §§19, 22`).
pub(crate) fn decide<F: Facts>(
    candidate: &Candidate<'_>,
    program: &ProgramContent,
    facts: &mut F,
    effects: &mut Vec<Effect>,
) -> Result<Option<Decision>, F::Error> {
    let message = candidate.message;
    let owner = &program.base.address;
    let subject = Subject {
        message_type: MessageType::Program,
        chain: message.chain,
        channel: message.channel.as_ref(),
        post_type: None,
        aggregate_key: None,
    };
    if let Err(refusal) = permissions::check(&message.sender, owner, &subject, facts)? {
        return Ok(Some(Decision::Reject(refusal)));
    }

    let mut missing: Vec<(ItemHash, Dependency)> = Vec::new();
    for (reference, use_latest) in program.references() {
        if file_size(facts, reference, use_latest)?.is_none() {
            let on = if use_latest {
                Dependency::Tag(reference.as_str().to_owned())
            } else {
                Dependency::Message(reference.clone())
            };
            missing.push((reference.clone(), on));
        }
    }
    if let Some((_, on)) = missing.first() {
        let errors: Vec<Value> =
            missing.iter().map(|(reference, _)| Value::String(reference.as_str().to_owned())).collect();
        return Ok(Some(Decision::wait(
            on.clone(),
            Rejection::with_errors(ErrorCode::VmVolumeNotFound, errors),
        )));
    }
    if let Some(refusal) = volume_too_small(&program.base.volumes, facts)? {
        return Ok(Some(Decision::Reject(refusal)));
    }

    let replaces = match program.base.replaces.as_deref().filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => match check_replaced(text, message, owner, facts)? {
            Ok(original) => Some(original),
            Err(decision) => return Ok(Some(decision)),
        },
    };

    effects.push(Effect::CreateVm(VmRecord {
        item_hash: message.item_hash.clone(),
        message_type: MessageType::Program,
        owner: owner.clone(),
        created: program.base.time,
        replaces,
        allow_amend: program.base.allow_amend,
        on_message: program.on.message.as_ref().is_some_and(|filters| !filters.is_empty()),
        persistent: program.on.is_persistent(),
        references: protected(program),
    }));
    Ok(None)
}

/// The files that can't be forgotten while the program exists: parents of persistent volumes are not among
/// them (`spec: messages.md §17`).
fn protected(program: &ProgramContent) -> Vec<ItemHash> {
    let mut references = vec![program.code.reference.clone(), program.runtime.reference.clone()];
    references.extend(program.data.iter().map(|data| data.reference.clone()));
    references.extend(program.base.volumes.iter().filter_map(|volume| match &volume.kind {
        VolumeKind::Immutable { reference, .. } => Some(reference.clone()),
        VolumeKind::Ephemeral { .. } | VolumeKind::Persistent { .. } => None,
    }));
    references.sort();
    references.dedup();
    references
}

/// Bytes of the file that a reference means: the tag's with `use_latest`, else the pinned one.
fn file_size<F: Facts>(
    facts: &mut F,
    reference: &ItemHash,
    use_latest: bool,
) -> Result<Option<u64>, F::Error> {
    if use_latest {
        Ok(facts.tag(reference.as_str())?.map(|tag| tag.size))
    } else {
        Ok(facts.message_pin(reference)?.map(|pin| pin.size))
    }
}

/// A volume that starts from a file must be at least as large as the file.
fn volume_too_small<F: Facts>(volumes: &[Volume], facts: &mut F) -> Result<Option<Rejection>, F::Error> {
    for volume in volumes {
        let VolumeKind::Persistent { size_mib, parent: Some(parent), name, .. } = &volume.kind else {
            continue;
        };
        let parent_size = file_size(facts, &parent.reference, parent.use_latest)?.unwrap_or(0);
        let volume_size = u64::from(*size_mib) * MIB;
        if volume_size < parent_size {
            let parent_file = if parent.use_latest {
                facts.tag(parent.reference.as_str())?.map(|tag| tag.file)
            } else {
                facts.message_pin(&parent.reference)?.map(|pin| pin.file)
            };
            return Ok(Some(Rejection::with_errors(
                ErrorCode::VmVolumeTooSmall,
                [json!({
                    "volume_name": name.as_deref().unwrap_or("None"),
                    "parent_ref": parent.reference,
                    "parent_file": parent_file,
                    "parent_size": parent_size,
                    "volume_size": volume_size,
                })],
            )));
        }
    }
    Ok(None)
}

/// The rules of updates; `Ok(original)` when this program may replace it.
fn check_replaced<F: Facts>(
    text: &str,
    message: &aleph_types::Message,
    owner: &aleph_types::Address,
    facts: &mut F,
) -> Result<Result<ItemHash, Decision>, F::Error> {
    let not_found = || Rejection::with_errors(ErrorCode::VmRefNotFound, [Value::String(text.to_owned())]);
    let Ok(original_hash) = ItemHash::parse(text) else {
        return Ok(Err(Decision::Reject(not_found())));
    };
    let original = match facts.vm(&original_hash)? {
        Some(vm) if vm.message_type == MessageType::Program => vm,
        _ => return Ok(Err(Decision::wait(Dependency::Message(original_hash), not_found()))),
    };
    if original.replaces.is_some() {
        return Ok(Err(Decision::Reject(Rejection::bare(ErrorCode::VmUpdateUpdate))));
    }
    if original.owner != *owner {
        return Ok(Err(Decision::Reject(permissions::denied(&message.sender, &original.owner))));
    }
    let updates = facts.vm_updates(&original_hash)?;
    let current: &VmFact = updates
        .iter()
        .max_by(|one, other| {
            (one.created, std::cmp::Reverse(&one.item_hash))
                .cmp(&(other.created, std::cmp::Reverse(&other.item_hash)))
        })
        .unwrap_or(&original);
    if !current.allow_amend {
        return Ok(Err(Decision::Reject(Rejection::bare(ErrorCode::VmAmendNotAllowed))));
    }
    Ok(Ok(original_hash))
}
