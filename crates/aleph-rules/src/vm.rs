//! PROGRAM, INSTANCE and V-PROGRAM (`spec: messages.md §§19–22`).

use aleph_types::content::{
    ExecutableBase, InstanceContent, ParentVolume, ProgramContent, VProgramContent, Volume, VolumeKind,
};
use aleph_types::{Address, ErrorCode, ItemHash, MessageType, Rejection};
use serde_json::{Value, json};

use crate::permissions::{self, Subject};
use crate::{Candidate, Decision, Dependency, Effect, Facts, VmFact, VmRecord};

const MIB: u64 = 1024 * 1024;

/// PROGRAM.
pub(crate) fn decide<F: Facts>(
    candidate: &Candidate<'_>,
    program: &ProgramContent,
    facts: &mut F,
    effects: &mut Vec<Effect>,
) -> Result<Option<Decision>, F::Error> {
    if let Some(decision) = permitted(candidate, &program.base.address, MessageType::Program, facts)? {
        return Ok(Some(decision));
    }
    let needed: Vec<(&ItemHash, bool)> = program.references().collect();
    if let Some(decision) = files_missing(&needed, facts)? {
        return Ok(Some(decision));
    }
    if let Some(refusal) = volume_too_small(&program.base.volumes, facts)? {
        return Ok(Some(Decision::Reject(refusal)));
    }
    let replaces = match replaced(candidate, &program.base, facts)? {
        Ok(replaces) => replaces,
        Err(decision) => return Ok(Some(decision)),
    };
    let mut references = immutable_volumes(&program.base.volumes);
    references.extend([program.code.reference.clone(), program.runtime.reference.clone()]);
    references.extend(program.data.iter().map(|data| data.reference.clone()));
    let on_message = program.on.message.as_ref().is_some_and(|filters| !filters.is_empty());
    effects.push(Effect::CreateVm(VmRecord {
        item_hash: candidate.message.item_hash.clone(),
        message_type: MessageType::Program,
        owner: program.base.address.clone(),
        created: program.base.time,
        replaces,
        allow_amend: program.base.allow_amend,
        on_message,
        persistent: program.on.is_persistent(),
        references: distinct(references),
    }));
    Ok(None)
}

/// INSTANCE. As in the reference, `replaces` can name a PROGRAM only (`spec: messages.md §22`).
pub(crate) fn decide_instance<F: Facts>(
    candidate: &Candidate<'_>,
    instance: &InstanceContent,
    facts: &mut F,
    effects: &mut Vec<Effect>,
) -> Result<Option<Decision>, F::Error> {
    if let Some(decision) = permitted(candidate, &instance.base.address, MessageType::Instance, facts)? {
        return Ok(Some(decision));
    }
    let needed: Vec<(&ItemHash, bool)> = instance.references().collect();
    if let Some(decision) = files_missing(&needed, facts)? {
        return Ok(Some(decision));
    }
    let rootfs = &instance.rootfs;
    let refusal = match disk_too_small("rootfs", rootfs.size_mib, &rootfs.parent, facts)? {
        Some(refusal) => Some(refusal),
        None => volume_too_small(&instance.base.volumes, facts)?,
    };
    if let Some(refusal) = refusal {
        return Ok(Some(Decision::Reject(refusal)));
    }
    let replaces = match replaced(candidate, &instance.base, facts)? {
        Ok(replaces) => replaces,
        Err(decision) => return Ok(Some(decision)),
    };
    let mut references = immutable_volumes(&instance.base.volumes);
    references.push(rootfs.parent.reference.clone());
    effects.push(Effect::CreateVm(VmRecord {
        item_hash: candidate.message.item_hash.clone(),
        message_type: MessageType::Instance,
        owner: instance.base.address.clone(),
        created: instance.base.time,
        replaces,
        allow_amend: instance.base.allow_amend,
        on_message: false,
        persistent: true,
        references: distinct(references),
    }));
    Ok(None)
}

/// V-PROGRAM: every file of its measured stack must be stored by a message.
pub(crate) fn decide_v_program<F: Facts>(
    candidate: &Candidate<'_>,
    program: &VProgramContent,
    facts: &mut F,
    effects: &mut Vec<Effect>,
) -> Result<Option<Decision>, F::Error> {
    if let Some(decision) = permitted(candidate, &program.base.address, MessageType::VProgram, facts)? {
        return Ok(Some(decision));
    }
    let references = distinct(program.references().cloned().collect());
    let needed: Vec<(&ItemHash, bool)> = references.iter().map(|reference| (reference, false)).collect();
    if let Some(decision) = files_missing(&needed, facts)? {
        return Ok(Some(decision));
    }
    effects.push(Effect::CreateVm(VmRecord {
        item_hash: candidate.message.item_hash.clone(),
        message_type: MessageType::VProgram,
        owner: program.base.address.clone(),
        created: program.base.time,
        replaces: None,
        allow_amend: false,
        on_message: false,
        persistent: true,
        references,
    }));
    Ok(None)
}

/// The base rule for a machine's owner.
fn permitted<F: Facts>(
    candidate: &Candidate<'_>,
    owner: &Address,
    message_type: MessageType,
    facts: &mut F,
) -> Result<Option<Decision>, F::Error> {
    let message = candidate.message;
    let subject = Subject {
        message_type,
        chain: message.chain,
        channel: message.channel.as_ref(),
        post_type: None,
        aggregate_key: None,
    };
    Ok(permissions::check(&message.sender, owner, &subject, facts)?.err().map(Decision::Reject))
}

/// Waits on the first file that is not stored; the refusal names all of them.
fn files_missing<F: Facts>(
    needed: &[(&ItemHash, bool)],
    facts: &mut F,
) -> Result<Option<Decision>, F::Error> {
    let mut first = None;
    let mut errors = Vec::new();
    for (reference, use_latest) in needed {
        if file_size(facts, reference, *use_latest)?.is_some() {
            continue;
        }
        errors.push(Value::String(reference.as_str().to_owned()));
        first.get_or_insert_with(|| match use_latest {
            true => Dependency::Tag(reference.as_str().to_owned()),
            false => Dependency::Message((*reference).clone()),
        });
    }
    Ok(first.map(|on| Decision::wait(on, Rejection::with_errors(ErrorCode::VmVolumeNotFound, errors))))
}

/// The files that can't be forgotten while the machine exists: parents of persistent volumes are not among
/// them (`spec: messages.md §17`).
fn immutable_volumes(volumes: &[Volume]) -> Vec<ItemHash> {
    let reference = |volume: &Volume| match &volume.kind {
        VolumeKind::Immutable { reference, .. } => Some(reference.clone()),
        VolumeKind::Ephemeral { .. } | VolumeKind::Persistent { .. } => None,
    };
    volumes.iter().filter_map(reference).collect()
}

fn distinct(mut references: Vec<ItemHash>) -> Vec<ItemHash> {
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
        if let VolumeKind::Persistent { size_mib, parent: Some(parent), name, .. } = &volume.kind {
            let name = name.as_deref().unwrap_or("None");
            if let Some(refusal) = disk_too_small(name, *size_mib, parent, facts)? {
                return Ok(Some(refusal));
            }
        }
    }
    Ok(None)
}

fn disk_too_small<F: Facts>(
    name: &str,
    size_mib: u32,
    parent: &ParentVolume,
    facts: &mut F,
) -> Result<Option<Rejection>, F::Error> {
    let (file, parent_size) = if parent.use_latest {
        facts.tag(parent.reference.as_str())?.map(|tag| (tag.file, tag.size))
    } else {
        facts.message_pin(&parent.reference)?.map(|pin| (pin.file, pin.size))
    }
    .unzip();
    let parent_size = parent_size.unwrap_or(0);
    let volume_size = u64::from(size_mib) * MIB;
    Ok((volume_size < parent_size).then(|| {
        Rejection::with_errors(
            ErrorCode::VmVolumeTooSmall,
            [json!({
                "volume_name": name,
                "parent_ref": parent.reference,
                "parent_file": file,
                "parent_size": parent_size,
                "volume_size": volume_size,
            })],
        )
    }))
}

/// The rules of updates: the original that this machine replaces, if it replaces one.
fn replaced<F: Facts>(
    candidate: &Candidate<'_>,
    base: &ExecutableBase,
    facts: &mut F,
) -> Result<Result<Option<ItemHash>, Decision>, F::Error> {
    let Some(text) = base.replaces.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(Ok(None));
    };
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
    if original.owner != base.address {
        let refusal = permissions::denied(&candidate.message.sender, &original.owner);
        return Ok(Err(Decision::Reject(refusal)));
    }
    let updates = facts.vm_updates(&original_hash)?;
    let current: &VmFact = updates
        .iter()
        .max_by_key(|update| (update.created, std::cmp::Reverse(&update.item_hash)))
        .unwrap_or(&original);
    if !current.allow_amend {
        return Ok(Err(Decision::Reject(Rejection::bare(ErrorCode::VmAmendNotAllowed))));
    }
    Ok(Ok(Some(original_hash)))
}
