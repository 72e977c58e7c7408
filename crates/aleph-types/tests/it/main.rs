//! Recorded data of the network and of the reference, read in place.

#![allow(clippy::unwrap_used, reason = "tests")]

mod contents;
mod credits;
mod envelopes;
mod fixtures;
mod hostile;
mod limits;
mod on_chain;
mod vectors;
