//! How many refusals of gossip become rows of the database.

use std::time::Instant;

use parking_lot::Mutex;

/// Rows a second in the long run, and at once. A row lets an operator see why a message is not here, which
/// a few of them do; without a bound anybody could fill the disk with them.
const PER_SECOND: f64 = 2.0;
const AT_ONCE: f64 = 500.0;

/// Counts the refusals that are stored.
#[derive(Debug)]
pub(crate) struct Refusals(Mutex<Used>);

#[derive(Debug)]
struct Used {
    rows: f64,
    at: Instant,
}

impl Default for Refusals {
    fn default() -> Self {
        Self(Mutex::new(Used { rows: 0.0, at: Instant::now() }))
    }
}

impl Refusals {
    /// Whether one more may be stored.
    pub(crate) fn take(&self) -> bool {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> bool {
        let mut used = self.0.lock();
        let passed = now.saturating_duration_since(used.at).as_secs_f64();
        used.rows = (used.rows - passed * PER_SECOND).max(0.0);
        used.at = used.at.max(now);
        let fits = used.rows + 1.0 <= AT_ONCE;
        if fits {
            used.rows += 1.0;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_then_a_few() {
        let refusals = Refusals::default();
        let start = Instant::now();
        assert_eq!((0..2_000).filter(|_| refusals.take_at(start)).count(), 500);
        let later = start + Duration::from_secs(10);
        assert_eq!((0..2_000).filter(|_| refusals.take_at(later)).count(), 20);
    }
}
