//! The images that `runtimes/build` makes, as its manifest names them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::VmError;

/// One file of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFile {
    /// absolute path
    pub path: PathBuf,
    /// SHA-256 of the bytes, in hexadecimal: its item hash once published
    pub sha256: String,
    /// size in bytes
    pub size: u64,
}

/// `manifest.json` of `runtimes/build`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeManifest {
    /// Linux kernel
    pub kernel: ImageFile,
    /// initramfs with the guest's first process
    pub initramfs: ImageFile,
    /// runtime images by name: `python3`, `executable`
    pub runtimes: BTreeMap<String, ImageFile>,
}

impl RuntimeManifest {
    /// Name of the environment variable that names the manifest.
    pub const VARIABLE: &'static str = "ALEPHD_RUNTIMES";

    /// Reads a manifest and sees that each file is there with its size (hashes aren't computed).
    pub fn load(path: &Path) -> Result<Self, VmError> {
        let missing = |reason: String| VmError::Image {
            what: "runtime manifest",
            path: path.to_owned(),
            reason: format!("{reason}; make it with runtimes/build"),
        };
        let text = std::fs::read(path).map_err(|e| missing(e.to_string()))?;
        let manifest: Self = serde_json::from_slice(&text).map_err(|e| missing(e.to_string()))?;
        for file in manifest.runtimes.values().chain([&manifest.kernel, &manifest.initramfs]) {
            let size = std::fs::metadata(&file.path)
                .map_err(|e| missing(format!("{}: {e}", file.path.display())))?
                .len();
            if size != file.size {
                return Err(missing(format!("{} has {size} bytes, not {}", file.path.display(), file.size)));
            }
        }
        Ok(manifest)
    }

    /// Where the manifest is: `ALEPHD_RUNTIMES`, else `manifest.json` in the folder of
    /// [`Self::cache_dir`].
    pub fn default_path() -> PathBuf {
        std::env::var_os(Self::VARIABLE)
            .map_or_else(|| Self::cache_dir().join("manifest.json"), PathBuf::from)
    }

    /// `${ALEPHD_CACHE:-$HOME/.cache/alephd}/runtimes`
    pub fn cache_dir() -> PathBuf {
        std::env::var_os("ALEPHD_CACHE")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/alephd")))
            .unwrap_or_else(|| PathBuf::from("/var/cache/alephd"))
            .join("runtimes")
    }
}
