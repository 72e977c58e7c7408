//! Where the recorded data is.

use std::path::PathBuf;

use serde_json::Value;

/// A recorded file: under `ALEPH_VECTORS`, else beside the repository. `None` says so.
pub(crate) fn read(name: &str) -> Option<Value> {
    let root = std::env::var_os("ALEPH_VECTORS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"));
    let path = root.join(name);
    if !path.is_file() {
        println!("skipped: no recorded data at {}; set ALEPH_VECTORS", path.display());
        return None;
    }
    Some(aleph_types::json::parse(&std::fs::read(path).unwrap()).unwrap())
}
