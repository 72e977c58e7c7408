//! PROGRAM, INSTANCE and V-PROGRAM (`spec: messages.md §§19–22`).

use aleph_types::content::{
    ExecutableBase, InstanceContent, ParentVolume, ProgramContent, VProgramContent, Volume, VolumeKind,
};
use aleph_types::{Address, ErrorCode, ItemHash, MessageType, Rejection};
use serde_json::{Value, json};

use crate::permissions::{self, Subject};
use crate::{Candidate, Decision, Dependency, Effect, Facts, VmRecord};

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
    let replaces = match replaced(&program.base, facts)? {
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
    let refusal = match volume_too_small(&instance.base.volumes, facts)? {
        Some(refusal) => Some(refusal),
        None => disk_too_small("rootfs", rootfs.size_mib, &rootfs.parent, facts)?,
    };
    if let Some(refusal) = refusal {
        return Ok(Some(Decision::Reject(refusal)));
    }
    let replaces = match replaced(&instance.base, facts)? {
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

/// V-PROGRAM (`spec: messages.md §21`): every file of its measured stack must be stored by a message, the
/// runtime's manifest must be readable, and the bundle that it names must be stored as well.
pub(crate) fn decide_v_program<F: Facts>(
    candidate: &Candidate<'_>,
    program: &VProgramContent,
    facts: &mut F,
    effects: &mut Vec<Effect>,
) -> Result<Option<Decision>, F::Error> {
    if let Some(decision) = permitted(candidate, &program.base.address, MessageType::VProgram, facts)? {
        return Ok(Some(decision));
    }
    let mut references = distinct(program.references().cloned().collect());
    let needed: Vec<(&ItemHash, bool)> = references.iter().map(|reference| (reference, false)).collect();
    if let Some(decision) = files_missing(&needed, facts)? {
        return Ok(Some(decision));
    }
    let bundle = match bundle(candidate, &program.runtime.reference, facts)? {
        Ok(bundle) => bundle,
        Err(decision) => return Ok(Some(decision)),
    };
    references = distinct(references.into_iter().chain([bundle]).collect());
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

/// The STORE of the bundle that the manifest of a runtime names.
fn bundle<F: Facts>(
    candidate: &Candidate<'_>,
    runtime: &ItemHash,
    facts: &mut F,
) -> Result<Result<ItemHash, Decision>, F::Error> {
    let invalid = |what: String| {
        let text = format!("runtime manifest {runtime} {what}");
        Err(Decision::Reject(Rejection::text(ErrorCode::VmRuntimeInvalid, text)))
    };
    let missing = |reference: &ItemHash| {
        Rejection::with_errors(ErrorCode::VmVolumeNotFound, [Value::from(reference.as_str())])
    };
    let Some(pin) = facts.message_pin(runtime)? else {
        return Ok(invalid("is not stored by a message".to_owned()));
    };
    // Whoever asks again brings the file that is waited for.
    let Some(read) = candidate.manifest.filter(|read| *read.file == pin.file) else {
        return Ok(Err(Decision::wait(Dependency::File(pin.file), missing(runtime))));
    };
    let bundle = match read.manifest {
        Ok(manifest) => &manifest.bundle,
        Err(error) => return Ok(invalid(format!("can't be used: {error}"))),
    };
    if facts.message_pin(bundle)?.is_none() {
        return Ok(Err(Decision::wait(Dependency::Message(bundle.clone()), missing(bundle))));
    }
    Ok(Ok(bundle.clone()))
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

/// Waits on the first file that is not stored; the refusal names each of them once, sorted.
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
        errors.push(reference.as_str());
        first.get_or_insert_with(|| match use_latest {
            true => Dependency::Tag(reference.as_str().to_owned()),
            false => Dependency::Message((*reference).clone()),
        });
    }
    errors.sort_unstable();
    errors.dedup();
    let errors = errors.into_iter().map(Value::from);
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

/// The rules of updates: the program that this machine names in `replaces`, if it names one.
///
/// The network keeps no versions of machines: an update is a machine of its own, and nothing happens to
/// the program that it names, now or when that is forgotten. Only its owner may name a program
/// (`docs/adr/0012-updates-of-programs.md`). Code 303 can't occur, as in the reference.
fn replaced<F: Facts>(
    base: &ExecutableBase,
    facts: &mut F,
) -> Result<Result<Option<ItemHash>, Decision>, F::Error> {
    let Some(text) = base.replaces.as_deref() else {
        return Ok(Ok(None));
    };
    let not_found = || Rejection::with_errors(ErrorCode::VmRefNotFound, [Value::String(text.to_owned())]);
    let Ok(named) = ItemHash::parse(text) else {
        return Ok(Err(Decision::Reject(not_found())));
    };
    match facts.vm(&named)? {
        Some(vm) if vm.message_type == MessageType::Program => Ok(if !vm.owner.is_same_as(&base.address) {
            Err(Decision::Reject(Rejection::text(
                ErrorCode::PermissionDenied,
                format!("Cannot update program {named} of {} as address {}", vm.owner, base.address),
            )))
        } else if vm.allow_amend {
            Ok(Some(named))
        } else {
            Err(Decision::Reject(Rejection::bare(ErrorCode::VmAmendNotAllowed)))
        }),
        _ => Ok(Err(Decision::wait(Dependency::Message(named), not_found()))),
    }
}
