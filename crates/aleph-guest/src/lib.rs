//! What runs inside a micro-VM, and the channel protocol that it shares with the host.
//!
//! The library is the protocol alone ([`protocol`]): no IO, no features, used by `aleph-vm` on the
//! host. The binary (feature `init`) is the guest's first process, built static by `runtimes/build`:
//!
//! ```text
//! kernel ─▶ /init: modules ─▶ channel says hello ─▶ configure: root, volumes, code ─▶ application
//!            one poll loop: streams ⇄ 127.0.0.1:8080 · output ─▶ log frames · API and proxy doors
//! ```
//!
//! Invariants:
//! * one thread, no allocation that a peer decides without a bound;
//! * a step that fails is told to the host with its name, then the guest waits to be ended;
//! * before a machine is saved the channel is empty, and nothing is said until `resume`;
//! * a clone has its own name, time and entropy before it says anything.

pub mod protocol;
