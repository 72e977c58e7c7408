//! Templates: machines saved when their application was ready and idle, cloned with private memory.
//!
//! A template is two files, `ram` and `state`, in a folder named by everything that shaped them.
//! Clones map `ram` privately: pages are shared until written. A template holds what the program's
//! own environment holds, so it is private to this user and used for identical plans only. It lives
//! as long as the host is up: nothing of it is forced to disk.
//!
//! Random numbers are the danger of clones. The kernel's are reseeded in each clone, and our ASGI
//! server reseeds Python's and OpenSSL's. Any other program may hold a generator that nobody can
//! reach, so executables are cloned only when they say that they can be ([`RESUMABLE`]).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::error::VmError;
use crate::plan::{TemplateStore, VmKind, VmPlan, VolumeSource};

/// The variable by which an executable says that it may be cloned while it listens: it draws its
/// random numbers from the kernel and holds no secret that must differ between machines.
pub(crate) const RESUMABLE: &str = "ALEPH_RESUMABLE";

/// Why a plan can't use templates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoTemplate {
    #[error("the plan has no template store")]
    NoStore,
    #[error("volume {mount:?} is written to, so each machine needs its own state")]
    WritableVolume { mount: String },
    #[error("executables are cloned only with {RESUMABLE}=1 in their environment")]
    NotResumable,
}

/// Sees whether a plan can use templates, and where they are.
pub(crate) fn store(plan: &VmPlan) -> Result<&TemplateStore, NoTemplate> {
    let store = plan.templates.as_ref().ok_or(NoTemplate::NoStore)?;
    let resumable = plan.environment.get(RESUMABLE).is_some_and(|value| value == "1");
    if matches!(plan.kind, VmKind::Executable { .. }) && !resumable {
        return Err(NoTemplate::NotResumable);
    }
    for volume in &plan.volumes {
        if !matches!(volume.source, VolumeSource::Immutable { .. }) {
            return Err(NoTemplate::WritableVolume { mount: volume.mount.clone() });
        }
    }
    Ok(store)
}

/// What tells one version of a file from another without reading it.
pub(crate) type Identity = (PathBuf, u64, i64, i64, u64);

/// The identity of a file. Files are replaced, never changed, by whoever fetches them by hash.
pub(crate) fn identity(path: &Path) -> io::Result<Identity> {
    let about = fs::metadata(path)?;
    Ok((fs::canonicalize(path)?, about.len(), about.mtime(), about.mtime_nsec(), about.ino()))
}

/// The name of the template that fits a plan: a hash of all that shapes the saved machine. `host`
/// holds what must not change under it: start of the host, QEMU, acceleration.
pub(crate) fn key(plan: &VmPlan, host: &[String], files: &[Identity]) -> String {
    let shape = json!({
        "format": 2,
        "host": host,
        "files": files,
        "encoding": plan.code.encoding,
        "kind": plan.kind,
        "mounts": plan.volumes.iter().map(|v| &v.mount).collect::<Vec<_>>(),
        "data": plan.data.is_some(),
        "vcpus": plan.vcpus,
        "memory_mib": plan.memory_mib,
        "environment": plan.environment,
        "api": plan.network.api.is_some(),
        "internet": plan.network.internet,
    });
    hex::encode(Sha256::digest(shape.to_string()))
}

/// A place in the store for one key.
#[derive(Debug)]
pub(crate) struct Slot {
    store: TemplateStore,
    key: String,
}

/// What a start finds in the store.
#[derive(Debug)]
pub(crate) enum Found {
    /// a template
    Ready,
    /// none, and it is ours to make
    Make(Making),
    /// none, and somebody else makes it
    Busy,
}

/// A template in the making; dropped before [`Self::keep`] it is removed.
#[derive(Debug)]
pub(crate) struct Making {
    _lock: File,
    partial: PathBuf,
    target: PathBuf,
}

impl Slot {
    pub(crate) fn new(store: &TemplateStore, key: String) -> Self {
        Self { store: store.clone(), key }
    }

    fn dir(&self) -> PathBuf {
        self.store.dir.join(&self.key)
    }

    /// The memory of the saved machine.
    pub(crate) fn ram(&self) -> PathBuf {
        self.dir().join("ram")
    }

    /// The devices of the saved machine.
    pub(crate) fn state(&self) -> io::Result<File> {
        File::open(self.dir().join("state"))
    }

    /// Looks for the template and marks it as used.
    pub(crate) fn find(&self) -> Result<Found, VmError> {
        let failed = || VmError::io(format!("use the template store {}", self.store.dir.display()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.store.dir).map_err(failed())?;
        if self.is_ready() {
            return Ok(Found::Ready);
        }
        let lock = File::create(self.store.dir.join(format!("{}.lock", self.key))).map_err(failed())?;
        match lock.try_lock() {
            Ok(()) if self.is_ready() => return Ok(Found::Ready),
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(Found::Busy),
            Err(fs::TryLockError::Error(error)) => return Err(failed()(error)),
        }
        let partial = self.store.dir.join(format!("{}.part", self.key));
        let _ = fs::remove_dir_all(&partial);
        fs::DirBuilder::new().mode(0o700).create(&partial).map_err(failed())?;
        Ok(Found::Make(Making { _lock: lock, partial, target: self.dir() }))
    }

    fn is_ready(&self) -> bool {
        let Ok(state) = File::open(self.dir().join("state")) else { return false };
        // the time of last use decides who goes first; a store that can't be written to still serves
        let _ = state.set_modified(SystemTime::now());
        self.ram().exists()
    }

    /// Removes a template that doesn't work.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_dir_all(self.dir());
    }

    /// Keeps the store within its size; this template stays. Machines that run on a removed one go
    /// on: they hold its memory open. What a killed supervisor left half-made goes too.
    pub(crate) fn make_room(&self) {
        self.remove_leftovers();
        let Ok(entries) = fs::read_dir(&self.store.dir) else { return };
        let mut templates: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter(|entry| !entry.file_name().to_string_lossy().contains('.'))
            .filter_map(|entry| {
                let path = entry.path();
                let used = fs::metadata(path.join("state")).ok()?.modified().ok()?;
                let bytes = ["ram", "state"]
                    .iter()
                    .map(|f| fs::metadata(path.join(f)).map_or(0, |m| m.blocks() * 512))
                    .sum();
                Some((used, bytes, path))
            })
            .collect();
        templates.sort_by_key(|(used, _, _)| *used);
        let mut total: u64 = templates.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in templates {
            if total <= self.store.max_bytes {
                break;
            }
            if path != self.dir() && fs::remove_dir_all(&path).is_ok() {
                total -= bytes;
                if let Some(name) = path.file_name() {
                    let _ = fs::remove_file(self.store.dir.join(format!("{}.lock", name.to_string_lossy())));
                }
            }
        }
    }
}

impl Slot {
    fn remove_leftovers(&self) {
        let Ok(entries) = fs::read_dir(&self.store.dir) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(key) = name.to_str().and_then(|name| name.strip_suffix(".part")) else { continue };
            // its maker holds the lock as long as it lives
            let lock = File::create(self.store.dir.join(format!("{key}.lock")));
            if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Removes templates of earlier starts of the host. `generation` names this one; the store's folders
/// are named by it.
pub(crate) fn of_generation(store: &TemplateStore, generation: &str) -> TemplateStore {
    let dir = store.dir.join(format!("since-{}", generation.get(..8).unwrap_or(generation)));
    if let Ok(entries) = fs::read_dir(&store.dir) {
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("since-") && entry.path() != dir {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
    TemplateStore { dir, max_bytes: store.max_bytes }
}

impl Making {
    /// Makes the memory's file and reserves its room: a host disk that is full later would end the
    /// machine that is being saved.
    pub(crate) fn reserve(&self, bytes: u64) -> io::Result<()> {
        let file = File::options().read(true).write(true).create_new(true).open(self.ram())?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
        Ok(())
    }

    pub(crate) fn ram(&self) -> PathBuf {
        self.partial.join("ram")
    }

    pub(crate) fn state(&self) -> io::Result<File> {
        File::options().read(true).write(true).create(true).truncate(true).open(self.partial.join("state"))
    }

    /// Makes the template visible.
    pub(crate) fn keep(self) -> io::Result<()> {
        let _ = fs::remove_dir_all(&self.target);
        fs::rename(&self.partial, &self.target)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.partial);
    }
}

#[cfg(test)]
mod tests;
