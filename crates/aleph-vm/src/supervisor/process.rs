//! The supervisor process.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::folder::{Folder, process_start};
use super::shared::{Shared, StopRequest};
use super::{control, machine, proxy};
use crate::error::VmError;
use crate::plan::VmPlan;

/// What a guest gets to end when the supervisor is told to by a signal.
const SIGNAL_GRACE: Duration = Duration::from_secs(10);
/// How long answers that are being written get when the VM has ended.
const DRAIN: Duration = Duration::from_millis(1500);

/// Becomes the supervisor of the plan in `spec` and returns when the VM has ended.
///
/// Blocking; it makes its own runtime and sets up logging to standard error. The caller's `main`
/// does nothing before it but parse its arguments and exits with 0 on `Ok`. Sessions, signals:
/// it leaves its parent's session; SIGTERM stops the VM gracefully, SIGHUP and SIGINT are ignored.
pub fn run(spec: &Path) -> Result<(), VmError> {
    // already the leader of a session when started by hand in one of its own
    let _ = rustix::process::setsid();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        // it would panic over a log that can't be written, and a full disk would end the VM
        .log_internal_errors(false)
        .try_init();

    let text = std::fs::read(spec).map_err(VmError::io(format!("read the plan {}", spec.display())))?;
    let plan: VmPlan = serde_json::from_slice(&text)
        .map_err(|e| VmError::io(format!("read the plan {}", spec.display()))(e.into()))?;
    plan.check()?;
    let dir = std::path::absolute(spec)
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned))
        .ok_or_else(|| VmError::io("find the VM's folder")(std::io::ErrorKind::NotFound.into()))?;
    // sockets have relative names: the folder's path may be longer than a socket's name can be
    std::env::set_current_dir(&dir).map_err(VmError::io(format!("enter {}", dir.display())))?;
    let folder = Folder::new(dir);
    let Some(lock) = folder.lock()? else {
        return Err(VmError::AlreadyRunning { id: plan.id.to_string() });
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(VmError::io("start the supervisor's runtime"))?;
    let outcome = runtime.block_on(supervise(plan, folder));
    drop(runtime);
    drop(lock);
    outcome
}

async fn supervise(plan: VmPlan, folder: Folder) -> Result<(), VmError> {
    // first of all, so that no signal falls between
    let mut terminate = signal(SignalKind::terminate()).map_err(VmError::io("watch signals"))?;
    let mut ignored = [SignalKind::hangup(), SignalKind::interrupt()]
        .map(|kind| signal(kind).map_err(VmError::io("watch signals")));
    let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(VmError::io("listen for HTTP on loopback"))?;
    let port = http.local_addr().map_err(VmError::io("listen for HTTP on loopback"))?.port();
    let (stop, stops) = mpsc::channel::<StopRequest>(8);
    let pid = std::process::id();
    let shared = Shared::new(plan, folder, port, stop.clone());
    let folder = &shared.folder;
    folder.write("http.port", format!("{port}\n").as_bytes())?;
    folder
        .write("supervisor.pid", format!("{pid} {}\n", process_start(pid).unwrap_or_default()).as_bytes())?;
    shared.update(|_| {});
    let _ = std::fs::remove_file("control.sock");
    let listener = UnixListener::bind("control.sock").map_err(VmError::io("listen on control.sock"))?;
    tokio::spawn(control::serve(listener, shared.clone()));
    tokio::spawn(proxy::serve(http, shared.clone()));
    tokio::spawn(async move {
        while terminate.recv().await.is_some() {
            let _ = stop.send(StopRequest { grace: Some(SIGNAL_GRACE) }).await;
        }
    });
    let outcome = machine::run(&shared, stops).await;
    shared.end(&outcome);
    for signal in &mut ignored {
        let _ = signal;
    }
    match &outcome {
        Ok(()) => tracing::info!(vm = %shared.plan.id, "stopped"),
        Err(error) => tracing::error!(vm = %shared.plan.id, %error, kind = error.kind().as_str(), "failed"),
    }
    // whoever waits for an answer gets it
    let drained = async {
        while shared.counters.active.load(std::sync::atomic::Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // answered is not yet written
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let _ = tokio::time::timeout(DRAIN, drained).await;
    shared.folder.remove_ephemeral();
    for name in ["control.sock", "qemu.pid"] {
        let _ = std::fs::remove_file(name);
    }
    outcome
}
