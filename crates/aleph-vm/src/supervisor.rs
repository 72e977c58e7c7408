//! One supervisor process a VM: it owns the hypervisor, outlives the agent and answers for the VM.
//!
//! [`Supervisor`] is the agent's side; [`run`] is the process itself. Its folder holds
//! `spec.json` (the plan), `lock` (held while it lives), `status.json` (its last word), `control.sock`,
//! `http.port`, `supervisor.pid`, `qemu.pid`, the log and the files of ephemeral volumes.

mod client;
mod control;
mod egress;
pub(crate) mod folder;
mod log;
mod machine;
mod mux;
mod process;
mod proxy;
mod shared;
mod volumes;

pub use client::{Adopted, EndedVm, StopMode, Supervisor, SupervisorCommand};
pub use process::run;
