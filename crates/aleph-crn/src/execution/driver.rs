//! The task that owns one program: feeds the state machine and does what it asks.

mod adopt;
mod launch;
mod prepare;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use aleph_types::ItemHash;
use aleph_vm::{Supervisor, VmPlan, VmStatus};
use tokio::sync::{mpsc, oneshot, watch};

use super::handle::{Command, Execution, Lease};
use super::machine::{Effect, Event, Facts, Goal, State, step};
use super::record::Record;
use super::view::{View, VmView};
use crate::admission::Place;
use crate::defaults::{DRAIN_TIMEOUT, MAX_WAITERS, RETRY_PAUSE, RETRY_PAUSE_MOST, TEMPLATE_LINGER};
use crate::failure::Failure;
use crate::node::Node;
use crate::time::now_ms;

pub(crate) use launch::Launched;
pub(crate) use prepare::Preparation;

/// Starts the task of `hash`; it ends when the program is removed or the node stops.
pub(crate) fn start(node: &Arc<Node>, hash: ItemHash) -> Execution {
    let (commands, inbox) = mpsc::unbounded_channel();
    let view = View::new(now_ms());
    let (published, watched) = watch::channel(Arc::new(view.clone()));
    let driver = Driver {
        node: Arc::clone(node),
        hash: hash.clone(),
        commands: commands.clone(),
        published,
        view,
        waiters: Vec::new(),
        attempt: 0,
        failures: 0,
        failing: false,
        vm: None,
        last: None,
        plan: None,
        timers: Timers::default(),
        began: Instant::now(),
    };
    node.tasks.spawn(driver.run(inbox));
    Execution::new(hash, commands, watched)
}

/// What is held for a VM.
#[derive(Debug)]
struct Vm {
    supervisor: Supervisor,
    /// Given back when dropped.
    _place: Place,
    request_time: Duration,
    answered: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Timers {
    idle: Option<Instant>,
    drain: Option<Instant>,
    pause: Option<Instant>,
    expiry: Option<Instant>,
}

impl Timers {
    fn next(&self) -> Option<Instant> {
        [self.idle, self.drain, self.pause, self.expiry].into_iter().flatten().min()
    }

    /// The events whose time has come.
    fn due(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        for (timer, event) in [
            (&mut self.idle, Event::IdleExpired),
            (&mut self.drain, Event::DrainExpired),
            (&mut self.pause, Event::PauseOver),
            (&mut self.expiry, Event::StopAsked),
        ] {
            if timer.is_some_and(|at| at <= now) {
                *timer = None;
                events.push(event);
            }
        }
        events
    }
}

struct Driver {
    node: Arc<Node>,
    hash: ItemHash,
    commands: mpsc::UnboundedSender<Command>,
    published: watch::Sender<Arc<View>>,
    view: View,
    waiters: Vec<oneshot::Sender<Result<Lease, Failure>>>,
    /// Number of the current way up; news of older ones are ignored.
    attempt: u64,
    /// Failures in a row.
    failures: u32,
    /// A failure is being handled right now.
    failing: bool,
    vm: Option<Vm>,
    /// The supervisor of the VM, or of the last one: its log stays until the next start.
    last: Option<Supervisor>,
    /// What the next launch runs.
    plan: Option<VmPlan>,
    timers: Timers,
    began: Instant,
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        loop {
            let deadline = self.timers.next();
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = sleep_until(deadline) => {
                    for event in self.timers.due(Instant::now()) {
                        self.handle(event);
                    }
                }
                // VMs belong to their supervisors; this task only lets go of them.
                () = self.node.shutdown.cancelled() => return,
            }
            if self.view.state == State::Gone {
                return;
            }
            self.publish();
        }
    }

    fn publish(&self) {
        self.published.send_replace(Arc::new(self.view.clone()));
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Acquire(reply) => self.acquire(reply),
            Command::Event(event) => self.handle(event),
            Command::Allocate { allocated, persistent, goal } => self.allocate(allocated, persistent, goal),
            Command::ExpireIn(time) => {
                self.view.persistent = false;
                self.timers.expiry = Some(Instant::now() + time);
            }
            Command::Adopt { supervisor, plan, status } => {
                self.adopt(supervisor, *plan, status.map(|status| *status))
            }
            Command::Resolved { attempt } if attempt == self.attempt => {
                self.view.stages.message_resolved = Some(now_ms());
            }
            Command::Prepared { attempt, result } if attempt == self.attempt => self.prepared(*result),
            Command::Spawned { attempt, supervisor, place } if attempt == self.attempt => {
                self.spawned(supervisor, place);
            }
            Command::Launched { attempt, result } if attempt == self.attempt => self.launched(*result),
            Command::Ready { attempt, status } if attempt == self.attempt => {
                self.view.stages.guest_ready = Some(now_ms());
                self.show_status(&status);
            }
            // It was told to end.
            Command::Ended { attempt, .. } if attempt == self.attempt && self.is_stopping() => {
                self.handle(Event::VmEnded);
            }
            Command::Ended { attempt, cause } if attempt == self.attempt => {
                let cause = cause.unwrap_or_else(|| Failure::Crashed("the VM ended".to_owned()));
                tracing::warn!(hash = %self.hash, %cause, "vm ended by itself");
                self.fail(cause, Event::VmEnded);
            }
            Command::Stopped { attempt } if attempt == self.attempt => self.handle(Event::Stopped),
            Command::Released { attempt } if attempt == self.attempt => {
                self.failures = 0;
                self.handle(Event::RequestEnded);
            }
            Command::FirstAnswer { attempt } if attempt == self.attempt => {
                self.view.stages.first_answer.get_or_insert(now_ms());
            }
            Command::Supervisor(reply) => {
                let _ = reply.send(self.last.clone());
            }
            // News of a way up that is over.
            Command::Resolved { .. }
            | Command::Prepared { .. }
            | Command::Launched { .. }
            | Command::Ready { .. }
            | Command::Ended { .. }
            | Command::Stopped { .. }
            | Command::Released { .. }
            | Command::FirstAnswer { .. } => {}
            Command::Spawned { supervisor, .. } => {
                // Nobody waits for this VM any more, and nobody else knows it.
                tracing::warn!(hash = %self.hash, "a vm came up that is not wanted any more; stopping it");
                self.node.tasks.spawn(async move { launch::end_for_sure(&supervisor).await });
            }
        }
    }

    fn is_stopping(&self) -> bool {
        matches!(self.view.state, State::Stopping { .. })
    }

    fn facts(&self) -> Facts {
        let pause =
            RETRY_PAUSE.saturating_mul(1 << self.failures.saturating_sub(1).min(8)).min(RETRY_PAUSE_MOST);
        Facts {
            now_ms: self.elapsed_ms(),
            keep_running: self.view.persistent,
            pause_ms: pause.as_millis() as u64,
        }
    }

    fn elapsed_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn handle(&mut self, event: Event) {
        let old = self.view.state;
        if matches!(event, Event::RequestBegan | Event::RequestEnded | Event::Started | Event::Adopted) {
            self.view.last_used_ms = now_ms();
        }
        let (state, effects) = step(old, event, self.facts());
        if state != old {
            tracing::debug!(hash = %self.hash, from = old.as_str(), to = state.as_str(), ?event, "state");
        }
        self.view.state = state;
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Prepare => {
                self.attempt += 1;
                self.view.stages.begin(now_ms());
                prepare::spawn(
                    &self.node,
                    &self.hash,
                    self.view.program.clone(),
                    self.attempt,
                    self.commands.clone(),
                );
            }
            Effect::Launch => {
                self.view.stages.starting = Some(now_ms());
                self.view.starts += 1;
                match self.plan.clone() {
                    Some(plan) => {
                        // A template is no reason to end somebody's warm program.
                        let may_evict =
                            !matches!(self.view.state, State::Starting { goal: Goal::Template, .. });
                        let order = launch::Order { plan, may_evict, attempt: self.attempt };
                        launch::spawn(&self.node, &self.hash, order, self.commands.clone());
                    }
                    None => self.launched(Err(Failure::Initialisation("there is no plan".to_owned()))),
                }
            }
            Effect::Stop => {
                self.view.stages.stopping = Some(now_ms());
                let Some(vm) = &self.vm else {
                    let _ = self.commands.send(Command::Stopped { attempt: self.attempt });
                    return;
                };
                let (supervisor, commands, attempt) =
                    (vm.supervisor.clone(), self.commands.clone(), self.attempt);
                self.node.tasks.spawn(async move {
                    launch::end_gracefully(&supervisor).await;
                    let _ = commands.send(Command::Stopped { attempt });
                });
            }
            Effect::ArmIdle { after } => {
                let time = if after == Goal::Serve { self.node.config.keep_warm() } else { TEMPLATE_LINGER };
                self.timers.idle = Some(Instant::now() + time);
            }
            Effect::DisarmIdle => self.timers.idle = None,
            Effect::ArmDrain => self.timers.drain = Some(Instant::now() + DRAIN_TIMEOUT),
            Effect::ArmPause { until_ms } => {
                let rest = until_ms.saturating_sub(self.elapsed_ms());
                self.timers.pause = Some(Instant::now() + Duration::from_millis(rest));
            }
            Effect::AdmitWaiters => {
                for waiter in std::mem::take(&mut self.waiters) {
                    // One that went away gives its lease back at once.
                    if let Some(lease) = self.lease() {
                        let _ = waiter.send(Ok(lease));
                    }
                }
            }
            Effect::RefuseWaiters => {
                let failure = self.refusal();
                for waiter in std::mem::take(&mut self.waiters) {
                    let _ = waiter.send(Err(failure.clone()));
                }
            }
            Effect::Release => {
                self.timers.drain = None;
                if let Some(vm) = self.vm.take() {
                    self.node.remember_ended(&vm.supervisor);
                }
                self.view.vm = None;
                self.view.stages.stopped = Some(now_ms());
                // Whatever is still said about the ended VM is late.
                self.attempt += 1;
            }
            Effect::Remove => {
                Record::remove(&self.node.programs_dir(), &self.hash);
                self.publish();
                if let Some(last) = self.last.take() {
                    let node = Arc::clone(&self.node);
                    self.node.tasks.spawn(async move { node.forget_ended(last.id()).await });
                }
                self.node.executions.remove(&self.hash, &self.commands);
            }
        }
    }

    /// What those who wait are told.
    fn refusal(&self) -> Failure {
        match (&self.view.failure, self.view.state) {
            (Some(failure), State::Failed { until_ms }) => {
                // Those whose request failed get the plain cause.
                if self.failing {
                    return failure.clone();
                }
                let rest = until_ms.saturating_sub(self.elapsed_ms());
                Failure::RecentlyFailed { seconds: rest.div_ceil(1000), cause: Box::new(failure.clone()) }
            }
            (Some(failure @ Failure::MessageGone { .. }), _) => failure.clone(),
            _ => Failure::Stopping("it was stopped".to_owned()),
        }
    }

    fn acquire(&mut self, reply: oneshot::Sender<Result<Lease, Failure>>) {
        // Those whose clients went away wait for nothing.
        self.waiters.retain(|waiter| !waiter.is_closed());
        if self.waiters.len() >= MAX_WAITERS {
            let busy =
                format!("{MAX_WAITERS} requests wait for this program to start; repeat the request later");
            let _ = reply.send(Err(Failure::Busy(busy)));
            return;
        }
        self.waiters.push(reply);
        self.handle(Event::Wanted(Goal::Serve));
    }

    fn lease(&mut self) -> Option<Lease> {
        let vm = self.vm.as_ref()?;
        let lease = Lease {
            http: vm.supervisor.http_addr(),
            supervisor: vm.supervisor.clone(),
            request_time: vm.request_time,
            code_reference: self
                .view
                .files
                .iter()
                .find(|file| file.what == "code")
                .map(|file| file.stored.store.clone()),
            attempt: self.attempt,
            answered: Arc::clone(&vm.answered),
            commands: self.commands.clone(),
        };
        self.view.requests += 1;
        self.handle(Event::RequestBegan);
        Some(lease)
    }

    fn allocate(&mut self, allocated: bool, persistent: bool, goal: Option<Goal>) {
        self.view.allocated = allocated;
        self.view.persistent = persistent;
        if allocated {
            self.timers.expiry = None;
            self.view.stages.allocated.get_or_insert(now_ms());
        } else {
            self.view.stages.allocated = None;
        }
        if let Some(goal) = goal {
            self.handle(Event::Wanted(goal));
        }
    }

    fn prepared(&mut self, result: Result<Preparation, Failure>) {
        match result {
            Ok(preparation) => {
                self.view.stages.message_resolved.get_or_insert(now_ms());
                self.view.stages.images_fetched = Some(now_ms());
                self.view.program = Some(preparation.program);
                self.view.files = preparation.files.into();
                self.view.failure = None;
                self.plan = Some(preparation.plan);
                self.handle(Event::Prepared);
            }
            Err(failure) => {
                tracing::warn!(hash = %self.hash, code = failure.code(), %failure, "program can't be prepared");
                let nothing_there = matches!(
                    failure,
                    Failure::MessageNotFound(_) | Failure::NotAProgram { .. } | Failure::MessageGone { .. }
                );
                self.fail(failure, Event::PreparationFailed);
                // Nothing to remember, unless a scheduler says that it will come.
                if nothing_there && !self.view.allocated {
                    self.handle(Event::RemoveAsked);
                }
            }
        }
    }

    fn spawned(&mut self, supervisor: Supervisor, place: Place) {
        self.view.stages.vm_started = Some(now_ms());
        let request_ms = self.plan.as_ref().map_or(0, |plan| plan.limits.request_ms);
        self.view.vm = Some(VmView {
            http: supervisor.http_addr(),
            vm_id: place.vm_id,
            mode: None,
            acceleration: None,
            timeline: Default::default(),
            supervisor_pid: 0,
            hypervisor_pid: None,
            template_note: None,
            adopted: false,
            request_ms,
        });
        self.last = Some(supervisor.clone());
        self.vm = Some(Vm {
            supervisor,
            _place: place,
            request_time: Duration::from_millis(request_ms),
            answered: Arc::default(),
        });
    }

    fn launched(&mut self, result: Result<Launched, Failure>) {
        match result {
            Ok(launched) => {
                self.view.stages.guest_ready = Some(now_ms());
                self.view.failure = None;
                self.show_status(&launched.status);
                if let Some(vm) = &self.vm {
                    launch::watch(&self.node, vm.supervisor.clone(), self.attempt, self.commands.clone());
                }
                self.handle(Event::Started);
            }
            Err(failure) => {
                tracing::warn!(hash = %self.hash, code = failure.code(), %failure, "program did not start");
                self.fail(failure, Event::StartFailed);
            }
        }
    }

    fn fail(&mut self, failure: Failure, event: Event) {
        self.view.failure = Some(failure);
        self.failures = self.failures.saturating_add(1);
        self.failing = true;
        self.handle(event);
        self.failing = false;
    }

    fn show_status(&mut self, status: &VmStatus) {
        if let Some(vm) = &mut self.view.vm {
            vm.mode =
                status.mode.and_then(|mode| Some(serde_json::to_value(mode).ok()?.as_str()?.to_owned()));
            vm.acceleration.clone_from(&status.acceleration);
            vm.timeline.clone_from(&status.timeline);
            vm.supervisor_pid = status.supervisor_pid;
            vm.hypervisor_pid = status.hypervisor_pid;
            vm.template_note.clone_from(&status.template_note);
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
