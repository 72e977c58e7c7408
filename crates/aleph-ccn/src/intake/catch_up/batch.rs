//! A part of what a peer has: asked for, read, checked against what was asked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aleph_store::Skeleton;
use aleph_types::{ItemHash, ParsedMessage};

use super::CatchUpError;
use super::source::Source;
use crate::intake::exchange::{self, ExchangeError, Line, lines_of, read_lines, want};
use crate::intake::known::id_of;
use crate::intake::snapshot::{Believed, hash_of};
use crate::pipeline::Computing;

/// Bytes of texts after which a batch is handed over, and the rest asked for later: an answer of long texts
/// is a batch.
const BATCH_BYTES: usize = 3 * 1024 * 1024;

/// A message counts as one, or as its share of the texts in units of so many bytes.
const USUAL_BYTES: usize = 4096;

/// What is asked for.
#[derive(Debug)]
pub(super) enum Part {
    /// These elements.
    Elements(HashSet<[u8; 32]>),
    /// A chunk of a snapshot, from an element on; with what came of it before.
    Chunk {
        snapshot: Arc<Believed>,
        chunk: usize,
        after: u32,
        seen: Vec<[u8; 32]>,
        /// Messages that this node can't read, of a newer kind perhaps: the chunk can't be checked then,
        /// its other messages can.
        unread: usize,
        /// Some of it may be here already.
        partly_here: bool,
    },
}

/// What came.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Messages with their elements.
    pub(super) messages: Vec<([u8; 32], ParsedMessage)>,
    /// What is left of messages that were forgotten.
    pub(super) forgotten: Vec<Skeleton>,
    /// The FORGETs that they name.
    pub(super) forgets: HashMap<String, ParsedMessage>,
    /// Elements that the peer has and can't hand on, or that it left out for good.
    pub(super) gone: Vec<[u8; 32]>,
    /// Messages that can't be read.
    pub(super) unreadable: usize,
    /// Some of the messages may be here already.
    pub(super) partly_here: bool,
    /// What is still to be asked for.
    pub(super) rest: Option<Part>,
    /// Of the texts.
    bytes: usize,
}

/// What one answer held.
#[derive(Debug, Default)]
pub(super) struct Answer {
    bytes: usize,
    messages: Vec<([u8; 32], ParsedMessage)>,
    forgotten: Vec<([u8; 32], Skeleton)>,
    forgets: HashMap<String, ParsedMessage>,
    gone: Vec<[u8; 32]>,
    unreadable: usize,
    next: Option<u32>,
}

impl Answer {
    /// Reads the lines of an answer; costs some 20 µs a message.
    pub(super) fn read(packed: &[u8], of_chunk: bool) -> Result<Self, ExchangeError> {
        let text = read_lines(packed, of_chunk)?;
        let mut answer = Self { bytes: text.len(), ..Self::default() };
        for line in lines_of(&text) {
            match line? {
                Line::Message(text) => match ParsedMessage::from_json(text) {
                    // Whatever was asked for is made of SHA-256.
                    Ok(message) => match id_of(&message.message.item_hash) {
                        Some(id) => answer.messages.push((id, message)),
                        None => answer.unreadable += 1,
                    },
                    Err(_) => answer.unreadable += 1,
                },
                Line::Forgotten(text) => {
                    let skeleton: Skeleton = serde_json::from_slice(text)
                        .map_err(|error| ExchangeError::Form(error.to_string()))?;
                    let hash = ItemHash::parse(&skeleton.envelope.item_hash).ok();
                    match hash.and_then(|hash| id_of(&hash)) {
                        Some(id) => answer.forgotten.push((id, skeleton)),
                        None => answer.unreadable += 1,
                    }
                }
                Line::Forget(text) => match ParsedMessage::from_json(text) {
                    Ok(forget) => {
                        answer.forgets.insert(forget.message.item_hash.as_str().to_owned(), forget);
                    }
                    Err(_) => answer.unreadable += 1,
                },
                Line::Gone(id) => answer.gone.push(id),
                Line::Next(next) => answer.next = Some(next),
            }
        }
        Ok(answer)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = [u8; 32]> + '_ {
        let messages = self.messages.iter().map(|(id, _)| *id);
        messages.chain(self.forgotten.iter().map(|(id, _)| *id)).chain(self.gone.iter().copied())
    }
}

impl Batch {
    /// How many usual messages it weighs as much as.
    pub(super) fn weight(&self) -> usize {
        (self.messages.len() + self.forgotten.len()).max(self.bytes / USUAL_BYTES)
    }

    fn add(&mut self, answer: Answer) {
        self.messages.extend(answer.messages);
        self.forgotten.extend(answer.forgotten.into_iter().map(|(_, skeleton)| skeleton));
        self.forgets.extend(answer.forgets);
        self.gone.extend(answer.gone);
        self.unreadable += answer.unreadable;
    }
}

/// Asks for a part until it is here, or enough of it.
pub(super) async fn fetch(
    source: &Source,
    computing: &Computing,
    mut part: Part,
) -> Result<Batch, CatchUpError> {
    let mut batch = Batch::default();
    loop {
        let of_chunk = matches!(part, Part::Chunk { .. });
        let packed = source.ask(part.question()).await?;
        let answer = computing.run(move || Answer::read(&packed, of_chunk)).await??;
        batch.bytes += answer.bytes;
        batch.partly_here |= matches!(part, Part::Chunk { partly_here: true, .. });
        let rest = part.taken(&answer)?;
        batch.add(answer);
        match rest {
            After::Rest(rest) if batch.bytes < BATCH_BYTES => part = rest,
            After::Rest(rest) => {
                batch.rest = Some(rest);
                return Ok(batch);
            }
            After::LeftOut(elements) => {
                batch.gone.extend(elements);
                // Oldest first: fewer have to wait for what they refer to.
                batch.messages.sort_by_key(|(_, parsed)| parsed.message.time);
                return Ok(batch);
            }
        }
    }
}

/// What follows an answer.
#[derive(Debug)]
pub(super) enum After {
    /// There is more to ask for.
    Rest(Part),
    /// There is not; these elements did not come.
    LeftOut(HashSet<[u8; 32]>),
}

impl Part {
    fn question(&self) -> Vec<u8> {
        match self {
            Self::Elements(open) => want(&open.iter().copied().collect::<Vec<_>>()),
            Self::Chunk { snapshot, chunk, after, .. } => {
                exchange::chunk(&snapshot.id, u32::try_from(*chunk).unwrap_or(u32::MAX), *after)
            }
        }
    }

    /// Holds an answer against what was asked.
    pub(super) fn taken(self, answer: &Answer) -> Result<After, CatchUpError> {
        match self {
            Self::Elements(mut open) => {
                let before = open.len();
                for id in answer.ids() {
                    if !open.remove(&id) {
                        return Err(CatchUpError::Unasked);
                    }
                }
                if open.is_empty() {
                    return Ok(After::LeftOut(open));
                }
                // What is too long for one answer comes with the next; what the other node has lost, it says.
                match (open.len() == before, answer.unreadable) {
                    (false, _) => Ok(After::Rest(Self::Elements(open))),
                    (true, 0) => Err(CatchUpError::Withheld(open.len())),
                    (true, _) => Ok(After::LeftOut(open)),
                }
            }
            Self::Chunk { snapshot, chunk, after, mut seen, mut unread, partly_here } => {
                let told = snapshot.manifest.chunks.get(chunk).ok_or(CatchUpError::Chunk(chunk))?;
                seen.extend(answer.ids());
                unread += answer.unreadable;
                if seen.len() + unread > told.count as usize {
                    return Err(CatchUpError::Unasked);
                }
                match answer.next {
                    Some(next) if next > after && next < told.count => {
                        let (after, snapshot) = (next, snapshot);
                        Ok(After::Rest(Self::Chunk { snapshot, chunk, after, seen, unread, partly_here }))
                    }
                    Some(_) => Err(CatchUpError::Chunk(chunk)),
                    None if unread == 0 && hash_of(seen) != told.hash => Err(CatchUpError::Chunk(chunk)),
                    None => Ok(After::LeftOut(HashSet::new())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::snapshot::{Chunk, Manifest};

    fn gone(ids: &[u8], next: Option<u32>) -> Answer {
        Answer { gone: ids.iter().map(|id| [*id; 32]).collect(), next, ..Answer::default() }
    }

    #[test]
    fn only_what_was_asked_for_is_taken() {
        let asked = || Part::Elements([[1; 32], [2; 32]].into());
        assert!(matches!(asked().taken(&gone(&[3], None)), Err(CatchUpError::Unasked)));
        assert!(matches!(asked().taken(&gone(&[1, 1], None)), Err(CatchUpError::Unasked)));
        let After::Rest(rest) = asked().taken(&gone(&[1], None)).unwrap() else { panic!("there is more") };
        assert!(matches!(rest.taken(&gone(&[], None)), Err(CatchUpError::Withheld(1))));
        let unreadable = Answer { unreadable: 2, ..Answer::default() };
        let After::LeftOut(left) = asked().taken(&unreadable).unwrap() else { panic!("it is over") };
        assert_eq!(left.len(), 2);
    }

    #[test]
    fn a_chunk_is_what_its_manifest_says_or_wrong() {
        let hash = hash_of(vec![[1; 32], [2; 32], [3; 32]]);
        let chunk = Chunk { place: 0, id: [1; 32], count: 3, hash };
        let manifest =
            Manifest { version: 1, time: 0, messages: 3, digest: String::new(), chunks: vec![chunk] };
        let snapshot = Arc::new(Believed { id: [0; 32], manifest, signer: aleph_p2p::PeerId::random() });
        let part = |after, seen: &[u8]| Part::Chunk {
            snapshot: Arc::clone(&snapshot),
            chunk: 0,
            after,
            seen: seen.iter().map(|id| [*id; 32]).collect(),
            unread: 0,
            partly_here: false,
        };
        assert!(matches!(part(0, &[]).taken(&gone(&[3, 2, 1], None)), Ok(After::LeftOut(_))));
        assert!(matches!(part(0, &[]).taken(&gone(&[1, 2], Some(2))), Ok(After::Rest(_))));
        assert!(matches!(part(2, &[1, 2]).taken(&gone(&[3], None)), Ok(After::LeftOut(_))));
        for (asked, answered) in [
            (part(0, &[]), gone(&[1, 2], None)),
            (part(0, &[]), gone(&[1, 2, 4], None)),
            (part(2, &[1, 2]), gone(&[3], Some(2))),
            (part(2, &[1, 2]), gone(&[], Some(3))),
        ] {
            assert!(matches!(asked.taken(&answered), Err(CatchUpError::Chunk(0))));
        }
        assert!(matches!(part(2, &[1, 2]).taken(&gone(&[3, 4], None)), Err(CatchUpError::Unasked)));
    }
}
