//! Where things are: the clone, the cache beside it, the tools in it.

use std::path::{Path, PathBuf};

/// The root of the clone.
pub(crate) fn root() -> PathBuf {
    // Clones may share one build folder, so the binary may have been built in another one.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// What survives between runs and clones: builds, Python environments, images.
pub(crate) fn cache() -> PathBuf {
    if let Some(dir) = non_empty("ALEPHD_CACHE") {
        return PathBuf::from(dir);
    }
    match non_empty("HOME") {
        Some(home) => PathBuf::from(home).join(".cache/alephd"),
        None => std::env::temp_dir().join("alephd-cache"),
    }
}

/// Where cargo builds: outside the clone, so that a fresh clone reuses what an older one built.
pub(crate) fn target() -> PathBuf {
    match non_empty("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => cache().join("target"),
    }
}

/// Looks a command up in `PATH` and, for cargo's own tools, in cargo's folder.
pub(crate) fn find_command(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(cargo_home().map(|home| home.join("bin")))
        .chain(system)
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

fn cargo_home() -> Option<PathBuf> {
    non_empty("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| non_empty("HOME").map(|home| PathBuf::from(home).join(".cargo")))
}

/// Whether a machine runs us, so that nobody can be asked anything.
pub(crate) fn is_ci() -> bool {
    non_empty("CI").is_some_and(|value| value != "false" && value != "0")
}

fn non_empty(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
