//! Where messages come in from, beside the HTTP API.

pub(crate) mod catch_up;
pub(crate) mod genesis;
pub(crate) mod gossip;
mod refusals;

pub(crate) use refusals::Refusals;
