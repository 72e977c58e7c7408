//! What nodes of this project ask each other while they catch up: questions and answers in bytes, whatever
//! carries them.
//!
//! | first byte | question | answer |
//! |---|---|---|
//! | 1 | a frame of range-based set reconciliation (`negentropy`, version 1) over the accepted messages | 1 and the frame of the other side |
//! | 3 | at most [`WANTED_PAGE`] elements, 32 bytes each | 3 and [lines](Line), compressed with zstd |
//! | 4 | nothing | 4 and the number of accepted messages, eight bytes |
//! | 5 | nothing | 5 and the signed manifest of a snapshot ([`super::snapshot`]), compressed with zstd |
//! | 6 | a snapshot (32 bytes), a chunk of it and the elements of the chunk that the asker has already (four bytes each) | 6 and lines, compressed with zstd |
//!
//! Numbers are big endian. An answer that starts with 0 is a refusal in words. What is asked for by 3 may be
//! left out when the answer grows long; the asker asks again for the rest. A chunk that is not handed on
//! whole ends with the place to go on from.

use std::collections::HashSet;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use aleph_p2p::NetworkHandle;
use aleph_store::{Handing, Skeleton, Store, StoreError};
use aleph_types::ItemHash;
use negentropy::Negentropy;
use tokio::sync::Mutex;

use super::known::{KnownSet, hashes_of};
use super::snapshot::{Pinned, SnapshotId, manifest_of, tell};

/// Largest frame of the reconciliation, in bytes.
pub(crate) const FRAME: u64 = 256 * 1024;

/// Largest question, in bytes.
pub(crate) const QUESTION_MAX: usize = FRAME as usize + 1024;

/// Messages that are asked for at once.
pub(crate) const WANTED_PAGE: usize = 1024;

/// Bytes of texts after which an answer leaves the rest out.
const LINES_MAX: usize = 4 * 1024 * 1024;

/// Largest answer that is read, in bytes, compressed and not: the longest texts, and one message more.
pub(crate) const ANSWER_MAX: usize = 12 * 1024 * 1024;

/// Memory that a compressed answer may have its reader take, as a power of two.
const WINDOW_LOG: u32 = 23;

/// As fast as the line of a local network: the processor is what a node is short of while it catches up.
const ZSTD_LEVEL: i32 = 1;

/// Comparisons at a time; each takes some milliseconds a million messages.
const AT_ONCE: usize = 2;

/// Others wait this long for their turn. How many may wait is bounded by who carries the questions.
const TURN_WITHIN: Duration = Duration::from_secs(5);

const REFUSAL: u8 = 0;
const COMPARE: u8 = 1;
const WANT: u8 = 3;
const COUNT: u8 = 4;
const SNAPSHOT: u8 = 5;
const CHUNK: u8 = 6;

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

fn form(what: impl std::fmt::Display) -> ExchangeError {
    ExchangeError::Form(what.to_string())
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

/// The question for how many messages the other node has accepted.
pub(crate) fn count() -> Vec<u8> {
    vec![COUNT]
}

/// The question for a snapshot.
pub(crate) fn snapshot() -> Vec<u8> {
    vec![SNAPSHOT]
}

/// The question for a chunk of a snapshot from its element number `after` on.
pub(crate) fn chunk(snapshot: &SnapshotId, chunk: u32, after: u32) -> Vec<u8> {
    [&[CHUNK], snapshot.as_slice(), &chunk.to_be_bytes(), &after.to_be_bytes()].concat()
}

fn body(answer: &[u8], kind: u8) -> Result<&[u8], ExchangeError> {
    match answer.split_first() {
        Some((first, body)) if *first == kind => Ok(body),
        Some((&REFUSAL, words)) => {
            let words = String::from_utf8_lossy(&words[..words.len().min(300)]).into_owned();
            Err(ExchangeError::Refused(words))
        }
        Some((kind, _)) => Err(form(format_args!("an answer of kind {kind}"))),
        None => Err(form("an empty answer")),
    }
}

/// The frame in the answer to [`compare`].
pub(crate) fn read_frame(answer: &[u8]) -> Result<&[u8], ExchangeError> {
    body(answer, COMPARE)
}

/// The number in the answer to [`count`].
pub(crate) fn read_count(answer: &[u8]) -> Result<u64, ExchangeError> {
    let number = body(answer, COUNT)?.try_into().map_err(|_| form("a number of other than eight bytes"))?;
    Ok(u64::from_be_bytes(number))
}

/// The manifest in the answer to [`snapshot`], for [`super::snapshot::believe`].
pub(crate) fn read_snapshot(answer: &[u8]) -> Result<Vec<u8>, ExchangeError> {
    unpack(body(answer, SNAPSHOT)?)
}

/// The lines of the answer to [`want`] or [`chunk`], for [`lines_of`].
pub(crate) fn read_lines(answer: &[u8], of_chunk: bool) -> Result<Vec<u8>, ExchangeError> {
    unpack(body(answer, if of_chunk { CHUNK } else { WANT })?)
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, ExchangeError> {
    let mut unpacked = zstd::stream::read::Decoder::with_buffer(packed).map_err(form)?;
    unpacked.window_log_max(WINDOW_LOG).map_err(form)?;
    let mut text = Vec::new();
    unpacked.take(ANSWER_MAX as u64 + 1).read_to_end(&mut text).map_err(form)?;
    if text.len() > ANSWER_MAX {
        return Err(form(format_args!("more than {ANSWER_MAX} bytes")));
    }
    Ok(text)
}

/// One line of an answer: a letter, and text up to the end of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `m`: the envelope of a message that was asked for.
    Message(&'a [u8]),
    /// `t`: what is left of one that was forgotten ([`Skeleton`] as JSON).
    Forgotten(&'a [u8]),
    /// `f`: the envelope of a FORGET that such a one names.
    Forget(&'a [u8]),
    /// `w`: the hash, in hex, of an element that the other node has accepted and can't hand on any more.
    Gone([u8; 32]),
    /// `n`: the element of the chunk to go on from.
    Next(u32),
}

/// The lines of a text.
pub(crate) fn lines_of(text: &[u8]) -> impl Iterator<Item = Result<Line<'_>, ExchangeError>> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| {
        let (letter, rest) = line.split_at(1);
        match letter {
            b"m" => Ok(Line::Message(rest)),
            b"t" => Ok(Line::Forgotten(rest)),
            b"f" => Ok(Line::Forget(rest)),
            b"w" => {
                let mut id = [0; 32];
                hex::decode_to_slice(rest, &mut id).map_err(form)?;
                Ok(Line::Gone(id))
            }
            b"n" => {
                let number = str::from_utf8(rest).ok().and_then(|text| text.parse().ok());
                number.map(Line::Next).ok_or_else(|| form("a place that is no number"))
            }
            _ => Err(form("a line of an unknown kind")),
        }
    })
}

/// Answers the questions of other nodes.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    store: Store,
    known: Arc<Mutex<KnownSet>>,
    places: Arc<tokio::sync::Semaphore>,
    /// Signs snapshots.
    network: Option<NetworkHandle>,
}

impl Exchange {
    pub(crate) fn new(store: Store, network: Option<NetworkHandle>) -> Self {
        let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        Self { store, known: Arc::new(Mutex::new(KnownSet::default())), places, network }
    }

    /// The answer to a question; a refusal is an answer too.
    pub(crate) async fn answer(&self, question: &[u8]) -> Result<Vec<u8>, StoreError> {
        match question.split_first() {
            Some((&COMPARE, frame)) if frame.len() <= QUESTION_MAX => {
                // After a cut all nodes ask all others at once: who is sent away then asks later.
                let turn = tokio::time::timeout(TURN_WITHIN, self.places.acquire());
                let Ok(Ok(_place)) = turn.await else {
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
                self.hand_on(WANT, as_ids(ids), None).await
            }
            Some((&WANT, _)) => Ok(refuse(&format!("not up to {WANTED_PAGE} elements of 32 bytes"))),
            Some((&COUNT, [])) => {
                let count = self.with_known(|known| known.len() as u64).await?;
                Ok([&[COUNT], count.to_be_bytes().as_slice()].concat())
            }
            Some((&SNAPSHOT, [])) => self.snapshot().await,
            Some((&CHUNK, asked)) => match read_chunk(asked) {
                Some((snapshot, chunk, after)) => self.chunk(snapshot, chunk, after).await,
                None => Ok(refuse("not a snapshot, a chunk and a place")),
            },
            _ => Ok(refuse("unknown question")),
        }
    }

    /// Passes the set, brought up to date, to `use_it` on a thread that may take its time.
    pub(crate) async fn with_known<T: Send + 'static>(
        &self,
        use_it: impl FnOnce(&mut KnownSet) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut known = Arc::clone(&self.known).lock_owned().await;
        known.refresh(&self.store).await?;
        blocking(move || use_it(&mut known)).await
    }

    /// The same with the set as it was last.
    async fn with_known_before<T: Send + 'static>(
        &self,
        use_it: impl FnOnce(&KnownSet) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let known = Arc::clone(&self.known).lock_owned().await;
        blocking(move || use_it(&known)).await
    }

    async fn snapshot(&self) -> Result<Vec<u8>, StoreError> {
        let Some(network) = self.network.clone() else {
            return Ok(refuse("no snapshots here: this node has no key to sign them with"));
        };
        let digest = self.store.digest().await?.digest;
        let told = self.with_known(move |known| {
            if let Some(told) = known.snapshot() {
                return Some(told);
            }
            let manifest = manifest_of(known.chunks(), digest, crate::clock::now());
            let (id, told) = tell(&manifest, |text| network.sign(text))?;
            let packed = zstd::bulk::compress(&told, ZSTD_LEVEL).ok()?;
            let pinned = Pinned::new(id, packed, &manifest);
            let told = Arc::clone(&pinned.told);
            known.pin(pinned);
            Some(told)
        });
        Ok(match told.await? {
            Some(told) => [&[SNAPSHOT], told.as_slice()].concat(),
            None => refuse("the snapshot could not be signed"),
        })
    }

    async fn chunk(&self, snapshot: SnapshotId, chunk: u32, after: u32) -> Result<Vec<u8>, StoreError> {
        let elements = self.with_known_before(move |known| known.elements(&snapshot, chunk as usize));
        let Some(mut elements) = elements.await? else {
            return Ok(refuse("that snapshot is not kept any more, or has no such chunk"));
        };
        let rest = elements.split_off((after as usize).min(elements.len()));
        self.hand_on(CHUNK, rest, Some(after)).await
    }

    /// What is handed on of `ids`, in their order; `from` is the place of the first one in its chunk.
    async fn hand_on(&self, kind: u8, ids: Vec<[u8; 32]>, from: Option<u32>) -> Result<Vec<u8>, StoreError> {
        let packed = self.store.hand_on(move |handing| {
            let mut lines = Vec::new();
            let mut forgets = HashSet::new();
            let mut done = 0;
            for id in &ids {
                if lines.len() > LINES_MAX {
                    break;
                }
                write_lines(handing, id, &mut lines, &mut forgets)?;
                done += 1;
            }
            if let Some(from) = from
                && done < ids.len()
            {
                lines.extend_from_slice(format!("n{}\n", from as usize + done).as_bytes());
            }
            Ok(zstd::bulk::compress(&lines, ZSTD_LEVEL))
        });
        Ok(match packed.await? {
            Ok(packed) => [&[kind], packed.as_slice()].concat(),
            Err(error) => refuse(&format!("could not be packed: {error}")),
        })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_or_else(
        |join| match join.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => Err(StoreError::Closed),
        },
        Ok,
    )
}

fn as_ids(bytes: &[u8]) -> Vec<[u8; 32]> {
    bytes.as_chunks().0.to_vec()
}

fn read_chunk(asked: &[u8]) -> Option<(SnapshotId, u32, u32)> {
    let (snapshot, rest) = asked.split_first_chunk::<32>()?;
    let (chunk, rest) = rest.split_first_chunk::<4>()?;
    let (after, rest) = rest.split_first_chunk::<4>()?;
    rest.is_empty().then(|| (*snapshot, u32::from_be_bytes(*chunk), u32::from_be_bytes(*after)))
}

/// Writes what this node has of one element.
fn write_lines(
    handing: &Handing<'_>,
    id: &[u8; 32],
    lines: &mut Vec<u8>,
    forgets: &mut HashSet<ItemHash>,
) -> Result<(), StoreError> {
    let hex = hex::encode(id);
    // Nearly every hash is one of these.
    if write_message(handing, b'm', &hex, lines)? {
        return Ok(());
    }
    let forms = hashes_of(id);
    for form in forms.iter().skip(1) {
        if write_message(handing, b'm', form.as_str(), lines)? {
            return Ok(());
        }
    }
    for form in &forms {
        let Some(skeleton) = handing.skeleton(form.as_str())? else { continue };
        let Some(forget) = skeleton.forgotten_by.first() else { continue };
        if !forgets.contains(forget) {
            if !write_message(handing, b'f', forget.as_str(), lines)? {
                continue;
            }
            forgets.insert(forget.clone());
        }
        write_skeleton(&skeleton, lines);
        return Ok(());
    }
    lines.push(b'w');
    lines.extend_from_slice(hex.as_bytes());
    lines.push(b'\n');
    Ok(())
}

fn write_message(
    handing: &Handing<'_>,
    letter: u8,
    hash: &str,
    lines: &mut Vec<u8>,
) -> Result<bool, StoreError> {
    let before = lines.len();
    lines.push(letter);
    if handing.envelope(hash, lines)? {
        lines.push(b'\n');
        return Ok(true);
    }
    lines.truncate(before);
    Ok(false)
}

fn write_skeleton(skeleton: &Skeleton, lines: &mut Vec<u8>) {
    lines.push(b't');
    // Texts and numbers only: it can't fail.
    let _ = serde_json::to_writer(&mut *lines, skeleton);
    lines.push(b'\n');
}

fn refuse(words: &str) -> Vec<u8> {
    [&[REFUSAL], words.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(kind: u8, text: &[u8]) -> Vec<u8> {
        [&[kind], zstd::bulk::compress(text, 1).unwrap().as_slice()].concat()
    }

    #[test]
    fn lines_are_read_and_others_refused() {
        let id = "ab".repeat(32);
        let text = format!("m{{}}\nt{{}}\nf{{}}\nw{id}\nn17\n");
        let read = read_lines(&packed(WANT, text.as_bytes()), false).unwrap();
        let lines: Vec<Line<'_>> = lines_of(&read).collect::<Result<_, _>>().unwrap();
        assert_eq!(lines[..3], [Line::Message(b"{}"), Line::Forgotten(b"{}"), Line::Forget(b"{}")]);
        assert_eq!(lines[3..], [Line::Gone([0xab; 32]), Line::Next(17)]);
        for wrong in ["x", "w12", "n-1", "n99999999999", "wzz"] {
            assert!(lines_of(wrong.as_bytes()).any(|line| line.is_err()), "{wrong}");
        }
        assert!(read_lines(&packed(CHUNK, b""), false).is_err());
    }

    #[test]
    fn a_bomb_is_refused_and_costs_what_an_answer_may() {
        let bomb = packed(WANT, &vec![b' '; ANSWER_MAX + 1]);
        assert!(bomb.len() < 4096);
        assert!(matches!(read_lines(&bomb, false), Err(ExchangeError::Form(_))));
        // A frame that asks its reader for a window of a gigabyte.
        let greedy = [WANT, 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0, 0x01, 0, 0];
        assert!(read_lines(&greedy, false).is_err());
    }

    #[test]
    fn a_refusal_is_told_in_its_words() {
        let refused = read_count(&refuse("busy")).unwrap_err();
        assert!(matches!(refused, ExchangeError::Refused(words) if words == "busy"));
        assert!(matches!(read_count(&[]), Err(ExchangeError::Form(_))));
        assert!(matches!(read_count(&[COUNT, 1]), Err(ExchangeError::Form(_))));
        assert_eq!(read_count(&[COUNT, 0, 0, 0, 0, 0, 0, 1, 0]).unwrap(), 256);
    }

    #[test]
    fn a_question_for_a_chunk_is_read_as_it_was_made() {
        let question = chunk(&[5; 32], 7, 9);
        assert_eq!(read_chunk(&question[1..]), Some(([5; 32], 7, 9)));
        assert_eq!(read_chunk(&question[2..]), None);
        assert_eq!(read_chunk(&[question.as_slice(), &[0]].concat()[1..]), None);
    }
}
