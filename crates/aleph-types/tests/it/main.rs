//! Recorded data of the network and of the reference, read in place.

#![allow(clippy::print_stdout, reason = "each test says how much it ran")]

mod contents;
mod envelopes;
mod fixtures;
mod limits;
mod vectors;
