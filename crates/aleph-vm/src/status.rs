//! What a supervisor says about its VM.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, VmError};
use crate::plan::VmId;

/// Where a VM is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// files are checked, volumes made
    Preparing,
    /// QEMU runs, the guest's agent hasn't answered yet
    Booting,
    /// the guest sets itself up and starts the application
    Starting,
    /// the application listens; the VM is saved as a template before it serves
    Saving,
    /// requests are served
    Running,
    /// the guest was asked to end
    Stopping,
    /// ended as asked
    Stopped,
    /// ended otherwise: [`VmStatus::failure`] says why
    Failed,
}

impl Phase {
    /// True when the VM has ended and nothing more will happen.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }
}

/// How the VM was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartMode {
    /// kernel, guest, application
    Cold,
    /// the same, then saved, then continued as the template's first clone
    ColdThenTemplate,
    /// cloned from a template
    Template,
}

/// Why a VM ended or couldn't start, as text that crosses processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// what kind of trouble
    pub kind: ErrorKind,
    /// one sentence, then perhaps the last lines of a log
    pub message: String,
}

impl From<&VmError> for Failure {
    fn from(error: &VmError) -> Self {
        Self { kind: error.kind(), message: error.to_string() }
    }
}

impl From<Failure> for VmError {
    fn from(failure: Failure) -> Self {
        Self::Remote { kind: failure.kind, message: failure.message }
    }
}

/// A supervisor's answer to `status`, and its last word on disk (`status.json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmStatus {
    /// the VM
    pub id: VmId,
    /// where it is
    pub phase: Phase,
    /// how it was started, once that is decided
    pub mode: Option<StartMode>,
    /// loopback port that speaks HTTP to the application (from the phase Preparing on)
    pub http_port: u16,
    /// process of the supervisor
    pub supervisor_pid: u32,
    /// process of QEMU, while there is one
    pub hypervisor_pid: Option<u32>,
    /// `kvm` or `tcg`, once that is decided
    pub acceleration: Option<String>,
    /// start of the supervisor, in milliseconds since 1970
    pub started_ms: u64,
    /// end of each phase, in milliseconds since the start, by its name
    pub timeline: BTreeMap<String, u64>,
    /// HTTP requests answered
    pub requests: u64,
    /// HTTP requests at this moment
    pub active_requests: u32,
    /// last request's end, in milliseconds since 1970
    pub last_request_ms: Option<u64>,
    /// resident memory of QEMU in KiB
    pub resident_kib: Option<u64>,
    /// why it ended, when it ended badly
    pub failure: Option<Failure>,
    /// why no template is used, when one was asked for
    pub template_note: Option<String>,
}

/// Who wrote a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogSource {
    /// the application's standard output
    Stdout,
    /// the application's standard error
    Stderr,
    /// the guest's kernel and agent
    Console,
    /// the supervisor
    Supervisor,
}

/// One line of a VM's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// position, from 0; gaps mean that lines were dropped
    pub seq: u64,
    /// when the supervisor got it, in milliseconds since 1970
    pub time_ms: u64,
    /// who wrote it
    pub source: LogSource,
    /// the line, without its end
    pub text: String,
}

/// A part of a VM's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// lines, in order
    pub lines: Vec<LogLine>,
    /// where to go on
    pub next: u64,
}
