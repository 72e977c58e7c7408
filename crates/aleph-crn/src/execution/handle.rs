//! The handle of a program: what HTTP handlers and the feed hold.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aleph_types::ItemHash;
use aleph_vm::{ErrorKind, Supervisor, VmPlan, VmStatus};
use tokio::sync::{mpsc, oneshot, watch};

use super::driver::Launched;
use super::machine::{Event, Goal};
use super::view::View;
use crate::failure::Failure;

/// What the driver of a program is told.
///
/// The channel is unbounded because guards report their end in `drop`; its length is bounded by the
/// requests of the node (`limits.max_requests`) and the waiters of a program.
#[derive(Debug)]
pub(crate) enum Command {
    /// A request wants in.
    Acquire(oneshot::Sender<Result<Lease, Failure>>),
    /// Something happened.
    Event(Event),
    /// A scheduler's or an owner's word about how long the program stays.
    Allocate { allocated: bool, persistent: bool, goal: Option<Goal> },
    /// The owner wants it gone after some time.
    ExpireIn(Duration),
    /// A VM that runs already, found after a restart.
    Adopt { supervisor: Supervisor, plan: Box<VmPlan>, status: Option<Box<VmStatus>> },
    /// The message is here and checked.
    Resolved { attempt: u64 },
    /// Message and files are here, or not.
    Prepared { attempt: u64, result: Box<Result<super::driver::Preparation, Failure>> },
    /// The supervisor answers; the guest boots.
    Spawned { attempt: u64, supervisor: Supervisor, place: crate::admission::Place },
    /// The guest is ready, or the VM has ended.
    Launched { attempt: u64, result: Box<Result<Launched, Failure>> },
    /// The guest of a VM that was found booting is ready.
    Ready { attempt: u64, status: Box<VmStatus> },
    /// The VM ended by itself.
    Ended { attempt: u64, cause: Option<Failure> },
    /// The VM that was told to end has ended.
    Stopped { attempt: u64 },
    /// A request is over.
    Released { attempt: u64 },
    /// The first answer of this VM went out.
    FirstAnswer { attempt: u64 },
    /// Whoever asks wants the supervisor of the VM, for logs.
    Supervisor(oneshot::Sender<Option<Supervisor>>),
}

/// A program on this node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Execution {
    pub(crate) hash: ItemHash,
    commands: mpsc::UnboundedSender<Command>,
    view: watch::Receiver<Arc<View>>,
}

impl Execution {
    pub(super) fn new(
        hash: ItemHash,
        commands: mpsc::UnboundedSender<Command>,
        view: watch::Receiver<Arc<View>>,
    ) -> Self {
        Self { hash, commands, view }
    }

    /// Whether `driver` is the task behind this handle.
    pub(crate) fn is_driven_by(&self, driver: &mpsc::UnboundedSender<Command>) -> bool {
        self.commands.same_channel(driver)
    }

    /// How it looks now.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Waits until `done` of the view.
    pub(crate) async fn wait_until(&self, done: impl Fn(&View) -> bool) -> Arc<View> {
        let mut view = self.view.clone();
        match view.wait_for(|view| done(view)).await {
            Ok(view) => view.clone(),
            // The driver has ended; its last word counts.
            Err(_) => self.view(),
        }
    }

    /// Tells the driver; `false` when the program was removed meanwhile.
    pub(crate) fn tell(&self, command: Command) -> bool {
        self.commands.send(command).is_ok()
    }

    /// Lets a request in, starting the VM if need be. `None`: the program was removed meanwhile.
    pub(crate) async fn acquire(&self) -> Option<Result<Lease, Failure>> {
        let (reply, answer) = oneshot::channel();
        if !self.tell(Command::Acquire(reply)) {
            return None;
        }
        answer.await.ok()
    }

    /// The supervisor of the VM, if there is one.
    pub(crate) async fn supervisor(&self) -> Option<Supervisor> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Supervisor(reply)).then_some(())?;
        answer.await.ok().flatten()
    }
}

/// How long an application's end may take to be known after its connections closed.
const END_KNOWN: Duration = Duration::from_millis(500);
/// How long the rest of an ending VM may take.
const END_DONE: Duration = Duration::from_secs(10);

/// The right to have one request inside a VM; ends when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Where the supervisor answers.
    pub(crate) http: SocketAddr,
    /// The supervisor itself.
    pub(super) supervisor: Supervisor,
    /// Most time from the request to the head of its answer.
    pub(crate) request_time: Duration,
    /// The STORE message of the code that runs.
    pub(crate) code_reference: Option<ItemHash>,
    pub(super) attempt: u64,
    pub(super) answered: Arc<AtomicBool>,
    pub(super) commands: mpsc::UnboundedSender<Command>,
}

impl Lease {
    /// After a request that broke off: whether the VM has ended, and why. The driver knows it before this
    /// returns, so that the next request finds no dead VM.
    pub(crate) async fn end_of_vm(&self) -> Option<Failure> {
        let began = Instant::now();
        loop {
            match self.supervisor.status().await {
                Ok(status) if status.failure.is_some() || status.phase.is_over() => break,
                Err(error) if error.kind() == ErrorKind::NotRunning => break,
                _ if began.elapsed() > END_KNOWN => return None,
                _ => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
        let ended = tokio::time::timeout(END_DONE, self.supervisor.wait_ended()).await.ok()?;
        let cause = match ended {
            Ok(status) => status.failure.map_or_else(|| "the VM ended".to_owned(), |failure| failure.message),
            Err(error) if error.kind() == ErrorKind::NotRunning => error.to_string(),
            Err(_) => return None,
        };
        let cause = Failure::Crashed(cause);
        let _ = self.commands.send(Command::Ended { attempt: self.attempt, cause: Some(cause.clone()) });
        Some(cause)
    }

    /// The program answered.
    pub(crate) fn answered(&self) {
        if !self.answered.swap(true, Ordering::Relaxed) {
            let _ = self.commands.send(Command::FirstAnswer { attempt: self.attempt });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Released { attempt: self.attempt });
    }
}
