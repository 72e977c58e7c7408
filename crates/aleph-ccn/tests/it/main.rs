//! A core node as its clients and neighbours see it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod hostile;
mod hostile_fields;
mod hostile_graphs;
mod lists;
mod node;
mod order;
mod publishing;
mod sockets;
mod state;
mod storage;
mod transport;
