use std::collections::HashMap;
use std::time::{Duration, Instant};

use object_store::path::Path as Key;

/// Objects that are remembered in each of two generations: about 200 bytes each.
const GENERATION: usize = 16_384;

/// Objects that were stored lately, with the time. When there are more, all count as stored lately.
const FRESH: usize = 65_536;

/// What this process knows of objects without asking: they never change, and nobody else deletes them.
#[derive(Debug, Default)]
pub(super) struct Known {
    young: HashMap<Key, u64>,
    old: HashMap<Key, u64>,
    fresh: HashMap<Key, Instant>,
    /// When the last one was stored that there was no room for.
    overflowed: Option<Instant>,
}

impl Known {
    pub(super) fn size(&mut self, key: &Key) -> Option<u64> {
        if let Some(size) = self.young.get(key) {
            return Some(*size);
        }
        let size = self.old.remove(key)?;
        self.insert(key, size);
        Some(size)
    }

    pub(super) fn insert(&mut self, key: &Key, size: u64) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key.clone(), size);
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.young.remove(key);
        self.old.remove(key);
        self.fresh.remove(key);
    }

    /// It was stored, or stored again, now.
    pub(super) fn stored(&mut self, key: &Key, size: u64) {
        self.insert(key, size);
        if self.fresh.len() >= FRESH {
            self.fresh.retain(|_, stored| stored.elapsed() < Duration::from_secs(2 * 3600));
        }
        if self.fresh.len() >= FRESH {
            self.overflowed = Some(Instant::now());
        } else {
            self.fresh.insert(key.clone(), Instant::now());
        }
    }

    /// Whether it was stored less than `idle` ago, as far as is known.
    pub(super) fn is_fresh(&self, key: &Key, idle: Duration) -> bool {
        let times = [self.fresh.get(key).copied(), self.overflowed];
        times.into_iter().flatten().any(|stored| stored.elapsed() < idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_number_is_bounded() {
        let mut known = Known::default();
        let used = Key::from("used");
        known.insert(&used, 7);
        for number in 0..5 * GENERATION as u64 {
            known.insert(&Key::from(number.to_string()), number);
            assert_eq!(known.size(&used), Some(7));
        }
        assert!(known.young.len() + known.old.len() <= 2 * GENERATION);
        assert_eq!(known.size(&Key::from("0")), None);
        known.remove(&used);
        assert_eq!(known.size(&used), None);
    }

    #[test]
    fn without_room_everything_counts_as_stored_lately() {
        let mut known = Known::default();
        let other = Key::from("other");
        for number in 0..FRESH {
            known.stored(&Key::from(number.to_string()), 1);
        }
        let idle = Duration::from_secs(60);
        assert!(!known.is_fresh(&other, idle));
        known.stored(&Key::from("one more"), 1);
        assert!(known.is_fresh(&other, idle));
        assert!(!known.is_fresh(&other, Duration::ZERO));
    }
}
