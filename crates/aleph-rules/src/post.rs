use aleph_types::content::PostContent;
use aleph_types::{ErrorCode, MessageType, Rejection};

use crate::permissions::{self, Subject};
use crate::{Candidate, Decision, Dependency, Effect, Facts, Fate, Network, PostVersion, Stamp, node_post};

/// POST (`spec: messages.md §12`).
pub(crate) fn decide<F: Facts>(
    candidate: &Candidate<'_>,
    post: &PostContent,
    network: &Network,
    facts: &mut F,
    effects: &mut Vec<Effect>,
) -> Result<Option<Decision>, F::Error> {
    let message = candidate.message;
    let stamp = Stamp { time: post.time, hash: message.item_hash.clone() };
    let own = Subject {
        message_type: MessageType::Post,
        chain: message.chain,
        channel: message.channel.as_ref(),
        post_type: Some(&post.post_type),
        aggregate_key: None,
    };

    if !post.is_amend() {
        if let Err(refusal) = permissions::check(&message.sender, &post.address, &own, facts)? {
            return Ok(Some(Decision::Reject(refusal)));
        }
        effects.push(Effect::CreatePost {
            original: stamp,
            owner: post.address.clone(),
            post_type: post.post_type.clone(),
            reference: post.reference.clone(),
            channel: message.channel.clone(),
        });
        return node_post::decide(candidate, post, &network.publishers, facts, effects);
    }

    let Some(original_hash) = post.amended() else {
        // The schema demands a `ref`; one that is no item hash can never name a post.
        if let Err(refusal) = permissions::check(&message.sender, &post.address, &own, facts)? {
            return Ok(Some(Decision::Reject(refusal)));
        }
        return Ok(Some(Decision::Reject(Rejection::bare(ErrorCode::PostAmendTargetNotFound))));
    };
    let not_found = |original_hash| {
        Some(Decision::wait(
            Dependency::Message(original_hash),
            Rejection::bare(ErrorCode::PostAmendTargetNotFound),
        ))
    };
    let Fate::Stored(original) = facts.fate(&original_hash)? else {
        if let Err(refusal) = permissions::check(&message.sender, &post.address, &own, facts)? {
            return Ok(Some(Decision::Reject(refusal)));
        }
        return Ok(not_found(original_hash));
    };
    // A delegate needs what the owner grants for the message that is named, whatever its type.
    if !message.sender.is_same_as(&post.address) {
        if !original.owner.is_same_as(&post.address) {
            return Ok(Some(Decision::Reject(permissions::denied(&message.sender, &original.owner))));
        }
        let subject = Subject::of_stored(&original);
        if let Err(refusal) = permissions::check(&message.sender, &original.owner, &subject, facts)? {
            return Ok(Some(Decision::Reject(refusal)));
        }
    }
    if original.message_type != MessageType::Post {
        return Ok(not_found(original_hash));
    }
    if original.owner != post.address {
        return Ok(Some(Decision::Reject(Rejection::text(
            ErrorCode::PermissionDenied,
            format!("Cannot amend post {original_hash} of {} as address {}", original.owner, post.address),
        ))));
    }
    if original.post_type.as_deref() == Some(PostContent::AMEND) {
        return Ok(Some(Decision::Reject(Rejection::bare(ErrorCode::PostAmendAmend))));
    }
    let Some(shown) = facts.post(&original_hash)? else {
        return Ok(not_found(original_hash));
    };

    effects.push(Effect::AddAmend { original: original_hash.clone(), amend: stamp.clone() });
    if shows(&stamp, &original_hash, &shown.latest, shown.created) {
        effects.push(Effect::ShowVersion(PostVersion { original: original_hash, latest: stamp }));
    }
    Ok(None)
}

/// Whether an amend takes the place of the shown version: strictly later than the original, and ahead of
/// the amend that is shown now.
fn shows(
    amend: &Stamp,
    original: &aleph_types::ItemHash,
    latest: &Stamp,
    created: aleph_types::Timestamp,
) -> bool {
    amend.time > created && (latest.hash == *original || amend.supersedes(latest))
}

/// The version that a post shows given all its amends: what any order of arrival leads to.
pub(crate) fn latest_version(original: Stamp, amends: impl IntoIterator<Item = Stamp>) -> Stamp {
    let created = original.time;
    let mut latest = original.clone();
    for amend in amends {
        if shows(&amend, &original.hash, &latest, created) {
            latest = amend;
        }
    }
    latest
}
