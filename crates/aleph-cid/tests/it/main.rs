//! The crate against data of another implementation, and against properties.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod vectors;
