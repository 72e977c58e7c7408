use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use aleph_types::Message;
use parking_lot::Mutex;

/// Copies remembered, in each of two generations.
const GENERATION: usize = 100_000;

/// The copies of messages that this node settled lately: sender, hash and signature, as one 64-bit hash
/// under a key of this process.
///
/// A hit is only a hint (two copies may collide): callers look the fate up before they rely on it, and
/// gossip, which is dropped on a hit, is repaired by catching up.
pub(crate) struct Known {
    hasher: RandomState,
    generations: Mutex<[HashSet<u64>; 2]>,
}

impl Default for Known {
    fn default() -> Self {
        Self { hasher: RandomState::new(), generations: Mutex::default() }
    }
}

impl Known {
    fn key(&self, message: &Message) -> u64 {
        self.hasher.hash_one((&message.item_hash, &message.sender, &message.signature))
    }

    pub(crate) fn contains(&self, message: &Message) -> bool {
        let key = self.key(message);
        let generations = self.generations.lock();
        generations.iter().any(|generation| generation.contains(&key))
    }

    pub(crate) fn insert(&self, message: &Message) {
        let key = self.key(message);
        let mut generations = self.generations.lock();
        if generations[0].len() >= GENERATION {
            let old = std::mem::take(&mut generations[0]);
            generations[1] = old;
        }
        generations[0].insert(key);
    }
}
