//! What a VM is to be: a plan, complete and self-contained, written to disk for its supervisor.
//!
//! A plan names files by path and sizes by unit; it knows no messages. Making and checking one is
//! pure: the files are looked at when the supervisor executes it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::PlanError;

/// Smallest memory that the guest kernel, its runtime and an application start in, in MiB.
pub const MIN_MEMORY_MIB: u32 = 96;
/// Largest memory of one VM, in MiB.
pub const MAX_MEMORY_MIB: u32 = 64 * 1024;
/// Most virtual processors of one VM.
pub const MAX_VCPUS: u32 = 32;
/// Most volumes of one VM; each takes a slot on the guest's PCI bus.
pub const MAX_VOLUMES: usize = 16;
/// Most bytes of all names and values of the environment together.
pub const MAX_ENVIRONMENT_BYTES: usize = 48 * 1024;

/// A VM's name, for example the item hash of its program: 1 to 80 of `a-z A-Z 0-9 - _`.
///
/// It names the VM's folder, so nothing else is allowed in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VmId(String);

impl VmId {
    /// Checks the name. Errors with [`PlanError::Id`] on any other letter or length.
    pub fn new(name: impl Into<String>) -> Result<Self, PlanError> {
        let name = name.into();
        let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if name.is_empty() || name.len() > 80 || !letters {
            return Err(PlanError::Id { name });
        }
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for VmId {
    type Error = PlanError;
    fn try_from(name: String) -> Result<Self, PlanError> {
        Self::new(name)
    }
}

impl From<VmId> for String {
    fn from(id: VmId) -> Self {
        id.0
    }
}

/// What the guest is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum VmKind {
    /// A Python 3 ASGI application, `module.path:name` inside the code.
    Asgi {
        /// for example `main:app`
        entrypoint: String,
    },
    /// Any program that listens for HTTP on `127.0.0.1:$PORT`.
    Executable {
        /// the file to run, relative to the code's folder (`/opt/code`), or absolute
        command: String,
        /// its arguments
        #[serde(default)]
        args: Vec<String>,
    },
}

/// How the code's file is packed. `spec: messages.md` names the same three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeEncoding {
    /// one file: Python source for ASGI, the binary itself for an executable
    Plain,
    /// a zip archive, unpacked in the guest
    Zip,
    /// a squashfs image, mounted in the guest
    Squashfs,
}

/// The code's file on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// file on the host, only read
    pub path: PathBuf,
    /// how it is packed
    pub encoding: CodeEncoding,
}

/// Where a volume's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum VolumeSource {
    /// a squashfs image, attached read-only
    Immutable {
        /// file on the host
        path: PathBuf,
    },
    /// an empty ext4 file system for one run, deleted afterwards
    Ephemeral {
        /// its size in MiB
        size_mib: u32,
    },
    /// an ext4 file system in a host file, made when it is missing and kept
    Persistent {
        /// file on the host
        path: PathBuf,
        /// its size in MiB when it has to be made
        size_mib: u32,
    },
}

/// A volume and its mount point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// absolute path in the guest
    pub mount: String,
    /// the bytes
    pub source: VolumeSource,
}

/// What the guest can reach. Guests have no network card: each way out is a stream that the
/// supervisor opens after its own check (`docs/adr/0008-guest-network.md`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    /// public addresses over an HTTP proxy (`HTTP_PROXY` in the guest); never private or local ones
    #[serde(default)]
    pub internet: bool,
    /// the one core node API that the guest sees as `ALEPH_API_URL`, if any
    #[serde(default)]
    pub api: Option<ApiUpstream>,
}

/// `host:port` of an HTTP API that a guest may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiUpstream {
    /// name or address
    pub host: String,
    /// TCP port
    pub port: u16,
}

impl From<SocketAddr> for ApiUpstream {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

/// Times and sizes that bound a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// from launch to a guest that answers its channel, in milliseconds
    pub boot_ms: u64,
    /// from there to an application that listens, in milliseconds
    pub ready_ms: u64,
    /// one HTTP request, from its arrival to the head of its answer, in milliseconds
    pub request_ms: u64,
    /// silence in the middle of an answer's body, in milliseconds
    pub stall_ms: u64,
    /// requests at once; more wait
    pub concurrent_requests: u32,
    /// requests that wait for a place; more are refused with 503
    pub waiting_requests: u32,
    /// bytes of log (console, application) kept on disk; older lines are dropped
    pub log_bytes: u64,
    /// connections at once from the guest to its API and to the internet
    pub guest_connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            boot_ms: 60_000,
            ready_ms: 60_000,
            request_ms: 30_000,
            stall_ms: 60_000,
            concurrent_requests: 64,
            waiting_requests: 512,
            log_bytes: 1 << 20,
            guest_connections: 32,
        }
    }
}

/// Which processor emulation to ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acceleration {
    /// KVM where a kernel really boots with it, emulation elsewhere
    #[default]
    Auto,
    /// KVM or an error
    Kvm,
    /// software emulation (QEMU TCG)
    Tcg,
}

/// How the hypervisor runs on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HypervisorSettings {
    /// `qemu-system-x86_64`, by name (looked up in `PATH`) or by path
    pub qemu: PathBuf,
    /// processor emulation
    pub acceleration: Acceleration,
    /// unprivileged user and group that QEMU becomes when the supervisor is root
    pub run_as: Option<(u32, u32)>,
}

impl Default for HypervisorSettings {
    fn default() -> Self {
        Self {
            qemu: PathBuf::from("qemu-system-x86_64"),
            acceleration: Acceleration::Auto,
            run_as: Some((65_534, 65_534)),
        }
    }
}

/// Where templates (saved, ready-to-clone VMs) are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateStore {
    /// folder, made when missing, private to this user
    pub dir: PathBuf,
    /// bytes that all templates together may take on disk; the least used go first
    pub max_bytes: u64,
}

/// The kernel and the first file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootImages {
    /// Linux kernel
    pub kernel: PathBuf,
    /// initramfs with the guest's first process
    pub initramfs: PathBuf,
}

/// Everything that the supervisor needs to run a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmPlan {
    /// the VM's name
    pub id: VmId,
    /// kernel and initramfs
    pub boot: BootImages,
    /// squashfs image of the runtime, the guest's root file system
    pub runtime: PathBuf,
    /// the code
    pub code: Code,
    /// how to run it
    pub kind: VmKind,
    /// a zip archive unpacked to `/data`
    #[serde(default)]
    pub data: Option<PathBuf>,
    /// more file systems, in order
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// virtual processors
    pub vcpus: u32,
    /// memory in MiB
    pub memory_mib: u32,
    /// environment variables of the application
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// host name in the guest; the VM's id when absent
    #[serde(default)]
    pub hostname: Option<String>,
    /// what the guest can reach
    #[serde(default)]
    pub network: NetworkPolicy,
    /// times and sizes
    #[serde(default)]
    pub limits: Limits,
    /// how the hypervisor runs
    #[serde(default)]
    pub hypervisor: HypervisorSettings,
    /// where templates are kept; none: every start is cold
    #[serde(default)]
    pub templates: Option<TemplateStore>,
}

impl VmPlan {
    /// Checks everything that can be known without looking at files.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.vcpus == 0 || self.vcpus > MAX_VCPUS {
            return Err(PlanError::Vcpus { vcpus: self.vcpus });
        }
        if !(MIN_MEMORY_MIB..=MAX_MEMORY_MIB).contains(&self.memory_mib) {
            return Err(PlanError::Memory { memory_mib: self.memory_mib });
        }
        if self.volumes.len() > MAX_VOLUMES {
            return Err(PlanError::TooManyVolumes { count: self.volumes.len() });
        }
        for (index, volume) in self.volumes.iter().enumerate() {
            check_mount(&volume.mount)?;
            if self.volumes[..index].iter().any(|other| other.mount == volume.mount) {
                return Err(PlanError::DuplicateMount { mount: volume.mount.clone() });
            }
            if let VolumeSource::Ephemeral { size_mib } | VolumeSource::Persistent { size_mib, .. } =
                volume.source
                && size_mib == 0
            {
                return Err(PlanError::EmptyVolume { mount: volume.mount.clone() });
            }
        }
        self.check_environment()?;
        match &self.kind {
            VmKind::Asgi { entrypoint } => check_entrypoint(entrypoint)?,
            VmKind::Executable { command, args } => {
                let words = std::iter::once(command).chain(args);
                if command.is_empty() || words.clone().any(|w| w.contains('\0')) {
                    return Err(PlanError::Command { command: command.clone() });
                }
            }
        }
        Ok(())
    }

    fn check_environment(&self) -> Result<(), PlanError> {
        let mut bytes = 0;
        for (name, value) in &self.environment {
            bytes += name.len() + value.len() + 2;
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(PlanError::Variable { name: name.clone() });
            }
        }
        if bytes > MAX_ENVIRONMENT_BYTES {
            return Err(PlanError::EnvironmentTooLarge { bytes });
        }
        Ok(())
    }

    /// The host name that the guest gets: at most 63 letters, digits and `-`.
    pub fn guest_hostname(&self) -> String {
        let wanted = self.hostname.as_deref().unwrap_or(self.id.as_str());
        let name: String = wanted
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .take(63)
            .collect();
        name.trim_matches('-').to_owned()
    }
}

fn check_mount(mount: &str) -> Result<(), PlanError> {
    // under these the guest keeps its own things
    const TAKEN: [&str; 7] = ["/", "/proc", "/sys", "/dev", "/opt/code", "/run", "/opt"];
    let plain = mount.starts_with('/')
        && mount.len() <= 255
        && !mount.contains('\0')
        && !mount.split('/').any(|part| part == ".." || part == ".");
    let trimmed = if mount.len() > 1 { mount.trim_end_matches('/') } else { mount };
    let inside = |top: &str| trimmed.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'));
    if !plain || TAKEN.contains(&trimmed) || ["/proc", "/sys", "/dev"].iter().any(|top| inside(top)) {
        return Err(PlanError::Mount { mount: mount.to_owned() });
    }
    Ok(())
}

fn check_entrypoint(entrypoint: &str) -> Result<(), PlanError> {
    let name = |text: &str| {
        !text.is_empty()
            && text.split('.').all(|part| {
                part.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
                    && part.chars().all(|c| c.is_alphanumeric() || c == '_')
            })
    };
    match entrypoint.split_once(':') {
        Some((module, object)) if name(module) && name(object) && entrypoint.len() <= 256 => Ok(()),
        _ => Err(PlanError::Entrypoint { entrypoint: entrypoint.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
