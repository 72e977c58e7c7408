//! Nodes that talk to each other on loopback.

mod exchange;
mod hostile;
mod node;
mod restart;
