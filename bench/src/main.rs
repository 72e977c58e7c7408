//! Load scenarios behind the figures of `SPECIFICATION.md`.
fn main() {}
