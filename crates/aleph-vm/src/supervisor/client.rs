//! The agent's side of a supervisor: start it, find it again, ask it, stop it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::control::{Answer, MAX_ANSWER, Question};
use super::folder::Folder;
use super::log::read_files;
use crate::error::VmError;
use crate::plan::{VmId, VmPlan};
use crate::status::{LogPage, VmStatus};

/// How long a supervisor may take to answer a simple question.
const ANSWER: Duration = Duration::from_secs(10);
/// How long an ending supervisor may hold its lock after its socket is closed, or a starting one
/// before it is open.
const CLOSING: Duration = Duration::from_secs(3);
/// How long a new supervisor may take to open its control socket.
const START: Duration = Duration::from_secs(15);

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
    /// VMs whose supervisor lives but did not answer: leave them alone and ask again later
    pub unanswering: Vec<VmId>,
}

impl Supervisor {
    /// Starts a supervisor for `plan` under `state_dir` and returns when it answers; the VM may
    /// still be booting ([`Self::wait_ready`] waits for it).
    ///
    /// The supervisor is detached: it lives on when this process ends, however it ends. Errors with
    /// [`VmError::AlreadyRunning`] when this VM has a living supervisor.
    pub async fn spawn(
        plan: &VmPlan,
        state_dir: &Path,
        program: &SupervisorCommand,
    ) -> Result<Self, VmError> {
        plan.check()?;
        let state_dir = std::path::absolute(state_dir).map_err(VmError::io("find the state folder"))?;
        let folder = Folder::of(&state_dir, &plan.id);
        folder.create()?;
        {
            let start = Instant::now();
            let _lock = loop {
                if let Some(lock) = folder.lock()? {
                    break lock;
                }
                // a supervisor that has said its last word, or was killed, is about to go
                match find(&folder, &plan.id).await? {
                    Found::Ended => {}
                    Found::Lives(status) if status.phase.is_over() && start.elapsed() < ANSWER => {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    Found::Lives(_) | Found::Silent(_) => {
                        return Err(VmError::AlreadyRunning { id: plan.id.to_string() });
                    }
                }
            };
            folder.end_orphan();
            folder.clean();
            folder.write_plan(plan)?;
        }
        let log =
            File::create(folder.file("supervisor.log")).map_err(VmError::io("make the supervisor's log"))?;
        let mut command = tokio::process::Command::new(&program.program);
        command
            .args(&program.args)
            .arg("--spec")
            .arg(folder.file("spec.json"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().map_err(VmError::io("make the supervisor's log"))?))
            .stderr(Stdio::from(log))
            // not ours to end; it leaves our session and group first of all
            .kill_on_drop(false);
        let mut child = command
            .spawn()
            .map_err(VmError::io(format!("start the supervisor {}", program.program.display())))?;
        let start = Instant::now();
        loop {
            if let Ok(status) = ask::<VmStatus>(&folder, &plan.id, &Question::Status, ANSWER).await {
                // collected when it ends while we live; a child of init afterwards
                tokio::spawn(async move { child.wait().await });
                return Ok(Self::of(plan.id.clone(), folder, &status));
            }
            if let Ok(Some(_)) = child.try_wait() {
                return Err(never_answered(&folder, &plan.id));
            }
            if start.elapsed() > START {
                return Err(VmError::Deadline {
                    what: "the start of a supervisor",
                    seconds: START.as_secs(),
                });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn of(id: VmId, folder: Folder, status: &VmStatus) -> Self {
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, status.http_port));
        Self { id, dir: folder.path().to_owned(), http }
    }

    /// Finds every VM under `state_dir` after a restart of the agent.
    ///
    /// A supervisor holds a lock as long as it lives; only where the lock is free has the VM ended
    /// (and a QEMU that its supervisor left behind is ended too). A supervisor that lives and doesn't
    /// answer is listed apart: not knowing is no reason to end a VM.
    pub async fn adopt_all(state_dir: &Path) -> Result<Adopted, VmError> {
        let mut adopted = Adopted::default();
        let state_dir = std::path::absolute(state_dir).map_err(VmError::io("find the state folder"))?;
        let entries = match std::fs::read_dir(&state_dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(adopted),
            Err(error) => return Err(VmError::io(format!("read {}", state_dir.display()))(error)),
        };
        for entry in entries.flatten() {
            let Ok(id) = VmId::new(entry.file_name().to_string_lossy()) else { continue };
            let folder = Folder::new(entry.path());
            if !folder.file("spec.json").exists() {
                continue;
            }
            match find(&folder, &id).await? {
                Found::Ended => {
                    if folder.end_orphan() {
                        tracing::warn!(vm = %id, "ended a QEMU whose supervisor was killed");
                    }
                    folder.remove_ephemeral();
                    adopted.ended.push(EndedVm {
                        plan: folder.plan(),
                        last: folder.status(),
                        dir: entry.path(),
                        id,
                    });
                }
                Found::Lives(status) => match folder.plan() {
                    Some(plan) => adopted.running.push((Self::of(id, folder, &status), plan)),
                    None => {
                        tracing::warn!(vm = %id, "the plan of a living VM can't be read");
                        adopted.unanswering.push(id);
                    }
                },
                Found::Silent(error) => {
                    tracing::warn!(vm = %id, %error, "supervisor lives but doesn't answer");
                    adopted.unanswering.push(id);
                }
            }
        }
        Ok(adopted)
    }

    /// Removes the folder of a VM that has ended (its logs with it).
    pub fn forget(ended: &EndedVm) -> Result<(), VmError> {
        match Folder::new(ended.dir.clone()).lock() {
            Ok(Some(_)) => {}
            Ok(None) => return Err(VmError::AlreadyRunning { id: ended.id.to_string() }),
            Err(_) if !ended.dir.exists() => return Ok(()),
            Err(error) => return Err(error),
        }
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

    /// Where the application answers HTTP. Requests wait there while the VM boots; when the VM or
    /// the application fails they get an error with the header [`crate::ERROR_HEADER`]: 502
    /// (`bad_gateway`, `guest_failed`), 503 (`busy`, `not_running`, `unavailable`) or 504 (`timeout`).
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    fn folder(&self) -> Folder {
        Folder::new(self.dir.clone())
    }

    /// What the supervisor says now. When it has ended: its last word, if it left one.
    pub async fn status(&self) -> Result<VmStatus, VmError> {
        match ask(&self.folder(), &self.id, &Question::Status, ANSWER).await {
            Err(VmError::NotRunning { .. }) => self.last_word(),
            other => other,
        }
    }

    /// The status of a VM whose control socket is closed.
    fn last_word(&self) -> Result<VmStatus, VmError> {
        match self.folder().status() {
            Some(status) if status.phase.is_over() => Ok(status),
            _ => Err(VmError::NotRunning {
                id: self.id.to_string(),
                reason: Some("its supervisor was killed".into()),
            }),
        }
    }

    /// Waits until requests are served. The limits of the plan bound it; a VM that fails gives
    /// its failure.
    pub async fn wait_ready(&self) -> Result<VmStatus, VmError> {
        let status =
            match ask::<VmStatus>(&self.folder(), &self.id, &Question::WaitReady, Duration::MAX).await {
                Err(VmError::NotRunning { .. }) => self.last_word()?,
                other => other?,
            };
        match status.failure {
            Some(failure) => Err(failure.into()),
            None if status.phase.is_over() => {
                Err(VmError::NotRunning { id: self.id.to_string(), reason: None })
            }
            None => Ok(status),
        }
    }

    /// Waits until the VM has ended and gives its last word.
    pub async fn wait_ended(&self) -> Result<VmStatus, VmError> {
        let asked = ask::<VmStatus>(&self.folder(), &self.id, &Question::WaitEnded, Duration::MAX).await;
        match asked {
            Ok(_) | Err(VmError::NotRunning { .. }) => self.wait_lock().await?,
            Err(error) => return Err(error),
        }
        self.last_word()
    }

    /// Waits until the supervisor's process has let go of its lock.
    async fn wait_lock(&self) -> Result<(), VmError> {
        let start = Instant::now();
        while self.dir.exists() && self.folder().lock()?.is_none() {
            if start.elapsed() > ANSWER {
                return Err(VmError::Deadline { what: "the end of a supervisor", seconds: ANSWER.as_secs() });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Stops the VM and returns when its supervisor has ended. Its folder stays until
    /// [`Self::forget`].
    pub async fn stop(&self, mode: StopMode) -> Result<VmStatus, VmError> {
        let grace = match mode {
            StopMode::Graceful { timeout } => Some(timeout),
            StopMode::Kill => None,
        };
        let question =
            Question::Stop { grace_ms: grace.map(|g| u64::try_from(g.as_millis()).unwrap_or(u64::MAX)) };
        match ask::<VmStatus>(&self.folder(), &self.id, &question, ANSWER).await {
            Ok(_) => {}
            Err(VmError::NotRunning { .. }) => return self.last_word(),
            Err(error) => return Err(error),
        }
        // the supervisor bounds the rest; a little more for its own end
        let patience = grace.unwrap_or_default() + Duration::from_secs(30);
        match tokio::time::timeout(patience, self.wait_ended()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(VmError::Deadline { what: "stopping a VM", seconds: patience.as_secs() }),
        }
    }

    /// Lines of the log from position `from` on, at most `limit` (and at most 1000). With `wait`
    /// the call returns when there is at least one line, or after that time with none. The log of a
    /// VM that has ended can still be read.
    pub async fn logs(&self, from: u64, limit: usize, wait: Option<Duration>) -> Result<LogPage, VmError> {
        let wait_ms = wait.map(|w| u64::try_from(w.as_millis()).unwrap_or(u64::MAX));
        let patience = wait.unwrap_or_default().saturating_add(ANSWER);
        match ask(&self.folder(), &self.id, &Question::Logs { from, limit, wait_ms }, patience).await {
            Err(VmError::NotRunning { .. }) => Ok(read_files(&self.dir, from, limit)),
            other => other,
        }
    }
}

impl EndedVm {
    /// The log that the VM left, as [`Supervisor::logs`].
    pub fn logs(&self, from: u64, limit: usize) -> LogPage {
        read_files(&self.dir, from, limit)
    }
}

/// What is behind a VM's folder.
enum Found {
    Ended,
    Lives(Box<VmStatus>),
    Silent(VmError),
}

/// Looks for the supervisor of a folder. One that is just ending has closed its socket and holds its
/// lock for a moment yet; so a refused question is asked again.
async fn find(folder: &Folder, id: &VmId) -> Result<Found, VmError> {
    let start = Instant::now();
    loop {
        if folder.lock()?.is_some() {
            return Ok(Found::Ended);
        }
        match ask(folder, id, &Question::Status, ANSWER).await {
            Ok(status) => return Ok(Found::Lives(Box::new(status))),
            Err(error) if start.elapsed() > CLOSING => return Ok(Found::Silent(error)),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Explains a supervisor that ended before it answered.
fn never_answered(folder: &Folder, id: &VmId) -> VmError {
    if let Some(failure) = folder.status().and_then(|status| status.failure) {
        return failure.into();
    }
    let text = std::fs::read_to_string(folder.file("supervisor.log")).unwrap_or_default();
    let mut last: Vec<_> = text.lines().rev().take(5).collect();
    last.reverse();
    VmError::NotRunning {
        id: id.to_string(),
        reason: Some(format!("its supervisor ended at once: {}", last.join(" / "))),
    }
}

/// Asks a supervisor; [`VmError::NotRunning`] when nobody listens or it ended half-way.
async fn ask<T: DeserializeOwned>(
    folder: &Folder,
    id: &VmId,
    question: &Question,
    patience: Duration,
) -> Result<T, VmError> {
    let gone = |error: std::io::Error| {
        tracing::trace!(%error, vm = %id, "control socket");
        VmError::NotRunning { id: id.to_string(), reason: None }
    };
    let work = async {
        // through the folder's descriptor: its whole path may be too long for a socket's name
        let dir = File::open(folder.path()).map_err(gone)?;
        let path = format!("/proc/self/fd/{}/control.sock", dir.as_raw_fd());
        let stream = UnixStream::connect(path).await.map_err(gone)?;
        drop(dir);
        let (reader, mut writer) = stream.into_split();
        let mut text = serde_json::to_vec(question).map_err(|e| gone(e.into()))?;
        text.push(b'\n');
        writer.write_all(&text).await.map_err(gone)?;
        let mut line = Vec::new();
        BufReader::new(reader).take(MAX_ANSWER).read_until(b'\n', &mut line).await.map_err(gone)?;
        if line.last() != Some(&b'\n') {
            return Err(gone(std::io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(&line) {
            Ok(Answer::Ok(answer)) => Ok(answer),
            Ok(Answer::Error(failure)) => Err(failure.into()),
            Err(error) => Err(VmError::io("read the supervisor's answer")(error.into())),
        }
    };
    if patience == Duration::MAX {
        return work.await;
    }
    match tokio::time::timeout(patience, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(VmError::Deadline { what: "an answer of a supervisor", seconds: patience.as_secs() }),
    }
}
