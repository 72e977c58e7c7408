//! Recorded signatures of the network, read in place, and signatures made here.

#![allow(clippy::unwrap_used, reason = "tests")]

mod signing;
mod vectors;
