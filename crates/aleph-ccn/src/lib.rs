//! The core channel node.
