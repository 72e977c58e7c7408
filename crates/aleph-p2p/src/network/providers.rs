//! Who has what, as this node keeps it for others: its part of the distributed table.

use std::borrow::Cow;
use std::collections::{HashMap, hash_map};
use std::iter;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

/// Others forget what they are not told again within this time.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(48 * 3600);

/// Longest key: a multihash of 64 bytes, and room.
const KEY: usize = 80;

/// Addresses of one provider, and their longest.
const ADDRESSES: usize = 8;
const ADDRESS: usize = 256;

/// What is kept at most. A record takes some 300 bytes with its addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Contents of this node itself.
    pub(crate) own: usize,
    /// Records of others.
    pub(crate) records: usize,
    /// Those of one content.
    pub(crate) of_content: usize,
    /// Those of one provider.
    pub(crate) of_peer: usize,
}

/// Provider records with an end: of this node, which nobody else can crowd out, and of others.
///
/// The store that comes with the library removes what has expired only when it is asked for, and counts its own
/// contents together with those of others: a stranger could fill it for good. Values are not kept at all.
#[derive(Debug)]
pub(crate) struct Providers {
    me: PeerId,
    bounds: Bounds,
    own: HashMap<RecordKey, ProviderRecord>,
    others: HashMap<RecordKey, Vec<ProviderRecord>>,
    of_peer: HashMap<PeerId, usize>,
    /// All of `others`.
    count: usize,
    next_sweep: Option<Instant>,
}

/// When it is full, what has expired is looked for no more often than this.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

impl Providers {
    pub(crate) fn new(me: PeerId, bounds: Bounds) -> Self {
        Self {
            me,
            bounds,
            own: HashMap::new(),
            others: HashMap::new(),
            of_peer: HashMap::new(),
            count: 0,
            next_sweep: None,
        }
    }

    fn forget(&mut self, key: &RecordKey, gone: impl Fn(&ProviderRecord) -> bool) {
        let hash_map::Entry::Occupied(mut entry) = self.others.entry(key.clone()) else { return };
        let (of_peer, count) = (&mut self.of_peer, &mut self.count);
        entry.get_mut().retain(|record| {
            let stays = !gone(record);
            if !stays {
                *count -= 1;
                discount(of_peer, &record.provider);
            }
            stays
        });
        if entry.get().is_empty() {
            entry.remove();
        }
    }

    /// Forgets what has expired.
    fn sweep(&mut self, now: Instant) {
        if self.next_sweep.is_some_and(|next| now < next) {
            return;
        }
        self.next_sweep = Some(now + SWEEP_EVERY);
        let (of_peer, count) = (&mut self.of_peer, &mut self.count);
        self.others.retain(|_, records| {
            records.retain(|record| {
                let stays = !record.is_expired(now);
                if !stays {
                    *count -= 1;
                    discount(of_peer, &record.provider);
                }
                stays
            });
            !records.is_empty()
        });
    }

    fn add(&mut self, mut record: ProviderRecord, now: Instant) -> Result<()> {
        if record.key.as_ref().len() > KEY {
            return Err(Error::ValueTooLarge);
        }
        if record.provider == self.me {
            if self.own.len() >= self.bounds.own && !self.own.contains_key(&record.key) {
                return Err(Error::MaxProvidedKeys);
            }
            self.own.insert(record.key.clone(), record);
            return Ok(());
        }
        record.addresses.retain(|address| address.len() <= ADDRESS);
        record.addresses.truncate(ADDRESSES);
        let latest = now + KEPT_FOR;
        record.expires = Some(record.expires.map_or(latest, |expires| expires.min(latest)));
        let same = self
            .others
            .get_mut(&record.key)
            .and_then(|records| records.iter_mut().find(|known| known.provider == record.provider));
        if let Some(known) = same {
            *known = record;
            return Ok(());
        }
        if self.count >= self.bounds.records || self.has_its_share(&record.provider) {
            self.sweep(now);
        }
        self.forget(&record.key, |known| known.is_expired(now));
        let of_content = self.others.get(&record.key).map_or(0, Vec::len);
        if self.count >= self.bounds.records
            || of_content >= self.bounds.of_content
            || self.has_its_share(&record.provider)
        {
            return Err(Error::MaxProvidedKeys);
        }
        *self.of_peer.entry(record.provider).or_default() += 1;
        self.count += 1;
        self.others.entry(record.key.clone()).or_default().push(record);
        Ok(())
    }

    fn has_its_share(&self, peer: &PeerId) -> bool {
        self.of_peer.get(peer).is_some_and(|count| *count >= self.bounds.of_peer)
    }
}

fn discount(of_peer: &mut HashMap<PeerId, usize>, peer: &PeerId) {
    if let hash_map::Entry::Occupied(mut entry) = of_peer.entry(*peer) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

impl RecordStore for Providers {
    type RecordsIter<'a> = iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = iter::Map<
        hash_map::Values<'a, RecordKey, ProviderRecord>,
        fn(&'a ProviderRecord) -> Cow<'a, ProviderRecord>,
    >;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> Result<()> {
        Err(Error::MaxRecords)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        iter::empty()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        self.add(record, Instant::now())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let others = self.others.get(key).into_iter().flatten();
        self.own.get(key).into_iter().chain(others).cloned().collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        self.own.values().map(Cow::Borrowed)
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        if *provider == self.me {
            self.own.remove(key);
        } else {
            self.forget(key, |record| record.provider == *provider);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { own: 2, records: 6, of_content: 3, of_peer: 4 };

    fn record(key: u8, provider: PeerId) -> ProviderRecord {
        let addresses = vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap(); 20];
        ProviderRecord::new(vec![key; 34], provider, addresses)
    }

    #[test]
    fn what_one_peer_and_all_peers_say_is_bounded_and_leaves_room_for_this_node() {
        let (me, greedy, start) = (PeerId::random(), PeerId::random(), Instant::now());
        let mut store = Providers::new(me, BOUNDS);
        for key in 0..4 {
            store.add(record(key, greedy), start).unwrap();
        }
        assert!(store.add(record(4, greedy), start).is_err(), "it has its share");
        store.add(record(3, greedy), start).unwrap();
        for peer in [PeerId::random(), PeerId::random()] {
            store.add(record(0, peer), start).unwrap();
        }
        assert!(store.add(record(9, PeerId::random()), start).is_err(), "it is full");
        assert_eq!((store.providers(&vec![0; 34].into()).len(), store.count), (3, 6));
        assert_eq!(store.providers(&vec![0; 34].into())[0].addresses.len(), ADDRESSES);
        assert!(store.add(ProviderRecord::new(vec![0; 200], greedy, Vec::new()), start).is_err());
        // its own contents
        store.add(record(0, me), start).unwrap();
        store.add(record(1, me), start).unwrap();
        assert!(store.add(record(2, me), start).is_err());
        assert_eq!(store.provided().count(), 2);
        assert_eq!(store.providers(&vec![0; 34].into())[0].provider, me);
    }

    #[test]
    fn what_has_expired_makes_room_though_nobody_asks_for_it() {
        let (me, greedy, start) = (PeerId::random(), PeerId::random(), Instant::now());
        let mut store = Providers::new(me, BOUNDS);
        for key in 0..3 {
            store.add(record(key, greedy), start).unwrap();
            store.add(record(key, PeerId::random()), start).unwrap();
        }
        let late = PeerId::random();
        assert!(store.add(record(9, late), start).is_err());
        store.add(record(9, late), start + KEPT_FOR + SWEEP_EVERY).unwrap();
        assert_eq!((store.count, store.others.len(), store.of_peer.len()), (1, 1, 1));
        store.remove_provider(&vec![9; 34].into(), &late);
        assert_eq!((store.count, store.others.len(), store.of_peer.len()), (0, 0, 0));
    }
}
