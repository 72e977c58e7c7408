//! A VM that was running before this process was.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aleph_vm::{Phase, Supervisor, VmPlan, VmStatus};

use super::{Driver, launch};
use crate::admission::Share;
use crate::execution::machine::{Event, State};
use crate::execution::record::Record;
use crate::network::messages::Program;
use crate::time::now_ms;

impl Driver {
    /// Takes over a VM that an earlier process of this node started. Nothing about the VM changes.
    pub(super) fn adopt(&mut self, supervisor: Supervisor, plan: VmPlan, status: Option<VmStatus>) {
        if self.vm.is_some() || self.view.state != State::Idle {
            return;
        }
        if let Some(record) = Record::load(&self.node.programs_dir(), &self.hash) {
            self.view.files = record.files.into();
            self.view.program = Program::from_document(&self.hash, record.document).map(Arc::new);
        }
        let share = Share { memory_mib: plan.memory_mib.into(), vcpus: plan.vcpus.into() };
        let place = self.node.admission.adopt(&self.hash, share);
        self.attempt += 1;
        self.plan = Some(plan);
        self.spawned(supervisor.clone(), place);
        if self.view.program.is_some() {
            self.view.stages.message_resolved = Some(now_ms());
            self.view.stages.images_fetched = Some(now_ms());
        }
        let started = status.as_ref().map(|status| status.started_ms);
        self.view.stages.starting = started;
        self.view.stages.vm_started = started;
        let is_ready = status.as_ref().is_some_and(|status| status.phase == Phase::Running);
        if is_ready {
            self.view.stages.guest_ready =
                status.as_ref().and_then(|status| Some(status.started_ms + status.timeline.values().max()?));
        }
        if let Some(status) = &status {
            self.show_status(status);
            if status.requests > 0 {
                self.view.stages.first_answer = status.last_request_ms;
                if let Some(vm) = &self.vm {
                    vm.answered.store(true, Ordering::Relaxed);
                }
            }
        }
        if let Some(vm) = &mut self.view.vm {
            vm.adopted = true;
        }
        if !is_ready {
            launch::watch_ready(&self.node, supervisor.clone(), self.attempt, self.commands.clone());
        }
        launch::watch(&self.node, supervisor, self.attempt, self.commands.clone());
        // Requests wait in the supervisor while the guest boots: an early VM needs no other treatment.
        self.handle(Event::Adopted);
    }
}
