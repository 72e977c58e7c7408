//! What runs inside a micro-VM, and the channel protocol that it shares with the host.
//!
//! The library is the protocol alone ([`protocol`]); the binary (feature `init`) is the guest's
//! first process.

pub mod protocol;
