//! Nodes that talk to each other on loopback.

mod ask;
mod blocks;
mod exchange;
mod foreign;
mod hostile;
mod node;
mod restart;
