//! The pipeline without its threads: the same stages, run when somebody says so. For simulations, in which
//! nothing may depend on what the system's scheduler does.

use std::sync::Arc;

use aleph_store::Writer;
use aleph_types::{ItemHash, ParsedMessage};
use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::computing::Computing;
use super::conclude::{Conclude, Outlets};
use super::verify::Verifier;
use super::write::WriteStage;
use super::{
    AfterCommit, Answer, FEED, Job, Origin, PipelineError, PipelineOptions, ProcessedMessage, Reply, Retry,
    Shared, Submission,
};
use crate::files::{self, Files};
use crate::metrics::Metrics;

/// Verify and write stage with the jobs between them.
pub(crate) struct Steps {
    verifier: Verifier,
    stage: WriteStage,
    jobs: Receiver<Job>,
    sender: Sender<Job>,
    pub(crate) feed: broadcast::Receiver<Arc<ProcessedMessage>>,
    pub(crate) after: mpsc::Receiver<AfterCommit>,
}

/// A message whose fate is awaited.
pub(crate) type Waiting = oneshot::Receiver<Answer>;

impl Steps {
    /// As [`super::Pipeline::start`], without threads.
    pub(crate) fn new(options: PipelineOptions, writer: Writer, files: Files) -> Result<Self, PipelineError> {
        let (sender, jobs) = unbounded();
        let (feed, listener) = broadcast::channel(FEED);
        let (after_commit, after) = mpsc::channel(super::OUTLET);
        let (shared, metrics) = (Arc::new(Shared::default()), Arc::new(Metrics::default()));
        let refusals = Arc::clone(&shared.refusals);
        let verifier = Verifier::new(Computing::start(1)?, files, Arc::clone(&metrics), refusals);
        let log = writer.disk_log();
        let outlets = Outlets { jobs: sender.clone(), shared, feed, after_commit, metrics };
        let mut stage = WriteStage::new(options, writer, Conclude::new(log, outlets), None);
        stage.load_waiting()?;
        Ok(Self { verifier, stage, jobs, sender, feed: listener, after })
    }

    /// Puts a message into the queue.
    pub(crate) fn submit(&self, parsed: ParsedMessage, origin: Origin) -> Waiting {
        let (reply, waiting) = oneshot::channel();
        let submission = Submission { reply: Some(Reply::One(reply)), ..Submission::new(parsed, origin) };
        self.queue(Job::Message(Box::new(submission)));
        waiting
    }

    /// Puts other work into the queue.
    pub(crate) fn queue(&self, job: Job) {
        // The receiver lives as long as this does.
        let _ = self.sender.send(job);
    }

    /// Says that a file is here now.
    pub(crate) fn arrived(&self, hash: &ItemHash) {
        for form in files::forms(hash) {
            self.queue(Job::Arrived(form));
        }
    }

    /// Has every message tried again that waits on `key`.
    pub(crate) fn retry(&self, key: String) {
        self.queue(Job::Retry(Retry { key: Some(key), after: i64::MIN }));
    }

    /// How many jobs wait.
    pub(crate) fn queued(&self) -> usize {
        self.jobs.len()
    }

    /// Takes up to `most` jobs through both stages, in one transaction.
    pub(crate) fn run(&mut self, most: usize) {
        let mut batch: Vec<Job> = self.jobs.try_iter().take(most).collect();
        if !batch.is_empty() {
            let work = self.verifier.prepare_all(&mut batch);
            self.stage.write(work);
        }
    }

    /// From now on every transaction fails at its end, as on a full disk; or none does.
    pub(crate) fn set_full(&mut self, full: bool) {
        self.stage.fails = full;
    }
}
