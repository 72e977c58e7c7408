//! Nodes that talk to each other on loopback.
