//! From a message and its files to the plan of a VM; pure.

use std::path::PathBuf;
use std::time::Duration;

use aleph_types::ItemHash;
use aleph_types::content::{Encoding, Interface, Persistence, VolumeKind};
use aleph_vm::{
    Acceleration, ApiUpstream, BootImages, Code, CodeEncoding, HypervisorSettings, MAX_VCPUS, MIN_MEMORY_MIB,
    NetworkPolicy, TemplateStore, VmId, VmPlan, Volume, VolumeSource,
};

use crate::config::Limits;
use crate::defaults::{BODY_STALL, TCG_SECONDS_FACTOR, TCG_SECONDS_FLOOR};
use crate::failure::Failure;
use crate::hostname::label_of;
use crate::network::messages::Program;

/// A file that a program needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) what: Part,
    pub(crate) reference: ItemHash,
    pub(crate) use_latest: bool,
    /// Most bytes.
    pub(crate) most: u64,
    /// Passed to the guest in one piece.
    pub(crate) inline: bool,
}

/// What a file is to its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Code,
    Runtime,
    Data,
    /// Index in the message's list.
    Volume(usize),
}

impl Part {
    /// The word in errors and lists.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Part::Code => "code",
            Part::Runtime => "runtime",
            Part::Data => "data",
            Part::Volume(_) => "volume",
        }
    }

    /// The word in the reference's sentence about sizes.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Part::Code => "Program",
            Part::Runtime => "Runtime",
            Part::Data => "Data",
            Part::Volume(_) => "Volume",
        }
    }
}

/// The files that `program` needs, in the order of the message.
pub(crate) fn needs(program: &Program, limits: &Limits) -> Vec<Need> {
    let content = &program.content;
    let of = |encoding: Encoding| match encoding {
        Encoding::Plain | Encoding::Zip => (limits.inline_code_bytes, true),
        Encoding::Squashfs => (limits.image_code_bytes, false),
    };
    let (most, inline) = of(content.code.encoding);
    let mut needs = vec![
        Need {
            what: Part::Code,
            reference: content.code.reference.clone(),
            use_latest: content.code.use_latest,
            most,
            inline,
        },
        Need {
            what: Part::Runtime,
            reference: content.runtime.reference.clone(),
            use_latest: content.runtime.use_latest,
            most: limits.image_bytes,
            inline: false,
        },
    ];
    if let Some(data) = &content.data {
        let (most, inline) = of(data.encoding);
        needs.push(Need {
            what: Part::Data,
            reference: data.reference.clone(),
            use_latest: data.use_latest,
            most,
            inline,
        });
    }
    for (index, volume) in content.base.volumes.iter().enumerate() {
        if let VolumeKind::Immutable { reference, use_latest } = &volume.kind {
            needs.push(Need {
                what: Part::Volume(index),
                reference: reference.clone(),
                use_latest: *use_latest,
                most: limits.image_bytes,
                inline: false,
            });
        }
    }
    needs
}

/// What the host adds to every plan.
#[derive(Debug, Clone)]
pub(crate) struct HostRules {
    pub(crate) boot: BootImages,
    pub(crate) hypervisor: HypervisorSettings,
    pub(crate) templates: Option<TemplateStore>,
    /// Folder of persistent volumes; each program has one inside.
    pub(crate) volumes_dir: PathBuf,
    /// The core node that guests may call.
    pub(crate) api: Option<ApiUpstream>,
    pub(crate) init_timeout: Duration,
}

impl HostRules {
    /// How long a request may take until the head of its answer: the message's word, more where
    /// processors are emulated or may be.
    pub(crate) fn request_time(&self, seconds: u32) -> Duration {
        let asked = Duration::from_secs(u64::from(seconds));
        match self.hypervisor.acceleration {
            Acceleration::Kvm => asked,
            Acceleration::Auto | Acceleration::Tcg => {
                asked.saturating_mul(TCG_SECONDS_FACTOR).max(TCG_SECONDS_FLOOR)
            }
        }
    }
}

/// The plan of `program`; `path_of` gives the local path of each file that [`needs`] names.
pub(crate) fn plan(
    program: &Program,
    path_of: impl Fn(Part) -> Option<PathBuf>,
    host: &HostRules,
) -> Result<VmPlan, Failure> {
    let content = &program.content;
    let hash = &program.hash;
    let file = |part: Part| {
        path_of(part).ok_or_else(|| {
            Failure::Initialisation(format!("the {} of {hash} was not fetched", part.as_str()))
        })
    };
    let unsupported = |error: &dyn std::fmt::Display| Failure::Unsupported(error.to_string());

    let mut volumes = Vec::new();
    let mut data = None;
    match &content.data {
        Some(described) if described.encoding == Encoding::Squashfs => volumes.push(Volume {
            mount: described.mount.clone(),
            source: VolumeSource::Immutable { path: file(Part::Data)? },
        }),
        Some(described) if described.encoding == Encoding::Zip => data = Some(file(Part::Data)?),
        Some(_) => {
            return Err(Failure::Unsupported("its data is `plain`; pack it as zip or squashfs".to_owned()));
        }
        None => {}
    }
    for (index, volume) in content.base.volumes.iter().enumerate() {
        let (name, source) = match &volume.kind {
            VolumeKind::Immutable { .. } => (
                format!("unamed_volume_{index}"),
                VolumeSource::Immutable { path: file(Part::Volume(index))? },
            ),
            VolumeKind::Ephemeral { size_mib } => {
                (format!("unamed_volume_{index}"), VolumeSource::Ephemeral { size_mib: *size_mib })
            }
            VolumeKind::Persistent { parent: Some(_), .. } => {
                return Err(Failure::Unsupported(format!(
                    "volume {index} starts from a parent image, which programs can't have here; use an immutable volume"
                )));
            }
            VolumeKind::Persistent { persistence: Some(Persistence::Store), .. } => {
                return Err(Failure::Unsupported(format!(
                    "volume {index} asks for persistence `store`, which no node implements; use `host`"
                )));
            }
            VolumeKind::Persistent { size_mib, name, .. } => {
                let name = name.clone().unwrap_or_else(|| format!("unamed_volume_{index}"));
                let path = host.volumes_dir.join(hash.as_str()).join(format!("{}.ext4", file_name_of(&name)));
                (name, VolumeSource::Persistent { path, size_mib: *size_mib })
            }
        };
        let mount = volume.mount.clone().unwrap_or_else(|| format!("/mnt/{}", file_name_of(&name)));
        volumes.push(Volume { mount, source });
    }
    let paths: Vec<_> = volumes
        .iter()
        .filter_map(|volume| match &volume.source {
            VolumeSource::Persistent { path, .. } => Some(path),
            _ => None,
        })
        .collect();
    if (1..paths.len()).any(|index| paths[..index].contains(&paths[index])) {
        return Err(Failure::Unsupported("two of its persistent volumes have the same name".to_owned()));
    }

    let kind = match content.code.interface() {
        Interface::Asgi => aleph_vm::VmKind::Asgi { entrypoint: content.code.entrypoint.clone() },
        Interface::Binary => aleph_vm::VmKind::Executable {
            command: content.code.entrypoint.clone(),
            args: content.code.args.clone(),
        },
    };
    let resources = &content.base.resources;
    if resources.vcpus > MAX_VCPUS {
        return Err(Failure::NoCapacity(format!(
            "It asks for {} virtual processors, at most {MAX_VCPUS} fit.",
            resources.vcpus
        )));
    }
    let hostname = label_of(hash);
    let mut environment = content.base.variables.clone();
    environment.entry("ALEPH_INIT_VERSION".to_owned()).or_insert_with(|| "2.0.0".to_owned());
    if let Some(label) = &hostname {
        environment.entry("ALEPH_ADDRESS_TO_USE".to_owned()).or_insert_with(|| label.clone());
    }
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let plan = VmPlan {
        id: VmId::new(hash.as_str()).map_err(|error| unsupported(&error))?,
        boot: host.boot.clone(),
        runtime: file(Part::Runtime)?,
        code: Code {
            path: file(Part::Code)?,
            encoding: match content.code.encoding {
                Encoding::Plain => CodeEncoding::Plain,
                Encoding::Zip => CodeEncoding::Zip,
                Encoding::Squashfs => CodeEncoding::Squashfs,
            },
        },
        kind,
        data,
        volumes,
        vcpus: resources.vcpus,
        // The kernel and the runtime need some themselves; nobody is refused for asking too little.
        memory_mib: resources.memory_mib.max(MIN_MEMORY_MIB),
        environment,
        hostname,
        network: NetworkPolicy { internet: content.environment.flags().internet, api: host.api.clone() },
        limits: aleph_vm::Limits {
            boot_ms: milliseconds(host.init_timeout),
            ready_ms: milliseconds(host.init_timeout),
            request_ms: milliseconds(host.request_time(resources.seconds)),
            stall_ms: milliseconds(BODY_STALL),
            ..aleph_vm::Limits::default()
        },
        hypervisor: host.hypervisor.clone(),
        templates: host.templates.clone(),
    };
    plan.check().map_err(|error| unsupported(&error))?;
    Ok(plan)
}

/// A volume's name as a file name: other characters become `_` (`spec: crn-vm.md §3`), slashes too.
fn file_name_of(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' })
        .take(128)
        .collect()
}

#[cfg(test)]
mod tests;
