//! Files in and out of a real folder.

mod conformance;
mod full_disk;
mod reading;
mod s3;
mod withdrawing;
mod writing;

use std::path::Path;

use aleph_blobs::BlobStore;
use tempfile::TempDir;

/// A store of its own.
fn store() -> (TempDir, BlobStore) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = BlobStore::open(folder.path().join("files")).expect("open");
    (folder, store)
}

/// Files below `path`, whatever they are.
fn files_below(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("list") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Bytes that compress badly and differ everywhere.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
