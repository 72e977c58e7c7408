//! When to compare with whom.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use crate::defaults::CATCH_UP_EVERY;

/// With many nodes each is asked more seldom: so much time for each.
const EACH: Duration = Duration::from_millis(500);

/// No node is asked more often, however often it connects.
const LEAST: Duration = Duration::from_secs(2);

/// Who could not be asked, or was busy, is tried again after this time at first, then twice as long each time
/// up to the usual pause.
const RETRY: Duration = Duration::from_secs(1);

/// Who had something that was lacking is asked again after this time at first, since it may still be catching
/// up itself, and what waited there goes on then; later twice as long, up to the usual pause.
const AGAIN: Duration = Duration::from_secs(1);

/// When each node was asked last, and is to be asked again. Steps by the time that it is told.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    visits: HashMap<String, Visit>,
}

#[derive(Debug)]
struct Visit {
    due: Instant,
    /// When the last round with it began.
    began: Instant,
    /// Its connection then.
    connected: Option<SystemTime>,
    /// Rounds in a row that failed for no fault of its own.
    failures: u32,
    /// Rounds in a row in which it had something.
    useful: u32,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Done,
    /// It had something that was lacking.
    Useful,
    /// It may work soon.
    Failed,
}

impl Schedule {
    /// Forgets those that are not there any more.
    pub(super) fn keep(&mut self, keys: &HashSet<&str>) {
        self.visits.retain(|key, _| keys.contains(key.as_str()));
    }

    /// Whether a round with a node may begin: it is new, its time has come, or it has come back.
    pub(super) fn is_due(&self, name: &str, connected: Option<SystemTime>, now: Instant) -> bool {
        self.visits.get(name).is_none_or(|visit| {
            let came_back = connected.is_some() && connected != visit.connected;
            now >= visit.due || (came_back && now >= visit.began + LEAST)
        })
    }

    pub(super) fn begins(&mut self, name: &str, connected: Option<SystemTime>, now: Instant) {
        let (failures, useful) = self.visits.get(name).map_or((0, 0), |visit| (visit.failures, visit.useful));
        // Should it never be told that it ended: again later.
        let visit = Visit { due: now + CATCH_UP_EVERY, began: now, connected, failures, useful };
        self.visits.insert(name.to_owned(), visit);
    }

    /// A round ended, with `nodes` that are asked altogether.
    pub(super) fn ended(&mut self, name: &str, end: End, nodes: usize, now: Instant) {
        let usual = CATCH_UP_EVERY.max(EACH.saturating_mul(u32::try_from(nodes).unwrap_or(u32::MAX)));
        let Some(visit) = self.visits.get_mut(name) else { return };
        match end {
            End::Done => (visit.failures, visit.useful, visit.due) = (0, 0, now + usual),
            End::Useful => {
                // Twice at each pause: others need some seconds as well.
                visit.due = now + AGAIN.saturating_mul(1 << (visit.useful / 2).min(6)).min(usual);
                (visit.failures, visit.useful) = (0, visit.useful.saturating_add(1));
            }
            End::Failed => {
                visit.due = now + RETRY.saturating_mul(1 << visit.failures.min(6)).min(usual);
                visit.failures = visit.failures.saturating_add(1);
            }
        }
    }

    /// A node came: others that could not be asked may be back as well.
    pub(super) fn nudged(&mut self, now: Instant) {
        for visit in self.visits.values_mut().filter(|visit| visit.failures > 0) {
            visit.due = visit.due.min(now.max(visit.began + LEAST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_is_asked_at_once_and_others_in_their_time() {
        let mut schedule = Schedule::default();
        let (start, first) = (Instant::now(), Some(SystemTime::UNIX_EPOCH));
        assert!(schedule.is_due("a", first, start), "a new one");
        schedule.begins("a", first, start);
        schedule.ended("a", End::Done, 4, start);
        assert!(!schedule.is_due("a", first, start + CATCH_UP_EVERY / 2));
        assert!(schedule.is_due("a", first, start + CATCH_UP_EVERY));
        let again = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(5));
        assert!(!schedule.is_due("a", again, start + LEAST / 2), "however often it connects");
        assert!(schedule.is_due("a", again, start + LEAST));
        assert!(!schedule.is_due("a", None, start + LEAST), "it went");
        schedule.ended("a", End::Done, 100, start);
        assert!(!schedule.is_due("a", first, start + EACH * 99), "one of many");
        assert!(schedule.is_due("a", first, start + EACH * 100));
        schedule.keep(&HashSet::new());
        assert!(schedule.is_due("a", first, start));
    }

    #[test]
    fn who_had_something_is_asked_again_soon_and_then_later_and_later() {
        let mut schedule = Schedule::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            schedule.begins("a", None, now);
            schedule.ended("a", End::Useful, 4, now);
            let ended = now;
            while !schedule.is_due("a", None, now) {
                now += AGAIN / 4;
            }
            pauses.push(now - ended);
        }
        assert_eq!(pauses[..5], [AGAIN, AGAIN, 2 * AGAIN, 2 * AGAIN, 4 * AGAIN]);
        assert_eq!(pauses[11], CATCH_UP_EVERY, "in a network that loses some always");
        schedule.begins("a", None, now);
        schedule.ended("a", End::Done, 4, now);
        assert!(!schedule.is_due("a", None, now + CATCH_UP_EVERY / 2));
        schedule.begins("a", None, now);
        schedule.ended("a", End::Useful, 4, now);
        assert!(schedule.is_due("a", None, now + AGAIN), "it begins anew");
    }

    #[test]
    fn who_could_not_be_asked_is_tried_sooner_when_another_comes_back() {
        let mut schedule = Schedule::default();
        let start = Instant::now();
        for _ in 0..20 {
            schedule.begins("a", None, start);
            schedule.ended("a", End::Failed, 4, start);
        }
        assert!(!schedule.is_due("a", None, start + CATCH_UP_EVERY / 2));
        assert!(schedule.is_due("a", None, start + CATCH_UP_EVERY), "never later than usual");
        schedule.nudged(start + LEAST);
        assert!(schedule.is_due("a", None, start + LEAST));
        schedule.ended("a", End::Done, 4, start);
        schedule.begins("a", None, start);
        schedule.ended("a", End::Failed, 4, start);
        assert!(schedule.is_due("a", None, start + RETRY));
    }
}
