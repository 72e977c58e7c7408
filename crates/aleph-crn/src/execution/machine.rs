//! The life of a program as a pure function: `step(state, event) -> (state, effects)`.
//!
//! ```text
//!            wanted              prepared            started
//!   Idle ───────────▶ Preparing ─────────▶ Starting ─────────▶ Running ─┐ requests
//!    ▲ ▲                  │ failed            │ failed            │  ◀──┘
//!    │ └── (pause over) ◀─┴── Failed ◀────────┘                   │ idle, update, stop
//!    └──────────────────────────── Stopping ◀─────────────────────┘
//! ```
//!
//! However many requests arrive, there is one start: whoever comes while the VM is not running waits
//! with the others and is let in ([`Effect::AdmitWaiters`]) or refused ([`Effect::RefuseWaiters`]).

/// What a start is for; a higher goal replaces a lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Goal {
    /// Everything is fetched and verified, nothing runs.
    Files,
    /// The VM runs once, so that a template of it exists, and goes when nobody needs it.
    Template,
    /// The VM runs.
    Serve,
}

/// What follows when the VM is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: the next request starts it again.
    Rest,
    /// Start again, with the files of that moment.
    Restart(Goal),
    /// Forget the program.
    Remove,
}

/// Where a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing runs.
    Idle,
    /// Message and files are fetched.
    Preparing { goal: Goal },
    /// The supervisor works; the guest is not ready yet. `leaving` is done when it is.
    Starting { goal: Goal, leaving: Option<Next> },
    /// Requests are served; `active` are inside. With `leaving` no more are let in.
    Running { active: u32, leaving: Option<Next> },
    /// The VM was told to end.
    Stopping { next: Next },
    /// The last start failed; left alone until `until_ms`.
    Failed { until_ms: u64 },
    /// The program is not known any more.
    Gone,
}

/// What happens to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A request (`Serve`) or an allocation needs it.
    Wanted(Goal),
    /// Message and files are here.
    Prepared,
    /// They can't be had.
    PreparationFailed,
    /// The guest is ready.
    Started,
    /// It did not come up; its supervisor has ended.
    StartFailed,
    /// A running VM was found after a restart of this process.
    Adopted,
    /// A request was let in.
    RequestBegan,
    /// And is over.
    RequestEnded,
    /// Nobody asked for as long as VMs are kept warm.
    IdleExpired,
    /// Waiting for the last requests took too long.
    DrainExpired,
    /// The VM ended by itself.
    VmEnded,
    /// The VM that was told to end has ended.
    Stopped,
    /// A file that the program refers to has a new version.
    Updated,
    /// The owner or the scheduler wants it stopped.
    StopAsked,
    /// The owner wants it started again.
    RebootAsked,
    /// The message is no more, or nobody here needs the program any more.
    RemoveAsked,
    /// The pause after a failure is over.
    PauseOver,
}

/// What is true besides the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Milliseconds on any steady clock.
    pub(crate) now_ms: u64,
    /// The program is allocated as persistent: it is started again whenever it ends.
    pub(crate) keep_running: bool,
    /// Pause after the failure that happens now, milliseconds.
    pub(crate) pause_ms: u64,
}

/// What the driver has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Fetch message and files; report `Prepared` or `PreparationFailed`.
    Prepare,
    /// Start the VM; report `Started` or `StartFailed`.
    Launch,
    /// End the VM; report `Stopped`.
    Stop,
    /// Report `IdleExpired` when nobody came for the long or (after a template start) short time.
    ArmIdle { after: Goal },
    /// Don't.
    DisarmIdle,
    /// Report `DrainExpired` after the drain time.
    ArmDrain,
    /// Report `PauseOver` then.
    ArmPause { until_ms: u64 },
    /// Let everybody in who waits.
    AdmitWaiters,
    /// Tell everybody who waits why not.
    RefuseWaiters,
    /// Delete what belongs to the VM of an ended start, and its place in the accounts.
    Release,
    /// Forget the program.
    Remove,
}

/// The next state and what to do, in order.
pub(crate) fn step(state: State, event: Event, facts: Facts) -> (State, Vec<Effect>) {
    use Effect as F;
    use Event as E;
    use State as S;
    match (state, event) {
        (S::Gone, _) => (S::Gone, vec![]),
        // Removal is final; who waits is refused at its end.
        (
            S::Starting { leaving: Some(Next::Remove), .. }
            | S::Running { leaving: Some(Next::Remove), .. }
            | S::Stopping { next: Next::Remove },
            E::Wanted(_) | E::StopAsked | E::RebootAsked | E::Updated,
        ) => (state, vec![]),

        // A request before the pause is over gets the old answer.
        (S::Failed { until_ms }, E::Wanted(Goal::Serve)) if facts.now_ms < until_ms => {
            (state, vec![F::RefuseWaiters])
        }
        (S::Failed { until_ms }, E::Wanted(_)) if facts.now_ms < until_ms => (state, vec![]),
        (S::Idle | S::Failed { .. }, E::Wanted(goal)) => (S::Preparing { goal }, vec![F::Prepare]),
        (S::Preparing { goal: old }, E::Wanted(goal)) => (S::Preparing { goal: old.max(goal) }, vec![]),
        (S::Starting { goal: old, leaving: None }, E::Wanted(goal)) => {
            (S::Starting { goal: old.max(goal), leaving: None }, vec![])
        }
        (S::Starting { goal, leaving: Some(_) }, E::Wanted(wanted)) => {
            (S::Starting { goal, leaving: Some(Next::Restart(wanted)) }, vec![])
        }
        (S::Running { leaving: None, .. }, E::Wanted(Goal::Serve)) => (state, vec![F::AdmitWaiters]),
        (S::Running { leaving: None, .. }, E::Wanted(_)) => (state, vec![]),
        (S::Running { active, leaving: Some(_) }, E::Wanted(goal)) => {
            (S::Running { active, leaving: Some(Next::Restart(goal)) }, vec![])
        }
        (S::Stopping { next: Next::Restart(old) }, E::Wanted(goal)) => {
            (S::Stopping { next: Next::Restart(old.max(goal)) }, vec![])
        }
        (S::Stopping { .. }, E::Wanted(goal)) => (S::Stopping { next: Next::Restart(goal) }, vec![]),

        (S::Preparing { goal: Goal::Files }, E::Prepared) => (S::Idle, vec![]),
        (S::Preparing { goal }, E::Prepared) => (S::Starting { goal, leaving: None }, vec![F::Launch]),
        (S::Preparing { .. }, E::PreparationFailed) => fail(facts, vec![]),

        (S::Starting { leaving: Some(next), .. }, E::Started) => {
            let (state, effects) = leave(next);
            (state, refuse_unless_restart(next, effects))
        }
        (S::Starting { goal, leaving: None }, E::Started) => {
            (S::Running { active: 0, leaving: None }, vec![F::ArmIdle { after: goal }, F::AdmitWaiters])
        }
        (S::Starting { leaving: Some(next), .. }, E::StartFailed | E::VmEnded) => {
            after_end(next, vec![F::Release])
        }
        (S::Starting { .. }, E::StartFailed | E::VmEnded) => fail(facts, vec![F::Release]),
        (S::Idle, E::Adopted) => (
            S::Running { active: 0, leaving: None },
            vec![F::ArmIdle { after: Goal::Serve }, F::AdmitWaiters],
        ),

        (S::Running { active, leaving }, E::RequestBegan) => {
            (S::Running { active: active.saturating_add(1), leaving }, vec![F::DisarmIdle])
        }
        (S::Running { active, leaving }, E::RequestEnded) => match (active.saturating_sub(1), leaving) {
            (0, Some(next)) => leave(next),
            (0, None) => (S::Running { active: 0, leaving: None }, vec![F::ArmIdle { after: Goal::Serve }]),
            (active, leaving) => (S::Running { active, leaving }, vec![]),
        },
        (S::Running { active: 0, leaving: None }, E::IdleExpired) if !facts.keep_running => leave(Next::Rest),
        (S::Running { leaving: Some(next), .. }, E::DrainExpired) => leave(next),
        (S::Running { leaving: Some(next), .. }, E::VmEnded) => after_end(next, vec![F::Release]),
        // A program that ended while it served is started by the next request at once.
        (S::Running { .. }, E::VmEnded) if facts.keep_running => fail(facts, vec![F::Release]),
        (S::Running { .. }, E::VmEnded) => (S::Idle, vec![F::DisarmIdle, F::Release]),

        (S::Running { active, leaving }, E::Updated) => {
            let next = match leaving {
                None if facts.keep_running => Next::Restart(Goal::Serve),
                None => Next::Rest,
                Some(next) => next,
            };
            drain(active, leaving, next)
        }
        (S::Starting { goal, leaving: None }, E::Updated) => {
            (S::Starting { goal, leaving: Some(Next::Restart(goal)) }, vec![])
        }
        // What was fetched so far may be the old version.
        (S::Preparing { .. }, E::Updated) => (state, vec![F::Prepare]),
        (S::Running { active, leaving }, E::StopAsked) => drain(active, leaving, Next::Rest),
        (S::Running { active, leaving }, E::RebootAsked) => {
            drain(active, leaving, Next::Restart(Goal::Serve))
        }
        (S::Running { active, leaving }, E::RemoveAsked) => drain(active, leaving, Next::Remove),
        (S::Starting { goal, .. }, E::StopAsked) => (S::Starting { goal, leaving: Some(Next::Rest) }, vec![]),
        (S::Starting { goal, .. }, E::RemoveAsked) => {
            (S::Starting { goal, leaving: Some(Next::Remove) }, vec![])
        }
        (S::Stopping { .. }, E::StopAsked) => (S::Stopping { next: Next::Rest }, vec![F::RefuseWaiters]),
        (S::Stopping { .. }, E::RemoveAsked) => (S::Stopping { next: Next::Remove }, vec![F::RefuseWaiters]),
        (S::Preparing { .. }, E::StopAsked) => (S::Idle, vec![F::RefuseWaiters]),
        (S::Preparing { .. } | S::Idle | S::Failed { .. }, E::RemoveAsked) => {
            (S::Gone, vec![F::RefuseWaiters, F::Remove])
        }
        (S::Failed { .. }, E::StopAsked) => (S::Idle, vec![]),

        (S::Stopping { next }, E::Stopped | E::VmEnded) => after_end(next, vec![F::Release]),
        (S::Failed { .. }, E::PauseOver) if facts.keep_running => {
            (S::Preparing { goal: Goal::Serve }, vec![F::Prepare])
        }

        // Late or meaningless: what it is about is over already.
        _ => (state, vec![]),
    }
}

fn fail(facts: Facts, mut effects: Vec<Effect>) -> (State, Vec<Effect>) {
    let until_ms = facts.now_ms.saturating_add(facts.pause_ms);
    effects.push(Effect::RefuseWaiters);
    if facts.keep_running {
        effects.push(Effect::ArmPause { until_ms });
    }
    (State::Failed { until_ms }, effects)
}

/// No more requests; ends the VM once the last is out.
fn drain(active: u32, leaving: Option<Next>, next: Next) -> (State, Vec<Effect>) {
    match (active, leaving) {
        (0, _) => leave(next),
        (_, None) => {
            (State::Running { active, leaving: Some(next) }, vec![Effect::DisarmIdle, Effect::ArmDrain])
        }
        (_, Some(_)) => (State::Running { active, leaving: Some(next) }, vec![]),
    }
}

fn leave(next: Next) -> (State, Vec<Effect>) {
    (State::Stopping { next }, vec![Effect::DisarmIdle, Effect::Stop])
}

fn refuse_unless_restart(next: Next, mut effects: Vec<Effect>) -> Vec<Effect> {
    if !matches!(next, Next::Restart(_)) {
        effects.push(Effect::RefuseWaiters);
    }
    effects
}

fn after_end(next: Next, mut effects: Vec<Effect>) -> (State, Vec<Effect>) {
    match next {
        Next::Rest => {
            effects.push(Effect::RefuseWaiters);
            (State::Idle, effects)
        }
        Next::Restart(goal) => {
            effects.push(Effect::Prepare);
            (State::Preparing { goal }, effects)
        }
        Next::Remove => {
            effects.extend([Effect::RefuseWaiters, Effect::Remove]);
            (State::Gone, effects)
        }
    }
}

impl State {
    /// The word that lists show.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Preparing { .. } => "preparing",
            State::Starting { .. } => "starting",
            State::Running { .. } => "running",
            State::Stopping { .. } => "stopping",
            State::Failed { .. } => "failed",
            State::Gone => "gone",
        }
    }

    /// Whether requests are inside.
    pub(crate) fn is_busy(self) -> bool {
        matches!(self, State::Running { active: 1.., .. })
    }

    /// Whether there is, or may be, a VM.
    pub(crate) fn has_vm(self) -> bool {
        matches!(self, State::Starting { .. } | State::Running { .. } | State::Stopping { .. })
    }
}

#[cfg(test)]
mod tests;
