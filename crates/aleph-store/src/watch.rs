//! Invariants that were found broken in this process ([`aleph_rules::invariants`]): counted, and told by the
//! node's metrics and health. There should never be one.

use std::sync::Mutex;

use aleph_rules::invariants::Violation;

/// How many, and the last one in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Broken {
    /// Since the process started.
    pub count: u64,
    /// The last one.
    pub last: Option<String>,
}

static BROKEN: Mutex<Broken> = Mutex::new(Broken { count: 0, last: None });

/// Counts one.
pub fn note(violation: &Violation) {
    let mut broken = BROKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    broken.count += 1;
    broken.last = Some(violation.to_string());
}

/// What was found since the process started.
pub fn broken() -> Broken {
    BROKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}
