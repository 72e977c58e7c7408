//! The agent's side of a supervisor: start it, find it again, ask it, stop it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::VmError;
use crate::plan::{VmId, VmPlan};
use crate::status::{LogPage, VmStatus};

/// The program that becomes a supervisor: called as `program args… --spec FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisorCommand {
    /// for example the path of `alephd`
    pub program: PathBuf,
    /// for example `["supervise-vm"]`
    pub args: Vec<String>,
}

impl SupervisorCommand {
    /// This very executable with the arguments `args`.
    pub fn current_exe(args: &[&str]) -> Result<Self, VmError> {
        let program = std::env::current_exe().map_err(VmError::io("find this executable"))?;
        Ok(Self { program, args: args.iter().map(|&a| a.to_owned()).collect() })
    }
}

/// How to stop a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// ask the application and the guest first; by force when the time is over
    Graceful {
        /// how long to wait
        timeout: Duration,
    },
    /// at once
    Kill,
}

/// A living VM, seen from the agent. Cheap to clone; dropping it does nothing to the VM.
#[derive(Debug, Clone)]
pub struct Supervisor {
    id: VmId,
    dir: PathBuf,
    http: SocketAddr,
}

/// A VM whose supervisor is gone.
#[derive(Debug, Clone)]
pub struct EndedVm {
    /// the VM
    pub id: VmId,
    /// its folder, kept until [`Supervisor::forget`]
    pub dir: PathBuf,
    /// the plan that it ran, when it can still be read
    pub plan: Option<VmPlan>,
    /// the supervisor's last word; absent when it was killed before it wrote one
    pub last: Option<VmStatus>,
}

/// What [`Supervisor::adopt_all`] found.
#[derive(Debug, Default)]
pub struct Adopted {
    /// VMs that live, with the plan that they run
    pub running: Vec<(Supervisor, VmPlan)>,
    /// VMs that ended meanwhile
    pub ended: Vec<EndedVm>,
}

impl Supervisor {
    /// Starts a supervisor for `plan` under `state_dir` and returns when it answers; the VM may
    /// still be booting ([`Self::wait_ready`] waits for it).
    ///
    /// The supervisor is detached: it lives on when this process ends, however it ends.
    pub async fn spawn(plan: &VmPlan, state_dir: &Path, program: &SupervisorCommand) -> Result<Self, VmError> {
        plan.check()?;
        let _ = (state_dir, program);
        Err(VmError::NotRunning { id: plan.id.to_string(), reason: None })
    }

    /// Finds every VM under `state_dir` after a restart of the agent. Reads only; a supervisor
    /// that doesn't answer but lives is an error of that VM, never a reason to end it.
    pub async fn adopt_all(state_dir: &Path) -> Result<Adopted, VmError> {
        let _ = state_dir;
        Ok(Adopted::default())
    }

    /// Removes the folder of a VM that has ended (its logs with it).
    pub fn forget(ended: &EndedVm) -> Result<(), VmError> {
        std::fs::remove_dir_all(&ended.dir).map_err(VmError::io("remove the folder of an ended VM"))
    }

    /// The VM.
    pub fn id(&self) -> &VmId {
        &self.id
    }

    /// The VM's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the application answers HTTP. Requests wait there while the VM boots; when the VM
    /// fails they get 502, 503 or 504 with the header `x-aleph-vm-error: <kind>`.
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// What the supervisor says now.
    pub async fn status(&self) -> Result<VmStatus, VmError> {
        Err(VmError::NotRunning { id: self.id.to_string(), reason: None })
    }

    /// Waits until requests are served. The limits of the plan bound it; a VM that fails gives
    /// its failure.
    pub async fn wait_ready(&self) -> Result<VmStatus, VmError> {
        self.status().await
    }

    /// Waits until the VM has ended and gives its last word.
    pub async fn wait_ended(&self) -> Result<VmStatus, VmError> {
        self.status().await
    }

    /// Stops the VM and returns when its supervisor has ended.
    pub async fn stop(&self, mode: StopMode) -> Result<VmStatus, VmError> {
        let _ = mode;
        self.status().await
    }

    /// Lines of the log from position `from` on, at most `limit` (and at most 1000). With `wait`
    /// the call returns when there is at least one line, or after that time with none.
    pub async fn logs(&self, from: u64, limit: usize, wait: Option<Duration>) -> Result<LogPage, VmError> {
        let _ = (from, limit, wait);
        Err(VmError::NotRunning { id: self.id.to_string(), reason: None })
    }
}
