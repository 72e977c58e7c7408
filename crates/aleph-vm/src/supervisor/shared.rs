//! What the parts of a supervisor share: the VM's status, its log, the way to its guest.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::folder::{Folder, resident_kib};
use super::log::{Log, now_ms};
use super::mux::Mux;
use crate::error::{ErrorKind, VmError};
use crate::plan::VmPlan;
use crate::status::{Failure, Phase, VmStatus};

/// A request to end the VM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StopRequest {
    /// `None`: at once
    pub(crate) grace: Option<Duration>,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) plan: Arc<VmPlan>,
    pub(crate) folder: Folder,
    pub(crate) log: Log,
    pub(crate) status: watch::Sender<VmStatus>,
    pub(crate) stop: mpsc::Sender<StopRequest>,
    guest: Arc<Mutex<Option<Mux>>>,
    pub(crate) counters: Arc<Counters>,
}

/// Numbers that change with each request; they reach the status when it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) active: AtomicU32,
    pub(crate) waiting: AtomicU32,
    pub(crate) last_ms: AtomicU64,
}

impl Shared {
    pub(crate) fn new(plan: VmPlan, folder: Folder, http_port: u16, stop: mpsc::Sender<StopRequest>) -> Self {
        let status = VmStatus {
            id: plan.id.clone(),
            phase: Phase::Preparing,
            mode: None,
            http_port,
            supervisor_pid: std::process::id(),
            hypervisor_pid: None,
            acceleration: None,
            started_ms: now_ms(),
            timeline: Default::default(),
            requests: 0,
            active_requests: 0,
            last_request_ms: None,
            resident_kib: None,
            failure: None,
            template_note: None,
        };
        let log = Log::new(&PathBuf::from("."), plan.limits.log_bytes);
        Self {
            plan: Arc::new(plan),
            folder,
            log,
            status: watch::Sender::new(status),
            stop,
            guest: Arc::default(),
            counters: Arc::default(),
        }
    }

    /// Changes the status and writes it down.
    pub(crate) fn update(&self, change: impl FnOnce(&mut VmStatus)) {
        self.status.send_modify(change);
        if let Err(error) = self.folder.write_status(&self.snapshot()) {
            tracing::warn!(%error, "status not written");
        }
    }

    /// Enters a phase; the time is noted under the name of the phase that ends.
    pub(crate) fn enter(&self, phase: Phase) {
        self.update(|status| {
            let name = serde_json::to_value(status.phase).ok().and_then(|v| v.as_str().map(str::to_owned));
            let elapsed = now_ms().saturating_sub(status.started_ms);
            // a phase may come twice (a template that doesn't work); the last time counts
            status.timeline.insert(name.unwrap_or_default(), elapsed);
            status.phase = phase;
        });
    }

    /// The status with the counters.
    pub(crate) fn snapshot(&self) -> VmStatus {
        let mut status = self.status.borrow().clone();
        status.requests = self.counters.requests.load(Ordering::Relaxed);
        status.active_requests = self.counters.active.load(Ordering::Relaxed);
        status.last_request_ms = Some(self.counters.last_ms.load(Ordering::Relaxed)).filter(|&ms| ms > 0);
        status.resident_kib = status.hypervisor_pid.and_then(resident_kib);
        status
    }

    /// Sets or takes away the way to the guest.
    pub(crate) fn set_guest(&self, mux: Option<Mux>) {
        *self.guest.lock().unwrap_or_else(PoisonError::into_inner) = mux;
    }

    /// Waits until requests are served and gives the way to the guest.
    pub(crate) async fn guest(&self) -> Result<Mux, Failure> {
        let limits = &self.plan.limits;
        // the machine bounds each of its phases; this bounds their sum
        let patience = Duration::from_millis(2 * limits.boot_ms + limits.ready_ms + 30_000);
        let mut status = self.status.subscribe();
        let settled = tokio::time::timeout(
            patience,
            status.wait_for(|s| s.phase == Phase::Running || is_ending(s.phase)),
        );
        let failure = match settled.await {
            Ok(Ok(status)) if status.phase == Phase::Running => None,
            Ok(Ok(status)) => Some(status.failure.clone().unwrap_or_else(|| Failure {
                kind: ErrorKind::NotRunning,
                message: "the VM is ending".to_owned(),
            })),
            Ok(Err(_)) | Err(_) => Some(Failure {
                kind: ErrorKind::Timeout,
                message: "the VM did not become ready in time".to_owned(),
            }),
        };
        if let Some(failure) = failure {
            return Err(failure);
        }
        let guest = self.guest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        guest.ok_or_else(|| Failure { kind: ErrorKind::NotRunning, message: "the VM is ending".to_owned() })
    }

    /// Notes how the VM ended.
    pub(crate) fn end(&self, outcome: &Result<(), VmError>) {
        self.set_guest(None);
        self.log.finish();
        if let Err(error) = outcome {
            self.log.line(crate::status::LogSource::Supervisor, &format!("failed: {error}"));
        }
        let failure = outcome.as_ref().err().map(Failure::from);
        self.status.send_modify(|status| {
            status.failure = failure;
            status.hypervisor_pid = None;
        });
        self.enter(if outcome.is_ok() { Phase::Stopped } else { Phase::Failed });
    }
}

fn is_ending(phase: Phase) -> bool {
    phase.is_over() || phase == Phase::Stopping
}
