use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use crate::defaults::{OUTBOX_BYTES, OUTBOX_FOR, OUTBOX_MESSAGES};
use crate::{GossipId, gossip_id};

/// Messages that nobody heard yet.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Waiting>,
    ids: HashSet<GossipId>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    id: GossipId,
    payload: Vec<u8>,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Keeps a payload; returns how many older ones made room.
    pub(crate) fn push(&mut self, payload: Vec<u8>, now: Instant) -> u64 {
        let id = gossip_id(&payload);
        if !self.ids.insert(id) {
            return 0;
        }
        self.bytes += payload.len();
        self.waiting.push_back(Waiting { since: now, id, payload });
        let mut lost = 0;
        while self.bytes > OUTBOX_BYTES || self.waiting.len() > OUTBOX_MESSAGES {
            self.pop();
            lost += 1;
        }
        lost
    }

    /// Takes the oldest payload.
    pub(crate) fn pop(&mut self) -> Option<(Vec<u8>, Instant)> {
        let oldest = self.waiting.pop_front()?;
        self.bytes -= oldest.payload.len();
        self.ids.remove(&oldest.id);
        Some((oldest.payload, oldest.since))
    }

    /// Puts a payload back that was just taken.
    pub(crate) fn unpop(&mut self, payload: Vec<u8>, since: Instant) {
        let id = gossip_id(&payload);
        if self.ids.insert(id) {
            self.bytes += payload.len();
            self.waiting.push_front(Waiting { since, id, payload });
        }
    }

    /// Gives up what waited too long; returns how many.
    pub(crate) fn expire(&mut self, now: Instant) -> u64 {
        let mut lost = 0;
        while self
            .waiting
            .front()
            .is_some_and(|oldest| now.saturating_duration_since(oldest.since) >= OUTBOX_FOR)
        {
            self.pop();
            lost += 1;
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_bounded_in_messages_bytes_and_time() {
        let start = Instant::now();
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(b"a".to_vec(), start), 0);
        assert_eq!(outbox.push(b"a".to_vec(), start), 0, "the same bytes wait once");
        assert_eq!(outbox.waiting.len(), 1);
        assert_eq!(outbox.expire(start + OUTBOX_FOR - Duration::from_millis(1)), 0);
        assert_eq!(outbox.expire(start + OUTBOX_FOR), 1);
        assert!(outbox.is_empty() && outbox.bytes == 0 && outbox.ids.is_empty());

        let lost: u64 =
            (0..OUTBOX_MESSAGES + 5).map(|i| outbox.push(i.to_string().into_bytes(), start)).sum();
        assert_eq!(lost, 5);
        assert_eq!(outbox.pop().unwrap().0, b"5");
        let big: u64 = (0..40_u8).map(|i| outbox.push(vec![i; 261_000], start)).sum();
        assert!(big > 0 && outbox.bytes <= OUTBOX_BYTES);
    }
}
