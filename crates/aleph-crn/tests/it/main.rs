//! The compute node from outside: a core node that does as it is told, and real VMs where the host has
//! QEMU and `runtimes/build` has run.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod allocation;
mod core_node;
mod files;
mod node;
mod owner;
mod routes;
mod vm;
