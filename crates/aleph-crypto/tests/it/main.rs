//! Recorded signatures of the network, read in place.

#![allow(clippy::unwrap_used, reason = "tests")]

mod vectors;
