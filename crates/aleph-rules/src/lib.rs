//! What a message does to the network's database.
//!
//! [`decide`] takes one verified message and the *facts* it asks for (what the store knows of the hashes,
//! owners, keys and files that the message names) and returns a [`Decision`]: apply these
//! [`Effect`]s, wait for that [`Dependency`], or reject with that code. It reads no clock, does no IO of
//! its own and keeps no state, so the same function runs on every database, in simulations and in
//! property tests.
//!
//! Invariants:
//!
//! * What a set of messages leads to does not depend on their order of arrival where their own times
//!   decide: every "latest" is the greatest [`Stamp`], and equal times are settled by hash
//!   (`docs/adr/0003-order-independence.md`).
//! * A message that lacks something *waits on that thing*; whoever provides it
//!   ([`Effect::provides`]) wakes it. Nothing polls.
//! * A refusal carries the network's stable code and details (`spec: messages.md §10`).

mod candidate;
mod decision;
mod dependency;
mod facts;
mod forget;
pub mod invariants;
mod node_post;
mod payment;
mod permissions;
mod post;
mod stamp;
mod store;
mod tariff;
mod vm;

mod aggregate;

pub use candidate::{Candidate, FileInfo, FileKind, ManifestFile};
pub use decision::{
    AggregateState, Decision, Effect, FieldValue, Forgotten, HiddenField, PinnedFile, PostVersion, TagTarget,
    VmRecord, WonField,
};
pub use dependency::Dependency;
pub use facts::{
    AggregateFact, AmendFact, ElementFact, Facts, Fate, PinFact, PostFact, StoredMessage, TagFact,
    TagVersion, VmFact,
};
pub use forget::forgets_evidently;
pub use node_post::{
    BalanceEntry, MONEY_POSTS, MetricRow, NetworkMetrics, NodePost, Publishers, Unheeded, stored_money,
};
pub use payment::Payments;
pub use permissions::{Subject, granting_entry};
pub use stamp::Stamp;
pub use tariff::Tariff;

use aleph_types::content::Content;
use aleph_types::{ErrorCode, ItemType, Rejection};

/// What the rules need to know about the network itself.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Who may publish node-level posts.
    pub publishers: Publishers,
    /// How it charges; `None`: everything is free, and costs nothing that would be stored.
    pub payments: Option<Payments>,
}

/// The fate of a verified message whose hash has none yet (or was rejected before), given the facts.
///
/// Errors are those of the facts' source; a message itself never makes this fail.
pub fn decide<F: Facts>(
    candidate: &Candidate<'_>,
    network: &Network,
    facts: &mut F,
) -> Result<Decision, F::Error> {
    let message = candidate.message;
    let Some(content) = candidate.content else {
        return Ok(Decision::wait(
            Dependency::Content(message.item_hash.clone()),
            Rejection::text(
                ErrorCode::ContentUnavailable,
                format!("File not found: {} (could not fetch message content)", message.item_hash),
            ),
        ));
    };
    let mut effects = Vec::new();
    if message.item_type != ItemType::Inline {
        effects.push(Effect::PinContent {
            file: message.item_hash.clone(),
            size: candidate.content_size,
            owner: message.sender.clone(),
            created: content.time(),
        });
    }
    let payments = network.payments.as_ref();
    let mut outcome = match content {
        Content::Post(post) => post::decide(candidate, post, network, facts, &mut effects)?,
        Content::Aggregate(aggregate) => aggregate::decide(candidate, aggregate, facts, &mut effects)?,
        Content::Store(store) => store::decide(candidate, store, content, payments, facts, &mut effects)?,
        Content::Program(program) => vm::decide(candidate, program, facts, &mut effects)?,
        Content::Forget(forget) => forget::decide(candidate, forget, facts, &mut effects)?,
        Content::Instance(instance) => vm::decide_instance(candidate, instance, facts, &mut effects)?,
        Content::VProgram(v_program) => vm::decide_v_program(candidate, v_program, facts, &mut effects)?,
    };
    if outcome.is_none() {
        outcome = payment::decide(candidate, content, payments, facts, &mut effects)?;
    }
    Ok(outcome.unwrap_or(Decision::Process(effects)))
}
