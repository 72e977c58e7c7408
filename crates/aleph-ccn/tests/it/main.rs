//! Tests of a whole core node, in this process.
#![allow(clippy::unwrap_used, missing_docs)]

mod order;
