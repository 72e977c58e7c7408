//! What a program on this node looks like from outside.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::machine::State;
use super::record::FetchedFile;
use crate::failure::Failure;
use crate::network::messages::Program;

/// When each stage of the last way up was reached, milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Stages {
    /// The node heard of the program.
    pub(crate) defined: Option<u64>,
    /// It was allocated here.
    pub(crate) allocated: Option<u64>,
    /// Message and files began to be fetched.
    pub(crate) preparing: Option<u64>,
    /// The message is here and checked.
    pub(crate) message_resolved: Option<u64>,
    /// Every file is here and verified.
    pub(crate) images_fetched: Option<u64>,
    /// The supervisor is being started.
    pub(crate) starting: Option<u64>,
    /// It answers; the guest boots.
    pub(crate) vm_started: Option<u64>,
    /// The program listens.
    pub(crate) guest_ready: Option<u64>,
    /// A request was answered by this VM.
    pub(crate) first_answer: Option<u64>,
    /// The VM was told to end.
    pub(crate) stopping: Option<u64>,
    /// It has ended.
    pub(crate) stopped: Option<u64>,
}

impl Stages {
    /// Clears what belongs to the last start.
    pub(crate) fn begin(&mut self, now: u64) {
        *self = Self {
            defined: self.defined,
            allocated: self.allocated,
            preparing: Some(now),
            ..Self::default()
        };
    }

    /// The stages that were reached, in order of the way.
    pub(crate) fn reached(&self) -> Vec<(&'static str, u64)> {
        [
            ("allocated", self.allocated),
            ("preparing", self.preparing),
            ("message_resolved", self.message_resolved),
            ("images_fetched", self.images_fetched),
            ("starting", self.starting),
            ("vm_started", self.vm_started),
            ("guest_ready", self.guest_ready),
            ("first_answer", self.first_answer),
            ("stopping", self.stopping),
            ("stopped", self.stopped),
        ]
        .into_iter()
        .filter_map(|(name, at)| Some((name, at?)))
        .collect()
    }
}

/// The VM behind a program.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VmView {
    /// Where its supervisor answers HTTP.
    pub(crate) http: SocketAddr,
    /// Number of the VM on this node (`spec: crn-vm.md §7.1`).
    pub(crate) vm_id: u32,
    /// `cold`, `cold_then_template` or `template`.
    pub(crate) mode: Option<String>,
    /// `kvm` or `tcg`.
    pub(crate) acceleration: Option<String>,
    /// The supervisor's own phases: end of each in milliseconds since its start.
    pub(crate) timeline: BTreeMap<String, u64>,
    pub(crate) supervisor_pid: u32,
    pub(crate) hypervisor_pid: Option<u32>,
    /// Why no template is used.
    pub(crate) template_note: Option<String>,
    /// Found running after a restart of this process.
    pub(crate) adopted: bool,
    /// Most milliseconds from a request to the head of its answer.
    pub(crate) request_ms: u64,
}

/// One program, at one moment.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) state: State,
    /// A scheduler wants it here.
    pub(crate) allocated: bool,
    /// It is kept running.
    pub(crate) persistent: bool,
    pub(crate) program: Option<Arc<Program>>,
    pub(crate) files: Arc<[FetchedFile]>,
    pub(crate) vm: Option<VmView>,
    pub(crate) stages: Stages,
    /// Why the last start failed or the last VM ended.
    pub(crate) failure: Option<Failure>,
    /// VMs started since this process began.
    pub(crate) starts: u32,
    /// Requests let in since this process began.
    pub(crate) requests: u64,
    /// When a request last came or went, or the VM became ready; milliseconds since the epoch.
    pub(crate) last_used_ms: u64,
}

impl View {
    pub(crate) fn new(defined: u64) -> Self {
        Self {
            state: State::Idle,
            allocated: false,
            persistent: false,
            program: None,
            files: Arc::from([]),
            vm: None,
            stages: Stages { defined: Some(defined), ..Stages::default() },
            failure: None,
            starts: 0,
            requests: 0,
            last_used_ms: defined,
        }
    }

    /// Whether the VM counts as running for others: from its start on, until it is told to end.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Starting { .. } | State::Running { .. })
    }
}
