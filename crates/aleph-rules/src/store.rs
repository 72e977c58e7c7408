use aleph_types::content::{Content, StoreContent};
use aleph_types::{ErrorCode, ItemType, MessageType, Rejection};
use serde_json::Value;

use crate::permissions::{self, Subject};
use crate::{
    Candidate, Decision, Dependency, Effect, Facts, Payments, PinnedFile, Stamp, TagTarget, payment,
};

/// STORE (`spec: messages.md §15`).
pub(crate) fn decide<F: Facts>(
    candidate: &Candidate<'_>,
    store: &StoreContent,
    content: &Content,
    payments: Option<&Payments>,
    facts: &mut F,
    effects: &mut Vec<Effect>,
) -> Result<Option<Decision>, F::Error> {
    let message = candidate.message;
    if store.engine == ItemType::Inline {
        return Ok(Some(Decision::Reject(Rejection::text(
            ErrorCode::InvalidFormat,
            "a STORE names a file of the 'storage' or 'ipfs' engine",
        ))));
    }
    let subject = Subject {
        message_type: MessageType::Store,
        chain: message.chain,
        channel: message.channel.as_ref(),
        post_type: None,
        aggregate_key: None,
    };
    if let Err(refusal) = permissions::check(&message.sender, &store.address, &subject, facts)? {
        return Ok(Some(Decision::Reject(refusal)));
    }
    let tag = store.tag(&message.item_hash);
    if store.reference.is_some()
        && let Some(present) = facts.tag(&tag)?
        && present.owner != store.address
    {
        return Ok(Some(Decision::Reject(permissions::denied(&message.sender, &present.owner))));
    }
    let Some(info) = candidate.file else {
        if let Some(refusal) = payment::before_fetch(candidate, store, content, payments, facts)? {
            return Ok(Some(refusal));
        }
        return Ok(Some(Decision::wait(
            Dependency::File(store.item_hash.clone()),
            Rejection::text(
                ErrorCode::FileUnavailable,
                format!(
                    "File not found: {} (could not retrieve file from storage at this time)",
                    store.item_hash
                ),
            ),
        )));
    };
    if let Some(first) = store.updated() {
        match facts.message_pin(&first)? {
            None => {
                return Ok(Some(Decision::wait(
                    Dependency::Message(first.clone()),
                    Rejection::with_errors(
                        ErrorCode::StoreRefNotFound,
                        [Value::String(first.as_str().to_owned())],
                    ),
                )));
            }
            Some(pin) if pin.reference.is_some() => {
                return Ok(Some(Decision::Reject(Rejection::bare(ErrorCode::StoreUpdateUpdate))));
            }
            Some(pin) if pin.owner != store.address => {
                return Ok(Some(Decision::Reject(permissions::denied(&message.sender, &pin.owner))));
            }
            Some(_) => {}
        }
    }

    let stamp = Stamp { time: store.time, hash: message.item_hash.clone() };
    effects.push(Effect::PinFile(PinnedFile {
        file: store.item_hash.clone(),
        info,
        owner: store.address.clone(),
        message: message.item_hash.clone(),
        reference: store.reference.clone(),
        tag: tag.clone(),
        created: store.time,
    }));
    let moves = facts.tag(&tag)?.is_none_or(|present| stamp.supersedes(&present.stamp));
    if moves {
        effects.push(Effect::SetTag(TagTarget {
            tag,
            owner: store.address.clone(),
            file: store.item_hash.clone(),
            stamp,
        }));
    }
    Ok(None)
}
