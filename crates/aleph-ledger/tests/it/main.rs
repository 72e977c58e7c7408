//! Recorded data of the network and of the reference, properties, and comparisons with Python.

#![allow(clippy::unwrap_used, reason = "tests")]

mod acceptance;
mod book;
mod costs;
mod credit_properties;
mod credits;
mod decimal;
mod foreign;
mod jobs;
mod streams;
mod vectors;
