//! Elements that it is of no use to ask for.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A message that was refused, or that a node had lost, is asked of that node again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// Of a message that waits here, and that a node has in full, it is asked again after this time whether it
/// was forgotten meanwhile.
const WAITING_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Such messages are remembered up to this number.
const REMEMBERED: usize = 100_000;

/// So many nodes have to say the same before the others are not asked either.
const WITNESSES: usize = 3;

/// What was refused here or could not be had, and from whom: one node may have lost a message that others
/// have, or may hand out a copy that nobody signed to have the true one left alone.
///
/// Nodes that the operator named are asked whatever others said.
#[derive(Debug, Default)]
pub(super) struct Fruitless {
    found: Mutex<HashMap<[u8; 32], Found>>,
    names: RandomState,
}

#[derive(Debug)]
struct Found {
    until: Instant,
    from: [Option<u32>; WITNESSES],
}

impl Fruitless {
    #[expect(clippy::cast_possible_truncation, reason = "a part of a hash is one too")]
    fn short(&self, name: &str) -> u32 {
        self.names.hash_one(name) as u32
    }

    /// Remembers that `id` was of no use from the node `name`.
    pub(super) fn add(&self, name: &str, id: [u8; 32]) {
        self.add_for(AGAIN_AFTER, name, id);
    }

    /// Remembers that the node `name` has a message in full that waits here.
    pub(super) fn waits(&self, name: &str, id: [u8; 32]) {
        self.add_for(WAITING_AGAIN_AFTER, name, id);
    }

    fn add_for(&self, time: Duration, name: &str, id: [u8; 32]) {
        let name = self.short(name);
        let mut found = self.found.lock();
        if found.len() >= REMEMBERED && !found.contains_key(&id) {
            return;
        }
        let until = Instant::now() + time;
        let found = found.entry(id).or_insert(Found { until, from: [None; WITNESSES] });
        if found.until <= Instant::now() {
            *found = Found { until, from: [None; WITNESSES] };
        }
        if !found.from.contains(&Some(name))
            && let Some(place) = found.from.iter_mut().find(|place| place.is_none())
        {
            *place = Some(name);
        }
    }

    /// Leaves those of `ids` that the node `name` may be asked for.
    pub(super) fn leave_out(&self, name: &str, trusted: bool, ids: &mut Vec<[u8; 32]>) {
        let name = self.short(name);
        let (found, now) = (self.found.lock(), Instant::now());
        if found.is_empty() {
            return;
        }
        ids.retain(|id| {
            found.get(id).is_none_or(|found| {
                let said = found.from.contains(&Some(name));
                found.until <= now || (!said && (trusted || found.from.contains(&None)))
            })
        });
    }

    /// Forgets what is to be tried again.
    pub(super) fn tidy(&self) {
        let now = Instant::now();
        self.found.lock().retain(|_, found| found.until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_says_nothing_for_others_and_three_do() {
        let fruitless = Fruitless::default();
        let left = |name: &str, trusted| {
            let mut ids = vec![[1; 32], [2; 32]];
            fruitless.leave_out(name, trusted, &mut ids);
            ids.len()
        };
        fruitless.add("a", [1; 32]);
        fruitless.add("a", [1; 32]);
        assert_eq!((left("a", false), left("a", true), left("b", false)), (1, 1, 2));
        fruitless.add("b", [1; 32]);
        assert_eq!(left("c", false), 2);
        fruitless.add("c", [1; 32]);
        assert_eq!((left("d", false), left("d", true)), (1, 2), "who is configured is asked all the same");
    }

    #[test]
    fn memory_is_bounded() {
        let fruitless = Fruitless::default();
        for number in 0..REMEMBERED as u64 + 10 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            fruitless.add("a", id);
        }
        assert_eq!(fruitless.found.lock().len(), REMEMBERED);
    }
}
