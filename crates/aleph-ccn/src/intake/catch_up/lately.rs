//! What was found to lack here a moment ago.

use std::collections::HashSet;
use std::time::{Duration, Instant};

/// An element is believed to lack for so long after it was looked up, and at most twice as long.
const BELIEVED_FOR: Duration = Duration::from_secs(2);

/// Elements of one generation: some open lists.
const GENERATION: usize = 32_768;

/// Elements that were looked up and found to lack, until they are decided or it was too long ago: several nodes
/// name the same ones within a second, and each look into the database is about three spellings of a hash.
#[derive(Debug, Default)]
pub(super) struct Lately {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
    /// When the young ones began.
    since: Option<Instant>,
}

impl Lately {
    /// Those of `ids` that have to be looked up.
    pub(super) fn unsure(&mut self, ids: &[[u8; 32]], now: Instant) -> Vec<[u8; 32]> {
        self.tidy(now);
        ids.iter().filter(|id| !self.young.contains(*id) && !self.old.contains(*id)).copied().collect()
    }

    /// These were looked up, and lack.
    pub(super) fn lack<'a>(&mut self, ids: impl IntoIterator<Item = &'a [u8; 32]>, now: Instant) {
        self.tidy(now);
        for id in ids {
            if self.young.len() >= GENERATION {
                self.begin(now);
            }
            self.young.insert(*id);
        }
    }

    /// This one may be here by now.
    pub(super) fn decided(&mut self, id: &[u8; 32]) {
        self.young.remove(id);
        self.old.remove(id);
    }

    fn tidy(&mut self, now: Instant) {
        let age = self.since.map_or(Duration::MAX, |since| now.saturating_duration_since(since));
        if age >= BELIEVED_FOR {
            self.begin(now);
        }
        if age >= 2 * BELIEVED_FOR {
            self.old.clear();
        }
    }

    fn begin(&mut self, now: Instant) {
        self.old = std::mem::take(&mut self.young);
        self.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacked_is_believed_for_a_while_or_until_it_is_decided() {
        let (mut lately, begin) = (Lately::default(), Instant::now());
        let ids = [[1; 32], [2; 32], [3; 32]];
        assert_eq!(lately.unsure(&ids, begin), ids);
        lately.lack(&ids[..2], begin);
        assert_eq!(lately.unsure(&ids, begin), [[3; 32]]);
        lately.decided(&[1; 32]);
        assert_eq!(lately.unsure(&ids, begin + BELIEVED_FOR), [[1; 32], [3; 32]]);
        lately.lack(&[[3; 32]], begin + BELIEVED_FOR);
        assert_eq!(lately.unsure(&ids, begin + 2 * BELIEVED_FOR), [[1; 32], [2; 32]]);
        assert_eq!(lately.unsure(&ids, begin + 9 * BELIEVED_FOR), ids);
    }

    #[test]
    fn it_stays_bounded() {
        let (mut lately, now) = (Lately::default(), Instant::now());
        for number in 0..5 * GENERATION as u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            lately.lack(&[id], now);
        }
        assert!(lately.young.len() + lately.old.len() <= 2 * GENERATION);
    }
}
