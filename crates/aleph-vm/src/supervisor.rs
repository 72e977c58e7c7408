//! One supervisor process a VM: it owns the hypervisor, outlives the agent and answers for the VM.
//!
//! [`Supervisor`] is the agent's side; [`run`] is the process itself.

mod client;
mod process;

pub use client::{Adopted, EndedVm, StopMode, Supervisor, SupervisorCommand};
pub use process::run;
