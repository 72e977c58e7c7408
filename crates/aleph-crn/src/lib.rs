//! The compute node.
