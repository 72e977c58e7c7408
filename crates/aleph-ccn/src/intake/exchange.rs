//! What nodes of this project ask each other while they catch up: two questions, in bytes, whatever
//! carries them.
//!
//! | first byte | question | answer |
//! |---|---|---|
//! | 1 | a frame of range-based set reconciliation (`negentropy`, version 1) over the accepted messages | 1 and the frame of the other side |
//! | 2 | at most [`WANTED_PAGE`] elements, 32 bytes each | 2 and [`Found`] as JSON, compressed with zstd |
//!
//! An answer that starts with 0 is a refusal in words.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;

use aleph_store::{Skeleton, Store, StoreError};
use aleph_types::ItemHash;
use aleph_types::wire::Envelope;
use negentropy::Negentropy;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::known::{KnownSet, hashes_of};

/// Largest frame of the reconciliation, in bytes.
pub(crate) const FRAME: u64 = 256 * 1024;

/// Largest question, in bytes.
pub(crate) const QUESTION_MAX: usize = FRAME as usize + 1024;

/// Messages that are asked for at once.
pub(crate) const WANTED_PAGE: usize = 500;

/// Bytes of texts after which an answer leaves the rest out: whoever asked asks again for those.
const FOUND_MAX: usize = 8 * 1024 * 1024;

/// Largest answer that is read, in bytes, compressed and not.
pub(crate) const ANSWER_MAX: usize = 24 * 1024 * 1024;

/// Comparisons at a time; each takes some milliseconds a million messages.
const AT_ONCE: usize = 2;

const REFUSAL: u8 = 0;
const COMPARE: u8 = 1;
const WANT: u8 = 2;

/// The messages that were asked for, as far as the other node has them. `M` is [`Envelope`] where they are
/// sent, and anything where they are received: what comes from outside is read like any other message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Found<M> {
    /// Messages as they are published.
    pub(crate) messages: Vec<M>,
    /// What is left of messages that were forgotten.
    pub(crate) forgotten: Vec<Skeleton>,
    /// The FORGETs that they name.
    pub(crate) forgets: Vec<M>,
}

/// Why an answer can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The peer said so.
    #[error("refused: {0}")]
    Refused(String),
    /// It doesn't keep to the protocol.
    #[error("answered something else than asked for: {0}")]
    Form(String),
}

/// The question with a frame of the reconciliation.
pub(crate) fn compare(frame: &[u8]) -> Vec<u8> {
    [&[COMPARE], frame].concat()
}

/// The question for messages.
pub(crate) fn want(ids: &[[u8; 32]]) -> Vec<u8> {
    let mut question = Vec::with_capacity(1 + ids.len() * 32);
    question.push(WANT);
    question.extend(ids.iter().flatten());
    question
}

/// The frame in the answer to [`compare`].
pub(crate) fn read_frame(answer: &[u8]) -> Result<&[u8], ExchangeError> {
    match answer.split_first() {
        Some((&COMPARE, frame)) => Ok(frame),
        other => Err(refusal(other)),
    }
}

/// The messages in the answer to [`want`].
pub(crate) fn read_found(answer: &[u8]) -> Result<Found<serde_json::Value>, ExchangeError> {
    match answer.split_first() {
        Some((&WANT, packed)) => {
            let form = |error: &dyn std::fmt::Display| ExchangeError::Form(error.to_string());
            let mut text = Vec::new();
            let unpacked = zstd::stream::read::Decoder::new(packed).map_err(|error| form(&error))?;
            unpacked.take(ANSWER_MAX as u64 + 1).read_to_end(&mut text).map_err(|error| form(&error))?;
            if text.len() > ANSWER_MAX {
                return Err(ExchangeError::Form(format!("more than {ANSWER_MAX} bytes")));
            }
            serde_json::from_slice(&text).map_err(|error| form(&error))
        }
        other => Err(refusal(other)),
    }
}

fn refusal(answer: Option<(&u8, &[u8])>) -> ExchangeError {
    match answer {
        Some((&REFUSAL, words)) => {
            ExchangeError::Refused(String::from_utf8_lossy(&words[..words.len().min(300)]).into_owned())
        }
        Some((kind, _)) => ExchangeError::Form(format!("an answer of kind {kind}")),
        None => ExchangeError::Form("an empty answer".to_owned()),
    }
}

/// Answers the questions of other nodes.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    store: Store,
    known: Arc<Mutex<KnownSet>>,
    places: Arc<tokio::sync::Semaphore>,
}

impl Exchange {
    pub(crate) fn new(store: Store) -> Self {
        let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        Self { store, known: Arc::new(Mutex::new(KnownSet::default())), places }
    }

    /// The answer to a question; a refusal is an answer too.
    pub(crate) async fn answer(&self, question: &[u8]) -> Result<Vec<u8>, StoreError> {
        match question.split_first() {
            Some((&COMPARE, frame)) if frame.len() <= QUESTION_MAX => {
                let Ok(_place) = Arc::clone(&self.places).try_acquire_owned() else {
                    return Ok(refuse("busy with other nodes; ask again in a few seconds"));
                };
                let frame = frame.to_vec();
                let answer = self.with_known(move |known| {
                    Negentropy::borrowed(known, FRAME).and_then(|mut side| side.reconcile(&frame))
                });
                Ok(match answer.await? {
                    Ok(frame) => compare(&frame),
                    Err(error) => refuse(&format!("no frame of version 1: {error}")),
                })
            }
            Some((&WANT, ids)) if ids.len() % 32 == 0 && ids.len() / 32 <= WANTED_PAGE => {
                self.find(ids).await
            }
            Some((&WANT, _)) => Ok(refuse(&format!("not up to {WANTED_PAGE} elements of 32 bytes"))),
            _ => Ok(refuse("unknown question")),
        }
    }

    /// Passes the set, brought up to date, to `use_it` on a thread that may take its time.
    pub(crate) async fn with_known<T: Send + 'static>(
        &self,
        use_it: impl FnOnce(&KnownSet) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut known = Arc::clone(&self.known).lock_owned().await;
        known.refresh(&self.store).await?;
        let used = tokio::task::spawn_blocking(move || use_it(&known)).await;
        used.or_else(|join| match join.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => Err(StoreError::Closed),
        })
    }

    async fn find(&self, ids: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut hashes = Vec::new();
        for id in ids.chunks_exact(32) {
            let mut digest = [0; 32];
            digest.copy_from_slice(id);
            hashes.extend(hashes_of(&digest));
        }
        let mut size = 0;
        let mut fits = |envelope: &Envelope| {
            size += envelope.item_content.as_ref().map_or(0, String::len) + 512;
            size <= FOUND_MAX
        };
        let mut messages = self.store.envelopes(hashes.clone()).await?;
        messages.retain(&mut fits);
        let mut forgotten = self.store.skeletons(hashes).await?;
        let by: BTreeSet<ItemHash> =
            forgotten.iter().flat_map(|skeleton| skeleton.forgotten_by.first().cloned()).collect();
        let mut forgets = self.store.envelopes(by.into_iter().collect()).await?;
        forgets.retain(&mut fits);
        let sent: BTreeSet<&str> = forgets.iter().map(|forget| forget.item_hash.as_str()).collect();
        forgotten.retain(|skeleton| {
            skeleton.forgotten_by.first().is_some_and(|forget| sent.contains(forget.as_str()))
        });
        let packed = tokio::task::spawn_blocking(move || {
            let text = serde_json::to_vec(&Found::<Envelope> { messages, forgotten, forgets })?;
            zstd::encode_all(text.as_slice(), 1)
        });
        Ok(match packed.await {
            Ok(Ok(packed)) => [&[WANT], packed.as_slice()].concat(),
            Ok(Err(error)) => refuse(&format!("could not be packed: {error}")),
            Err(_) => return Err(StoreError::Closed),
        })
    }
}

fn refuse(words: &str) -> Vec<u8> {
    [&[REFUSAL], words.as_bytes()].concat()
}
