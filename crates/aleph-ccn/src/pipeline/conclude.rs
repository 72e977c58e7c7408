//! What follows from a transaction once it is durable: answers, subscribers, further work.

use std::collections::BTreeSet;
use std::sync::Arc;

use aleph_store::{DiskLog, StoreError};
use aleph_types::Message;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc};

use super::room::Room;
use super::verify::{Envelope, Work};
use super::{
    AfterCommit, CommandEnd, Job, Outcome, PipelineError, ProcessedMessage, Retry, Shared, Submission,
    refusal_text,
};
use crate::metrics::Metrics;

/// One transaction's worth of consequences, carried out only if it commits.
#[derive(Default)]
pub(super) struct Consequences {
    pub(super) settled: Vec<Settled>,
    pub(super) processed: Vec<ProcessedMessage>,
    /// Waiting messages that are tried again now, and rows that are read for that after this transaction.
    pub(super) woken: Vec<Submission>,
    pub(super) retries: Vec<Retry>,
    /// Keys that something of this transaction provides.
    pub(super) provided: BTreeSet<String>,
    pub(super) after: Vec<AfterCommit>,
    pub(super) ends: Vec<CommandEnd>,
    pub(super) started_waiting: Vec<String>,
    pub(super) stopped_waiting: Vec<String>,
    /// Held until all of this is carried out.
    pub(super) rooms: Vec<Room>,
}

/// A message whose fate this transaction knows.
pub(super) struct Settled {
    pub(super) message: Message,
    pub(super) outcome: Outcome,
    pub(super) envelope: Option<Envelope>,
}

impl Consequences {
    /// The transaction is lost; only notes who must be told.
    pub(super) fn abandon(&mut self, work: Work) {
        let (message, envelope) = match work {
            Work::Decide(ready, envelope) => (ready.verified.message.clone(), envelope),
            Work::Refuse(parsed, _, envelope) => (parsed.message, envelope),
            Work::Arrived(_) | Work::Command(_) | Work::Retry(_) | Work::Expire | Work::Room(_) => return,
        };
        self.settled.push(Settled { message, outcome: Outcome::Pending, envelope: Some(envelope) });
    }
}

/// Where consequences go.
#[derive(Clone)]
pub(crate) struct Outlets {
    pub(crate) jobs: Sender<Job>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) feed: broadcast::Sender<Arc<ProcessedMessage>>,
    pub(crate) after_commit: mpsc::Sender<AfterCommit>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Makes transactions durable, and carries out what follows.
#[derive(Clone)]
pub(super) struct Conclude {
    log: DiskLog,
    pub(super) outlets: Outlets,
}

impl Conclude {
    pub(super) fn new(log: DiskLog, outlets: Outlets) -> Self {
        Self { log, outlets }
    }

    /// The consequences of transactions that are committed, in their order.
    pub(super) fn these(&self, all: Vec<Consequences>) {
        match self.log.sync() {
            Ok(()) => all.into_iter().for_each(|consequences| self.carry_out(consequences)),
            Err(error) => self.failed(all, error),
        }
    }

    /// Tells everybody that nothing was stored, as far as can be promised.
    pub(super) fn failed(&self, all: Vec<Consequences>, error: StoreError) {
        let text = error.to_string();
        // said once, not for each of the thousands that come while the trouble lasts
        if self.outlets.shared.trouble.lock().replace(text.clone()).as_ref() != Some(&text) {
            let messages: usize = all.iter().map(|consequences| consequences.settled.len()).sum();
            tracing::error!(error = %text, messages, "messages can't be stored");
        }
        let error = PipelineError::from(error);
        for consequences in all {
            for settled in consequences.settled {
                if let Some(reply) = settled.envelope.and_then(|envelope| envelope.reply) {
                    reply.send(Err(error.clone()));
                }
            }
            for end in consequences.ends {
                end(false);
            }
        }
    }

    fn carry_out(&self, consequences: Consequences) {
        let Outlets { jobs, shared, feed, after_commit, metrics } = &self.outlets;
        for settled in consequences.settled {
            match &settled.outcome {
                Outcome::Pending => {}
                Outcome::Rejected(rejection) => {
                    tracing::debug!(
                        item_hash = %settled.message.item_hash,
                        code = rejection.code.as_i16(),
                        reason = %refusal_text(rejection),
                        "message rejected"
                    );
                    metrics.rejected.increment();
                    shared.tell_waiters(&settled.message.item_hash, &settled.outcome);
                }
                final_outcome => {
                    shared.known.insert(&settled.message);
                    shared.tell_waiters(&settled.message.item_hash, final_outcome);
                }
            }
            if let Some(reply) = settled.envelope.and_then(|envelope| envelope.reply) {
                reply.send(Ok(settled.outcome));
            }
        }
        for end in consequences.ends {
            end(true);
        }
        metrics.processed.add(consequences.processed.len() as u64);
        for message in consequences.processed {
            // Nobody listening is fine.
            let _ = feed.send(Arc::new(message));
        }
        for submission in consequences.woken {
            let _ = jobs.send(Job::Message(Box::new(submission)));
        }
        let of_keys = consequences.provided.into_iter().map(|key| Retry { key: Some(key), after: i64::MIN });
        for retry in consequences.retries.into_iter().chain(of_keys) {
            let _ = jobs.send(Job::Retry(retry));
        }
        for after in consequences.after {
            match after_commit.try_send(after) {
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(AfterCommit::Publish(_))) => metrics.gossip_dropped.increment(),
                // A fetch must not be forgotten: a message waits for it.
                Err(TrySendError::Full(fetch @ AfterCommit::Fetch(_))) => {
                    let _ = after_commit.blocking_send(fetch);
                }
            }
        }
    }
}

/// The thread that concludes beside the one that writes.
pub(crate) struct Beside {
    transactions: Sender<Consequences>,
    under_way: Arc<UnderWay>,
}

/// Transactions that were handed over, and are not concluded.
#[derive(Default)]
struct UnderWay {
    count: Mutex<usize>,
    changed: Condvar,
}

/// What the thread takes.
pub(crate) struct HandedOver {
    transactions: Receiver<Consequences>,
    under_way: Arc<UnderWay>,
}

/// The two ends: at most one transaction waits while another is concluded and a third one written, so that what
/// is in memory stays bounded.
pub(crate) fn beside() -> (Beside, HandedOver) {
    let (sender, transactions) = bounded(1);
    let under_way = Arc::new(UnderWay::default());
    (
        Beside { transactions: sender, under_way: Arc::clone(&under_way) },
        HandedOver { transactions, under_way },
    )
}

impl Beside {
    /// Waits until everything that was handed over is concluded.
    pub(super) fn wait(&self) {
        let mut count = self.under_way.count.lock();
        while *count > 0 {
            self.under_way.changed.wait(&mut count);
        }
    }

    pub(super) fn hand_over(&self, consequences: Consequences, conclude: &Conclude) {
        *self.under_way.count.lock() += 1;
        if let Err(unsent) = self.transactions.send(consequences) {
            // The thread is gone, which it told.
            self.under_way.fewer(1);
            conclude.these(vec![unsent.into_inner()]);
        }
    }
}

impl HandedOver {
    /// Concludes until the other end is gone.
    pub(super) fn run(&self, conclude: &Conclude) {
        while let Ok(first) = self.transactions.recv() {
            let all: Vec<Consequences> = std::iter::once(first).chain(self.transactions.try_iter()).collect();
            let _done = Done { under_way: &self.under_way, count: all.len() };
            conclude.these(all);
        }
    }
}

impl UnderWay {
    fn fewer(&self, count: usize) {
        *self.count.lock() -= count;
        self.changed.notify_all();
    }
}

/// Counts down even where somebody panics: the writer waits for it.
struct Done<'a> {
    under_way: &'a UnderWay,
    count: usize,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.under_way.fewer(self.count);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn fewer_later(under_way: Arc<UnderWay>, after: Duration) -> std::thread::JoinHandle<()> {
        std::thread::spawn(move || {
            std::thread::sleep(after);
            under_way.fewer(1);
        })
    }

    #[test]
    fn the_writer_waits_for_what_it_handed_over() {
        let (beside, _handed_over) = beside();
        beside.wait();
        *beside.under_way.count.lock() = 2;
        let threads =
            [10, 30].map(|millis| fewer_later(Arc::clone(&beside.under_way), Duration::from_millis(millis)));
        beside.wait();
        assert_eq!(*beside.under_way.count.lock(), 0);
        for thread in threads {
            thread.join().expect("it counted down");
        }
    }

    #[test]
    fn a_panic_does_not_hold_up_the_writer() {
        let (beside, handed_over) = beside();
        *beside.under_way.count.lock() = 1;
        let thread = std::thread::spawn(move || {
            let _done = Done { under_way: &handed_over.under_way, count: 1 };
            panic!("as a bug would");
        });
        assert!(thread.join().is_err());
        beside.wait();
    }
}
