//! Any bytes as the answers of a peer: the body of a fuzz target, run as a test as well.

use std::sync::Arc;

use negentropy::Negentropy;

use super::batch::{Answer, Part};
use crate::intake::exchange::{ANSWER_MAX, FRAME, read_count, read_frame, read_lines, read_snapshot};
use crate::intake::known::KnownSet;
use crate::intake::snapshot::{Believed, Chunk, Manifest, believe};

/// Reads `bytes` as every answer that a peer may give, and holds them against a question.
///
/// Panics when a promise is broken: what is read is bounded, and no more is taken than was asked for. The
/// first byte says whether the rest is an answer as it travels, or the text in one.
pub fn sync_answer(bytes: &[u8]) {
    let Some((form, rest)) = bytes.split_first() else { return };
    let answers = if form % 2 == 0 {
        vec![rest.to_vec()]
    } else {
        let Ok(packed) = zstd::bulk::compress(rest, 1) else { return };
        [1, 3, 4, 5, 6].map(|kind| [&[kind], packed.as_slice()].concat()).to_vec()
    };
    for answer in answers {
        compare(&answer);
        let _ = read_count(&answer);
        if let Ok(told) = read_snapshot(&answer) {
            assert!(believe(&told, None).is_err() || told.len() > 200, "a short text is a signed manifest");
        }
        for of_chunk in [false, true] {
            take(&answer, of_chunk);
        }
    }
}

fn compare(answer: &[u8]) {
    let Ok(frame) = read_frame(answer) else { return };
    let known = KnownSet::default();
    let Ok(mut side) = Negentropy::borrowed(&known, FRAME) else { return };
    side.set_initiator();
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let next = side.reconcile_with_ids(frame, &mut have, &mut need);
    assert!(have.is_empty() && need.len() <= frame.len() / 32, "more elements than were sent");
    if let Ok(Some(next)) = next {
        assert!(next.len() <= FRAME as usize + 1024, "a question too long");
    }
}

fn take(answer: &[u8], of_chunk: bool) {
    if let Ok(text) = read_lines(answer, of_chunk) {
        assert!(text.len() <= ANSWER_MAX);
    }
    let Ok(read) = Answer::read(answer, of_chunk) else { return };
    let asked = [[7; 32], [8; 32]];
    let came = read.ids().count();
    let part = if of_chunk {
        let chunk = Chunk { place: 0, id: [7; 32], count: 2, hash: [0; 32] };
        let manifest =
            Manifest { version: 1, time: 0, messages: 2, digest: String::new(), chunks: vec![chunk] };
        let snapshot = Arc::new(Believed { id: [0; 32], manifest, signer: aleph_p2p::PeerId::random() });
        Part::Chunk { snapshot, chunk: 0, after: 0, seen: Vec::new(), unread: 0, partly_here: false }
    } else {
        Part::Elements(asked.into())
    };
    let taken = part.taken(&read);
    assert!(taken.is_err() || came <= asked.len(), "more was taken than was asked for");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use aleph_hostile::Mutator;

    use super::*;

    #[test]
    fn hostile_answers_keep_the_promises() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/sync_answer");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        assert!(seeds.len() > 4, "there are seeds");
        let mut mutator = Mutator::new(1);
        let mutated = (0..3000).map(|_| mutator.mutate(&seeds, 4096)).collect::<Vec<_>>();
        for input in seeds.iter().chain(&mutated) {
            sync_answer(input);
        }
    }
}
