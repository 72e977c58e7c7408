//! Which messages this node has accepted, as a set that two nodes can compare.
//!
//! An element is a time and the 32 bytes of the hash. The set only grows: a message that was forgotten or
//! removed stays known. It is kept in memory, 40 bytes a message, from the first comparison on, and follows
//! the database by reading on in its order of processing.

use std::collections::VecDeque;
use std::sync::Arc;

use aleph_cid::{Cid, Codec, Version};
use aleph_store::{AcceptedItem, Store, StoreError};
use aleph_types::{ItemHash, Timestamp};
use negentropy::{Bound, Error, Id, Item, NegentropyStorageBase};

use super::snapshot::{CHUNK, Chunk, Pinned, SNAPSHOTS};
use crate::clock;

/// Rows that are read from the database at once.
const PAGE: usize = 20_000;

/// How often messages that are gone are looked for, in microseconds.
const GONE_EVERY_MICROS: i64 = 5_000_000;

/// The digest in a message's hash. `None` for a hash that isn't made of SHA-256: such a message can't be
/// compared, and travels by gossip only.
pub(crate) fn id_of(hash: &ItemHash) -> Option<[u8; 32]> {
    let text = hash.as_str();
    if text.len() == 64 {
        let mut id = [0; 32];
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        return (lower && hex::decode_to_slice(text, &mut id).is_ok()).then_some(id);
    }
    let cid = Cid::parse(text).ok()?;
    let id = cid.digest()?;
    // The way back has to lead to the same text.
    hashes_of(&id).into_iter().any(|candidate| candidate == *hash).then_some(id)
}

/// The hashes that an element can stand for.
pub(crate) fn hashes_of(id: &[u8; 32]) -> Vec<ItemHash> {
    let mut hashes = vec![ItemHash::from_digest(*id)];
    for version in [Version::V0, Version::V1] {
        let cid = Cid::from_digest(version, Codec::DagPb, *id);
        hashes.extend(cid.to_item_hash().ok());
    }
    hashes
}

/// Times before 1970 come first.
fn place_of(time: Timestamp) -> u64 {
    // The largest number means "no bound" in the protocol.
    (time.as_micros().cast_unsigned() ^ (1 << 63)).min(u64::MAX - 1)
}

/// The messages that this node has accepted, in order of time.
#[derive(Debug, Default)]
pub(crate) struct KnownSet {
    items: Vec<Item>,
    /// Place in the order of processing up to which messages were read.
    read_to: i64,
    /// How many of those that are gone were read, and when.
    gone: u64,
    gone_read: Option<i64>,
    /// The set as it was when a snapshot was told, the oldest first.
    pinned: VecDeque<Pinned>,
}

impl KnownSet {
    /// Reads what was accepted since the last time. Returns how many elements are new.
    pub(crate) async fn refresh(&mut self, store: &Store) -> Result<usize, StoreError> {
        let before = self.items.len();
        // Of which snapshots may lack some.
        let known = |items: &[Item], item: &Item| items.binary_search(item).is_ok();
        loop {
            let (last, page) = store.accepted_after(self.read_to, PAGE).await?;
            let full = page.len() == PAGE;
            self.take(page);
            self.read_to = last;
            if !full {
                break;
            }
        }
        // A message may have come and gone between two readings. Those are few, and all that are gone have to
        // be read to find them: a comparison that misses one finds it the next time.
        let now = clock::now().as_micros();
        // The clock may have been put back.
        let due = self.gone_read.is_none_or(|at| !(at..at + GONE_EVERY_MICROS).contains(&now));
        let gone = if due { store.gone_count().await? } else { self.gone };
        if due {
            self.gone_read = Some(now);
        }
        if gone != self.gone {
            let mut after = String::new();
            loop {
                let page = store.gone_after(after, PAGE).await?;
                let full = page.len() == PAGE;
                after = page.last().map(|item| item.item_hash.as_str().to_owned()).unwrap_or_default();
                self.take(page);
                if !full {
                    break;
                }
            }
            self.gone = gone;
        }
        if self.items.len() > before {
            if !self.pinned.is_empty() {
                let (old, new) = self.items.split_at(before);
                let added: Vec<Item> = new.iter().filter(|item| !known(old, item)).copied().collect();
                for pinned in &mut self.pinned {
                    pinned.added.extend(&added);
                }
                self.pinned.retain(|pinned| pinned.is_worth_its_memory(before));
            }
            // In place: another copy of a large set would be the most that this node ever holds.
            self.items.sort_unstable();
            self.items.dedup();
        }
        Ok(self.items.len() - before)
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// How many elements are from `chunk`'s first one to before the next chunk's.
    pub(crate) fn count_of(&self, chunk: &Chunk, next: Option<&Chunk>) -> usize {
        self.between(&chunk.first(), next.map(Chunk::first).as_ref()).len()
    }

    fn between(&self, first: &Item, next: Option<&Item>) -> &[Item] {
        let begin = self.items.partition_point(|item| item < first);
        let end = next.map_or(self.items.len(), |next| self.items.partition_point(|item| item < next));
        self.items.get(begin..end).unwrap_or_default()
    }

    /// The set as it is now, cut into chunks.
    pub(crate) fn chunks(&self) -> Vec<Chunk> {
        self.items.chunks(CHUNK).map(Chunk::of).collect()
    }

    /// Keeps the set as it is now for those who fetch it in chunks, under `id`. Only what is added from now
    /// on takes memory.
    pub(crate) fn pin(&mut self, pinned: Pinned) {
        self.pinned.push_back(pinned);
        while self.pinned.len() > SNAPSHOTS {
            self.pinned.pop_front();
        }
    }

    /// The newest snapshot, while it holds most of the set.
    pub(crate) fn snapshot(&self) -> Option<Arc<Vec<u8>>> {
        self.pinned
            .back()
            .filter(|pinned| pinned.is_fresh(self.items.len()))
            .map(|pinned| Arc::clone(&pinned.told))
    }

    /// The elements of a chunk of a snapshot, in order; none if that snapshot is gone, or has no such chunk.
    pub(crate) fn elements(&self, snapshot: &[u8; 32], chunk: usize) -> Option<Vec<[u8; 32]>> {
        let pinned = self.pinned.iter().find(|pinned| pinned.id == *snapshot)?;
        let first = pinned.firsts.get(chunk)?;
        let items = self.between(first, pinned.firsts.get(chunk + 1));
        let then = items.iter().filter(|item| !pinned.added.contains(item));
        Some(then.map(|item| item.id.to_bytes()).collect())
    }

    fn take(&mut self, page: Vec<AcceptedItem>) {
        self.items.extend(page.into_iter().filter_map(|item| {
            let id = id_of(&item.item_hash)?;
            Some(Item::with_timestamp_and_id(place_of(item.time), Id::from_byte_array(id)))
        }));
    }
}

impl NegentropyStorageBase for KnownSet {
    fn size(&self) -> Result<usize, Error> {
        Ok(self.items.len())
    }

    fn get_item(&self, place: usize) -> Result<Option<Item>, Error> {
        Ok(self.items.get(place).copied())
    }

    fn iterate(
        &self,
        begin: usize,
        end: usize,
        visit: &mut dyn FnMut(Item, usize) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let items = self.items.get(begin..end).ok_or(Error::BadRange)?;
        for (place, item) in (begin..end).zip(items) {
            if !visit(*item, place)? {
                break;
            }
        }
        Ok(())
    }

    fn find_lower_bound(&self, first: usize, last: usize, bound: &Bound) -> usize {
        let items = self.items.get(first..last).unwrap_or_default();
        first + items.partition_point(|item| *item < bound.item)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use negentropy::Negentropy;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hashes_are_found_by_their_digest() {
        let digest = [7; 32];
        for hash in hashes_of(&digest) {
            assert_eq!(id_of(&hash), Some(digest), "{hash}");
        }
        assert_eq!(hashes_of(&digest).len(), 3);
        // Recognised in envelopes, but made of no SHA-256.
        for text in [
            "F".repeat(64),
            "x".repeat(64),
            format!("Qm{}", "1".repeat(44)),
            format!("bafy{}", "a".repeat(55)),
        ] {
            assert_eq!(id_of(&ItemHash::recognise(&text).unwrap()), None, "{text}");
        }
    }

    fn set(numbers: &BTreeSet<(i64, u8)>) -> KnownSet {
        let mut known = KnownSet::default();
        let item = |(time, byte): &(i64, u8)| AcceptedItem {
            time: Timestamp::from_micros(*time),
            item_hash: ItemHash::sha256(&[time.to_le_bytes().as_slice(), &[*byte]].concat()),
        };
        known.take(numbers.iter().map(item).collect());
        known.items.sort();
        known
    }

    fn ids(known: &KnownSet) -> BTreeSet<[u8; 32]> {
        known.items.iter().map(|item| item.id.to_bytes()).collect()
    }

    proptest! {
        #[test]
        fn a_comparison_finds_exactly_what_differs(
            ours in proptest::collection::btree_set((-3i64..200, 0u8..4), 0..400),
            theirs in proptest::collection::btree_set((-3i64..200, 0u8..4), 0..400),
        ) {
            let (ours, theirs) = (set(&ours), set(&theirs));
            let (mut have, mut need) = (Vec::new(), Vec::new());
            let mut asking = Some(Negentropy::borrowed(&ours, 4096).unwrap().initiate().unwrap());
            for _ in 0..1000 {
                let Some(frame) = asking else { break };
                let answer = Negentropy::borrowed(&theirs, 4096).unwrap().reconcile(&frame).unwrap();
                let mut side = Negentropy::borrowed(&ours, 4096).unwrap();
                side.set_initiator();
                asking = side.reconcile_with_ids(&answer, &mut have, &mut need).unwrap();
            }
            prop_assert!(asking.is_none());
            // Where a frame was cut, an element may be named twice.
            let found = |ids: Vec<Id>| ids.into_iter().map(Id::to_bytes).collect::<BTreeSet<_>>();
            prop_assert_eq!(found(need), &ids(&theirs) - &ids(&ours));
            prop_assert_eq!(found(have), &ids(&ours) - &ids(&theirs));
        }

        #[test]
        fn frames_from_outside_are_read_or_refused(frame in proptest::collection::vec(any::<u8>(), 0..300)) {
            let known = set(&(0..100).map(|time| (time, 0)).collect());
            let mut frame = frame;
            if let Some(first) = frame.first_mut() {
                *first = 0x61;
            }
            if let Ok(answer) = Negentropy::borrowed(&known, 4096).unwrap().reconcile(&frame) {
                prop_assert!(answer.len() < 4096 + 100 * 32);
            }
            let mut side = Negentropy::borrowed(&known, 4096).unwrap();
            side.set_initiator();
            let _ = side.reconcile_with_ids(&frame, &mut Vec::new(), &mut Vec::new());
        }
    }
}
