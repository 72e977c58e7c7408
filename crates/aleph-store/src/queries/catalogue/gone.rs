//! The lists of forgotten and removed messages. Their rows come one by one and never change or go, so a list
//! is its times in order, read anew when a message went since, and a filter is the set of its ranks.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use aleph_types::MessageStatus;
use parking_lot::Mutex;

use super::ids::Ids;
use super::order::{From, Order};
use super::{Catalogue, place, within};
use crate::StoreError;
use crate::engine::{Session, Snapshot};
use crate::queries::skeletons::{self, Skeleton, SkeletonFilter, SkeletonQuery};

/// Filters whose sets are kept, of each status.
const FILTERS: usize = 256;

/// The gone messages of one status.
#[derive(Debug)]
struct Gone {
    /// How many commits had let messages go before these were read.
    version: u64,
    /// By time, ties by hash; the members are the ranks.
    order: Order<i64>,
    /// Without their times; the newest last.
    sets: Mutex<VecDeque<(SkeletonFilter, Arc<Ids>)>>,
}

/// What is known of each status.
#[derive(Debug, Default)]
pub(super) struct GoneLists {
    known: Mutex<HashMap<MessageStatus, Arc<Gone>>>,
}

impl Gone {
    fn read(session: &Session, status: MessageStatus, version: u64) -> Result<Self, StoreError> {
        let mut rows = Vec::new();
        skeletons::times_sql(status).each(session, |row| {
            let rank = place(rows.len() as i64)?;
            rows.push((row.int(0)?, rank));
            Ok(())
        })?;
        Ok(Self { version, order: Order::of(rows), sets: Mutex::default() })
    }

    /// The ranks that a filter lets through, whatever their times; `None` is all.
    fn set(&self, session: &Session, filter: &SkeletonFilter) -> Result<Option<Arc<Ids>>, StoreError> {
        let filter = SkeletonFilter { start: None, end: None, ..filter.clone() };
        if !filter.tests_rows() {
            return Ok(None);
        }
        // Others wait: most likely for the same.
        let mut sets = self.sets.lock();
        if let Some((_, set)) = sets.iter().find(|(of, _)| *of == filter) {
            return Ok(Some(Arc::clone(set)));
        }
        let (mut rank, mut ranks) = (0u32, Vec::new());
        skeletons::tests_sql(&filter).each(session, |row| {
            if row.flag(0)? {
                ranks.push(rank);
            }
            rank += 1;
            Ok(())
        })?;
        let set = Arc::new(Ids::of(ranks));
        if sets.len() == FILTERS {
            sets.pop_front();
        }
        sets.push_back((filter, Arc::clone(&set)));
        Ok(Some(set))
    }

    fn within(&self, filter: &SkeletonFilter) -> std::ops::Range<usize> {
        let micros = |time: Option<aleph_types::Timestamp>| time.map(|time| time.as_micros());
        within(&self.order, micros(filter.start), micros(filter.end))
    }

    /// The rows at these ranks. Those of one time that follow each other are read at once.
    fn rows(
        &self,
        session: &Session,
        status: MessageStatus,
        ranks: &[u32],
    ) -> Result<Vec<Skeleton>, StoreError> {
        let mut rows = Vec::with_capacity(ranks.len());
        let time = |rank: u32| self.order.key(rank as usize);
        for run in ranks.chunk_by(|one, next| *next == one + 1 && time(*one) == time(*next)) {
            let Some(first) = run.first() else { continue };
            let before = *first as usize - self.order.lower(time(*first));
            rows.extend(skeletons::at_time(session, status, time(*first), before as u64, run.len() as u64)?);
        }
        Ok(rows)
    }
}

impl Catalogue {
    /// A page of gone messages, from anywhere in their list.
    pub(in crate::queries) fn page_of_gone(
        &self,
        session: &Session,
        query: &SkeletonQuery,
    ) -> Result<Vec<Skeleton>, StoreError> {
        let (snapshot, gone) = self.gone_of(session, query.filter.status)?;
        let set = gone.set(&snapshot, &query.filter)?;
        let from = From::Skip(usize::try_from(query.offset).unwrap_or(usize::MAX));
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let within = gone.within(&query.filter);
        // Only pages after a row ask for hashes.
        let ranks =
            gone.order.page(set.as_deref(), within, query.order, from, limit, |_| Ok(String::new()))?;
        gone.rows(&snapshot, query.filter.status, &ranks)
    }

    /// How many gone messages a filter lets through.
    pub(in crate::queries) fn count_gone(
        &self,
        session: &Session,
        filter: &SkeletonFilter,
    ) -> Result<u64, StoreError> {
        let (snapshot, gone) = self.gone_of(session, filter.status)?;
        let set = gone.set(&snapshot, filter)?;
        Ok(gone.order.count(set.as_deref(), gone.within(filter)) as u64)
    }

    fn gone_of<'s>(
        &self,
        session: &'s Session,
        status: MessageStatus,
    ) -> Result<(Snapshot<'s>, Arc<Gone>), StoreError> {
        let mut known = self.gone.known.lock();
        let version = self.changes.gone();
        // Begun under the lock: nobody's snapshot is older than what is known.
        let snapshot = session.snapshot()?;
        let gone = match known.get(&status) {
            Some(gone) if gone.version == version => Arc::clone(gone),
            _ => {
                let gone = Arc::new(Gone::read(&snapshot, status, version)?);
                known.insert(status, Arc::clone(&gone));
                gone
            }
        };
        Ok((snapshot, gone))
    }
}
