//! The verify stage: signatures on a pool, and whatever a message needs that is already on this disk.

use std::sync::Arc;

use aleph_crypto::{Refused, Verified};
use aleph_p2p::{Ticket, Verdict};
use aleph_rules::{Dependency, FileInfo, ManifestFile};
use aleph_types::content::{Content, RuntimeManifest};
use aleph_types::{
    ChainTx, FormatError, ItemHash, ItemType, ParsedMessage, Rejection, SignatureFamily, limits,
};
use crossbeam_channel::{Receiver, Sender};
use rayon::prelude::*;

use super::outcome::invalid;
use super::room::{CONTENTS, Room, Rooms};
use super::{Command, Computing, Job, MAX_CONTENT, Origin, Retry, Submission, VERIFY_BATCH};
use crate::files::Files;
use crate::intake::Refusals;
use crate::metrics::Metrics;

/// Most signatures that one thread checks together: what they share is worth little more beyond this
/// (`docs/adr/0011-ed25519-batches.md`).
const MOST_TOGETHER: usize = 128;

/// Content that was fetched by hash.
pub(crate) struct Fetched {
    pub(crate) content: Content,
    /// The document as it is served.
    pub(crate) document: Arc<str>,
    pub(crate) size: u64,
}

/// A verified message with what this node has of it.
pub(crate) struct Ready {
    pub(crate) verified: Verified<ParsedMessage>,
    pub(crate) fetched: Option<Fetched>,
    pub(crate) file: Option<FileInfo>,
    pub(crate) manifest: Option<ManifestOnDisk>,
}

/// The file that a V-PROGRAM waited for, read: which file it is, only the writer knows.
pub(crate) struct ManifestOnDisk {
    file: ItemHash,
    read: Result<RuntimeManifest, FormatError>,
}

impl ManifestOnDisk {
    pub(crate) fn as_fact(&self) -> ManifestFile<'_> {
        ManifestFile { file: &self.file, manifest: &self.read }
    }
}

/// What the writer takes.
pub(crate) enum Work {
    /// Decide and store.
    Decide(Box<Ready>, Envelope),
    /// Store the refusal.
    Refuse(Box<ParsedMessage>, Rejection, Envelope),
    /// A file arrived.
    Arrived(ItemHash),
    /// Another change.
    Command(Command),
    /// Try waiting messages again.
    Retry(Retry),
    /// Reject what waited too long.
    Expire,
    /// What the contents before this take; free again when they are durable.
    Room(Room),
}

/// How a message travels, apart from itself.
pub(crate) struct Envelope {
    pub(crate) origin: Origin,
    pub(crate) reception_time: aleph_types::Timestamp,
    pub(crate) waiting: Option<i64>,
    /// Key of the dependency that this is another try for.
    pub(crate) awaited: Option<String>,
    /// The transaction that carries this copy.
    pub(crate) confirmation: Option<Box<ChainTx>>,
    pub(crate) reply: Option<super::Reply>,
    /// Held until the fate is on disk.
    pub(crate) _permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// A message's company while its signature is checked.
struct Travel {
    envelope: Envelope,
    ticket: Option<Ticket>,
}

fn split(submission: Submission) -> (ParsedMessage, Travel) {
    let Submission { parsed, origin, reception_time, waiting, awaited, confirmation, ticket, reply, permit } =
        submission;
    let envelope =
        Envelope { origin, reception_time, waiting, awaited, confirmation, reply, _permit: permit };
    (parsed, Travel { envelope, ticket })
}

/// Whether the signature of this message is cheaper to check together with others of its family.
fn shares_work(job: &Job) -> bool {
    match job {
        Job::Message(submission) => {
            submission.origin.trusted().is_none()
                && submission.parsed.message.chain.family() == SignatureFamily::Solana
        }
        Job::Arrived(_) | Job::Command(_) | Job::Retry(_) | Job::Expire | Job::Stop => false,
    }
}

pub(crate) struct Verifier {
    computing: Computing,
    files: Files,
    metrics: Arc<Metrics>,
    contents: Rooms,
    refusals: Arc<Refusals>,
}

impl Verifier {
    pub(crate) fn new(
        computing: Computing,
        files: Files,
        metrics: Arc<Metrics>,
        refusals: Arc<Refusals>,
    ) -> Self {
        Self { computing, files, metrics, contents: Rooms::default(), refusals }
    }

    /// Runs until [`Job::Stop`].
    pub(crate) fn run(&self, jobs: &Receiver<Job>, batches: &Sender<Vec<Work>>) {
        let mut batch = Vec::with_capacity(VERIFY_BATCH);
        let mut stopping = false;
        while !stopping {
            let Ok(first) = jobs.recv() else { return };
            batch.push(first);
            batch.extend(jobs.try_iter().take(VERIFY_BATCH - 1));
            stopping = batch.iter().any(|job| matches!(job, Job::Stop));
            while !batch.is_empty() {
                let (count, bytes) = self.part(&batch);
                let room = (bytes > 0).then(|| self.contents.take(bytes));
                let later = batch.split_off(count);
                let mut work = self.prepare_all(&mut batch);
                work.extend(room.map(Work::Room));
                if batches.send(work).is_err() {
                    return;
                }
                batch = later;
            }
        }
    }

    /// How many of the jobs may be prepared together, and how many bytes of contents they read.
    fn part(&self, jobs: &[Job]) -> (usize, u64) {
        let mut bytes = 0;
        for (index, job) in jobs.iter().enumerate() {
            let size = self.content_size(job);
            if index > 0 && bytes + size > CONTENTS {
                return (index, bytes);
            }
            bytes += size;
        }
        (jobs.len(), bytes)
    }

    /// Bytes of the content that a job reads from this disk.
    fn content_size(&self, job: &Job) -> u64 {
        let Job::Message(submission) = job else { return 0 };
        let message = &submission.parsed.message;
        if message.item_type == ItemType::Inline {
            return 0;
        }
        // Longer ones are refused unread; what goes wrong shows when it is read.
        let info = self.files.info_sync(&message.item_hash).ok().flatten();
        info.map(|info| info.size).filter(|size| *size <= MAX_CONTENT).unwrap_or(0)
    }

    pub(super) fn prepare_all(&self, batch: &mut Vec<Job>) -> Vec<Work> {
        if batch.len() == 1 {
            // Handing one message to the pool costs more than it saves.
            batch.drain(..).filter_map(|job| self.prepare(job)).collect()
        } else if batch.iter().any(shares_work) {
            self.prepare_with_groups(batch)
        } else {
            self.computing
                .pool()
                .install(|| batch.par_drain(..).filter_map(|job| self.prepare(job)).collect())
        }
    }

    fn prepare(&self, job: Job) -> Option<Work> {
        match job {
            Job::Message(submission) => Some(self.check(*submission)),
            Job::Arrived(hash) => Some(Work::Arrived(hash)),
            Job::Command(command) => Some(Work::Command(command)),
            Job::Retry(retry) => Some(Work::Retry(retry)),
            Job::Expire => Some(Work::Expire),
            Job::Stop => None,
        }
    }

    /// The same for a batch with messages whose signatures are cheaper to check together. The work keeps
    /// the order of the jobs.
    fn prepare_with_groups(&self, batch: &mut Vec<Job>) -> Vec<Work> {
        let (together, alone): (Vec<_>, Vec<_>) =
            batch.drain(..).enumerate().partition(|(_, job)| shares_work(job));
        let most =
            together.len().div_ceil(self.computing.pool().current_num_threads()).clamp(1, MOST_TOGETHER);
        let mut groups: Vec<Vec<(usize, Submission)>> = Vec::new();
        let mut group = Vec::new();
        for (place, job) in together {
            if let Job::Message(submission) = job {
                group.push((place, *submission));
            }
            if group.len() == most {
                groups.push(std::mem::take(&mut group));
            }
        }
        if !group.is_empty() {
            groups.push(group);
        }
        let mut work: Vec<(usize, Work)> = self.computing.pool().install(|| {
            let (mut of_groups, of_others): (Vec<_>, Vec<_>) = rayon::join(
                || groups.into_par_iter().flat_map_iter(|group| self.check_together(group)).collect(),
                || {
                    alone
                        .into_par_iter()
                        .filter_map(|(place, job)| Some((place, self.prepare(job)?)))
                        .collect::<Vec<_>>()
                },
            );
            of_groups.extend(of_others);
            of_groups
        });
        work.sort_unstable_by_key(|(place, _)| *place);
        work.into_iter().map(|(_, work)| work).collect()
    }

    fn check(&self, submission: Submission) -> Work {
        let (parsed, travel) = split(submission);
        let verdict = if let Some(source) = travel.envelope.origin.trusted() {
            Ok(Verified::trusted(parsed, source))
        } else {
            self.metrics.verified.increment();
            aleph_crypto::verify(parsed)
        };
        self.judged(verdict, travel)
    }

    fn check_together(&self, group: Vec<(usize, Submission)>) -> Vec<(usize, Work)> {
        let mut travels = Vec::with_capacity(group.len());
        let mut messages = Vec::with_capacity(group.len());
        for (place, submission) in group {
            let (parsed, travel) = split(submission);
            messages.push(parsed);
            travels.push((place, travel));
        }
        self.metrics.verified.add(messages.len() as u64);
        let verdicts = aleph_crypto::verify_batch(messages);
        travels
            .into_iter()
            .zip(verdicts)
            .map(|((place, travel), verdict)| (place, self.judged(verdict, travel)))
            .collect()
    }

    /// What follows from the verdict on a signature.
    fn judged(&self, verdict: Result<Verified<ParsedMessage>, Refused>, travel: Travel) -> Work {
        let Travel { envelope, ticket } = travel;
        let verified = match verdict {
            Ok(verified) => verified,
            Err(refused) => {
                if let Some(ticket) = ticket {
                    ticket.report(Verdict::Reject);
                }
                // Anybody can gossip what is signed by nobody.
                if matches!(envelope.origin, Origin::Gossip) && !self.refusals.take() {
                    self.metrics.gossip_unrecorded.increment();
                    return Work::Command(Box::new(|_| Ok(Box::new(|_| ()))));
                }
                return Work::Refuse(refused.message, Rejection::from(refused.error), envelope);
            }
        };
        if let Some(ticket) = ticket {
            ticket.report(Verdict::Accept);
        }
        match self.gather(&verified) {
            Ok((fetched, file)) => {
                let content = verified.content.as_ref().or(fetched.as_ref().map(|fetched| &fetched.content));
                let manifest = match content {
                    Some(Content::VProgram(_)) => self.manifest(envelope.awaited.as_deref()),
                    _ => None,
                };
                Work::Decide(Box::new(Ready { verified, fetched, file, manifest }), envelope)
            }
            Err(rejection) => Work::Refuse(Box::new(verified.into_inner()), rejection, envelope),
        }
    }

    /// The file that a V-PROGRAM waits for, if this disk has it: its runtime's manifest.
    fn manifest(&self, awaited: Option<&str>) -> Option<ManifestOnDisk> {
        let Some(Dependency::File(file)) = awaited.and_then(Dependency::from_key) else { return None };
        let read = match self.files.read_sync(&file, limits::RUNTIME_MANIFEST) {
            Ok(Some(bytes)) => RuntimeManifest::parse(&bytes),
            Ok(None) => return None,
            Err(aleph_blobs::BlobError::TooLarge { limit }) => {
                Err(FormatError::text(format!("larger than {limit} bytes")))
            }
            Err(error) => {
                tracing::warn!(%file, %error, "runtime manifest can't be read");
                return None;
            }
        };
        Some(ManifestOnDisk { file, read })
    }

    /// Content and file, where this disk has them.
    fn gather(
        &self,
        verified: &Verified<ParsedMessage>,
    ) -> Result<(Option<Fetched>, Option<FileInfo>), Rejection> {
        let message = &verified.message;
        let fetched = match message.item_type {
            ItemType::Inline => None,
            ItemType::Storage | ItemType::Ipfs => {
                match self.files.read_sync(&message.item_hash, MAX_CONTENT) {
                    Ok(None) => None,
                    Ok(Some(bytes)) => {
                        let size = bytes.len() as u64;
                        let (content, document) =
                            Content::parse_fetched_text(message, &bytes).map_err(invalid)?;
                        Some(Fetched { content, document: document.into(), size })
                    }
                    Err(aleph_blobs::BlobError::TooLarge { .. }) => {
                        return Err(invalid(FormatError::text(format!(
                            "the content of a message is limited to {MAX_CONTENT} bytes"
                        ))));
                    }
                    Err(error) => {
                        tracing::warn!(item_hash = %message.item_hash, %error, "content can't be read");
                        None
                    }
                }
            }
        };
        let content = verified.content.as_ref().or(fetched.as_ref().map(|fetched| &fetched.content));
        let file = match content {
            Some(Content::Store(store)) => match self.files.info_sync(&store.item_hash) {
                Ok(info) => info,
                Err(error) => {
                    tracing::debug!(file = %store.item_hash, %error, "file can't be looked up");
                    None
                }
            },
            _ => None,
        };
        Ok((fetched, file))
    }
}
