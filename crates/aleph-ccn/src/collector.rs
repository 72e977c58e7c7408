//! Deletes files that nothing holds any more (`spec: messages.md §16`).
//!
//! A file is held by pins: of STORE messages, of contents of messages, of archives, and of grace times
//! (after an upload without a message, after the last STORE was forgotten). A run ends the grace times that
//! are over and takes away every file on record that has no pin left.
//!
//! The writer decides: in one of its transactions a file is looked at once more, taken out of the store of
//! files by a rename, and its record deleted. If the transaction is not committed, the file comes back. A
//! STORE that was processed before holds the file; one that is processed after, finds it gone and fetches
//! it; one that is under way is told by [`Collected`]. Whoever uploads the file in that moment stores it
//! anew. A process that dies in between leaves nothing pinned without its file: what it took out had no pin,
//! and its record, if that is left, is deleted by the next run.
//!
//! Files on disk without a record are left alone: a node whose database was lost or restored does not
//! delete what it no longer knows.

use std::sync::Arc;
use std::time::Duration;

use aleph_blobs::Withdrawn;
use aleph_store::{Store, StoreError, Transaction};
use aleph_types::{HashKind, ItemHash, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::files::{self, Files, Taken};
use crate::pipeline::{Collected, Pipeline, PipelineError};

/// Files that one transaction takes out: each costs the writer a rename and two statements.
const PAGE: usize = 64;

/// Grace pins that one transaction deletes.
const GRACE_PAGE: usize = 1000;

/// A file that was stored more recently than this stays: its message, or its grace pin, is on the way.
const IDLE: Duration = Duration::from_secs(3600);

/// Why a run ended early. The next run goes on.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The database can't be read.
    #[error("the collector can't read the database")]
    Store(#[from] StoreError),
    /// The database can't be written, or the node stops.
    #[error("the collector can't change the database")]
    Pipeline(#[from] PipelineError),
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CollectReport {
    /// Grace times that were over.
    pub expired: u64,
    /// Records of files that were deleted.
    pub files: u64,
    /// Bytes that were freed.
    pub bytes: u64,
    /// Files that could not be taken out or deleted; tried again next time.
    pub failed: u64,
}

/// Deletes files that nothing holds any more.
#[derive(Debug, Clone)]
pub struct Collector {
    store: Store,
    files: Files,
    pipeline: Pipeline,
}

/// What one transaction took away.
#[derive(Default)]
struct Page {
    records: u64,
    withdrawn: Vec<Withdrawn>,
    /// Those that the node of IPFS beside this one holds as well.
    released: Vec<ItemHash>,
    failed: u64,
}

impl Collector {
    pub(crate) fn new(store: Store, files: Files, pipeline: Pipeline) -> Self {
        Self { store, files, pipeline }
    }

    /// Collects every `interval`, for the first time after one: messages that wait when the node starts
    /// get the time to pin what they need.
    pub(crate) async fn run(self, interval: Duration, stopping: CancellationToken) {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
            match self.collect(crate::clock::now()).await {
                Ok(report) if report == CollectReport::default() => {}
                Ok(report) => tracing::info!(
                    expired = report.expired,
                    files = report.files,
                    bytes = report.bytes,
                    failed = report.failed,
                    "files that nothing holds were deleted"
                ),
                Err(CollectError::Pipeline(PipelineError::Stopped)) => return,
                Err(error) => tracing::warn!(%error, "collecting files ended early; the next run goes on"),
            }
        }
    }

    /// One run, with grace times that end before `now`.
    ///
    /// # Errors
    /// The database failed; what was done until then is done. A file that fails is counted, not an error.
    pub async fn collect(&self, now: Timestamp) -> Result<CollectReport, CollectError> {
        let mut report = CollectReport::default();
        loop {
            let dropped = self.pipeline.write(move |tx| tx.drop_expired_grace(now, GRACE_PAGE)).await?;
            report.expired += dropped;
            if dropped < GRACE_PAGE as u64 {
                break;
            }
        }
        let mut after: Option<ItemHash> = None;
        loop {
            let candidates = self.store.unpinned_files(after.take(), PAGE).await?;
            let Some(last) = candidates.last() else { break };
            after = Some(last.clone());
            let outcome = self.take_page(candidates).await;
            // Whatever was looked after while the files were still there is decided when this is done.
            let decided = self.pipeline.write(|_| Ok(())).await;
            self.pipeline.collected().clear();
            let page = outcome?;
            decided?;
            report.files += page.records;
            report.failed += page.failed;
            let (bytes, failed) = delete(page.withdrawn).await;
            self.release(page.released).await;
            report.bytes += bytes;
            report.failed += failed;
        }
        Ok(report)
    }

    async fn take_page(&self, candidates: Vec<ItemHash>) -> Result<Page, PipelineError> {
        let (files, collected) = (self.files.clone(), self.pipeline.collected());
        self.pipeline.write(move |transaction| take(transaction, &files, &collected, candidates)).await
    }

    /// Tells the node of IPFS beside this one what is not needed any more.
    async fn release(&self, released: Vec<ItemHash>) {
        let Some(kubo) = self.files.kubo() else { return };
        for file in released {
            // One that it does not hold is refused: that is as well.
            if let Err(error) = kubo.release(&file).await {
                tracing::debug!(%file, %error, "not released by the IPFS node");
            }
        }
    }
}

/// Inside the writer's transaction: takes out what is still unpinned.
fn take(
    transaction: &mut Transaction<'_>,
    files: &Files,
    collected: &Arc<Collected>,
    candidates: Vec<ItemHash>,
) -> Result<Page, StoreError> {
    let mut page = Page::default();
    for file in candidates {
        if transaction.is_pinned(&file)? {
            continue;
        }
        let forms = files::forms(&file);
        let mut is_held = false;
        for other in &forms[1..] {
            is_held |= transaction.is_pinned(other)?;
        }
        if is_held {
            // Another text of the same CID: only this record goes.
            transaction.remove_file(&file)?;
            page.records += 1;
            continue;
        }
        for form in forms {
            collected.insert(form);
        }
        match files.withdraw_sync(&file, IDLE) {
            Ok(Taken::InUse) => continue,
            Ok(Taken::Out(withdrawn)) => {
                if file.kind() == HashKind::Ipfs {
                    page.released.push(file.clone());
                }
                page.withdrawn.extend(withdrawn);
            }
            Err(error) => {
                tracing::warn!(%file, %error, "a file that nothing holds can't be taken out; tried again later");
                page.failed += 1;
                continue;
            }
        }
        transaction.remove_file(&file)?;
        page.records += 1;
    }
    Ok(page)
}

/// Frees the space, off the executor; bytes, and how many files failed.
async fn delete(withdrawn: Vec<Withdrawn>) -> (u64, u64) {
    let deleting = tokio::task::spawn_blocking(move || {
        let (mut bytes, mut failed) = (0, 0);
        for file in withdrawn {
            let size = file.size();
            match file.delete() {
                Ok(()) => bytes += size,
                Err(error) => {
                    // Its name is gone already; the next start removes what is left.
                    tracing::warn!(%error, "the space of a collected file is not free yet");
                    failed += 1;
                }
            }
        }
        (bytes, failed)
    });
    deleting.await.unwrap_or((0, 0))
}
