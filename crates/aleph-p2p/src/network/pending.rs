use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::GossipId;
use crate::defaults::VERDICT_WITHIN;

/// Messages that wait for a verdict.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    since: HashMap<GossipId, Instant>,
    order: VecDeque<(Instant, GossipId)>,
}

impl Pending {
    pub(crate) fn add(&mut self, id: GossipId, now: Instant) {
        self.since.insert(id, now);
        self.order.push_back((now, id));
    }

    pub(crate) fn len(&self) -> usize {
        self.since.len()
    }

    /// Says whether the message waited still.
    pub(crate) fn judged(&mut self, id: GossipId) -> bool {
        self.since.remove(&id).is_some()
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((since, id)) = self.order.front() {
            let waits = self.since.get(id) == Some(since);
            if waits && now.saturating_duration_since(*since) < VERDICT_WITHIN {
                break;
            }
            if waits {
                self.since.remove(id);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_never_judged_is_forgotten_and_nothing_is_judged_twice() {
        let start = Instant::now();
        let mut pending = Pending::default();
        for id in 0..3 {
            pending.add(GossipId(id), start + Duration::from_secs(id));
        }
        assert!(pending.judged(GossipId(1)));
        assert!(!pending.judged(GossipId(1)));
        assert_eq!(pending.len(), 2);
        pending.expire(start + VERDICT_WITHIN);
        assert!(!pending.judged(GossipId(0)), "too late");
        assert_eq!(pending.len(), 1);
        assert!(pending.judged(GossipId(2)));
        pending.expire(start + VERDICT_WITHIN * 2);
        assert!(pending.order.is_empty());
    }
}
