//! Who may act for whom (`spec: messages.md §11`).

use aleph_types::{Address, Chain, Channel, ErrorCode, MessageType, Rejection};
use serde_json::Value;

use crate::node_post::is_falsy;
use crate::{Facts, StoredMessage};

/// The aggregate key that lists delegations.
pub(crate) const SECURITY_KEY: &str = "security";

/// What an entry's filters are held against: usually the message itself, for amends and FORGETs the
/// message that they touch.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// What kind of message.
    pub message_type: MessageType,
    /// Chain of its sender's key.
    pub chain: Chain,
    /// Its label.
    pub channel: Option<&'a Channel>,
    /// `content.type` of a POST.
    pub post_type: Option<&'a str>,
    /// `content.key` of an AGGREGATE.
    pub aggregate_key: Option<&'a str>,
}

impl<'a> Subject<'a> {
    /// A message that is stored already.
    pub(crate) fn of_stored(stored: &'a StoredMessage) -> Self {
        Self {
            message_type: stored.message_type,
            chain: stored.chain,
            channel: stored.channel.as_ref(),
            post_type: stored.post_type.as_deref(),
            aggregate_key: stored.aggregate_key.as_deref(),
        }
    }
}

/// Whether `sender` may act for `owner` on `subject`; `Err` of the inner result is the refusal.
pub(crate) fn check<F: Facts>(
    sender: &Address,
    owner: &Address,
    subject: &Subject<'_>,
    facts: &mut F,
) -> Result<Result<(), Rejection>, F::Error> {
    if sender.is_same_as(owner) {
        return Ok(Ok(()));
    }
    let granted = granting_entry(sender, owner, subject, facts)?.is_some();
    Ok(if granted { Ok(()) } else { Err(denied(sender, owner)) })
}

/// The first entry of the owner's `security` aggregate that lets `sender` act on `subject` for `owner`.
///
/// Errors are those of the facts' source.
pub fn granting_entry<F: Facts>(
    sender: &Address,
    owner: &Address,
    subject: &Subject<'_>,
    facts: &mut F,
) -> Result<Option<Value>, F::Error> {
    let Some((authorizations, _)) = facts.aggregate_field(owner, SECURITY_KEY, "authorizations")? else {
        return Ok(None);
    };
    let mut entries = authorizations.as_array().into_iter().flatten();
    Ok(entries.find(|entry| allows(entry, sender, subject)).cloned())
}

/// The refusal of code 2.
pub(crate) fn denied(sender: &Address, owner: &Address) -> Rejection {
    Rejection::text(
        ErrorCode::PermissionDenied,
        format!("Sender {sender} is not authorized to post on behalf of address {owner}"),
    )
}

/// One entry of `authorizations`; a malformed entry allows nothing.
fn allows(entry: &Value, sender: &Address, subject: &Subject<'_>) -> bool {
    let Some(address) = entry.get("address").and_then(Value::as_str) else {
        return false;
    };
    if !address.eq_ignore_ascii_case(sender.as_str()) {
        return false;
    }
    let chain = entry.get("chain").filter(|chain| !is_falsy(chain));
    if chain.is_some_and(|chain| chain.as_str() != Some(subject.chain.as_str())) {
        return false;
    }
    lists(entry, "channels", subject.channel.map(Channel::as_str))
        && lists(entry, "types", Some(subject.message_type.as_str()))
        && (subject.message_type != MessageType::Post || lists(entry, "post_types", subject.post_type))
        && (subject.message_type != MessageType::Aggregate
            || lists(entry, "aggregate_keys", subject.aggregate_key))
}

/// Absent and empty filters allow any value; others must list it. As in the reference, a text in place of a
/// list allows what is part of it and an object its keys; what it can't read, null included, allows nothing.
fn lists(entry: &Value, filter: &str, value: Option<&str>) -> bool {
    match entry.get(filter) {
        None => true,
        Some(Value::Array(allowed)) => {
            let is_value = |item: &Value| item.as_str() == value && (value.is_some() || item.is_null());
            allowed.is_empty() || allowed.iter().any(is_value)
        }
        Some(Value::String(text)) => text.is_empty() || value.is_some_and(|value| text.contains(value)),
        Some(Value::Object(fields)) => {
            fields.is_empty() || value.is_some_and(|value| fields.contains_key(value))
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject<'a>(message_type: MessageType, channel: Option<&'a Channel>) -> Subject<'a> {
        Subject {
            message_type,
            chain: Chain::Eth,
            channel,
            post_type: Some("note"),
            aggregate_key: Some("k"),
        }
    }

    #[test]
    fn filters_restrict_only_their_own_type() {
        let sender = Address::from("0xAbC");
        let channel = Channel::from("c1");
        let post = subject(MessageType::Post, Some(&channel));
        let store = subject(MessageType::Store, None);
        for (entry, allowed_post, allowed_store) in [
            (json!({"address": "0xabc"}), true, true),
            (json!({"address": "0xabc", "types": []}), true, true),
            (json!({"address": "0xabc", "types": ["STORE"]}), false, true),
            (json!({"address": "0xabc", "channels": ["c1"]}), true, false),
            (json!({"address": "0xabc", "post_types": ["blog"]}), false, true),
            (json!({"address": "0xabc", "aggregate_keys": ["other"]}), true, true),
            (json!({"address": "0xabc", "chain": "SOL"}), false, false),
            (json!({"address": "0xother"}), false, false),
            (json!({}), false, false),
            (json!("0xabc"), false, false),
            (json!({"address": "0xabc", "types": "POST"}), true, false),
            (json!({"address": "0xabc", "types": {"STORE": 0}}), false, true),
            (json!({"address": "0xabc", "types": 5}), false, false),
            (json!({"address": "0xabc", "types": null}), false, false),
            (json!({"address": "0xabc", "post_types": null}), false, true),
            (json!({"address": "0xabc", "chain": null}), true, true),
            (json!({"address": "0xabc", "chain": 0}), true, true),
            (json!({"address": "0xabc", "channels": [null]}), false, true),
            (json!({"address": "0xabc", "channels": "c1 c2"}), true, false),
        ] {
            assert_eq!(allows(&entry, &sender, &post), allowed_post, "{entry}");
            assert_eq!(allows(&entry, &sender, &store), allowed_store, "{entry}");
        }
    }
}
