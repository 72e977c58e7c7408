use aleph_types::content::AggregateContent;
use aleph_types::{Address, MessageType};

use crate::permissions::{self, Subject};
use crate::{AggregateState, Candidate, Decision, Effect, ElementFact, Facts, FieldValue, Stamp};

/// The network builds no aggregates of this owner: elements are kept, and nothing can be read
/// (`spec: messages.md §14`).
const NEVER_BUILT: &str = "0x51A58800b26AA1451aaA803d1746687cB88E0501";

/// AGGREGATE (`spec: messages.md §14`): each top-level key goes to the newest element that sets it, which
/// is what folding all elements in time order gives.
pub(crate) fn decide<F: Facts>(
    candidate: &Candidate<'_>,
    element: &AggregateContent,
    facts: &mut F,
    effects: &mut Vec<Effect>,
) -> Result<Option<Decision>, F::Error> {
    let message = candidate.message;
    let subject = Subject {
        message_type: MessageType::Aggregate,
        chain: message.chain,
        channel: message.channel.as_ref(),
        post_type: None,
        aggregate_key: Some(&element.key),
    };
    if let Err(refusal) = permissions::check(&message.sender, &element.address, &subject, facts)? {
        return Ok(Some(Decision::Reject(refusal)));
    }
    if element.address.as_str() == NEVER_BUILT {
        return Ok(None);
    }
    let stamp = Stamp { time: element.time, hash: message.item_hash.clone() };
    let state = match facts.aggregate(&element.address, &element.key)? {
        None => AggregateState {
            owner: element.address.clone(),
            key: element.key.clone(),
            first: stamp.clone(),
            last: stamp.clone(),
            elements: 1,
        },
        Some(head) => AggregateState {
            owner: element.address.clone(),
            key: element.key.clone(),
            first: if precedes(&stamp, &head.first) { stamp.clone() } else { head.first },
            last: if stamp.supersedes(&head.last) { stamp.clone() } else { head.last },
            elements: head.elements + 1,
        },
    };
    let names: Vec<&str> = element.content.keys().map(String::as_str).collect();
    let stamps = facts.field_stamps(&element.address, &element.key, &names)?;
    let fields = element
        .content
        .iter()
        .zip(stamps)
        .filter(|(_, set_by)| set_by.as_ref().is_none_or(|set_by| stamp.supersedes(set_by)))
        .map(|((field, value), _)| FieldValue {
            field: field.clone(),
            value: value.clone(),
            stamp: stamp.clone(),
        })
        .collect();
    effects.push(Effect::MergeAggregate { state, fields });
    Ok(None)
}

/// The aggregate that `elements` make up; `None` for the head when there are none, or when it is one that
/// is never built.
pub(crate) fn rebuild(
    owner: &Address,
    key: &str,
    elements: Vec<ElementFact>,
) -> (Option<AggregateState>, Vec<FieldValue>) {
    let mut fields: std::collections::BTreeMap<String, FieldValue> = std::collections::BTreeMap::new();
    let mut head: Option<AggregateState> = None;
    let elements = if owner.as_str() == NEVER_BUILT { Vec::new() } else { elements };
    for element in elements {
        head = Some(match head {
            None => AggregateState {
                owner: owner.clone(),
                key: key.to_owned(),
                first: element.stamp.clone(),
                last: element.stamp.clone(),
                elements: 1,
            },
            Some(mut head) => {
                if precedes(&element.stamp, &head.first) {
                    head.first = element.stamp.clone();
                }
                if element.stamp.supersedes(&head.last) {
                    head.last = element.stamp.clone();
                }
                head.elements += 1;
                head
            }
        });
        for (field, value) in element.content {
            let wins = fields.get(&field).is_none_or(|present| element.stamp.supersedes(&present.stamp));
            if wins {
                let stamp = element.stamp.clone();
                fields.insert(field.clone(), FieldValue { field, value, stamp });
            }
        }
    }
    (head, fields.into_values().collect())
}

/// Order of the oldest element: earlier time, then smaller hash.
fn precedes(one: &Stamp, other: &Stamp) -> bool {
    (one.time, &one.hash) < (other.time, &other.hash)
}
