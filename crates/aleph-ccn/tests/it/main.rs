//! A core node as its clients and neighbours see it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod batches;
mod caching;
mod catching_up;
mod collecting;
mod copies;
mod costs;
mod document;
mod estimates;
mod fetching;
mod hostile;
mod hostile_fields;
mod hostile_graphs;
mod hostile_http;
mod hostile_money;
mod hostile_sync;
mod ipfs;
mod ipfs_archives;
mod ipfs_blocks;
mod ipfs_nodes;
mod limits;
mod lists;
mod measurements;
mod money;
mod money_faults;
mod node;
mod object_store;
mod on_chain;
mod order;
mod publishing;
mod refusals;
mod resumable;
mod sockets;
mod state;
mod storage;
mod streams;
mod subscribers;
mod sync;
mod transport;
