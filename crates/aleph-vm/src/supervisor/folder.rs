//! A VM's folder: who writes which file, and who lives.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::VmError;
use crate::plan::{VmId, VmPlan};
use crate::status::VmStatus;

/// The folder of one VM.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn of(state_dir: &Path, id: &VmId) -> Self {
        Self::new(state_dir.join(id.as_str()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn create(&self) -> Result<(), VmError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(VmError::io(format!("make the folder {}", self.path.display())))
    }

    /// The lock that a supervisor holds as long as it lives; `None` when one does.
    pub(crate) fn lock(&self) -> Result<Option<File>, VmError> {
        let path = self.file("lock");
        let failed = || VmError::io(format!("lock {}", path.display()));
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed()(error)),
        }
    }

    /// Replaces a file at once, so that a reader sees the old or the new one.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), VmError> {
        let partial = self.file(&format!("{name}.part"));
        let failed = || VmError::io(format!("write {}", self.file(name).display()));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&partial)
            .map_err(failed())?;
        file.write_all(bytes).map_err(failed())?;
        fs::rename(&partial, self.file(name)).map_err(failed())
    }

    pub(crate) fn write_plan(&self, plan: &VmPlan) -> Result<(), VmError> {
        let bytes = serde_json::to_vec_pretty(plan).map_err(|e| VmError::io("write the plan")(e.into()))?;
        self.write("spec.json", &bytes)
    }

    pub(crate) fn plan(&self) -> Option<VmPlan> {
        serde_json::from_slice(&fs::read(self.file("spec.json")).ok()?).ok()
    }

    pub(crate) fn write_status(&self, status: &VmStatus) -> Result<(), VmError> {
        let bytes =
            serde_json::to_vec_pretty(status).map_err(|e| VmError::io("write the status")(e.into()))?;
        self.write("status.json", &bytes)
    }

    pub(crate) fn status(&self) -> Option<VmStatus> {
        serde_json::from_slice(&fs::read(self.file("status.json")).ok()?).ok()
    }

    /// Removes what an earlier run left; the log goes too.
    pub(crate) fn clean(&self) {
        for name in [
            "status.json",
            "control.sock",
            "qmp.sock",
            "guest.sock",
            "console.sock",
            "http.port",
            "supervisor.pid",
            "qemu.pid",
            "log.jsonl",
            "log.1.jsonl",
            "supervisor.log",
        ] {
            let _ = fs::remove_file(self.file(name));
        }
        self.remove_ephemeral();
    }

    /// Removes the files of ephemeral volumes.
    pub(crate) fn remove_ephemeral(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("vol") && name.ends_with(".ext4") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Ends a QEMU whose supervisor was killed: nobody can reach that machine any more. Only a
    /// process that is still the very one that was written down is ended.
    pub(crate) fn end_orphan(&self) -> bool {
        let Ok(text) = fs::read_to_string(self.file("qemu.pid")) else { return false };
        let Some((pid, start)) = text.trim().split_once(' ') else { return false };
        let Ok(pid) = pid.parse::<u32>() else { return false };
        if process_start(pid).map(|s| s.to_string()).as_deref() != Some(start) {
            return false;
        }
        let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
            return false;
        };
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok()
    }
}

/// When a process started, in the kernel's ticks; with its number it names a process for ever.
pub(crate) fn process_start(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name in parentheses may hold anything
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// Resident memory of a process in KiB.
pub(crate) fn resident_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
