//! The compute node: knows messages, never owns VMs.
//!
//! [`run`] serves the interface of a compute resource node (`spec: crn-api.md`): schedulers allocate
//! programs to it, anyone's HTTP request starts one on demand, owners operate theirs. Each VM belongs to
//! its own supervisor process (`aleph-vm`); this process may be killed and restarted under them.
//!
//! ```text
//! HTTP request ─▶ http/programs ─▶ executions ─▶ execution/driver (one task a program)
//!                      │                            │ step(state, event): execution/machine
//!                      │                            ├─ network/messages: message, references
//!                      │                            ├─ network/files: files by hash ─▶ aleph-blobs
//!                      │                            ├─ execution/plan: the VM's plan (pure)
//!                      ▼                            └─ aleph_vm::Supervisor: spawn, adopt, stop
//!                 http/guest ──── HTTP ────▶ supervisor ──▶ program
//! ```
//!
//! Invariants:
//! * not knowing never ends a VM: it is stopped by idleness, by its owner, by its scheduler, or because
//!   a core node said that its message is no more; never by a failed request;
//! * nothing runs whose bytes do not hash to what the message named;
//! * one start per program, however many wait for it; every queue, body and cache is bounded;
//! * an orderly stop leaves VMs running too, unless `stop_vms_on_exit` is set.
//!
//! ```no_run
//! # async fn example() -> Result<(), aleph_crn::Error> {
//! let config = aleph_crn::Config::from_file("crn.toml".as_ref())?;
//! aleph_crn::run(config, tokio_util::sync::CancellationToken::new()).await
//! # }
//! ```

mod address;
mod admission;
mod allocation;
mod auth;
mod config;
pub mod defaults;
mod error;
mod execution;
mod executions;
mod failure;
mod host;
mod hostname;
mod http;
mod network;
mod node;
mod serve;
mod time;

pub use config::{Config, ConfigError, HypervisorChoice, ImageSource, Limits, VmConfig};
pub use error::Error;
pub use hostname::{label_of, program_of_host};
pub use serve::{run, run_on};
