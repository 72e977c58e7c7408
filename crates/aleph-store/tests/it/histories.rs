//! Many generated histories, each in several orders of arrival, cuts of batches and with restarts: the
//! state's digest is the same (`docs/adr/0003-order-independence.md`).
//!
//! This drives rules and database as the pipeline does, on one thread and without signatures, so that
//! thousands of histories take a minute; `aleph-ccn/tests/it/order.rs` does a few through the pipeline.

use std::collections::HashMap;

use aleph_crypto::{TrustedSource, Verified};
use aleph_rules::{
    Candidate, Decision, Dependency, Effect, FileInfo, FileKind, ManifestFile, Network, Payments, Publishers,
    decide,
};
use aleph_store::{Location, NewMessage, Store, Writer};
use aleph_types::{Address, ErrorCode, MessageStatus, ParsedMessage, Timestamp};

use crate::author::{Dice, History, Manifests, STRANGER, TREASURY};
use crate::place::{Engine, Place, on_both_engines};

on_both_engines!(thousands_of_histories_lead_to_one_state_each);

/// `ALEPH_HISTORIES` says otherwise.
const HISTORIES: u64 = 2000;
/// Orders of arrival of each history beside that of its times.
const ORDERS: u64 = 2;

/// Each how many histories the sums of credits are asked for, by another program.
const CONSERVED: u64 = 20;

/// The pipeline's behaviour in short: decide in the order of arrival, try what waits again after each
/// message that was processed.
struct Node {
    location: Location,
    store: Store,
    writer: Writer,
    waiting: Vec<ParsedMessage>,
}

impl Node {
    fn open(location: &Location) -> Self {
        let (store, writer) = Store::open(location).unwrap();
        Self { location: location.clone(), store, writer, waiting: Vec::new() }
    }

    fn restart(self) -> Self {
        let Self { location, store, writer, waiting } = self;
        drop((store, writer));
        Self { waiting, ..Self::open(&location) }
    }

    fn digest(&self) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.store.digest()).unwrap().digest
    }

    /// What moved credits moves none when it is decided once more, as a forgotten post that is sent again is.
    fn replay<'a>(&mut self, messages: impl Iterator<Item = &'a ParsedMessage>) {
        let network = network();
        let mut transaction = self.writer.begin().unwrap();
        for parsed in messages {
            let hash = &parsed.message.item_hash;
            if !matches!(
                transaction.status(hash).unwrap(),
                Some(MessageStatus::Processed | MessageStatus::Forgotten)
            ) {
                continue;
            }
            let verified = Verified::trusted(parsed.clone(), TrustedSource::Genesis);
            let candidate = Candidate::new(&verified, None, 1, None).at(parsed.message.time);
            let decision = decide(&candidate, &network, &mut transaction.facts()).unwrap();
            if let Decision::Process(effects) = decision {
                let moves = effects.iter().any(|effect| matches!(effect, Effect::Credits(_)));
                assert!(!moves, "{hash} moves credits twice");
            }
        }
    }

    fn take_batch(&mut self, batch: Vec<ParsedMessage>, manifests: &Manifests) {
        let network = network();
        let mut transaction = self.writer.begin().unwrap();
        transaction.prefetch(batch.iter().map(|parsed| &parsed.message.item_hash)).unwrap();
        let mut queue: std::collections::VecDeque<ParsedMessage> = batch.into();
        while let Some(parsed) = queue.pop_front() {
            let status = transaction.status(&parsed.message.item_hash).unwrap();
            if matches!(status, Some(MessageStatus::Processed | MessageStatus::Forgotten)) {
                continue;
            }
            let verified = Verified::trusted(parsed, TrustedSource::Genesis);
            let file = Some(FileInfo { size: 1000, kind: FileKind::File });
            let mut read = None;
            let decision = loop {
                let now = verified.message.time;
                let candidate = Candidate::new(&verified, None, 1, file).with_manifest(read).at(now);
                let decision = decide(&candidate, &network, &mut transaction.facts()).unwrap();
                match &decision {
                    // Every manifest can be read at once.
                    Decision::Wait { on: Dependency::File(file), .. } if read.is_none() => {
                        let (file, manifest) = manifests.get_key_value(file).unwrap();
                        read = Some(ManifestFile { file, manifest });
                    }
                    _ => break decision,
                }
            };
            match decision {
                Decision::Process(effects) => {
                    let new = NewMessage {
                        message: &verified.message,
                        content: verified.content.as_ref().unwrap(),
                        document: None,
                        size: 1,
                        reception_time: Timestamp::EPOCH,
                        origin: "http",
                    };
                    transaction.process(new, &effects).unwrap();
                    queue.extend(self.waiting.drain(..));
                }
                Decision::Wait { .. } => self.waiting.push(verified.into_inner()),
                Decision::Reject(rejection) => {
                    let message = &verified.message;
                    let expected = match rejection.code {
                        ErrorCode::PermissionDenied => {
                            let text = message.item_content.as_deref().unwrap_or_default();
                            message.sender.as_str() == STRANGER || text.contains("\"replaces\"")
                        }
                        // Of a transfer by somebody who is not rich.
                        ErrorCode::InvalidFormat => {
                            format!("{:?}", rejection.details).contains("Insufficient credit balance")
                        }
                        code => code == ErrorCode::VmAmendNotAllowed,
                    };
                    assert!(expected, "rejected: {rejection:?} {verified:?}");
                    let hash = &message.item_hash;
                    transaction.reject(hash, "{}", &rejection, Timestamp::EPOCH).unwrap();
                }
            }
        }
        transaction.commit().unwrap();
    }
}

/// Everything is charged for, and the treasury's word counts.
fn network() -> Network {
    let treasury = || Address::from(TREASURY);
    Network {
        publishers: Publishers { balances: vec![treasury()], credits: vec![treasury()], metrics: Vec::new() },
        payments: Some(Payments { publisher: treasury(), ..Payments::default() }),
    }
}

/// Takes the messages into an empty database. `node` is always there in between.
fn digest_after(
    node: &mut Option<Node>,
    parts: Vec<Vec<ParsedMessage>>,
    manifests: &Manifests,
    dice: &mut Dice,
) -> String {
    node.as_mut().unwrap().writer.empty().unwrap();
    for part in parts {
        let mut messages = part.into_iter().peekable();
        while messages.peek().is_some() {
            let batch: Vec<ParsedMessage> = messages.by_ref().take(1 + dice.roll(12)).collect();
            // Now and then a copy comes again.
            let again = if dice.roll(4) == 0 { batch.first().cloned() } else { None };
            node.as_mut().unwrap().take_batch(batch.into_iter().chain(again).collect(), manifests);
            if dice.roll(40) == 0 {
                *node = node.take().map(Node::restart);
            }
        }
    }
    let node = node.as_mut().unwrap();
    assert!(node.waiting.is_empty(), "messages still wait after everything arrived: {:?}", node.waiting);
    node.digest()
}

/// Credits that were granted are spent or still in lots: transfers made none and lost none. Owners, who alone
/// spend, are never short.
fn conserved(place: &Place, seed: u64) {
    let number = |sql: &str| place.by_hand(sql).parse::<i128>().unwrap();
    let sum = |kind: &str| {
        number(&format!(
            "SELECT CAST(COALESCE(sum(amount), 0) AS TEXT) FROM credit_history WHERE kind = '{kind}'"
        ))
    };
    let left = number("SELECT CAST(COALESCE(sum(remaining), 0) AS TEXT) FROM credit_lots");
    assert_eq!(sum("granted"), left - sum("spent"), "history {seed}");
    assert_eq!(
        number("SELECT CAST(count(*) AS TEXT) FROM credit_lots WHERE remaining < 0"),
        0,
        "history {seed}"
    );
}

fn thousands_of_histories_lead_to_one_state_each(engine: Engine) {
    let histories = std::env::var("ALEPH_HISTORIES").map_or(HISTORIES, |text| text.parse().unwrap());
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let counts: HashMap<&'static str, usize> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let place = engine.place();
                    let mut node = Some(Node::open(place.location()));
                    let mut counts = HashMap::new();
                    for seed in (thread..histories).step_by(threads as usize) {
                        let history = History::generate(seed);
                        history.count(&mut counts);
                        let mut dice = Dice(seed ^ 0xD1CE);
                        let in_order = history.parts.clone();
                        let expected = digest_after(&mut node, in_order, &history.manifests, &mut dice);
                        for order in 0..ORDERS {
                            let shuffled = history.shuffled(&mut dice);
                            let digest = digest_after(&mut node, shuffled, &history.manifests, &mut dice);
                            assert_eq!(digest, expected, "history {seed}, order {order}");
                        }
                        node.as_mut().unwrap().replay(history.parts.iter().flatten());
                        if seed % CONSERVED == 0 {
                            conserved(&place, seed);
                        }
                    }
                    counts
                })
            })
            .collect();
        let mut counts = HashMap::new();
        for (kind, count) in parts.into_iter().flat_map(|part| part.join().unwrap()) {
            *counts.entry(kind).or_default() += count;
        }
        counts
    });
    let messages: usize = counts.values().sum();
    // Every type takes part.
    assert_eq!(counts.len(), 7, "{counts:?}");
    println!(
        "{engine:?}: {histories} histories of {messages} messages, each in {} orders: {counts:?}",
        ORDERS + 1
    );
}
