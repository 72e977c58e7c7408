//! Supervisors: start one, wait for its guest, notice its end, end it.

use std::sync::Arc;
use std::time::Duration;

use aleph_types::ItemHash;
use aleph_vm::{ErrorKind, StopMode, Supervisor, VmError, VmPlan, VmStatus};
use tokio::sync::mpsc;

use crate::admission::Share;
use crate::defaults::STOP_TIMEOUT;
use crate::execution::handle::Command;
use crate::failure::Failure;
use crate::node::Node;

/// Pause before a supervisor that does not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A VM whose guest is ready.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) status: VmStatus,
}

/// What to start.
pub(super) struct Order {
    pub(super) plan: VmPlan,
    /// Whether idle programs may be stopped to make room.
    pub(super) may_evict: bool,
    pub(super) attempt: u64,
}

/// Starts a VM in the background and reports to `commands`.
pub(super) fn spawn(
    node: &Arc<Node>,
    hash: &ItemHash,
    order: Order,
    commands: mpsc::UnboundedSender<Command>,
) {
    let (node, hash) = (Arc::clone(node), hash.clone());
    node.clone().tasks.spawn(async move {
        let attempt = order.attempt;
        let work = launch(&node, &hash, order, &commands);
        let result = tokio::select! {
            result = work => result,
            // The VM lives on; the next process of this node takes it over.
            () = node.shutdown.cancelled() => return,
        };
        let _ = commands.send(Command::Launched { attempt, result: Box::new(result) });
    });
}

async fn launch(
    node: &Arc<Node>,
    hash: &ItemHash,
    order: Order,
    commands: &mpsc::UnboundedSender<Command>,
) -> Result<Launched, Failure> {
    let Order { plan, may_evict, attempt } = order;
    let share = Share { memory_mib: plan.memory_mib.into(), vcpus: plan.vcpus.into() };
    let place = node.place_for(hash, share, may_evict).await?;
    let _turn = node.starts.acquire().await.map_err(|_| Failure::Stopping("the node stops".to_owned()))?;
    node.forget_ended(&plan.id).await;
    for volume in &plan.volumes {
        if let aleph_vm::VolumeSource::Persistent { path, .. } = &volume.source
            && let Some(folder) = path.parent()
        {
            tokio::fs::create_dir_all(folder).await.map_err(|error| {
                Failure::Initialisation(format!("can't make '{}': {error}", folder.display()))
            })?;
        }
    }
    let supervisor =
        Supervisor::spawn(&plan, &node.vms_dir(), &node.supervisor_command).await.map_err(failure_of)?;
    tracing::info!(%hash, http = %supervisor.http_addr(), "vm started");
    let _ = commands.send(Command::Spawned { attempt, supervisor: supervisor.clone(), place });
    match supervisor.wait_ready().await {
        Ok(status) => Ok(Launched { status }),
        Err(error) => {
            let failure = failure_of(error);
            end_for_sure(&supervisor).await;
            Err(failure)
        }
    }
}

/// Reports when the guest of a VM that was found booting is ready. If it never is, [`watch`] reports that.
pub(super) fn watch_ready(
    node: &Arc<Node>,
    supervisor: Supervisor,
    attempt: u64,
    commands: mpsc::UnboundedSender<Command>,
) {
    let node = Arc::clone(node);
    node.clone().tasks.spawn(async move {
        tokio::select! {
            ready = supervisor.wait_ready() => {
                if let Ok(status) = ready {
                    let _ = commands.send(Command::Ready { attempt, status: Box::new(status) });
                }
            }
            () = commands.closed() => {}
            () = node.shutdown.cancelled() => {}
        }
    });
}

/// Reports the end of a VM that nobody told to end. A supervisor that does not answer is asked again:
/// silence is no end.
pub(super) fn watch(
    node: &Arc<Node>,
    supervisor: Supervisor,
    attempt: u64,
    commands: mpsc::UnboundedSender<Command>,
) {
    let node = Arc::clone(node);
    node.clone().tasks.spawn(async move {
        loop {
            let ended = tokio::select! {
                ended = supervisor.wait_ended() => ended,
                () = commands.closed() => return,
                () = node.shutdown.cancelled() => return,
            };
            let cause = match ended {
                Ok(status) if status.phase.is_over() => {
                    status.failure.map(|failure| Failure::Crashed(failure.message))
                }
                Err(error) if error.kind() == ErrorKind::NotRunning => Some(Failure::Crashed(error.to_string())),
                Ok(_) => {
                    tokio::time::sleep(ASK_AGAIN).await;
                    continue;
                }
                Err(error) => {
                    tracing::debug!(id = %supervisor.id(), %error, "supervisor does not answer; asking again");
                    tokio::time::sleep(ASK_AGAIN).await;
                    continue;
                }
            };
            let _ = commands.send(Command::Ended { attempt, cause });
            return;
        }
    });
}

/// Ends a VM, asking the guest first.
pub(super) async fn end_gracefully(supervisor: &Supervisor) {
    match supervisor.stop(StopMode::Graceful { timeout: STOP_TIMEOUT }).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotRunning => {}
        Err(error) => {
            tracing::warn!(id = %supervisor.id(), %error, "vm does not stop; ending it by force");
            end_for_sure(supervisor).await;
        }
    }
}

/// Returns when the VM has ended: its place must not be given away before.
pub(super) async fn end_for_sure(supervisor: &Supervisor) {
    let mut pause = ASK_AGAIN;
    loop {
        match supervisor.stop(StopMode::Kill).await {
            Ok(_) => return,
            Err(error) if error.kind() == ErrorKind::NotRunning => return,
            Err(error) => {
                tracing::error!(id = %supervisor.id(), %error, "vm can't be ended; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(30));
            }
        }
    }
}

/// A VM's error in the words of the API.
pub(super) fn failure_of(error: VmError) -> Failure {
    let text = error.to_string();
    match error {
        VmError::Plan(_) | VmError::NoKvm => Failure::Unsupported(text),
        VmError::NoQemu { .. } | VmError::NoTool { .. } => Failure::NoCapacity(text),
        VmError::NeverListens { .. } => Failure::NeverListened(text),
        VmError::ApplicationEnded { .. } | VmError::GuestSetup { .. } => Failure::ProgramInit(text),
        VmError::BootDeadline { .. } => Failure::RuntimeInit(text),
        VmError::Remote { kind, .. } => failure_of_kind(kind, text),
        other => failure_of_kind(other.kind(), text),
    }
}

/// The same for errors that crossed a process: their kind and their words are all there is.
fn failure_of_kind(kind: ErrorKind, text: String) -> Failure {
    match kind {
        ErrorKind::Rejected => Failure::Unsupported(text),
        ErrorKind::GuestFailed if text.contains("does not listen") => Failure::NeverListened(text),
        ErrorKind::GuestFailed => Failure::ProgramInit(text),
        ErrorKind::Timeout => Failure::RuntimeInit(text),
        ErrorKind::Busy => Failure::Busy(text),
        _ => Failure::Initialisation(text),
    }
}
