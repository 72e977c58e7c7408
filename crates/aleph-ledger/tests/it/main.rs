//! Recorded data of the network and of the reference, properties, and comparisons with Python.

#![allow(clippy::unwrap_used, reason = "tests")]

mod acceptance;
mod costs;
mod decimal;
mod vectors;
