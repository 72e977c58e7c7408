use std::collections::{BTreeMap, BTreeSet};

use aleph_types::content::AggregateContent;
use aleph_types::{Address, ItemHash, MessageType};

use crate::permissions::{self, Subject};
use crate::{
    AggregateFact, AggregateState, Candidate, Decision, Effect, Facts, FieldValue, HiddenField, Stamp,
    WonField,
};

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
    let before = facts.aggregate(&element.address, &element.key)?;
    let head = match &before {
        None => AggregateFact { first: stamp.clone(), last: stamp.clone(), elements: 1 },
        Some(head) => AggregateFact {
            first: if precedes(&stamp, &head.first) { stamp.clone() } else { head.first.clone() },
            last: if stamp.supersedes(&head.last) { stamp.clone() } else { head.last.clone() },
            elements: head.elements + 1,
        },
    };
    let names: Vec<&str> = element.content.keys().map(String::as_str).collect();
    let stamps = facts.field_stamps(&element.address, &element.key, &names)?;
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for ((field, value), over) in element.content.iter().zip(stamps) {
        let (field, stamp) = (field.clone(), stamp.clone());
        if over.as_ref().is_some_and(|over| !stamp.supersedes(over)) {
            lost.push(HiddenField { field, stamp });
        } else {
            won.push(WonField { field: FieldValue { field, value: value.clone(), stamp }, over });
        }
    }
    let state = AggregateState { owner: element.address.clone(), key: element.key.clone(), head };
    effects.push(Effect::MergeAggregate { state, before, won, lost });
    Ok(None)
}

/// What is left of an aggregate without these elements, which are stored still. The work grows with what the
/// elements set, not with how many others there are: a field that one of them had won goes to the best of
/// those that are hidden behind it, and the others stay as they are.
pub(crate) fn reduce<F: Facts>(
    owner: &Address,
    key: &str,
    elements: &[Stamp],
    gone: &BTreeSet<ItemHash>,
    facts: &mut F,
) -> Result<Option<Effect>, F::Error> {
    // One that is never built.
    let Some(before) = facts.aggregate(owner, key)? else { return Ok(None) };
    let left = before.elements.saturating_sub(elements.len() as u64);
    let first = match gone.contains(&before.first.hash) {
        true if left > 0 => facts.oldest_element(owner, key, gone)?,
        _ => Some(before.first.clone()),
    };
    let last = match gone.contains(&before.last.hash) {
        true if left > 0 => facts.newest_element(owner, key, gone)?,
        _ => Some(before.last.clone()),
    };
    let (Some(first), Some(last), 1..) = (first, last, left) else {
        return Ok(Some(Effect::RemoveAggregate { owner: owner.clone(), key: key.to_owned() }));
    };

    // Fields that an element won, and what it says of others.
    let mut lost = BTreeSet::new();
    let mut unhidden = Vec::new();
    for stamp in elements {
        let content = facts.element(&stamp.hash)?;
        let names: Vec<&str> = content.keys().map(String::as_str).collect();
        let set_by = facts.field_stamps(owner, key, &names)?;
        for (field, set_by) in content.into_iter().map(|(field, _)| field).zip(set_by) {
            match set_by {
                Some(set_by) if set_by.hash == stamp.hash => _ = lost.insert(field),
                _ => unhidden.push(HiddenField { field, stamp: stamp.clone() }),
            }
        }
    }
    // Each element that is behind them is read once.
    let mut successors: BTreeMap<ItemHash, (Stamp, Vec<String>)> = BTreeMap::new();
    let mut dropped = Vec::new();
    for field in lost {
        match facts.hidden(owner, key, &field, gone)? {
            None => dropped.push(field),
            Some(stamp) => {
                unhidden.push(HiddenField { field: field.clone(), stamp: stamp.clone() });
                successors.entry(stamp.hash.clone()).or_insert((stamp, Vec::new())).1.push(field);
            }
        }
    }
    let mut fields = Vec::new();
    for (stamp, names) in successors.into_values() {
        let mut content = facts.element(&stamp.hash)?;
        fields.extend(names.into_iter().filter_map(|field| {
            let value = content.remove(&field)?;
            Some(FieldValue { field, value, stamp: stamp.clone() })
        }));
    }
    let head = AggregateFact { first, last, elements: left };
    let state = AggregateState { owner: owner.clone(), key: key.to_owned(), head };
    Ok(Some(Effect::ReduceAggregate { state, before, fields, dropped, unhidden }))
}

/// Order of the oldest element: earlier time, then smaller hash.
fn precedes(one: &Stamp, other: &Stamp) -> bool {
    (one.time, &one.hash) < (other.time, &other.hash)
}
