//! Comparing this node's set with that of another, frame by frame.

use std::collections::HashSet;
use std::time::Instant;

use negentropy::Negentropy;

use super::CatchUpError;
use super::progress::Progress;
use crate::intake::exchange::{Exchange, FRAME, compare, read_frame};
use crate::intake::known::KnownSet;

/// Frames in a row that lead to nothing; more mean that the peer makes fun of us.
pub(super) const FRUITLESS_FRAMES: usize = 64;

/// A comparison under way.
pub(super) struct Comparison<'a> {
    exchange: &'a Exchange,
    progress: &'a Progress<'a>,
    /// What is asked next; none after the last answer.
    frame: Option<Vec<u8>>,
    /// How much was useful at the last frame, and frames since then.
    useful: u64,
    useless_frames: usize,
    /// How many elements the other node may still say that it lacks.
    may_have: usize,
}

impl<'a> Comparison<'a> {
    pub(super) async fn begin(
        exchange: &'a Exchange,
        progress: &'a Progress<'a>,
    ) -> Result<Self, CatchUpError> {
        let first = |known: &mut KnownSet| {
            let frame = Negentropy::borrowed(&*known, FRAME).and_then(|mut side| side.initiate());
            (frame, known.len())
        };
        let (frame, ours) = exchange.with_known(first).await?;
        let frame = frame.map_err(CatchUpError::Frame)?;
        let may_have = ours.saturating_mul(2);
        Ok(Self { exchange, progress, frame: Some(frame), useful: 0, useless_frames: 0, may_have })
    }

    /// Elements that the other node has and this one has not accepted, as the next frame tells them; in the
    /// order of the set, as far as it has one. None when the comparison is over.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<[u8; 32]>>, CatchUpError> {
        let Some(frame) = self.frame.take() else { return Ok(None) };
        let begun = Instant::now();
        let answer = self.progress.source.ask(compare(&frame)).await?;
        let (asked, came) = (frame.len(), answer.len());
        let step = self.exchange.with_known(move |known| {
            let theirs = read_frame(&answer)?;
            let (mut have, mut need) = (Vec::new(), Vec::new());
            let mut side = Negentropy::borrowed(&*known, FRAME).map_err(CatchUpError::Frame)?;
            side.set_initiator();
            let next = side.reconcile_with_ids(theirs, &mut have, &mut need);
            Ok::<_, CatchUpError>((next.map_err(CatchUpError::Frame)?, have.len(), need))
        });
        let (next, have, need) = step.await??;
        tracing::debug!(
            peer = %self.progress.source.name, asked, came, have, need = need.len(), took = ?begun.elapsed(),
            "a frame was compared"
        );
        self.frame = next;
        let useful = self.progress.useful();
        if useful > self.useful || (have > 0 && have <= self.may_have) {
            (self.useful, self.useless_frames) = (useful, 0);
            self.may_have = self.may_have.saturating_sub(have);
        } else {
            self.useless_frames += 1;
        }
        if self.useless_frames > FRUITLESS_FRAMES {
            return Err(CatchUpError::Fruitless);
        }
        let mut need: Vec<[u8; 32]> = need.into_iter().map(negentropy::Id::to_bytes).collect();
        // Where a frame was cut, an element may be named twice.
        let mut seen = HashSet::with_capacity(need.len());
        need.retain(|id| seen.insert(*id));
        Ok(Some(need))
    }
}
