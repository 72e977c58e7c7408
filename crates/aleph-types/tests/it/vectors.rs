//! Where the recorded data is.

use std::path::PathBuf;

use serde_json::Value;

/// The folder of recorded data: `ALEPH_VECTORS`, else beside the repository. `None` says so.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("ALEPH_VECTORS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"));
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no recorded data at {}; set ALEPH_VECTORS", folder.display());
    None
}

/// One recorded file.
pub(crate) fn read(path: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
