//! The guest's first process.

fn main() {}
