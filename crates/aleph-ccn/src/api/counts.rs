//! Numbers that cost a walk and may be somewhat old.

use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, Instant};

use aleph_store::queries::{Count, MessageTotal};
use aleph_store::{Store, StoreError};
use aleph_types::Address;
use parking_lot::Mutex;

use super::errors::ApiError;

/// How old a total of a list may be (`spec: ccn-api.md §3.1`).
const TOTAL_AGE: Duration = Duration::from_secs(300);

/// A count that took longer is remembered, even if it is small.
const SLOW: Duration = Duration::from_millis(5);

/// Totals that are remembered.
const TOTALS: usize = 1024;

/// Totals of long lists, by list and filter.
#[derive(Debug, Default)]
pub(super) struct Totals {
    known: Mutex<HashMap<String, (Instant, u64)>>,
    messages: tokio::sync::Mutex<Option<(Instant, MessageTotal)>>,
}

impl Totals {
    /// How many messages there are: what came is counted at once, what went within [`TOTAL_AGE`].
    pub(super) async fn messages(&self, store: &Store) -> Result<u64, StoreError> {
        Ok(self.message_total(store).await?.rows)
    }

    /// The last place in the order of processing that was given.
    pub(super) async fn last(&self, store: &Store) -> Result<i64, StoreError> {
        Ok(self.message_total(store).await?.last)
    }

    async fn message_total(&self, store: &Store) -> Result<MessageTotal, StoreError> {
        let mut known = self.messages.lock().await;
        let base = known.filter(|(at, _)| at.elapsed() < TOTAL_AGE);
        let total = store.total_messages(base.map(|(_, total)| total)).await?;
        let at = base.map_or_else(Instant::now, |(at, _)| at);
        *known = Some((at, total));
        Ok(total)
    }

    /// The number of rows that `filter` selects from `list`: exact when it is cheap, else at most
    /// [`TOTAL_AGE`] old. `count` counts up to a limit.
    pub(super) async fn of<F, Fut>(
        &self,
        list: &str,
        filter: &(impl std::fmt::Debug + Sync),
        count: F,
    ) -> Result<u64, ApiError>
    where
        F: Fn(u64) -> Fut + Send,
        Fut: Future<Output = Result<Count, StoreError>> + Send,
    {
        let key = format!("{list} {filter:?}");
        if let Some((at, rows)) = self.known.lock().get(&key)
            && at.elapsed() < TOTAL_AGE
        {
            return Ok(*rows);
        }
        let begun = Instant::now();
        let cheap = count(Store::CHEAP_COUNT).await?;
        if cheap.exact && begun.elapsed() < SLOW {
            return Ok(cheap.rows);
        }
        let rows = if cheap.exact { cheap.rows } else { count(u64::MAX).await?.rows };
        let mut known = self.known.lock();
        if known.len() >= TOTALS {
            known.retain(|_, (at, _)| at.elapsed() < TOTAL_AGE);
        }
        if known.len() >= TOTALS {
            known.clear();
        }
        known.insert(key, (Instant::now(), rows));
        Ok(rows)
    }
}

/// How many files, and their bytes.
type CountAndBytes = (u64, u64);

/// How many files accounts have, and their bytes: exact for accounts with few, else at most [`FILES_AGE`] old.
#[derive(Debug, Default)]
pub(super) struct FileTotals {
    known: Mutex<HashMap<Address, (Instant, CountAndBytes)>>,
}

/// How old the totals of an account with many files may be.
const FILES_AGE: Duration = Duration::from_secs(10);

/// Files that are counted at each request.
const FEW_FILES: u64 = 500;

impl FileTotals {
    pub(super) async fn get<Fut>(
        &self,
        owner: &Address,
        count: impl FnOnce() -> Fut,
    ) -> Result<CountAndBytes, StoreError>
    where
        Fut: Future<Output = Result<CountAndBytes, StoreError>>,
    {
        if let Some((at, totals)) = self.known.lock().get(owner)
            && at.elapsed() < FILES_AGE
        {
            return Ok(*totals);
        }
        let totals = count().await?;
        let mut known = self.known.lock();
        if known.len() >= TOTALS {
            known.retain(|_, (at, _)| at.elapsed() < FILES_AGE);
        }
        if known.len() >= TOTALS {
            known.clear();
        }
        if totals.0 > FEW_FILES {
            known.insert(owner.clone(), (Instant::now(), totals));
        }
        Ok(totals)
    }
}

/// A value that is made again when it is older than `age`; concurrent callers wait for one making.
#[derive(Debug)]
pub(super) struct Cached<T> {
    age: Duration,
    value: tokio::sync::Mutex<Option<(Instant, T)>>,
}

impl<T: Clone> Cached<T> {
    pub(super) fn new(age: Duration) -> Self {
        Self { age, value: tokio::sync::Mutex::new(None) }
    }

    pub(super) async fn get<E>(&self, make: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut value = self.value.lock().await;
        if let Some((at, made)) = value.as_ref()
            && at.elapsed() < self.age
        {
            return Ok(made.clone());
        }
        let made = make.await?;
        *value = Some((Instant::now(), made.clone()));
        Ok(made)
    }
}
