//! The write stage: one thread decides and stores, one transaction a batch, one fsync a transaction.

use std::collections::HashMap;

use aleph_rules::{Candidate, Decision, Dependency, Effect};
use aleph_store::{NewMessage, NewPending, PendingMessage, StoreError, Transaction, Writer};
use aleph_types::content::Content;
use aleph_types::{ItemHash, Message, MessageStatus, ParsedMessage, Rejection, Timestamp};
use crossbeam_channel::Receiver;

use super::conclude::{Beside, Conclude, Consequences, Outlets, Settled};
use super::verify::{Envelope, ManifestOnDisk, Ready, Work};
use super::{
    AfterCommit, Collected, Job, Origin, Outcome, PipelineError, PipelineOptions, ProcessedMessage, Retry,
    Submission, WRITE_BATCH,
};
use crate::clock;
use crate::metrics::Metrics;

/// Waiting rows that one transaction rejects.
const WAITING_PAGE: usize = 500;

/// Waiting rows that one transaction reads to have them tried again.
const RETRY_PAGE: usize = 128;

/// Messages of a transaction whose consequences follow beside the next one.
const AHEAD_FROM: usize = 256;

pub(crate) struct WriteStage {
    options: PipelineOptions,
    writer: Writer,
    conclude: Conclude,
    /// Where it runs beside this stage.
    beside: Option<Beside>,
    /// Dependency keys that waiting rows name, and how many rows: most messages wake nobody, and this
    /// says so without a query.
    waited_on: HashMap<String, usize>,
    /// A batch was not stored: what should have woken waiting messages may have been in it.
    missed: bool,
    /// Every transaction fails at its end, as if the disk were full: for simulations.
    pub(super) fails: bool,
}

impl WriteStage {
    pub(crate) fn new(
        options: PipelineOptions,
        writer: Writer,
        conclude: Conclude,
        beside: Option<Beside>,
    ) -> Self {
        let waited_on = HashMap::new();
        Self { options, writer, conclude, beside, waited_on, missed: false, fails: false }
    }

    /// Reads what waited when the node stopped, or while nothing could be stored, and tries all of it
    /// again.
    pub(crate) fn load_waiting(&mut self) -> Result<(), PipelineError> {
        let counts = self.writer.begin()?.waiting_counts()?;
        self.waited_on = counts.into_iter().map(|(key, rows)| (key, rows as usize)).collect();
        let _ = self.conclude.outlets.jobs.send(Job::Retry(Retry { key: None, after: i64::MIN }));
        self.tell_waiting();
        Ok(())
    }

    /// Runs until the verify thread is gone.
    pub(crate) fn run(&mut self, batches: &Receiver<Vec<Work>>) {
        while let Ok(mut batch) = batches.recv() {
            add(&mut batch, batches);
            if batch.len() < AHEAD_FROM
                && let Some(beside) = &self.beside
            {
                // Small transactions cost more than they bring: what comes while the disk works joins in.
                beside.wait();
                add(&mut batch, batches);
            }
            if !batch.is_empty() {
                self.write(batch);
            }
        }
        self.beside = None;
        if let Err(error) = self.writer.checkpoint() {
            tracing::warn!(%error, "the database log could not be folded in; the next start does it");
        }
    }

    pub(super) fn write(&mut self, batch: Vec<Work>) {
        let count = batch.len();
        let mut consequences = Consequences::default();
        match self.store(batch, &mut consequences) {
            Ok(()) => {
                let Outlets { metrics, shared, .. } = &self.conclude.outlets;
                metrics.batches.increment();
                metrics.batch_messages.add(count as u64);
                if self.missed {
                    // before anybody is answered: who is told that it works finds no trouble
                    *shared.trouble.lock() = None;
                    tracing::info!("messages can be stored again");
                }
                self.count_waiting(&mut consequences);
                match &self.beside {
                    Some(beside) if count >= AHEAD_FROM => beside.hand_over(consequences, &self.conclude),
                    _ => self.conclude.these(vec![consequences]),
                }
                self.make_up();
            }
            Err(error) => {
                self.conclude.outlets.metrics.failed_batches.increment();
                self.missed = true;
                self.conclude.failed(vec![consequences], error);
            }
        }
    }

    /// Who waits for what, as of the last commit.
    fn count_waiting(&mut self, consequences: &mut Consequences) {
        for key in consequences.started_waiting.drain(..) {
            *self.waited_on.entry(key).or_default() += 1;
        }
        for key in consequences.stopped_waiting.drain(..) {
            if let Some(count) = self.waited_on.get_mut(&key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.waited_on.remove(&key);
                }
            }
        }
        self.tell_waiting();
    }

    fn tell_waiting(&self) {
        self.conclude.outlets.metrics.pending.set(self.waited_on.values().sum::<usize>() as u64);
    }

    /// After trouble: what was to be woken by a batch that was not stored waits still, and nothing else
    /// would try it again before its patience ends.
    fn make_up(&mut self) {
        if !self.missed {
            return;
        }
        match self.load_waiting() {
            Ok(()) => self.missed = false,
            // the next batch tries it again
            Err(error) => tracing::debug!(%error, "waiting messages can't be read yet"),
        }
    }

    fn store(&mut self, batch: Vec<Work>, consequences: &mut Consequences) -> Result<(), StoreError> {
        let now = clock::now();
        let transaction = match self.writer.begin() {
            Ok(transaction) => transaction,
            Err(error) => {
                for work in batch {
                    consequences.abandon(work);
                }
                return Err(error);
            }
        };
        let mut step = Step {
            options: &self.options,
            waited_on: &self.waited_on,
            collected: &self.conclude.outlets.shared.collected,
            missed: self.missed,
            metrics: &self.conclude.outlets.metrics,
            transaction,
            consequences,
            now,
        };
        let hashes = batch.iter().filter_map(|work| match work {
            Work::Decide(ready, _) => Some(&ready.verified.message.item_hash),
            Work::Refuse(parsed, ..) => Some(&parsed.message.item_hash),
            _ => None,
        });
        let mut first_error = step.transaction.prefetch(hashes).err();
        for work in batch {
            if first_error.is_some() {
                step.consequences.abandon(work);
                continue;
            }
            if let Err(error) = step.take(work) {
                first_error = Some(error);
            }
        }
        match first_error {
            Some(error) => Err(error),
            None if self.fails => Err(StoreError::Closed),
            None => step.transaction.commit_ahead(),
        }
    }
}

/// Adds what is verified by now.
fn add(batch: &mut Vec<Work>, batches: &Receiver<Vec<Work>>) {
    while batch.len() < WRITE_BATCH {
        match batches.try_recv() {
            Ok(more) => batch.extend(more),
            Err(_) => break,
        }
    }
}

/// One transaction.
struct Step<'a> {
    options: &'a PipelineOptions,
    waited_on: &'a HashMap<String, usize>,
    collected: &'a Collected,
    missed: bool,
    metrics: &'a Metrics,
    transaction: Transaction<'a>,
    consequences: &'a mut Consequences,
    now: Timestamp,
}

impl Step<'_> {
    fn take(&mut self, work: Work) -> Result<(), StoreError> {
        match work {
            Work::Decide(ready, envelope) => self.decide(*ready, envelope),
            Work::Refuse(parsed, rejection, envelope) => {
                let settled = self.refuse(&parsed, rejection, &envelope);
                self.settle(parsed.message, settled, envelope)
            }
            Work::Arrived(hash) => {
                self.wake(&Dependency::Content(hash.clone()).to_string());
                self.wake(&Dependency::File(hash).to_string());
                Ok(())
            }
            Work::Command(command) => {
                let end = command(&mut self.transaction)?;
                self.consequences.ends.push(end);
                Ok(())
            }
            Work::Retry(retry) => self.retry(retry),
            // what waits may be due to be woken, not rejected; a small change shows whether the trouble is
            // over
            Work::Expire if self.missed => {
                self.transaction.set_meta("tried", &self.now.as_micros().to_string())
            }
            Work::Expire => self.expire(),
            Work::Room(room) => {
                self.consequences.rooms.push(room);
                Ok(())
            }
        }
    }

    fn settle(
        &mut self,
        message: Message,
        outcome: Result<Outcome, StoreError>,
        envelope: Envelope,
    ) -> Result<(), StoreError> {
        let (outcome, error) = match outcome {
            Ok(outcome) => (outcome, None),
            Err(error) => (Outcome::Pending, Some(error)),
        };
        self.consequences.settled.push(Settled { message, outcome, envelope: Some(envelope) });
        error.map_or(Ok(()), Err)
    }

    fn decide(&mut self, ready: Ready, envelope: Envelope) -> Result<(), StoreError> {
        let message = ready.verified.message.clone();
        let outcome = self.outcome_of(ready, &envelope);
        self.settle(message, outcome, envelope)
    }

    fn outcome_of(&mut self, mut ready: Ready, envelope: &Envelope) -> Result<Outcome, StoreError> {
        let hash = ready.verified.message.item_hash.clone();
        self.forget_collected(&mut ready);
        match self.transaction.status(&hash)? {
            Some(MessageStatus::Processed) => {
                self.confirm_stored(&hash, envelope, Some(ready.verified.message.time))?;
                return self.already(envelope, &hash, Outcome::Processed);
            }
            Some(MessageStatus::Removing) => {
                self.confirm_stored(&hash, envelope, Some(ready.verified.message.time))?;
                return self.already(envelope, &hash, Outcome::Removing);
            }
            Some(MessageStatus::Forgotten) => return self.already(envelope, &hash, Outcome::Forgotten),
            Some(MessageStatus::Removed) => return self.already(envelope, &hash, Outcome::Removed),
            None | Some(MessageStatus::Pending | MessageStatus::Rejected) => {}
        }
        let size = match (&ready.fetched, &ready.verified.message.item_content) {
            (Some(fetched), _) => fetched.size,
            (None, Some(text)) => text.len() as u64,
            (None, None) => 0,
        };
        let candidate = Candidate::new(
            &ready.verified,
            ready.fetched.as_ref().map(|fetched| &fetched.content),
            size,
            ready.file,
        )
        .with_manifest(ready.manifest.as_ref().map(ManifestOnDisk::as_fact))
        .at(self.now);
        let decision = aleph_rules::decide(&candidate, &self.options.network, &mut self.transaction.facts())?;
        match decision {
            Decision::Process(effects) => self.process(ready, size, &effects, envelope),
            Decision::Reject(rejection) => {
                let parsed = ready.verified.into_inner();
                self.refuse(&parsed, rejection, envelope)
            }
            Decision::Wait { on, otherwise } => {
                self.wait(&ready.verified.into_inner(), &on, &otherwise, envelope)
            }
        }
    }

    /// What the collector took away since this message was looked after is not here any more.
    fn forget_collected(&self, ready: &mut Ready) {
        let item_hash = &ready.verified.message.item_hash;
        if ready.fetched.is_some() && self.collected.contains(item_hash) {
            ready.fetched = None;
        }
        let content =
            ready.verified.content.as_ref().or(ready.fetched.as_ref().map(|fetched| &fetched.content));
        if let Some(Content::Store(store)) = content
            && self.collected.contains(&store.item_hash)
        {
            ready.file = None;
        }
    }

    /// Adds the transaction that carries this copy to the stored message; the smaller envelope time stays,
    /// if the copy is verified.
    fn confirm_stored(
        &mut self,
        hash: &ItemHash,
        envelope: &Envelope,
        verified_time: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let Some(tx) = &envelope.confirmation else { return Ok(()) };
        self.transaction.confirm(hash, tx)?;
        match verified_time {
            Some(time) => self.transaction.lower_time(hash, time),
            None => Ok(()),
        }
    }

    /// A copy of a message whose fate is final changes nothing.
    fn already(
        &mut self,
        envelope: &Envelope,
        hash: &ItemHash,
        outcome: Outcome,
    ) -> Result<Outcome, StoreError> {
        self.metrics.duplicates.increment();
        self.leave_waiting(envelope, hash)?;
        Ok(outcome)
    }

    fn process(
        &mut self,
        ready: Ready,
        size: u64,
        effects: &[Effect],
        envelope: &Envelope,
    ) -> Result<Outcome, StoreError> {
        // Copies that wait are dropped by the store together with the status; their keys go as well.
        let hash = ready.verified.message.item_hash.clone();
        self.forget_keys_of(&hash)?;
        let content_ref =
            ready.verified.content.as_ref().or(ready.fetched.as_ref().map(|fetched| &fetched.content));
        let Some(content) = content_ref else {
            return Err(StoreError::Closed);
        };
        let seq = self.transaction.process(
            NewMessage {
                message: &ready.verified.message,
                content,
                document: ready.fetched.as_ref().map(|fetched| &*fetched.document),
                size,
                reception_time: envelope.reception_time,
                origin: envelope.origin.as_str(),
            },
            effects,
        )?;
        if let Some(tx) = &envelope.confirmation {
            self.transaction.confirm(&hash, tx)?;
        }
        self.wake(&Dependency::Message(hash).to_string());
        for provided in effects.iter().filter_map(Effect::provides) {
            self.wake(&provided.to_string());
        }
        let ParsedMessage { message, content: inline } = ready.verified.into_inner();
        // What waited was published when it began to.
        if envelope.waiting.is_none() && envelope.origin.is_published_here() {
            self.consequences.after.push(AfterCommit::Publish(message.clone()));
        }
        let (content, document) = match (inline, ready.fetched) {
            (Some(content), _) => {
                let text = message.item_content.clone().unwrap_or_else(|| "{}".into());
                (content, text)
            }
            (None, Some(fetched)) => (fetched.content, fetched.document),
            (None, None) => return Err(StoreError::Closed),
        };
        self.consequences.processed.push(ProcessedMessage {
            seq,
            message,
            content,
            document,
            reception_time: envelope.reception_time,
            origin: envelope.origin,
        });
        Ok(Outcome::Processed)
    }

    fn wait(
        &mut self,
        parsed: &ParsedMessage,
        on: &Dependency,
        otherwise: &Rejection,
        envelope: &Envelope,
    ) -> Result<Outcome, StoreError> {
        let key = on.to_string();
        let text = serde_json::to_string(&parsed.message.to_wire()).unwrap_or_default();
        let micros = i64::try_from(self.options.patience.as_micros()).unwrap_or(i64::MAX);
        let before = self.transaction.wait(NewPending {
            message: &parsed.message,
            envelope: &text,
            origin: envelope.origin.as_str(),
            waits_on: &key,
            deadline: self.now.plus_micros(micros),
            rejection: otherwise,
            reception_time: envelope.reception_time,
        })?;
        if let Some(tx) = &envelope.confirmation {
            self.transaction.confirm(&parsed.message.item_hash, tx)?;
        }
        self.consequences.stopped_waiting.extend(before);
        self.consequences.started_waiting.push(key);
        if let Some(hash) = on.fetchable() {
            self.consequences.after.push(AfterCommit::Fetch(hash.clone()));
        }
        if envelope.waiting.is_none() && envelope.origin.is_published_here() {
            self.consequences.after.push(AfterCommit::Publish(parsed.message.clone()));
        }
        Ok(Outcome::Pending)
    }

    fn refuse(
        &mut self,
        parsed: &ParsedMessage,
        rejection: Rejection,
        envelope: &Envelope,
    ) -> Result<Outcome, StoreError> {
        let hash = &parsed.message.item_hash;
        if envelope.confirmation.is_some() {
            // What is stored is confirmed whatever the copy's own faults (`spec: messages.md §7`).
            let stored = match self.transaction.status(hash)? {
                Some(MessageStatus::Processed) => Some(Outcome::Processed),
                Some(MessageStatus::Removing) => Some(Outcome::Removing),
                _ => None,
            };
            if let Some(outcome) = stored {
                self.confirm_stored(hash, envelope, None)?;
                return Ok(outcome);
            }
        }
        let others_wait = self.leave_waiting(envelope, hash)?;
        if others_wait {
            // Another copy may still succeed: the hash stays pending.
            return Ok(Outcome::Rejected(rejection));
        }
        if self.transaction.status(hash)? == Some(MessageStatus::Pending) && envelope.waiting.is_none() {
            // An invalid copy never disturbs one that waits.
            return Ok(Outcome::Rejected(rejection));
        }
        let text = serde_json::to_string(&parsed.message.to_wire()).unwrap_or_default();
        let _recorded = self.transaction.reject(hash, &text, &rejection, envelope.reception_time)?;
        Ok(Outcome::Rejected(rejection))
    }

    /// Drops the waiting row that this was another try of; true if other copies of the hash still wait.
    fn leave_waiting(&mut self, envelope: &Envelope, hash: &ItemHash) -> Result<bool, StoreError> {
        let Some(id) = envelope.waiting else { return Ok(false) };
        if let Some(key) = self.transaction.waiting_key(id, hash)? {
            self.consequences.stopped_waiting.push(key);
        }
        self.transaction.drop_pending(id, hash)
    }

    fn forget_keys_of(&mut self, hash: &ItemHash) -> Result<(), StoreError> {
        if self.waited_on.is_empty() && self.consequences.started_waiting.is_empty() {
            return Ok(());
        }
        let keys = self.transaction.waiting_keys(hash)?;
        self.consequences.stopped_waiting.extend(keys);
        Ok(())
    }

    /// Tries every message again that waits on `key`.
    fn wake(&mut self, key: &str) {
        if self.waited_on.contains_key(key)
            || self.consequences.started_waiting.iter().any(|started| started == key)
        {
            self.consequences.provided.insert(key.to_owned());
        }
    }

    /// Has a page of waiting rows tried again after this transaction, and then the next.
    fn retry(&mut self, mut retry: Retry) -> Result<(), StoreError> {
        if self.consequences.woken.len() >= RETRY_PAGE {
            self.consequences.retries.push(retry);
            return Ok(());
        }
        let page = match &retry.key {
            Some(key) => self.transaction.waiting_on(key, retry.after, RETRY_PAGE)?,
            None => self.transaction.pending_after(retry.after, RETRY_PAGE)?,
        };
        if let Some(last) = page.last()
            && page.len() == RETRY_PAGE
        {
            retry.after = last.id;
            self.consequences.retries.push(retry);
        }
        self.consequences.woken.extend(page.into_iter().filter_map(resubmission));
        Ok(())
    }

    /// Rejects what waited longer than the network's patience.
    fn expire(&mut self) -> Result<(), StoreError> {
        for row in self.transaction.impatient(self.now, WAITING_PAGE)? {
            let others_wait = self.transaction.drop_pending(row.id, &row.item_hash)?;
            self.consequences.stopped_waiting.push(row.waits_on.clone());
            if others_wait {
                continue;
            }
            self.transaction.reject(&row.item_hash, &row.envelope, &row.rejection, self.now)?;
            if let Some(message) = parse_row(&row).map(|parsed| parsed.message) {
                self.consequences.settled.push(Settled {
                    message,
                    outcome: Outcome::Rejected(row.rejection),
                    envelope: None,
                });
            }
        }
        Ok(())
    }
}

fn parse_row(row: &PendingMessage) -> Option<ParsedMessage> {
    match ParsedMessage::from_json(row.envelope.as_bytes()) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            tracing::error!(item_hash = %row.item_hash, %error, "a waiting message can't be read back");
            None
        }
    }
}

fn resubmission(row: PendingMessage) -> Option<Submission> {
    let parsed = parse_row(&row)?;
    Some(Submission {
        reception_time: row.reception_time,
        waiting: Some(row.id),
        awaited: Some(row.waits_on),
        ..Submission::new(parsed, Origin::from_word(&row.origin).unwrap_or(Origin::CatchUp))
    })
}
