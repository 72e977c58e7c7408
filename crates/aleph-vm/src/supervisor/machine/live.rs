//! A running machine: QEMU, its guest channel, and what comes from either.

use std::time::Duration;

use aleph_guest::protocol::{FromGuest, ToGuest};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::{Prepared, TAIL};
use crate::error::VmError;
use crate::hypervisor::qemu::Qemu;
use crate::layout::{Launch, Memory};
use crate::status::LogSource;
use crate::supervisor::egress::Egress;
use crate::supervisor::log::Log;
use crate::supervisor::mux::{Event, Mux};
use crate::supervisor::shared::{Shared, StopRequest};

/// How long QEMU may take to end after its guest channel was closed.
const CLOSING: Duration = Duration::from_secs(3);
/// How long the last words of an application are waited for.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// A machine that was started.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) qemu: Qemu,
    pub(crate) mux: Mux,
    events: mpsc::Receiver<Event>,
    egress: Egress,
}

/// The next thing to think about.
#[derive(Debug)]
pub(crate) enum Step {
    Message(FromGuest),
    Deadline,
    Stop(StopRequest),
}

impl Live {
    pub(crate) async fn launch(
        shared: &Shared,
        prepared: &Prepared,
        memory: &Memory,
    ) -> Result<Self, VmError> {
        let launch = Launch {
            plan: &shared.plan,
            disks: &prepared.disks,
            kvm: prepared.kvm,
            memory,
            run_as: prepared.run_as,
        };
        let mut qemu = Qemu::start(&launch, &shared.folder).await?;
        let pid = qemu.pid();
        shared.update(|status| status.hypervisor_pid = Some(pid));
        if let Some(console) = qemu.console.take() {
            tokio::spawn(copy_console(console, shared.log.clone()));
        }
        let guest =
            qemu.guest.take().ok_or(VmError::Qmp { command: "start".into(), reason: "no channel".into() })?;
        let (mux, events) = Mux::start(guest);
        let plan = &shared.plan;
        let egress = Egress::new(plan.network.clone(), plan.limits.guest_connections);
        Ok(Self { qemu, mux, events, egress })
    }

    /// Says something to the guest.
    pub(crate) async fn say(&self, message: &ToGuest) -> Result<(), VmError> {
        self.mux.say(message).await.map_err(|error| VmError::GuestProtocol { reason: error.to_string() })
    }

    /// Handles logs and connections until there is something to decide.
    pub(crate) async fn step(
        &mut self,
        shared: &Shared,
        stops: &mut mpsc::Receiver<StopRequest>,
        patience: Duration,
    ) -> Result<Step, VmError> {
        let deadline = tokio::time::sleep(patience);
        tokio::pin!(deadline);
        loop {
            let event = tokio::select! {
                biased;
                Some(stop) = stops.recv() => return Ok(Step::Stop(stop)),
                event = self.events.recv() => event,
                status = self.qemu.ended() => return Err(self.ended(shared, status).await),
                () = &mut deadline => return Ok(Step::Deadline),
            };
            match event {
                Some(Event::Message(message)) => return Ok(Step::Message(message)),
                Some(event @ (Event::Log(..) | Event::Opened { .. })) => self.handle(event, shared),
                Some(Event::Closed(Err(error))) => {
                    self.kill().await;
                    return Err(VmError::GuestProtocol { reason: error.to_string() });
                }
                Some(Event::Closed(Ok(()))) | None => {
                    let status = match tokio::time::timeout(CLOSING, self.qemu.ended()).await {
                        Ok(status) => status,
                        Err(_) => {
                            self.kill().await;
                            "its guest channel was closed".to_owned()
                        }
                    };
                    return Err(self.ended(shared, status).await);
                }
            }
        }
    }

    fn handle(&self, event: Event, shared: &Shared) {
        match event {
            Event::Log(1, bytes) => shared.log.bytes(LogSource::Stdout, &bytes),
            Event::Log(_, bytes) => shared.log.bytes(LogSource::Stderr, &bytes),
            Event::Opened { target, stream } => {
                tokio::spawn(self.egress.clone().serve(target, stream));
            }
            Event::Message(_) | Event::Closed(_) => {}
        }
    }

    /// Takes what the application wrote last.
    pub(crate) async fn drain_logs(&mut self, shared: &Shared) {
        while let Ok(Some(event)) = tokio::time::timeout(LAST_WORDS, self.events.recv()).await {
            match event {
                Event::Closed(_) => return,
                event => self.handle(event, shared),
            }
        }
    }

    async fn ended(&mut self, shared: &Shared, status: String) -> VmError {
        self.drain_logs(shared).await;
        shared.log.finish();
        let mut console = shared.log.tail(&[LogSource::Console], TAIL);
        let complaints = self.qemu.complaints().await;
        if !complaints.is_empty() {
            console = format!("{complaints}\n{console}");
        }
        VmError::HypervisorEnded { status, console }
    }

    /// Ends the machine at once.
    pub(crate) async fn kill(&mut self) {
        self.qemu.kill().await;
    }
}

async fn copy_console(mut console: UnixStream, log: Log) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = console.read(&mut bytes).await {
        log.bytes(LogSource::Console, &bytes[..count]);
    }
}
