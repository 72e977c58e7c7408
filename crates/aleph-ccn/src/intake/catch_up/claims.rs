//! Who fetches what: several exchanges run at a time, and an element that one of them has asked for is not
//! asked of another node meanwhile.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::CatchUpError;
use super::lately::Lately;
use super::source::Source;

/// Elements that are asked for, or here and not yet given to the pipeline, over all exchanges.
const AHEAD: usize = 4096;

/// Messages whose fate is awaited, over all exchanges; beyond them no more are taken in. Long ones count as
/// several.
const INSIDE: usize = 5120;

/// An element that a node was asked for so long ago may be asked of another one too, and of a third after half
/// as long: many that hand nothing out hold an element up for twice this time.
const STALE: Duration = Duration::from_secs(2);

/// Who has a snapshot fetched and brought nothing for so long is not waited for.
const SNAPSHOT_STALE: Duration = Duration::from_secs(5);

/// What all exchanges share.
#[derive(Debug)]
pub(super) struct Claims {
    table: Mutex<Table>,
    /// Something was released.
    changed: Notify,
    ahead: Arc<Semaphore>,
    inside: Arc<Semaphore>,
    /// Whose snapshot is fetched.
    snapshot: Mutex<Option<(u64, Arc<Source>)>>,
    /// None is any more.
    snapshot_over: Notify,
    /// Held while elements are looked up.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Table {
    claims: HashMap<[u8; 32], Claim>,
    last: u64,
    /// Exchanges that run, and those that ever began.
    running: usize,
    began: u64,
    lately: Lately,
}

/// Bounded by what may be ahead and inside.
#[derive(Debug)]
struct Claim {
    page: u64,
    asked: Instant,
    /// How many nodes were asked before: the more, the sooner is the next one.
    before: u32,
    /// It came: what is left is to decide about it.
    is_here: bool,
}

/// What one node has, and this one lacks.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Not looked at yet, in the order of the set.
    pub(super) first: VecDeque<[u8; 32]>,
    /// Others were asked for these when they were looked at.
    pub(super) later: VecDeque<[u8; 32]>,
}

impl Open {
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.later.len()
    }
}

impl Default for Claims {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            changed: Notify::new(),
            ahead: Arc::new(Semaphore::new(AHEAD)),
            inside: Arc::new(Semaphore::new(INSIDE)),
            snapshot: Mutex::new(None),
            snapshot_over: Notify::new(),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

/// An exchange that runs.
#[derive(Debug)]
pub(super) struct Running {
    claims: Arc<Claims>,
    /// How many had begun when this one did, and whether others ran.
    began: u64,
    was_alone: bool,
}

impl Running {
    /// Whether no other exchange ran at any time since this one began: then what was found lacking still is.
    pub(super) fn is_alone(&self) -> bool {
        self.was_alone && self.claims.table.lock().began == self.began
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.claims.table.lock().running -= 1;
    }
}

/// Elements that are this exchange's to fetch and to decide; released with the value.
#[derive(Debug)]
pub(super) struct Page {
    claims: Arc<Claims>,
    number: u64,
    pub(super) ids: Vec<[u8; 32]>,
}

impl Drop for Page {
    fn drop(&mut self) {
        let mut table = self.claims.table.lock();
        for id in &self.ids {
            if table.claims.get(id).is_some_and(|claim| claim.page == self.number) {
                table.claims.remove(id);
            }
            table.lately.decided(id);
        }
        drop(table);
        self.claims.changed.notify_waiters();
    }
}

impl Page {
    /// Leaves these to whoever asks next.
    pub(super) fn give_back(&mut self, ids: &HashSet<[u8; 32]>) {
        let mut table = self.claims.table.lock();
        for id in ids {
            if table.claims.get(id).is_some_and(|claim| claim.page == self.number) {
                table.claims.remove(id);
            }
        }
        self.ids.retain(|id| !ids.contains(id));
    }

    /// These of its elements came. Returns those that another exchange brought before.
    pub(super) fn came<'a>(&self, ids: impl Iterator<Item = &'a [u8; 32]>) -> HashSet<[u8; 32]> {
        let mut table = self.claims.table.lock();
        let mut twice = HashSet::new();
        for id in ids {
            match table.claims.get_mut(id) {
                Some(claim) if claim.page == self.number => claim.is_here = true,
                // taken over, and this one was faster
                Some(claim) if !claim.is_here => {
                    claim.page = self.number;
                    claim.is_here = true;
                }
                Some(_) => {
                    twice.insert(*id);
                }
                // taken over, and decided: the pipeline knows
                None => {}
            }
        }
        twice
    }
}

impl Claims {
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        let mut table = self.table.lock();
        table.running += 1;
        table.began += 1;
        Running { claims: Arc::clone(self), began: table.began, was_alone: table.running == 1 }
    }

    /// Those of `ids` that lack here. `look_up` answers for those of which that is not known yet; several exchanges
    /// look up one after the other, since they ask for the same.
    pub(super) async fn lacking<Answer>(
        self: &Arc<Self>,
        ids: Vec<[u8; 32]>,
        look_up: impl FnOnce(Vec<[u8; 32]>) -> Answer + Send + 'static,
    ) -> Result<Vec<[u8; 32]>, CatchUpError>
    where
        Answer: Future<Output = Result<HashSet<[u8; 32]>, CatchUpError>> + Send + 'static,
    {
        let claims = Arc::clone(self);
        // A task: whoever asks may not be polled while it has the turn, and wait for somebody who wants it.
        let looking = tokio::spawn(async move {
            let _turn = claims.turn.lock().await;
            let unsure = claims.table.lock().lately.unsure(&ids, Instant::now());
            if unsure.is_empty() {
                return Ok(ids);
            }
            let asked: HashSet<[u8; 32]> = unsure.iter().copied().collect();
            let lacking = look_up(unsure).await?;
            claims.table.lock().lately.lack(&lacking, Instant::now());
            Ok(ids.into_iter().filter(|id| lacking.contains(id) || !asked.contains(id)).collect())
        });
        AbortOnDropHandle::new(looking).await.map_err(|_| CatchUpError::Stopping)?
    }

    /// These are decided: whether they lack has to be looked up.
    pub(super) fn decided(&self, ids: &[[u8; 32]]) {
        let mut table = self.table.lock();
        ids.iter().for_each(|id| table.lately.decided(id));
    }

    /// Room for elements that are to be fetched; held until they are given to the pipeline.
    pub(super) async fn ahead(&self, elements: usize) -> Result<OwnedSemaphorePermit, CatchUpError> {
        room(&self.ahead, elements.min(AHEAD)).await
    }

    /// Room for messages whose fate is awaited.
    pub(super) async fn inside(&self, messages: usize) -> Result<OwnedSemaphorePermit, CatchUpError> {
        room(&self.inside, messages.min(INSIDE)).await
    }

    /// Up to `most` elements of `open` that nobody else fetches, or has been fetching for too long. None if
    /// there are none now.
    pub(super) fn claim(self: &Arc<Self>, open: &mut Open, most: usize) -> Option<Page> {
        let mut table = self.table.lock();
        table.last += 1;
        let (number, now) = (table.last, Instant::now());
        let mut ids = Vec::new();
        while ids.len() < most
            && let Some(id) = open.first.pop_front()
        {
            match table.claims.get(&id) {
                None => ids.push(id),
                Some(_) => open.later.push_back(id),
            }
        }
        if ids.is_empty() {
            open.later.retain(|id| {
                let is_free = table.claims.get(id).is_none_or(|claim| {
                    let patience = STALE / 2u32.pow(claim.before.min(8));
                    !claim.is_here && now.saturating_duration_since(claim.asked) >= patience
                });
                let takes = is_free && ids.len() < most;
                if takes {
                    ids.push(*id);
                }
                !takes
            });
        }
        for id in &ids {
            let before = table.claims.get(id).map_or(0, |claim| claim.before + 1);
            table.claims.insert(*id, Claim { page: number, asked: now, before, is_here: false });
        }
        drop(table);
        (!ids.is_empty()).then(|| Page { claims: Arc::clone(self), number, ids })
    }

    /// Waits until something was released, or may have grown stale.
    pub(super) async fn changed(&self) {
        let _ = tokio::time::timeout(STALE / 4, self.changed.notified()).await;
    }

    /// Waits until no snapshot is fetched, or the one that is may have come to a halt.
    pub(super) async fn snapshot_over(&self) {
        let _ = tokio::time::timeout(SNAPSHOT_STALE / 2, self.snapshot_over.notified()).await;
    }

    /// The right to fetch a snapshot from `source`; none while another source's is fetched and comes.
    pub(super) fn snapshot(self: &Arc<Self>, source: &Arc<Source>) -> Option<SnapshotRight> {
        let mut holder = self.snapshot.lock();
        if holder.as_ref().is_some_and(|(_, source)| source.idle() < SNAPSHOT_STALE) {
            return None;
        }
        let mut table = self.table.lock();
        table.last += 1;
        *holder = Some((table.last, Arc::clone(source)));
        Some(SnapshotRight { claims: Arc::clone(self), number: table.last })
    }
}

/// See [`Claims::snapshot`].
#[derive(Debug)]
pub(super) struct SnapshotRight {
    claims: Arc<Claims>,
    number: u64,
}

impl Drop for SnapshotRight {
    fn drop(&mut self) {
        self.claims.snapshot.lock().take_if(|(number, _)| *number == self.number);
        self.claims.snapshot_over.notify_waiters();
    }
}

async fn room(of: &Arc<Semaphore>, count: usize) -> Result<OwnedSemaphorePermit, CatchUpError> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    Arc::clone(of).acquire_many_owned(count).await.map_err(|_| CatchUpError::Stopping)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn open(ids: impl IntoIterator<Item = u8>) -> Open {
        Open { first: ids.into_iter().map(|id| [id; 32]).collect(), later: VecDeque::new() }
    }

    fn ids(page: Option<Page>) -> Vec<u8> {
        page.map(|page| page.ids.iter().map(|id| id[0]).collect()).unwrap_or_default()
    }

    #[test]
    fn what_one_fetches_no_other_does_until_it_is_released() {
        let claims = Arc::new(Claims::default());
        let (mut ours, mut theirs) = (open(0..6), open(0..6));
        let first = claims.claim(&mut ours, 4).unwrap();
        assert_eq!(first.ids.len(), 4);
        assert_eq!(ids(claims.claim(&mut theirs, 4)), [4, 5]);
        assert!(claims.claim(&mut theirs, 4).is_none(), "all under way");
        drop(first);
        assert_eq!(ids(claims.claim(&mut theirs, 4)), [0, 1, 2, 3]);
        assert_eq!(theirs.len(), 0);
        assert_eq!(ids(claims.claim(&mut ours, 4)), [4, 5]);
        assert!(claims.table.lock().claims.is_empty(), "nothing stays");
    }

    #[test]
    fn what_does_not_come_is_taken_over_and_what_came_is_not() {
        let claims = Arc::new(Claims::default());
        let slow = claims.claim(&mut open(0..3), 8).unwrap();
        assert!(slow.came([[0; 32]].iter()).is_empty());
        let mut theirs = open(0..3);
        assert!(claims.claim(&mut theirs, 8).is_none());
        for claim in claims.table.lock().claims.values_mut() {
            claim.asked = claim.asked.checked_sub(STALE).unwrap();
        }
        let taken = claims.claim(&mut theirs, 8).unwrap();
        assert_eq!(taken.ids.len(), 2, "one is here");
        assert!(taken.came([[1; 32]].iter()).is_empty());
        // The slow one comes after all, with one that is here twice and one that is not.
        assert_eq!(slow.came([[1; 32], [2; 32]].iter()), HashSet::from([[1; 32]]));
        drop(taken);
        assert!(claims.claim(&mut open([2]), 8).is_none(), "still the slow one's");
        drop(slow);
        assert_eq!(ids(claims.claim(&mut open(0..3), 8)), [0, 1, 2]);
    }

    #[test]
    fn who_was_not_alone_knows() {
        let claims = Arc::new(Claims::default());
        let first = claims.begin();
        assert!(first.is_alone());
        let second = claims.begin();
        assert!(!first.is_alone() && !second.is_alone());
        drop(first);
        assert!(!second.is_alone(), "the first may have brought what the second finds lacking");
        drop(second);
        assert!(claims.begin().is_alone());
    }

    #[tokio::test]
    async fn who_is_not_polled_holds_up_nobody() {
        let claims = Arc::new(Claims::default());
        let slow = |ids: Vec<[u8; 32]>| async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(ids.into_iter().filter(|id| id[0] != 2).collect())
        };
        let mut first = pin!(claims.lacking(vec![[1; 32], [2; 32]], slow));
        assert!(futures_util::poll!(&mut first).is_pending());
        tokio::time::sleep(Duration::from_millis(10)).await;
        // It has the turn now, and is left alone: as a lane is while the comparison goes on.
        let asked = vec![[1; 32], [2; 32], [3; 32]];
        let second = tokio::time::timeout(Duration::from_secs(10), claims.lacking(asked, slow));
        assert_eq!(second.await.expect("in time").unwrap(), [[1; 32], [3; 32]]);
        assert_eq!(first.await.unwrap(), [[1; 32]]);
        let known = claims.lacking(vec![[1; 32], [3; 32]], |_| async { panic!("both are known to lack") });
        assert_eq!(known.await.unwrap().len(), 2);
        // A snapshot brought one of them, which is no page of anybody's.
        claims.decided(&[[1; 32]]);
        let unsure = claims.lacking(vec![[1; 32], [3; 32]], |ids| async move {
            assert_eq!(ids, [[1; 32]]);
            Ok(HashSet::new())
        });
        assert_eq!(unsure.await.unwrap(), [[3; 32]]);
    }
}
