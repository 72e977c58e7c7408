//! The crate against data of another implementation, and against properties.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod archives;
mod kubo;
mod properties;
mod vectors;

/// Every file of this folder is part of this binary.
#[test]
fn no_test_file_is_forgotten() {
    let this = include_str!("main.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || this.contains(&format!("mod {module};")), "{name} is not listed");
    }
}
