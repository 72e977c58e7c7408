//! The way of a message from the socket to the disk (`ARCHITECTURE.md`, "the fate of a message").
//!
//! ```text
//! submit ──▶ known copy? ──▶ [verify thread + pool] signature, content at hand
//!                                   │  batches, bounded
//!                                   ▼
//!                           [writer thread] decide + store, one transaction a batch, one fsync
//!                                   │
//!                                   ▼
//!                 after the commit: answer, wake what waited, publish, feed
//! ```
//!
//! Both threads take whatever has queued up while they worked: batches grow with the load and a single
//! message never waits for company.

mod collected;
mod computing;
mod conclude;
mod known;
mod outcome;
mod reply;
mod room;
mod steps;
mod verify;
mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aleph_p2p::{Ticket, Verdict};
use aleph_rules::Network;
use aleph_store::{Store, Writer};
use aleph_types::content::Content;
use aleph_types::{
    Address, ChainTx, FormatError, ItemHash, Message, MessageStatus, ParsedMessage, Rejection, Timestamp,
};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};

use crate::files::{self, Files};
use crate::intake::Refusals;
use crate::metrics::Metrics;
pub(crate) use collected::Collected;
pub(crate) use computing::Computing;
use computing::give_way;
use conclude::{Conclude, Outlets};
use known::Known;
pub(crate) use outcome::Answer;
pub use outcome::{Origin, Outcome, PipelineError};
use reply::Reply;
pub(crate) use steps::{Steps, Waiting};

/// Messages from outside that may be inside the pipeline at once, long ones counted more than once. Further
/// callers wait.
const INSIDE: usize = 8192;

/// Messages of one verify batch: enough to fill the pool, small enough to keep latency low.
const VERIFY_BATCH: usize = 256;

/// Verified batches that wait for the writer: together as much as a transaction takes.
const WRITE_QUEUE: usize = 16;

/// Messages of one transaction. Indexes by sender touch a page a sender: the more messages a transaction
/// has, the more of them share a page that is written once (`docs/adr/0001-one-writer-and-group-commit.md`).
const WRITE_BATCH: usize = 4096;

/// Messages and fetches that wait for the outlet. Gossip beyond that is left to catching up.
pub(crate) const OUTLET: usize = 16_384;

/// Processed messages that a slow subscriber may lag behind before it loses some.
const FEED: usize = 16_384;

/// Largest content that is fetched for a message that is not inline.
pub(crate) const MAX_CONTENT: u64 = 16 * 1024 * 1024;

/// How the pipeline is set up.
#[derive(Debug, Clone)]
pub struct PipelineOptions {
    /// The network's own addresses.
    pub network: Network,
    /// How long a message waits for what it lacks before it is rejected (`spec: messages.md §9`: about
    /// seven minutes in the reference, in the mean).
    pub patience: Duration,
    /// Threads that check signatures; 0 takes one a core.
    pub verify_threads: usize,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self { network: Network::default(), patience: Duration::from_secs(600), verify_threads: 0 }
    }
}

/// A message that was just applied.
#[derive(Debug, Clone)]
pub struct ProcessedMessage {
    /// Place in this node's order of processing.
    pub seq: i64,
    /// The envelope.
    pub message: Message,
    /// The content, typed.
    pub content: Content,
    /// The content document as it is served.
    pub document: Arc<str>,
    /// When this node met the message.
    pub reception_time: Timestamp,
    /// Where it came from.
    pub origin: Origin,
}

impl ProcessedMessage {
    /// `content.address`.
    pub fn owner(&self) -> &Address {
        self.content.owner()
    }
}

/// A message on its way in.
pub(crate) struct Submission {
    pub(crate) parsed: ParsedMessage,
    pub(crate) origin: Origin,
    pub(crate) reception_time: Timestamp,
    /// Row of the waiting copy that this is another try of.
    pub(crate) waiting: Option<i64>,
    /// Key of the dependency that this is another try for.
    pub(crate) awaited: Option<String>,
    /// The transaction that carries this copy.
    pub(crate) confirmation: Option<Box<ChainTx>>,
    /// Told whether the message may be forwarded as soon as its signature is checked.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) reply: Option<Reply>,
    /// Its place inside the pipeline, free again when its fate is on disk.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl Submission {
    /// A message that comes now, for the first time.
    fn new(parsed: ParsedMessage, origin: Origin) -> Self {
        Self {
            parsed,
            origin,
            reception_time: crate::clock::now(),
            waiting: None,
            awaited: None,
            confirmation: None,
            ticket: None,
            reply: None,
            permit: None,
        }
    }
}

/// What the verify thread takes.
pub(crate) enum Job {
    /// A message from outside.
    Message(Box<Submission>),
    /// A file arrived: messages that wait for it may go on.
    Arrived(ItemHash),
    /// Something that only the writer may do.
    Command(Command),
    /// Try waiting messages again.
    Retry(Retry),
    /// Reject what waited too long.
    Expire,
    /// Finish what is queued before this, then end.
    Stop,
}

/// Waiting rows that are due to be tried again. They are read a page at a time, the next one when the
/// messages before it are on disk, so that memory does not grow with what waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Those that wait on this dependency key; `None`: all.
    key: Option<String>,
    /// The row that was tried last.
    after: i64,
}

/// A change of the database that is no message, run inside the writer's transaction. What it returns is
/// told whether the transaction was committed.
pub(crate) type Command = Box<
    dyn FnOnce(&mut aleph_store::Transaction<'_>) -> Result<CommandEnd, aleph_store::StoreError>
        + Send
        + 'static,
>;

/// See [`Command`].
pub(crate) type CommandEnd = Box<dyn FnOnce(bool) + Send + 'static>;

/// What is known right after a commit; subscribers outside the pipeline act on it.
pub(crate) enum AfterCommit {
    /// Spread this message: it was accepted from a client of this node.
    Publish(Message),
    /// Fetch this file or content: a message waits for it.
    Fetch(ItemHash),
}

/// The shared handle: cheap to clone.
#[derive(Clone)]
pub struct Pipeline {
    jobs: crossbeam_channel::Sender<Job>,
    permits: Arc<Semaphore>,
    feed: broadcast::Sender<Arc<ProcessedMessage>>,
    shared: Arc<Shared>,
    store: Store,
    computing: Computing,
}

/// What the handle and the writer share.
#[derive(Default)]
pub(crate) struct Shared {
    known: Known,
    collected: Arc<Collected>,
    waiters: Mutex<HashMap<ItemHash, Vec<oneshot::Sender<Outcome>>>>,
    refusals: Arc<Refusals>,
    /// Why the last batch could not be stored; none once one was.
    trouble: Mutex<Option<String>>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}

/// The threads behind a [`Pipeline`].
#[derive(Debug)]
pub struct PipelineThreads {
    verify: std::thread::JoinHandle<()>,
    write: std::thread::JoinHandle<()>,
    conclude: std::thread::JoinHandle<()>,
}

impl PipelineThreads {
    /// Waits until everything that was submitted is on disk; call [`Pipeline::stop`] first.
    pub fn join(self) {
        for thread in [self.verify, self.write, self.conclude] {
            if thread.join().is_err() {
                tracing::error!("a pipeline thread panicked");
            }
        }
    }
}

impl Pipeline {
    /// Starts the threads.
    pub(crate) fn start(
        options: PipelineOptions,
        store: Store,
        writer: Writer,
        files: Files,
        metrics: Arc<Metrics>,
        after_commit: mpsc::Sender<AfterCommit>,
    ) -> Result<(Pipeline, PipelineThreads), PipelineError> {
        // Unbounded, but what comes from outside holds a permit, and waiting rows come a page at a time.
        let (jobs, to_verify) = crossbeam_channel::unbounded();
        let (batches, to_write) = crossbeam_channel::bounded(WRITE_QUEUE);
        let (feed, _) = broadcast::channel(FEED);
        let shared = Arc::new(Shared::default());
        let refusals = Arc::clone(&shared.refusals);
        let computing = Computing::start(options.verify_threads)?;
        let verifier = verify::Verifier::new(computing.clone(), files, Arc::clone(&metrics), refusals);
        let outlets = Outlets {
            jobs: jobs.clone(),
            shared: Arc::clone(&shared),
            feed: feed.clone(),
            after_commit,
            metrics,
        };
        let (beside, handed_over) = conclude::beside();
        let conclude = Conclude::new(writer.disk_log(), outlets);
        let mut stage = write::WriteStage::new(options, writer, conclude.clone(), Some(beside));
        stage.load_waiting()?;
        let verify = std::thread::Builder::new()
            .name("verify".into())
            .spawn(move || {
                give_way();
                verifier.run(&to_verify, &batches);
            })
            .map_err(PipelineError::thread)?;
        let write = std::thread::Builder::new()
            .name("write".into())
            .spawn(move || stage.run(&to_write))
            .map_err(PipelineError::thread)?;
        let conclude = std::thread::Builder::new()
            .name("conclude".into())
            .spawn(move || {
                give_way();
                handed_over.run(&conclude);
            })
            .map_err(PipelineError::thread)?;
        let permits = Arc::new(Semaphore::new(INSIDE));
        let pipeline = Pipeline { jobs, permits, feed, shared, store, computing };
        Ok((pipeline, PipelineThreads { verify, write, conclude }))
    }

    /// The threads for what takes the processor a while, so that the writer does not wait for it.
    pub(crate) fn computing(&self) -> &Computing {
        &self.computing
    }

    /// Lets the threads end after everything that was submitted before.
    pub(crate) fn stop(&self) {
        self.permits.close();
        let _ = self.jobs.send(Job::Stop);
    }

    /// Room for a text of that many bytes, and for what it becomes when it is read. Waits for it.
    pub(crate) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, PipelineError> {
        let permits = room::permits(bytes, INSIDE);
        Arc::clone(&self.permits).acquire_many_owned(permits).await.map_err(|_| PipelineError::Stopped)
    }

    /// Takes a message; answers when its fate is on disk.
    pub async fn submit(&self, parsed: ParsedMessage, origin: Origin) -> Result<Outcome, PipelineError> {
        self.submit_within(parsed, origin, None).await
    }

    /// [`Self::submit`] for several messages, which are given to the pipeline in their order; answers when the
    /// fates of all are on disk, in that order. Who waits is woken once, not for each of them.
    pub(crate) async fn submit_all(
        &self,
        messages: Vec<ParsedMessage>,
        origin: Origin,
    ) -> Result<Vec<Outcome>, PipelineError> {
        let (replies, answers) = reply::together(messages.len());
        for (parsed, reply) in messages.into_iter().zip(replies) {
            if self.shared.known.contains(&parsed.message)
                && let Some(outcome) = self.settled(&parsed.message.item_hash).await?
            {
                reply.send(Ok(outcome));
                continue;
            }
            self.send(Submission { reply: Some(reply), ..Submission::new(parsed, origin) }).await?;
        }
        answers.all().await.into_iter().collect()
    }

    /// [`Self::submit`] for who took [`Self::room`] before reading the message.
    pub(crate) async fn submit_within(
        &self,
        parsed: ParsedMessage,
        origin: Origin,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Outcome, PipelineError> {
        if self.shared.known.contains(&parsed.message)
            && let Some(outcome) = self.settled(&parsed.message.item_hash).await?
        {
            return Ok(outcome);
        }
        let (reply, answer) = oneshot::channel();
        let reply = Some(Reply::One(reply));
        self.send(Submission { reply, permit, ..Submission::new(parsed, origin) }).await?;
        answer.await.map_err(|_| PipelineError::Stopped)?
    }

    /// Takes a message that a transaction of a chain carries (`spec: messages.md §25`): the message is
    /// decided like any other, unless it is known, and confirmed either way. `trusted` is for events of
    /// smart contracts, which need no signature. Answers when all of it is on disk.
    ///
    /// A message that is stored is confirmed whatever the signature of this copy; one that waits keeps the
    /// confirmation; one that is refused loses it.
    pub async fn submit_confirmed(
        &self,
        parsed: ParsedMessage,
        tx: ChainTx,
        trusted: bool,
    ) -> Result<Outcome, PipelineError> {
        let (reply, answer) = oneshot::channel();
        let origin = if trusted { Origin::Contract } else { Origin::Chain };
        let (confirmation, reply) = (Some(Box::new(tx)), Some(Reply::One(reply)));
        self.send(Submission { confirmation, reply, ..Submission::new(parsed, origin) }).await?;
        answer.await.map_err(|_| PipelineError::Stopped)?
    }

    /// Records that a document which calls itself `hash` has not the form of a message, unless a copy has a
    /// better fate (`spec: messages.md §7`). Waits for room, not for the disk.
    pub(crate) async fn refuse(&self, hash: ItemHash, document: String, error: FormatError) {
        let Ok(permit) = self.room(document.len()).await else { return };
        let now = crate::clock::now();
        let command: Command = Box::new(move |transaction| {
            if matches!(transaction.status(&hash)?, None | Some(MessageStatus::Rejected)) {
                transaction.reject(&hash, &document, &Rejection::from(error), now)?;
            }
            Ok(Box::new(move |_committed| drop(permit)))
        });
        // A pipeline that stops needs no garbage.
        let _ = self.jobs.send(Job::Command(command));
    }

    /// Whether one more refusal of what gossip brought may become a row.
    pub(crate) fn may_store_refusal(&self) -> bool {
        self.shared.refusals.take()
    }

    /// Takes a gossiped message; nobody waits for its fate. Waits for room in the queue.
    pub(crate) async fn submit_gossip(&self, parsed: ParsedMessage, ticket: Ticket) {
        if self.shared.known.contains(&parsed.message) {
            ticket.report(Verdict::Ignore);
            return;
        }
        let submission = Submission { ticket: Some(ticket), ..Submission::new(parsed, Origin::Gossip) };
        // A pipeline that stops needs no gossip: the message comes again by catching up.
        let _ = self.send(submission).await;
    }

    async fn send(&self, mut submission: Submission) -> Result<(), PipelineError> {
        if submission.permit.is_none() {
            let text = submission.parsed.message.item_content.as_ref();
            submission.permit = Some(self.room(text.map_or(0, |text| text.len())).await?);
        }
        self.jobs.send(Job::Message(Box::new(submission))).map_err(|_| PipelineError::Stopped)
    }

    /// Says that a file is here now.
    pub fn arrived(&self, hash: ItemHash) {
        // Messages may wait for another text of the same CID.
        for form in files::forms(&hash) {
            let _ = self.jobs.send(Job::Arrived(form));
        }
    }

    /// Runs a change that is no message inside the writer's next transaction; answers when it is durable.
    pub async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut aleph_store::Transaction<'_>) -> Result<T, aleph_store::StoreError>
        + Send
        + 'static,
    ) -> Result<T, PipelineError> {
        let (reply, answer) = oneshot::channel();
        let command: Command = Box::new(move |transaction| {
            let value = change(transaction)?;
            Ok(Box::new(move |committed| {
                if committed {
                    let _ = reply.send(value);
                }
            }))
        });
        self.jobs.send(Job::Command(command)).map_err(|_| PipelineError::Stopped)?;
        answer.await.map_err(|_| PipelineError::unavailable("the change was not stored; see the node's log"))
    }

    /// Has every message tried again that waits on `dependency`.
    pub(crate) fn retry_waiting(&self, dependency: &aleph_rules::Dependency) {
        // A pipeline that stops tries everything again when it starts.
        let _ = self.jobs.send(Job::Retry(Retry { key: Some(dependency.to_string()), after: i64::MIN }));
    }

    /// Files that are taken away in these moments.
    pub(crate) fn collected(&self) -> Arc<Collected> {
        Arc::clone(&self.shared.collected)
    }

    /// Makes overdue waiting messages rejected.
    pub(crate) fn expire(&self) {
        let _ = self.jobs.send(Job::Expire);
    }

    /// Why messages can't be stored now, in words; none while they can.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().clone()
    }

    /// Every message processed from now on. A subscriber that falls [`FEED`] behind is told so.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<ProcessedMessage>> {
        self.feed.subscribe()
    }

    /// Waits until a pending message gets its final fate, at most `limit`.
    pub async fn wait_for(&self, item_hash: &ItemHash, limit: Duration) -> Result<Outcome, PipelineError> {
        let (told, outcome) = oneshot::channel();
        {
            let mut waiters = self.shared.waiters.lock();
            let of_hash = waiters.entry(item_hash.clone()).or_default();
            of_hash.retain(|waiter| !waiter.is_closed());
            of_hash.push(told);
        }
        // It may have been settled before we registered.
        if let Some(settled) = self.settled(item_hash).await? {
            // What can be read may not be durable yet; what follows it here is when both are.
            self.write(|_| Ok(())).await?;
            return Ok(settled);
        }
        match tokio::time::timeout(limit, outcome).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(PipelineError::Stopped),
            Err(_elapsed) => {
                let mut waiters = self.shared.waiters.lock();
                if let Some(of_hash) = waiters.get_mut(item_hash) {
                    of_hash.retain(|waiter| !waiter.is_closed());
                    if of_hash.is_empty() {
                        waiters.remove(item_hash);
                    }
                }
                Ok(Outcome::Pending)
            }
        }
    }

    /// The fate of a hash, if it is final.
    async fn settled(&self, item_hash: &ItemHash) -> Result<Option<Outcome>, PipelineError> {
        let Some(fate) = self.store.fate_summary(item_hash).await? else { return Ok(None) };
        let (status, rejection) = fate;
        Ok(match (status, rejection) {
            (MessageStatus::Pending, _) => None,
            (MessageStatus::Processed, _) => Some(Outcome::Processed),
            (MessageStatus::Removing, _) => Some(Outcome::Removing),
            (MessageStatus::Forgotten, _) => Some(Outcome::Forgotten),
            (MessageStatus::Removed, _) => Some(Outcome::Removed),
            (MessageStatus::Rejected, Some(rejection)) => Some(Outcome::Rejected(rejection)),
            (MessageStatus::Rejected, None) => None,
        })
    }
}

impl Shared {
    fn tell_waiters(&self, item_hash: &ItemHash, outcome: &Outcome) {
        let waiters = {
            let mut all = self.waiters.lock();
            if all.is_empty() { None } else { all.remove(item_hash) }
        };
        for waiter in waiters.into_iter().flatten() {
            let _ = waiter.send(outcome.clone());
        }
    }
}

/// The refusal as it is logged.
pub(crate) fn refusal_text(rejection: &Rejection) -> String {
    match &rejection.details {
        None => rejection.code.explanation().to_owned(),
        Some(details) => details.get("errors").unwrap_or(details).to_string(),
    }
}
