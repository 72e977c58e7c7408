//! What a message costs, and whether its owner can pay (`spec: payments.md §9`).

use aleph_ledger::{
    Amount, CostError, Estimates, FileSizes, Gate, PRICE_KEY, PRICE_PUBLISHER, PaymentRules, SETTINGS_KEY,
    Workload,
};
use aleph_types::content::{Content, StoreContent};
use aleph_types::{Address, ErrorCode, ItemHash, Rejection};

use crate::{Candidate, Decision, Dependency, Effect, Facts};

/// How a network charges for what messages allocate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payments {
    /// Whose `pricing` and `settings` aggregates count. Spelling counts.
    pub publisher: Address,
    /// When the rules of payment changed.
    pub rules: PaymentRules,
}

impl Default for Payments {
    /// The public network's.
    fn default() -> Self {
        Self { publisher: Address::from(PRICE_PUBLISHER), rules: PaymentRules::default() }
    }
}

/// The node's files, with the one that the message itself brings: its record comes with the message.
struct WithOwn<'a, L> {
    ledger: L,
    message: &'a ItemHash,
    file: Option<(&'a ItemHash, u64)>,
}

impl<L: FileSizes> FileSizes for WithOwn<'_, L> {
    type Error = L::Error;

    fn size_behind(&mut self, reference: &ItemHash, use_latest: bool) -> Result<Option<u64>, L::Error> {
        match self.file {
            Some((_, size)) if !use_latest && reference == self.message => Ok(Some(size)),
            _ => self.ledger.size_behind(reference, use_latest),
        }
    }

    fn size_of_file(&mut self, file: &ItemHash) -> Result<Option<u64>, L::Error> {
        match self.file {
            Some((own, size)) if own == file => Ok(Some(size)),
            _ => self.ledger.size_of_file(file),
        }
    }
}

/// Prices a message that can be processed otherwise, and asks its owner's account. The effect stores the
/// costs; without [`Network::payments`](crate::Network::payments) nothing costs anything.
pub(crate) fn decide<F: Facts>(
    candidate: &Candidate<'_>,
    content: &Content,
    payments: Option<&Payments>,
    facts: &mut F,
    effects: &mut Vec<Effect>,
) -> Result<Option<Decision>, F::Error> {
    let Some(payments) = payments else { return Ok(None) };
    let message = candidate.message;
    let file = match content {
        Content::Store(store) => candidate.file.map(|info| (&store.item_hash, info.size)),
        _ => None,
    };
    let file_bytes = file.map(|(_, size)| size);
    let Some(gate) = Gate::of(content, message.time, None, file_bytes) else { return Ok(None) };
    let tariff = facts.tariff(&payments.publisher)?;
    let mut files = WithOwn { ledger: facts.ledger(candidate.now), message: &message.item_hash, file };
    let Some(workload) = Workload::of(&message.item_hash, content, &Estimates::default(), &mut files)? else {
        return Ok(None);
    };
    let costing = match workload.price(tariff.timeline.latest(), &tariff.settings) {
        Ok(costing) => costing,
        Err(error) => return Ok(Some(unpriced(&error, payments))),
    };
    if let Err(refusal) = gate.terms(&payments.rules).check(&gate.owner, costing.total, &mut files.ledger)? {
        return Ok(Some(Decision::Reject(refusal.into())));
    }
    drop(files);
    effects.push(Effect::SetCosts {
        message: message.item_hash.clone(),
        owner: gate.owner,
        costing: Box::new(costing),
    });
    Ok(None)
}

/// Whether it makes sense to fetch the file of a STORE at all: an account that is short already, or a way
/// to pay that is closed, needs no file to be refused.
pub(crate) fn before_fetch<F: Facts>(
    candidate: &Candidate<'_>,
    store: &StoreContent,
    content: &Content,
    payments: Option<&Payments>,
    facts: &mut F,
) -> Result<Option<Decision>, F::Error> {
    let Some(payments) = payments else { return Ok(None) };
    let message = candidate.message;
    let ipfs_bytes = match store.engine {
        aleph_types::ItemType::Ipfs => facts.ledger(candidate.now).size_of_file(&store.item_hash)?,
        _ => None,
    };
    let Some(gate) = Gate::of(content, message.time, None, ipfs_bytes) else { return Ok(None) };
    let tariff = facts.tariff(&payments.publisher)?;
    let workload = Workload::before_fetch(message.item_hash.clone(), store, ipfs_bytes);
    // What can't be priced yet can be fetched.
    let cost = match workload.price(tariff.timeline.latest(), &tariff.settings) {
        Ok(costing) => costing.total,
        Err(_) => Amount::ZERO,
    };
    let mut ledger = facts.ledger(candidate.now);
    match gate.terms(&payments.rules).check(&gate.owner, cost, &mut ledger)? {
        Ok(()) => Ok(None),
        Err(refusal) => Ok(Some(Decision::Reject(refusal.into()))),
    }
}

/// A message that the network's own data can't price waits for better data.
fn unpriced(error: &CostError, payments: &Payments) -> Decision {
    let key = match error {
        CostError::UnknownGpu(_) => SETTINGS_KEY,
        CostError::NoPrice { .. }
        | CostError::NoComputePrice(_)
        | CostError::UnpricedGpu(_)
        | CostError::Arithmetic(_) => PRICE_KEY,
    };
    Decision::wait(
        Dependency::Aggregate(payments.publisher.clone(), key.to_owned()),
        Rejection::text(ErrorCode::InternalError, error.to_string()),
    )
}
