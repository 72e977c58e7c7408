//! Aleph Cloud in one binary.
fn main() {}
