//! Where messages come in from, beside the HTTP API.

pub(crate) mod catch_up;
pub(crate) mod exchange;
pub(crate) mod genesis;
pub(crate) mod gossip;
pub(crate) mod known;
mod refusals;
mod snapshot;
pub(crate) mod tombstones;

pub(crate) use refusals::Refusals;
