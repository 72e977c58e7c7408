//! What follows when accounts can't pay any more, and when they can again (`spec: payments.md §10`,
//! `messages.md §24`).
//!
//! Each hour (`network.settle_seconds`) one job looks at the accounts whose tokens changed, and one at those whose credits did: what an
//! account can't pay for gets a deadline, what it can pay for again loses it. Whatever passes its deadline
//! goes. Pages are read beside the writer; what a page leads to, and how far the job is, are stored in one
//! transaction, in which every message is looked at once more. A crash repeats a page; a page that is
//! repeated changes nothing.
//!
//! Nothing goes while the node is catching up: what pays for it may be among what it does not have yet.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aleph_ledger::removal::{
    Circumstances, Event, Job, JobState, PageReport, RemovalRules, Standing, Verdict, settle_page,
};
use aleph_store::{Store, StoreError};
use aleph_types::{ItemHash, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::peers::HttpPeers;
use crate::pipeline::{Pipeline, PipelineError};

/// Accounts of a page.
const PAGE: usize = 256;
/// Messages that one transaction looks at.
const MESSAGES: usize = 256;

/// Why a run ended early. The next run goes on where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// The database can't be read.
    #[error("the removal job can't read the database")]
    Store(#[from] StoreError),
    /// The database can't be written, or the node stops.
    #[error("the removal job can't change the database")]
    Pipeline(#[from] PipelineError),
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemovalReport {
    /// Accounts that were looked at.
    pub accounts: u64,
    /// Messages that got a deadline.
    pub begun: u64,
    /// Messages that are paid for again.
    pub recovered: u64,
    /// Messages that went.
    pub removed: u64,
}

/// The hourly jobs.
#[derive(Debug, Clone)]
pub struct Removals {
    store: Store,
    pipeline: Pipeline,
    peers: HttpPeers,
    metrics: Arc<Metrics>,
    /// How often each job runs.
    every: Duration,
}

impl Removals {
    pub(crate) fn new(
        store: Store,
        pipeline: Pipeline,
        peers: HttpPeers,
        metrics: Arc<Metrics>,
        every: Duration,
    ) -> Self {
        Self { store, pipeline, peers, metrics, every }
    }

    /// Looks at the jobs twice in the time after which they are due, for the first time after half of it.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(self.every / 2) => {}
            }
            match self.round(crate::clock::now()).await {
                Ok(report) if report.begun + report.recovered + report.removed == 0 => {}
                Ok(report) => tracing::info!(
                    accounts = report.accounts,
                    begun = report.begun,
                    recovered = report.recovered,
                    removed = report.removed,
                    "accounts were held against what they pay for"
                ),
                Err(RemovalError::Pipeline(PipelineError::Stopped)) => return,
                Err(error) => tracing::warn!(%error, "the removal job ended early; the next run goes on"),
            }
        }
    }

    /// Whether a known node has something that is lacking here, or none could be asked yet.
    fn is_catching_up(&self) -> bool {
        let urls = self.peers.urls();
        let states = self.metrics.catching_up.peers();
        let of = |url: &String| states.get(url).cloned().unwrap_or_default();
        let compared = urls.iter().map(of).filter(|state| state.compared && state.error.is_none()).count();
        let behind = urls
            .iter()
            .map(of)
            .filter(|state| state.error.is_none() && state.last_success.is_some() && !state.compared)
            .count();
        !urls.is_empty() && (behind > 0 || compared == 0)
    }

    /// One round at `now`: settles deferred accounts, runs the jobs that are due, collects what is over.
    ///
    /// # Errors
    /// The database failed; what was stored until then is stored.
    pub async fn round(&self, now: Timestamp) -> Result<RemovalReport, RemovalError> {
        let circumstances = Circumstances { now, is_catching_up: self.is_catching_up() };
        loop {
            let mut deferred = self.store.deferred_accounts(1).await?;
            let Some(account) = deferred.pop() else { break };
            self.pipeline.write(move |transaction| transaction.settle_deferred(vec![account])).await?;
        }
        let mut report = RemovalReport::default();
        let every = i64::try_from(self.every.as_micros()).unwrap_or(i64::MAX);
        for job in [Job::Hold, Job::Credit] {
            let stored = self.store.job_state(job).await?;
            let rests = stored.as_ref().is_some_and(|last| {
                last.is_complete && now.as_micros().saturating_sub(last.started.as_micros()) < every
            });
            // Who must not remove yet begins the next time where it would have begun now.
            if !rests && !circumstances.is_catching_up {
                // By the clock that says when balances changed, whatever time the round is held at.
                let state = JobState::resume(job, stored, crate::clock::now());
                self.settle(state, &circumstances, &mut report).await?;
            }
        }
        self.collect(&circumstances, &mut report).await?;
        Ok(report)
    }

    /// One job, page by page.
    async fn settle(
        &self,
        mut state: JobState,
        circumstances: &Circumstances,
        report: &mut RemovalReport,
    ) -> Result<(), RemovalError> {
        let circumstances = *circumstances;
        while !state.is_complete {
            let page = self.store.job_page(state.clone(), circumstances.now, PAGE).await?;
            let mut steps: Vec<(ItemHash, Event)> = Vec::new();
            let rows = page.rows.into_iter().map(Ok::<_, Infallible>);
            let settled =
                settle_page(state.job, &RemovalRules::default(), true, &page.accounts, rows, |change| {
                    let event = match change.verdict {
                        Verdict::Remove => Event::Shortfall,
                        _ => Event::Covered,
                    };
                    steps.push((change.message.message, event));
                });
            let PageReport { accounts, strays, .. } = match settled {
                Ok(page) => page,
                Err(never) => match never {},
            };
            report.accounts += accounts;
            if strays > 0 {
                tracing::error!(strays, "rows of the removal job belong to no account of their page");
            }
            let next = state.advanced(page.accounts.last().map(|account| account.address.clone()));
            let stored = next.clone();
            let (begun, recovered) = self
                .pipeline
                .write(move |transaction| {
                    let (mut begun, mut recovered) = (0, 0);
                    for (message, event) in steps {
                        let step = transaction.step_removal(&message, event, &circumstances)?;
                        match step.standing {
                            Standing::Removing { .. } if step.changed => begun += 1,
                            Standing::Processed if step.changed => recovered += 1,
                            _ => {}
                        }
                    }
                    transaction.set_job(&stored)?;
                    Ok((begun, recovered))
                })
                .await?;
            report.begun += begun;
            report.recovered += recovered;
            state = next;
        }
        Ok(())
    }

    /// Takes away what has passed its deadline.
    async fn collect(
        &self,
        circumstances: &Circumstances,
        report: &mut RemovalReport,
    ) -> Result<(), RemovalError> {
        let circumstances = *circumstances;
        let mut after: Option<ItemHash> = None;
        loop {
            let due = self.store.due_removals(circumstances.now, after.take(), MESSAGES).await?;
            let Some(last) = due.last() else { return Ok(()) };
            after = Some(last.clone());
            report.removed += self
                .pipeline
                .write(move |transaction| {
                    let mut removed = 0;
                    for message in due {
                        let step = transaction.step_removal(&message, Event::Collect, &circumstances)?;
                        removed += u64::from(matches!(step.standing, Standing::Removed { .. }));
                    }
                    Ok(removed)
                })
                .await?;
        }
    }
}
