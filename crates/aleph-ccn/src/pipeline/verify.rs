//! The verify stage: signatures on a pool, and whatever a message needs that is already on this disk.

use std::sync::Arc;

use aleph_blobs::BlobStore;
use aleph_crypto::{TrustedSource, Verified};
use aleph_p2p::Verdict;
use aleph_rules::{Dependency, FileInfo, FileKind, ManifestFile};
use aleph_types::content::{Content, RuntimeManifest};
use aleph_types::{FormatError, ItemHash, ItemType, ParsedMessage, Rejection, limits};
use crossbeam_channel::{Receiver, Sender};
use rayon::prelude::*;

use super::outcome::invalid;
use super::{Command, Job, MAX_CONTENT, Origin, PipelineError, Submission, VERIFY_BATCH};
use crate::metrics::Metrics;

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
    /// Reject what waited too long.
    Expire,
}

/// How a message travels, apart from itself.
pub(crate) struct Envelope {
    pub(crate) origin: Origin,
    pub(crate) reception_time: aleph_types::Timestamp,
    pub(crate) waiting: Option<i64>,
    pub(crate) reply: Option<tokio::sync::oneshot::Sender<super::Answer>>,
    /// Held until the fate is on disk.
    pub(crate) _permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

pub(crate) struct Verifier {
    pool: rayon::ThreadPool,
    blobs: BlobStore,
    metrics: Arc<Metrics>,
}

impl Verifier {
    pub(crate) fn new(
        threads: usize,
        blobs: BlobStore,
        metrics: Arc<Metrics>,
    ) -> Result<Self, PipelineError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("verify-{index}"))
            .build()
            .map_err(|error| PipelineError::unavailable(format!("no verify threads: {error}")))?;
        Ok(Self { pool, blobs, metrics })
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
            let work: Vec<Work> = if batch.len() == 1 {
                // Handing one message to the pool costs more than it saves.
                batch.drain(..).filter_map(|job| self.prepare(job)).collect()
            } else {
                self.pool.install(|| batch.par_drain(..).filter_map(|job| self.prepare(job)).collect())
            };
            if batches.send(work).is_err() {
                return;
            }
        }
    }

    fn prepare(&self, job: Job) -> Option<Work> {
        match job {
            Job::Message(submission) => Some(self.check(*submission)),
            Job::Arrived(hash) => Some(Work::Arrived(hash)),
            Job::Command(command) => Some(Work::Command(command)),
            Job::Expire => Some(Work::Expire),
            Job::Stop => None,
        }
    }

    fn check(&self, submission: Submission) -> Work {
        let Submission { parsed, origin, reception_time, waiting, awaited, ticket, reply, permit } =
            submission;
        let envelope = Envelope { origin, reception_time, waiting, reply, _permit: permit };
        let verified = if origin == Origin::Genesis {
            Ok(Verified::trusted(parsed, TrustedSource::Genesis))
        } else {
            self.metrics.verified.increment();
            aleph_crypto::verify(parsed)
        };
        let verified = match verified {
            Ok(verified) => verified,
            Err(refused) => {
                if let Some(ticket) = ticket {
                    ticket.report(Verdict::Reject);
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
                    Some(Content::VProgram(_)) => self.manifest(awaited.as_deref()),
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
        let read = match self.blobs.read_sync(&file, limits::RUNTIME_MANIFEST) {
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
                match self.blobs.read_sync(&message.item_hash, MAX_CONTENT) {
                    Ok(None) => None,
                    Ok(Some(bytes)) => {
                        let size = bytes.len() as u64;
                        let (content, document) = Content::parse_fetched(message, &bytes).map_err(invalid)?;
                        Some(Fetched { content, document: document.to_string().into(), size })
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
            Some(Content::Store(store)) => match self.blobs.size_sync(&store.item_hash) {
                Ok(size) => size.map(|size| FileInfo { size, kind: FileKind::File }),
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
