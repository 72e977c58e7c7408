//! What a peer asked for and has not got yet: bounded, the most urgent first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::message::{Entry, WantKind};

/// Wants of one peer that are remembered; Kubo remembers 1,024.
pub(super) const MOST_WANTS: usize = 4096;

/// A want in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn(Reverse<i32>, u64);

/// The wants of one peer.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    wants: BTreeMap<Turn, Entry>,
    turns: HashMap<Bytes, Turn>,
    count: u64,
}

impl Ledger {
    /// Takes what a message asks for. Returns how many wants had no room.
    pub(super) fn take(&mut self, entries: Vec<Entry>, full: bool) -> usize {
        if full {
            self.clear();
        }
        let mut lost = 0;
        for mut entry in entries {
            // Out of the frame, which is far larger.
            entry.cid = Bytes::copy_from_slice(&entry.cid);
            let before = self.turns.remove(&entry.cid).and_then(|turn| self.wants.remove(&turn));
            if entry.cancel {
                continue;
            }
            if self.wants.len() >= MOST_WANTS {
                lost += 1;
                continue;
            }
            // Who wanted the block still wants it.
            if before.is_some_and(|before| before.kind == WantKind::Block) {
                entry.kind = WantKind::Block;
            }
            self.count += 1;
            let turn = Turn(Reverse(entry.priority), self.count);
            self.turns.insert(entry.cid.clone(), turn);
            self.wants.insert(turn, entry);
        }
        lost
    }

    /// The next want, which is its taker's affair from now on.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let (_, entry) = self.wants.pop_first()?;
        self.turns.remove(&entry.cid);
        Some(entry)
    }

    pub(super) fn len(&self) -> usize {
        self.wants.len()
    }

    pub(super) fn clear(&mut self) {
        self.wants.clear();
        self.turns.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(cid: u16, priority: i32, kind: WantKind) -> Entry {
        Entry {
            cid: Bytes::copy_from_slice(&cid.to_le_bytes()),
            priority,
            cancel: false,
            kind,
            send_dont_have: true,
        }
    }

    #[test]
    fn urgent_ones_come_first_and_then_the_order_of_arrival() {
        let mut ledger = Ledger::default();
        let wants = [(1, 1), (2, 9), (3, 1), (4, -5)].map(|(cid, urgent)| want(cid, urgent, WantKind::Block));
        assert_eq!(ledger.take(wants.to_vec(), false), 0);
        let order: Vec<u8> = std::iter::from_fn(|| ledger.pop()).map(|entry| entry.cid[0]).collect();
        assert_eq!(order, [2, 1, 3, 4]);
        assert!(ledger.len() == 0 && ledger.turns.is_empty());
    }

    #[test]
    fn wants_are_cancelled_replaced_and_bounded() {
        let mut ledger = Ledger::default();
        ledger.take(vec![want(1, 1, WantKind::Block), want(2, 1, WantKind::Block)], false);
        ledger.take(vec![want(1, 1, WantKind::Have)], false);
        assert_eq!(ledger.len(), 2);
        ledger.take(vec![Entry { cancel: true, ..want(2, 1, WantKind::Block) }], false);
        assert_eq!(ledger.pop().map(|entry| entry.kind), Some(WantKind::Block), "it was wanted before");
        ledger.take(vec![want(1, 1, WantKind::Have), want(2, 1, WantKind::Have)], false);
        ledger.take(vec![want(3, 1, WantKind::Have)], true);
        assert_eq!(ledger.len(), 1);
        let many = (0..u16::MAX).map(|cid| want(cid, 1, WantKind::Block)).collect();
        assert_eq!(ledger.take(many, false), usize::from(u16::MAX) - MOST_WANTS);
        assert_eq!((ledger.len(), ledger.turns.len()), (MOST_WANTS, MOST_WANTS));
    }
}
