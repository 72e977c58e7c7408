use super::Effect as F;
use super::Event as E;
use super::State as S;
use super::*;

const FACTS: Facts = Facts { now_ms: 1000, keep_running: false, pause_ms: 500 };
const KEPT: Facts = Facts { keep_running: true, ..FACTS };

fn running(active: u32) -> State {
    S::Running { active, leaving: None }
}

fn leaving(active: u32, next: Next) -> State {
    S::Running { active, leaving: Some(next) }
}

fn starting(goal: Goal) -> State {
    S::Starting { goal, leaving: None }
}

#[test]
fn the_table() {
    let serve = Goal::Serve;
    let rows: Vec<(State, Event, Facts, State, Vec<Effect>)> = vec![
        // the way up
        (S::Idle, E::Wanted(serve), FACTS, S::Preparing { goal: serve }, vec![F::Prepare]),
        (S::Preparing { goal: Goal::Files }, E::Wanted(serve), FACTS, S::Preparing { goal: serve }, vec![]),
        (S::Preparing { goal: serve }, E::Wanted(Goal::Files), FACTS, S::Preparing { goal: serve }, vec![]),
        (S::Preparing { goal: Goal::Files }, E::Prepared, FACTS, S::Idle, vec![]),
        (S::Preparing { goal: serve }, E::Prepared, FACTS, starting(serve), vec![F::Launch]),
        (starting(Goal::Template), E::Wanted(serve), FACTS, starting(serve), vec![]),
        (starting(serve), E::Started, FACTS, running(0), vec![F::ArmIdle { after: serve }, F::AdmitWaiters]),
        (S::Idle, E::Adopted, FACTS, running(0), vec![F::ArmIdle { after: serve }, F::AdmitWaiters]),
        // requests
        (running(0), E::Wanted(serve), FACTS, running(0), vec![F::AdmitWaiters]),
        (running(0), E::RequestBegan, FACTS, running(1), vec![F::DisarmIdle]),
        (running(2), E::RequestEnded, FACTS, running(1), vec![]),
        (running(1), E::RequestEnded, FACTS, running(0), vec![F::ArmIdle { after: serve }]),
        (running(0), E::RequestEnded, FACTS, running(0), vec![F::ArmIdle { after: serve }]),
        // idle
        (running(0), E::IdleExpired, FACTS, S::Stopping { next: Next::Rest }, vec![F::DisarmIdle, F::Stop]),
        (running(1), E::IdleExpired, FACTS, running(1), vec![]),
        (running(0), E::IdleExpired, KEPT, running(0), vec![]),
        (S::Stopping { next: Next::Rest }, E::Stopped, FACTS, S::Idle, vec![F::Release, F::RefuseWaiters]),
        (
            S::Stopping { next: Next::Rest },
            E::Wanted(serve),
            FACTS,
            S::Stopping { next: Next::Restart(serve) },
            vec![],
        ),
        (
            S::Stopping { next: Next::Restart(serve) },
            E::Stopped,
            FACTS,
            S::Preparing { goal: serve },
            vec![F::Release, F::Prepare],
        ),
        // failures
        (
            S::Preparing { goal: serve },
            E::PreparationFailed,
            FACTS,
            S::Failed { until_ms: 1500 },
            vec![F::RefuseWaiters],
        ),
        (
            starting(serve),
            E::StartFailed,
            FACTS,
            S::Failed { until_ms: 1500 },
            vec![F::Release, F::RefuseWaiters],
        ),
        (
            S::Failed { until_ms: 1500 },
            E::Wanted(serve),
            FACTS,
            S::Failed { until_ms: 1500 },
            vec![F::RefuseWaiters],
        ),
        (S::Failed { until_ms: 1500 }, E::Wanted(Goal::Files), FACTS, S::Failed { until_ms: 1500 }, vec![]),
        (
            S::Failed { until_ms: 900 },
            E::Wanted(serve),
            FACTS,
            S::Preparing { goal: serve },
            vec![F::Prepare],
        ),
        (S::Failed { until_ms: 900 }, E::PauseOver, FACTS, S::Failed { until_ms: 900 }, vec![]),
        (S::Failed { until_ms: 900 }, E::PauseOver, KEPT, S::Preparing { goal: serve }, vec![F::Prepare]),
        // crashes: a working VM on the next call; persistent programs come back by themselves
        (running(1), E::VmEnded, FACTS, S::Idle, vec![F::DisarmIdle, F::Release]),
        (
            running(1),
            E::VmEnded,
            KEPT,
            S::Failed { until_ms: 1500 },
            vec![F::Release, F::RefuseWaiters, F::ArmPause { until_ms: 1500 }],
        ),
        // updates wait for the requests inside
        (running(0), E::Updated, FACTS, S::Stopping { next: Next::Rest }, vec![F::DisarmIdle, F::Stop]),
        (
            running(0),
            E::Updated,
            KEPT,
            S::Stopping { next: Next::Restart(serve) },
            vec![F::DisarmIdle, F::Stop],
        ),
        (running(2), E::Updated, FACTS, leaving(2, Next::Rest), vec![F::DisarmIdle, F::ArmDrain]),
        (leaving(2, Next::Rest), E::Wanted(serve), FACTS, leaving(2, Next::Restart(serve)), vec![]),
        (
            leaving(1, Next::Restart(serve)),
            E::RequestEnded,
            FACTS,
            S::Stopping { next: Next::Restart(serve) },
            vec![F::DisarmIdle, F::Stop],
        ),
        (
            leaving(1, Next::Rest),
            E::DrainExpired,
            FACTS,
            S::Stopping { next: Next::Rest },
            vec![F::DisarmIdle, F::Stop],
        ),
        (
            starting(serve),
            E::Updated,
            FACTS,
            S::Starting { goal: serve, leaving: Some(Next::Restart(serve)) },
            vec![],
        ),
        (S::Preparing { goal: serve }, E::Updated, FACTS, S::Preparing { goal: serve }, vec![F::Prepare]),
        // deletions
        (running(1), E::RemoveAsked, FACTS, leaving(1, Next::Remove), vec![F::DisarmIdle, F::ArmDrain]),
        (leaving(1, Next::Remove), E::StopAsked, FACTS, leaving(1, Next::Remove), vec![]),
        (S::Idle, E::RemoveAsked, FACTS, S::Gone, vec![F::RefuseWaiters, F::Remove]),
        (
            S::Stopping { next: Next::Remove },
            E::Stopped,
            FACTS,
            S::Gone,
            vec![F::Release, F::RefuseWaiters, F::Remove],
        ),
        (S::Gone, E::Wanted(serve), FACTS, S::Gone, vec![]),
        // owners
        (running(0), E::StopAsked, FACTS, S::Stopping { next: Next::Rest }, vec![F::DisarmIdle, F::Stop]),
        (
            running(0),
            E::RebootAsked,
            FACTS,
            S::Stopping { next: Next::Restart(serve) },
            vec![F::DisarmIdle, F::Stop],
        ),
        (S::Preparing { goal: serve }, E::StopAsked, FACTS, S::Idle, vec![F::RefuseWaiters]),
        // late news
        (S::Idle, E::IdleExpired, FACTS, S::Idle, vec![]),
        (S::Idle, E::Prepared, FACTS, S::Idle, vec![]),
        (running(1), E::Started, FACTS, running(1), vec![]),
    ];
    for (state, event, facts, next, effects) in rows {
        assert_eq!(step(state, event, facts), (next, effects), "{state:?} + {event:?} ({facts:?})");
    }
}

/// Whatever happens in whatever order: a launch is always preceded by a preparation, there is never a
/// second launch before the first VM's end, and `Stop` is only asked of a VM that may exist.
#[test]
fn one_vm_at_a_time() {
    let events = [
        E::Wanted(Goal::Files),
        E::Wanted(Goal::Template),
        E::Wanted(Goal::Serve),
        E::Prepared,
        E::PreparationFailed,
        E::Started,
        E::StartFailed,
        E::RequestBegan,
        E::RequestEnded,
        E::IdleExpired,
        E::DrainExpired,
        E::VmEnded,
        E::Stopped,
        E::Updated,
        E::StopAsked,
        E::RebootAsked,
        E::RemoveAsked,
        E::PauseOver,
    ];
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for round in 0..200 {
        let mut state = S::Idle;
        let mut vm = false;
        for now_ms in 0..200 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let event = events[(random % events.len() as u64) as usize];
            // The world only tells of VMs that exist.
            let about_vm =
                matches!(event, E::Started | E::StartFailed | E::VmEnded | E::Stopped | E::RequestBegan);
            if about_vm && !vm {
                continue;
            }
            let facts = Facts { now_ms, keep_running: round % 2 == 0, pause_ms: 3 };
            let (next, effects) = step(state, event, facts);
            for effect in &effects {
                match effect {
                    F::Launch => {
                        assert!(!vm, "two VMs: {state:?} + {event:?}");
                        vm = true;
                    }
                    F::Stop => assert!(vm, "stop of nothing: {state:?} + {event:?}"),
                    F::Release => vm = false,
                    _ => {}
                }
            }
            assert_eq!(next.has_vm(), vm, "{state:?} + {event:?} -> {next:?}");
            state = next;
        }
    }
}
