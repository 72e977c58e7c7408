use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use aleph_types::ItemHash;
use parking_lot::Mutex;

/// Files that the collector takes away in these moments.
///
/// A message is looked after (is its file on this disk?) before the writer decides on it. What the collector
/// takes away in between must not count as being here: the writer asks before it pins. The collector runs on
/// the writer's thread as well and empties the set when everything that was looked after before is decided.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    hashes: Mutex<HashSet<ItemHash>>,
    /// How many there are: nearly always none, and asking costs nothing then.
    count: AtomicUsize,
}

impl Collected {
    pub(crate) fn contains(&self, hash: &ItemHash) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.hashes.lock().contains(hash)
    }

    pub(crate) fn insert(&self, hash: ItemHash) {
        let mut hashes = self.hashes.lock();
        hashes.insert(hash);
        self.count.store(hashes.len(), Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        let mut hashes = self.hashes.lock();
        hashes.clear();
        self.count.store(0, Ordering::Release);
    }
}
