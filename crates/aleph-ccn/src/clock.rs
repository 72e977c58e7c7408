//! The node's clock, in one place.

use std::cell::Cell;
use std::time::SystemTime;

use aleph_types::Timestamp;

thread_local! {
    /// What the clock shows on this thread, in the place of the time of day.
    static SET: Cell<Option<Timestamp>> = const { Cell::new(None) };
}

/// Now, to the microsecond.
pub(crate) fn now() -> Timestamp {
    if let Some(now) = SET.get() {
        return now;
    }
    let micros = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    };
    Timestamp::from_micros(micros)
}

/// Lets the clock of this thread show `now` until it is set again: simulations have their own time.
pub(crate) fn set(now: Timestamp) {
    SET.set(Some(now));
}
