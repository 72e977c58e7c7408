//! Where an exchange with one node stands.

use std::sync::atomic::{AtomicU64, Ordering};

use aleph_types::ErrorCode;

use super::CatchUpError;
use super::fruitless::Fruitless;
use super::source::Source;
use crate::metrics::Metrics;
use crate::pipeline::Outcome;

/// Messages of one comparison that nobody signed. A node stores none.
const UNSIGNED: u64 = 50;

/// Elements that a peer names in a comparison and doesn't hand out, beyond a tenth of what it does.
const FRUITLESS_ELEMENTS: u64 = 20_000;

/// Where an exchange stands, for others to see, and for its own patience.
pub(super) struct Progress<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) fruitless: &'a Fruitless,
    pub(super) source: &'a Source,
    useful: AtomicU64,
}

impl<'a> Progress<'a> {
    pub(super) fn new(metrics: &'a Metrics, fruitless: &'a Fruitless, source: &'a Source) -> Self {
        Self { metrics, fruitless, source, useful: AtomicU64::new(0) }
    }

    /// How much the other node was good for.
    pub(super) fn useful(&self) -> u64 {
        self.useful.load(Ordering::Relaxed)
    }

    pub(super) fn got(&self, stored: u64) {
        if stored > 0 {
            self.was_useful(stored);
            self.metrics.catching_up.got(&self.source.name, stored);
        }
    }

    /// So many came another way, or were here.
    pub(super) fn was_here(&self, count: usize) {
        if count > 0 {
            self.metrics.catching_up.was_here(&self.source.name, count);
        }
    }

    fn was_useful(&self, times: u64) {
        self.useful.fetch_add(times, Ordering::Relaxed);
        self.source.was_useful();
    }
}

/// What an exchange came to.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) stored: u64,
    pub(super) waiting: u64,
    pub(super) refused: u64,
    unsigned: u64,
    gone: u64,
}

impl Taken {
    /// The other node has these, and does not hand them out.
    pub(super) fn gone(&mut self, progress: &Progress<'_>, ids: &[[u8; 32]]) -> Result<(), CatchUpError> {
        for id in ids {
            progress.fruitless.add(&progress.source.key, *id);
        }
        self.gone += ids.len() as u64;
        if self.gone > FRUITLESS_ELEMENTS + self.stored / 10 {
            return Err(CatchUpError::Empty(self.gone));
        }
        Ok(())
    }

    /// The fate of a message that the other node handed out.
    pub(super) fn fate(
        &mut self,
        progress: &Progress<'_>,
        id: [u8; 32],
        outcome: Outcome,
    ) -> Result<(), CatchUpError> {
        let name = &progress.source.name;
        match outcome {
            Outcome::Processed => {
                self.stored += 1;
                progress.metrics.caught_up.increment();
                progress.got(1);
            }
            Outcome::Rejected(rejection) => {
                self.refused += 1;
                progress.fruitless.add(&progress.source.key, id);
                progress.metrics.catching_up.refused(name);
                if rejection.code == ErrorCode::InvalidSignature {
                    self.unsigned += 1;
                }
                if self.unsigned > UNSIGNED {
                    return Err(CatchUpError::Unsigned(self.unsigned));
                }
            }
            Outcome::Pending => {
                self.waiting += 1;
                progress.was_useful(1);
                progress.metrics.catching_up.waits(name);
            }
            _ => {
                progress.was_useful(1);
                progress.was_here(1);
            }
        }
        Ok(())
    }
}
