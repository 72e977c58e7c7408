//! What can go wrong with a VM, and what kind of trouble it is.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What to do about an error, whoever sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// the plan can't ever run: change it
    Rejected,
    /// this host lacks something (QEMU, memory, disk): repair the host
    Unavailable,
    /// the guest or the application ended, or never became ready: look at its log
    GuestFailed,
    /// the application or the guest took longer than its limit
    Timeout,
    /// the application answered, but not HTTP
    BadGateway,
    /// too many requests at once: try again later
    Busy,
    /// the VM isn't there (any more)
    NotRunning,
    /// our own mistake
    Bug,
}

impl ErrorKind {
    /// The stable name, as in JSON and in the header `x-aleph-vm-error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::GuestFailed => "guest_failed",
            Self::Timeout => "timeout",
            Self::BadGateway => "bad_gateway",
            Self::Busy => "busy",
            Self::NotRunning => "not_running",
            Self::Bug => "bug",
        }
    }
}

/// Why a plan can't be run, whatever the host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// not a name for a VM
    #[error("VM id {name:?} is not 1 to 80 of a-z A-Z 0-9 - _")]
    Id {
        /// what was given
        name: String,
    },
    /// processors out of range
    #[error("{vcpus} virtual processors asked, 1 to {} are possible", crate::plan::MAX_VCPUS)]
    Vcpus {
        /// what was given
        vcpus: u32,
    },
    /// memory out of range
    #[error(
        "{memory_mib} MiB of memory asked, {} to {} are possible",
        crate::plan::MIN_MEMORY_MIB,
        crate::plan::MAX_MEMORY_MIB
    )]
    Memory {
        /// what was given
        memory_mib: u32,
    },
    /// more volumes than slots
    #[error("{count} volumes asked, at most {} fit", crate::plan::MAX_VOLUMES)]
    TooManyVolumes {
        /// what was given
        count: usize,
    },
    /// a mount point that is not absolute, or that the guest needs itself
    #[error(
        "volume can't be mounted at {mount:?}: give an absolute path outside /proc, /sys, /dev and /opt/code"
    )]
    Mount {
        /// what was given
        mount: String,
    },
    /// two volumes at one place
    #[error("two volumes are to be mounted at {mount:?}")]
    DuplicateMount {
        /// the place
        mount: String,
    },
    /// a volume without room
    #[error("volume at {mount:?} has a size of 0 MiB")]
    EmptyVolume {
        /// the place
        mount: String,
    },
    /// a name or value that no process can be given
    #[error("environment variable {name:?} has no usable name or value")]
    Variable {
        /// its name
        name: String,
    },
    /// too much environment
    #[error("environment takes {bytes} bytes, at most {} are possible", crate::plan::MAX_ENVIRONMENT_BYTES)]
    EnvironmentTooLarge {
        /// what was given
        bytes: usize,
    },
    /// not `module.path:name`
    #[error("entrypoint {entrypoint:?} is not of the form module.path:name")]
    Entrypoint {
        /// what was given
        entrypoint: String,
    },
    /// nothing to run
    #[error("command {command:?} can't be run")]
    Command {
        /// what was given
        command: String,
    },
}

/// Anything that went wrong with a VM or its supervisor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmError {
    /// the plan itself
    #[error("plan can't be run: {0}")]
    Plan(#[from] PlanError),
    /// QEMU isn't installed
    #[error(
        "QEMU is not installed (no {program:?} here): install the package qemu-system-x86, or set the path of qemu-system-x86_64"
    )]
    NoQemu {
        /// what was looked for
        program: PathBuf,
    },
    /// a tool of the host isn't installed
    #[error("{program} is not installed: install the package {package}")]
    NoTool {
        /// the program
        program: &'static str,
        /// the package of Debian and Ubuntu that has it
        package: &'static str,
    },
    /// KVM was demanded and doesn't work
    #[error("KVM was asked for and does not boot a kernel here: set acceleration to auto or tcg")]
    NoKvm,
    /// a file that the plan names can't be read
    #[error("{what} {} can't be used: {reason}", path.display())]
    Image {
        /// its part in the plan (kernel, runtime, code …)
        what: &'static str,
        /// the file
        path: PathBuf,
        /// what is wrong with it
        reason: String,
    },
    /// the hypervisor refused to start, or ended
    #[error("QEMU ended ({status}){}", tail(.console))]
    HypervisorEnded {
        /// exit status
        status: String,
        /// the last lines of its output
        console: String,
    },
    /// the guest's agent didn't answer in time
    #[error("guest did not boot within {seconds} s: raise limits.boot_ms, or read its console{}", tail(.console))]
    BootDeadline {
        /// the limit
        seconds: u64,
        /// the last lines of the console
        console: String,
    },
    /// the application didn't listen in time
    #[error("application does not listen on 127.0.0.1:8080 after {seconds} s: read its log{}", tail(.log))]
    NeverListens {
        /// the limit
        seconds: u64,
        /// the last lines of its log
        log: String,
    },
    /// the application ended
    #[error("application ended ({status}){}", tail(.log))]
    ApplicationEnded {
        /// exit status
        status: String,
        /// the last lines of its log
        log: String,
    },
    /// the guest couldn't set itself up (a corrupt image, a bad archive)
    #[error("guest could not set up {step}: {reason}")]
    GuestSetup {
        /// what it was doing
        step: String,
        /// what went wrong
        reason: String,
    },
    /// the guest spoke nonsense on its channel
    #[error("guest broke the channel's protocol: {reason}")]
    GuestProtocol {
        /// what it did
        reason: String,
    },
    /// QEMU's control socket
    #[error("QEMU refused {command}: {reason}")]
    Qmp {
        /// the command
        command: String,
        /// its answer
        reason: String,
    },
    /// the supervisor isn't there
    #[error("VM {id} is not running{}", reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default())]
    NotRunning {
        /// the VM
        id: String,
        /// why it ended, when that is known
        reason: Option<String>,
    },
    /// the supervisor refused or failed
    #[error("{message}")]
    Remote {
        /// what kind of error it was there
        kind: ErrorKind,
        /// what it said
        message: String,
    },
    /// a second start of one VM
    #[error("VM {id} is running already")]
    AlreadyRunning {
        /// the VM
        id: String,
    },
    /// something took longer than it may
    #[error("{what} took longer than {seconds} s")]
    Deadline {
        /// what
        what: &'static str,
        /// the limit
        seconds: u64,
    },
    /// the host's file system or processes
    #[error("can't {action}: {source}")]
    Io {
        /// what was tried
        action: String,
        /// why not
        #[source]
        source: io::Error,
    },
}

impl VmError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Plan(_) => ErrorKind::Rejected,
            Self::NoQemu { .. } | Self::NoTool { .. } | Self::NoKvm | Self::Io { .. } => {
                ErrorKind::Unavailable
            }
            Self::Image { .. } => ErrorKind::Unavailable,
            Self::HypervisorEnded { .. }
            | Self::NeverListens { .. }
            | Self::ApplicationEnded { .. }
            | Self::GuestSetup { .. }
            | Self::GuestProtocol { .. } => ErrorKind::GuestFailed,
            Self::BootDeadline { .. } | Self::Deadline { .. } => ErrorKind::Timeout,
            Self::Qmp { .. } => ErrorKind::Bug,
            Self::NotRunning { .. } => ErrorKind::NotRunning,
            Self::AlreadyRunning { .. } => ErrorKind::Rejected,
            Self::Remote { kind, .. } => *kind,
        }
    }
}

fn tail(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("; last lines:\n{text}") }
}
