//! A simulation that finds nothing proves something only if it can find something.

use aleph_rules::invariants::Violation;
use aleph_sim::{Broken, Failure, Options, Wrong, run};

/// The first failure of a network that is broken like this, and that it fails again in the same way.
fn found(broken: Broken) -> Failure {
    for seed in 1..=20 {
        let liar_every = if broken == Broken::BelievesTombstones { 4 } else { 12 };
        let options =
            Options { nodes: 14, liar_every, messages: 80, broken: Some(broken), ..Options::new(seed) };
        if let Err(failure) = run(&options) {
            let again = run(&options).expect_err("the seed replays it");
            assert_eq!(again.to_string(), failure.to_string());
            println!("{broken:?}: {failure}");
            return failure;
        }
    }
    panic!("{broken:?} was not found by 20 seeds");
}

#[test]
fn an_acknowledgement_before_the_commit_is_found() {
    let failure = found(Broken::AcknowledgesEarly);
    assert!(matches!(*failure.wrong, Wrong::Violation(Violation::Lost { .. })), "{failure}");
}

#[test]
fn a_rule_that_looks_at_the_order_of_arrival_is_found() {
    let failure = found(Broken::DecidesByArrival);
    assert!(matches!(*failure.wrong, Wrong::Violation(Violation::States { .. })), "{failure}");
}

#[test]
fn nodes_that_never_catch_up_are_found() {
    let failure = found(Broken::NeverCatchesUp);
    assert!(matches!(*failure.wrong, Wrong::Violation(Violation::States { .. })), "{failure}");
}

#[test]
fn nodes_that_believe_any_tombstone_are_found() {
    let failure = found(Broken::BelievesTombstones);
    assert!(matches!(*failure.wrong, Wrong::Violation(_)), "{failure}");
}
