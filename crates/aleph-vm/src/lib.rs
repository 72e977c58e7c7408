//! Micro-VMs: plans, hypervisors, one supervisor process a VM, the guest channel, templates.
//!
//! This crate knows VMs and no messages. An agent (the compute node) turns a message into a
//! [`VmPlan`], calls [`Supervisor::spawn`] and sends HTTP requests to [`Supervisor::http_addr`].
//!
//! ```text
//! agent ── spawn / adopt_all / status / stop / logs ──▶ supervisor process ── QMP ──▶ QEMU
//!   └──────── HTTP on a loopback port ───────────────▶    └─ guest channel (virtio-serial) ─▶ aleph-guest (pid 1) ─▶ application
//! ```
//!
//! Invariants:
//! * a VM belongs to its supervisor, never to the agent: the agent may be killed at any time and
//!   finds its VMs again with [`Supervisor::adopt_all`];
//! * not knowing never ends a VM: only a stop that was asked for, or the VM's own end, does;
//! * every byte from a guest is hostile: frames, streams, logs and connections are bounded;
//! * a guest has no network card, and reaches only what [`NetworkPolicy`] names;
//! * planning (which arguments, which devices, which template) is pure, doing is separate.
//!
//! ```no_run
//! use aleph_vm::{StopMode, Supervisor, SupervisorCommand, VmPlan};
//! # async fn demo(plan: VmPlan) -> Result<(), aleph_vm::VmError> {
//! let command = SupervisorCommand::current_exe(&["supervise-vm"])?;
//! let vm = Supervisor::spawn(&plan, "/var/lib/alephd/vms".as_ref(), &command).await?;
//! vm.wait_ready().await?;
//! println!("http://{}/", vm.http_addr());
//! vm.stop(StopMode::Graceful { timeout: std::time::Duration::from_secs(5) }).await?;
//! # Ok(()) }
//! ```

mod error;
pub mod hypervisor;
mod images;
mod layout;
mod plan;
mod status;
pub mod supervisor;
mod template;

pub use error::{ErrorKind, PlanError, VmError};
pub use images::{ImageFile, RuntimeManifest};
pub use plan::{
    Acceleration, ApiUpstream, BootImages, Code, CodeEncoding, HypervisorSettings, Limits,
    MAX_ENVIRONMENT_BYTES, MAX_MEMORY_MIB, MAX_VCPUS, MAX_VOLUMES, MIN_MEMORY_MIB, NetworkPolicy,
    TemplateStore, VmId, VmKind, VmPlan, Volume, VolumeSource,
};
pub use status::{Failure, LogLine, LogPage, LogSource, Phase, StartMode, VmStatus};
pub use supervisor::{Adopted, EndedVm, StopMode, Supervisor, SupervisorCommand};

/// Name of the response header that tells an error of the VM from an answer of the application:
/// its value is an [`ErrorKind`].
pub const ERROR_HEADER: &str = "x-aleph-vm-error";
