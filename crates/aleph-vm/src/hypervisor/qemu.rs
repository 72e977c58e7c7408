//! QEMU as a child process: sockets made, privileges dropped, limits set, then controlled by QMP.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Child;

use super::qmp::Qmp;
use crate::error::VmError;
use crate::layout::{Launch, qemu_arguments};
use crate::plan::HypervisorSettings;
use crate::supervisor::folder::{Folder, process_start};

/// How long QEMU may take from its start to its control socket.
const START: Duration = Duration::from_secs(20);
/// Memory that QEMU may map besides the guest's own: translated code, buffers, libraries.
const OVERHEAD_MIB: u64 = 3 * 1024;
/// Most bytes of QEMU's own complaints that are kept.
const MAX_STDERR: u64 = 8 * 1024;

/// A running QEMU.
#[derive(Debug)]
pub(crate) struct Qemu {
    child: Child,
    pid: u32,
    pub(crate) qmp: Qmp,
    /// the guest channel
    pub(crate) guest: Option<UnixStream>,
    /// what the guest's kernel writes
    pub(crate) console: Option<UnixStream>,
    stderr: tokio::task::JoinHandle<String>,
}

/// Explains a QEMU that can't be started.
pub(crate) fn not_started(settings: &HypervisorSettings, error: io::Error) -> VmError {
    match error.kind() {
        io::ErrorKind::NotFound => VmError::NoQemu { program: settings.qemu.clone() },
        _ => VmError::io(format!("start {}", settings.qemu.display()))(error),
    }
}

fn listen(path: &Path) -> Result<UnixListener, VmError> {
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).map_err(VmError::io(format!("listen on {}", path.display())))
}

impl Qemu {
    /// Starts QEMU in `folder`, which must be the working directory.
    pub(crate) async fn start(launch: &Launch<'_>, folder: &Folder) -> Result<Self, VmError> {
        let settings = &launch.plan.hypervisor;
        let sockets =
            [listen("qmp.sock".as_ref())?, listen("guest.sock".as_ref())?, listen("console.sock".as_ref())?];
        let mut command = std::process::Command::new(&settings.qemu);
        command
            .args(qemu_arguments(launch))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = spawn_isolated(command).map_err(|error| not_started(settings, error))?;
        let pid = child.id().unwrap_or_default();
        let mut pipe = child.stderr.take();
        let stderr = tokio::spawn(async move {
            let mut text = Vec::new();
            if let Some(pipe) = &mut pipe {
                let _ = pipe.take(MAX_STDERR).read_to_end(&mut text).await;
                // keep reading, so that QEMU never gets a broken pipe
                let _ = tokio::io::copy(pipe, &mut tokio::io::sink()).await;
            }
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let start = process_start(pid).unwrap_or_default();
        folder.write("qemu.pid", format!("{pid} {start}\n").as_bytes())?;
        limit(pid, launch.plan.memory_mib);
        let connect = async {
            let [qmp, guest, console] = &sockets;
            let (qmp, guest, console) = tokio::try_join!(qmp.accept(), guest.accept(), console.accept())
                .map_err(VmError::io("accept QEMU's connections"))?;
            Ok::<_, VmError>((Qmp::open(qmp.0).await?, guest.0, console.0))
        };
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(START, connect) => outcome,
            status = child.wait() => {
                let status = status.map(describe).unwrap_or_default();
                return Err(VmError::HypervisorEnded { status, console: stderr.await.unwrap_or_default() });
            }
        };
        for name in ["qmp.sock", "guest.sock", "console.sock"] {
            let _ = std::fs::remove_file(name);
        }
        match outcome {
            Ok(Ok((qmp, guest, console))) => {
                Ok(Self { child, pid, qmp, guest: Some(guest), console: Some(console), stderr })
            }
            Ok(Err(error)) => {
                // it may have ended in the middle of the greeting
                let _ = child.start_kill();
                let _ = child.wait().await;
                match stderr.await {
                    Ok(console) if !console.is_empty() => {
                        Err(VmError::HypervisorEnded { status: "while starting".to_owned(), console })
                    }
                    _ => Err(error),
                }
            }
            Err(_) => {
                let _ = child.kill().await;
                Err(VmError::Deadline { what: "the start of QEMU", seconds: START.as_secs() })
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for QEMU's end and gives how it ended. Safe to drop half-way.
    pub(crate) async fn ended(&mut self) -> String {
        self.child.wait().await.map(describe).unwrap_or_else(|error| error.to_string())
    }

    /// QEMU's own complaints, once it has ended.
    pub(crate) async fn complaints(&mut self) -> String {
        tokio::time::timeout(Duration::from_secs(1), &mut self.stderr)
            .await
            .ok()
            .and_then(Result::ok)
            .unwrap_or_default()
    }

    /// Ends QEMU at once, disks flushed where it can.
    pub(crate) async fn kill(&mut self) {
        if self.child.try_wait().ok().flatten().is_some() {
            return;
        }
        let asked =
            tokio::time::timeout(Duration::from_millis(500), self.qmp.execute("quit", Value::Null)).await;
        let gone = match asked {
            Ok(Ok(_)) => tokio::time::timeout(Duration::from_secs(2), self.child.wait()).await.is_ok(),
            _ => false,
        };
        if !gone {
            let _ = self.child.kill().await;
        }
    }

    /// Saves the machine's devices to `state`; the memory is in its shared file. The machine stands
    /// still afterwards. An open file and not a path: QEMU may write nowhere itself.
    pub(crate) async fn save(&mut self, state: &File) -> Result<(), VmError> {
        self.qmp.execute("stop", Value::Null).await?;
        self.ignore_shared_memory().await?;
        self.qmp.give_file("state", state).await?;
        self.qmp.execute("migrate", json!({"uri": "fd:state"})).await?;
        self.wait_migrated("save the machine").await
    }

    /// Lets a saved machine go on, ignoring that it couldn't be saved.
    pub(crate) async fn go_on(&mut self) -> Result<(), VmError> {
        self.qmp.execute("cont", Value::Null).await.map(drop)
    }

    /// Loads the devices from `state` and lets the machine run.
    pub(crate) async fn load(&mut self, state: &File) -> Result<(), VmError> {
        self.ignore_shared_memory().await?;
        self.qmp.give_file("state", state).await?;
        self.qmp.execute("migrate-incoming", json!({"uri": "fd:state"})).await?;
        self.wait_migrated("load the machine").await?;
        self.go_on().await
    }

    async fn ignore_shared_memory(&mut self) -> Result<(), VmError> {
        let capabilities = json!({"capabilities": [{"capability": "x-ignore-shared", "state": true}]});
        self.qmp.execute("migrate-set-capabilities", capabilities).await.map(drop)
    }

    async fn wait_migrated(&mut self, what: &str) -> Result<(), VmError> {
        for _ in 0..2000 {
            let state = self.qmp.execute("query-migrate", Value::Null).await?;
            match state.get("status").and_then(Value::as_str) {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => {
                    let reason =
                        state.get("error-desc").and_then(Value::as_str).unwrap_or("it failed").to_owned();
                    return Err(VmError::Qmp { command: what.to_owned(), reason });
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        Err(VmError::Deadline { what: "saving or loading a machine", seconds: 10 })
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown status".to_owned(),
    }
}

/// Starts the command in a network of its own, where the host allows it, without new privileges.
///
/// QEMU gets no network card, so it needs no network: an empty one is a second wall. Both settings
/// belong to a thread and are inherited by its children; so a thread is made for the purpose.
fn spawn_isolated(command: std::process::Command) -> io::Result<Child> {
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        scope
            .spawn(move || {
                let _entered = runtime.enter();
                rustix::thread::set_no_new_privs(true)?;
                if rustix::process::geteuid().is_root()
                    && let Err(error) = leave_network()
                {
                    tracing::debug!(%error, "QEMU stays in the host's network namespace (it has no network card)");
                }
                tokio::process::Command::from(command).kill_on_drop(true).spawn()
            })
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the starting thread panicked")))
    })
}

#[expect(unsafe_code, reason = "rustix marks unshare unsafe because of CLONE_FILES, which is not used")]
fn leave_network() -> rustix::io::Result<()> {
    // SAFETY: only the network namespace is left, and no file descriptor table is touched
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }
}

/// Bounds what QEMU may take. A limit that can't be set is logged, not fatal.
fn limit(pid: u32, memory_mib: u32) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let bytes = (u64::from(memory_mib) + OVERHEAD_MIB) << 20;
    for (resource, most) in [(Resource::As, bytes), (Resource::Nofile, 256), (Resource::Core, 0)] {
        if let Err(error) = prlimit(Some(pid), resource, Rlimit { current: Some(most), maximum: Some(most) })
        {
            tracing::warn!(%error, ?resource, "limit of QEMU not set");
        }
    }
}

/// Whether QEMU changes to an unprivileged user.
pub(crate) fn run_as(settings: &HypervisorSettings) -> Option<(u32, u32)> {
    settings.run_as.filter(|_| rustix::process::geteuid().is_root())
}
