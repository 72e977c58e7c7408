//! Whom an owner lets operate their programs (`spec: crn-api.md §3.2`, "Authorisation").

use aleph_types::Address;
use serde_json::Value;

use super::messages::Messages;

/// Whether `sender` may operate the programs of `owner`: the owner, or a delegate named in the owner's
/// `security` aggregate. An aggregate that can't be read authorises nobody.
pub(crate) async fn may_operate(messages: &Messages, sender: &Address, owner: &Address) -> bool {
    if sender.is_same_as(owner) {
        return true;
    }
    match messages.aggregate(owner, "security").await {
        Ok(Some(security)) => delegates(&security, sender),
        Ok(None) => false,
        Err(error) => {
            tracing::warn!(%owner, %error, "the security aggregate can't be read; not authorised");
            false
        }
    }
}

/// Whether `security` names `sender` for executions: `types` empty, or with `INSTANCE` (which covers
/// programs too) or `PROGRAM`.
fn delegates(security: &Value, sender: &Address) -> bool {
    let Some(authorizations) = security.get("authorizations").and_then(Value::as_array) else { return false };
    authorizations.iter().any(|authorization| {
        let named = authorization.get("address").and_then(Value::as_str);
        let types = authorization.get("types").and_then(Value::as_array);
        named.is_some_and(|named| sender.is_same_as(&Address::from(named)))
            && types.is_none_or(|types| {
                types.is_empty()
                    || types.iter().any(|kind| matches!(kind.as_str(), Some("INSTANCE" | "PROGRAM")))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delegates_by_type() {
        let security = serde_json::json!({"authorizations": [
            {"address": "0xAA"}, {"address": "0xBB", "types": []}, {"address": "0xCC", "types": ["POST"]},
            {"address": "0xDD", "types": ["POST", "INSTANCE"]}, "nonsense",
        ]});
        for (address, allowed) in
            [("0xaa", true), ("0xbb", true), ("0xcc", false), ("0xdd", true), ("0xee", false)]
        {
            assert_eq!(delegates(&security, &Address::from(address)), allowed, "{address}");
        }
        assert!(!delegates(&serde_json::json!({}), &Address::from("0xAA")));
    }
}
