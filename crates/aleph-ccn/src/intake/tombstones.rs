//! Messages that were forgotten before this node could get them.
//!
//! Their content is gone everywhere, so nothing can be decided about them any more; but the FORGETs that
//! name them wait for them, and other nodes count them as forgotten. What is left of such a message is
//! believed when its own signature is good, and that of a FORGET which its signer signed or which speaks
//! for the signer, and which names it. A FORGET takes more with it than it names (amends, the elements of
//! an aggregate), and a message of somebody else's account may be forgotten by the account's owner: that
//! can't be seen any more without the content, and is believed of configured nodes only.

use std::collections::HashMap;

use aleph_store::Skeleton;
use aleph_types::content::Content;
use aleph_types::wire::Envelope;
use aleph_types::{HashKind, ItemHash, ItemType, Message, ParsedMessage};

/// A forgotten message that is believed.
#[derive(Debug)]
pub(crate) struct Tombstone {
    pub(crate) message: Message,
    /// Where its content was.
    pub(crate) item_type: ItemType,
    pub(crate) owner: String,
    pub(crate) forget: ParsedMessage,
}

/// Why one is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Doubt {
    #[error("the FORGET {0} was not sent, or is none")]
    NoForget(ItemHash),
    #[error("no FORGET is named")]
    Unnamed,
    #[error("what is left of it can't be read: {0}")]
    Form(String),
    #[error("its signature is bad")]
    Signature,
    #[error("the FORGET's signature is bad")]
    ForgetSignature,
    #[error("nothing shows that its FORGET was allowed to, and the node is not configured here")]
    Stranger,
}

/// Judges what is left of a message. `trusted` says that the operator configured the node that sent it.
/// Checks two signatures, so it takes some 60 µs.
pub(crate) fn judge(
    skeleton: &Skeleton,
    forgets: &HashMap<String, ParsedMessage>,
    trusted: bool,
) -> Result<Tombstone, Doubt> {
    let by = skeleton.forgotten_by.first().ok_or(Doubt::Unnamed)?;
    let forget = forgets.get(by.as_str()).ok_or_else(|| Doubt::NoForget(by.clone()))?;
    let Some(Content::Forget(content)) = &forget.content else { return Err(Doubt::NoForget(by.clone())) };
    let (message, item_type) = read(&skeleton.envelope)?;
    if !trusted && !aleph_rules::forgets_evidently(&forget.message.sender, content, &message) {
        return Err(Doubt::Stranger);
    }
    aleph_crypto::check(&message).map_err(|_| Doubt::Signature)?;
    aleph_crypto::check(&forget.message).map_err(|_| Doubt::ForgetSignature)?;
    Ok(Tombstone { message, item_type, owner: skeleton.owner.clone(), forget: forget.clone() })
}

/// The message without its content, by the rules for those whose content is elsewhere.
fn read(envelope: &Envelope) -> Result<(Message, ItemType), Doubt> {
    let item_type = envelope.item_type.as_deref().and_then(|word| word.parse().ok());
    let item_type = item_type.ok_or_else(|| Doubt::Form("no item type".to_owned()))?;
    let form = |error: &dyn std::fmt::Display| Doubt::Form(error.to_string());
    let hash = ItemHash::parse(&envelope.item_hash).map_err(|error| form(&error))?;
    let elsewhere = match hash.kind() {
        HashKind::Storage => ItemType::Storage,
        HashKind::Ipfs => ItemType::Ipfs,
    };
    let bare =
        Envelope { item_type: Some(elsewhere.as_str().to_owned()), item_content: None, ..envelope.clone() };
    let value = serde_json::to_value(&bare).map_err(|error| form(&error))?;
    let message = Envelope::read(&value).map_err(|error| form(&error))?;
    Ok((message, item_type))
}

#[cfg(test)]
mod tests {
    use aleph_crypto::EvmKey;
    use serde_json::json;

    use super::*;

    fn signed(key: &EvmKey, message_type: &str, content: &serde_json::Value) -> Envelope {
        let text = content.to_string();
        let mut envelope = Envelope {
            chain: "ETH".to_owned(),
            sender: key.address().to_string(),
            message_type: message_type.to_owned(),
            channel: None,
            signature: Some(String::new()),
            time: 1_700_000_000.0,
            item_type: Some("inline".to_owned()),
            item_hash: ItemHash::sha256(text.as_bytes()).as_str().to_owned(),
            item_content: Some(text),
        };
        let message = Envelope::read(&serde_json::to_value(&envelope).unwrap()).unwrap();
        envelope.signature = Some(key.sign_eip191(&message.verification_buffer()).to_string());
        envelope
    }

    fn key(number: u8) -> EvmKey {
        EvmKey::from_bytes([number; 32]).unwrap()
    }

    fn case(
        author: &EvmKey,
        forgetter: &EvmKey,
        names_it: bool,
    ) -> (Skeleton, HashMap<String, ParsedMessage>) {
        let address = author.address().to_string();
        let post = json!({ "address": address, "time": 1.0, "type": "t", "content": 1 });
        let mut envelope = signed(author, "POST", &post);
        let named = if names_it { envelope.item_hash.clone() } else { "a".repeat(64) };
        let content = json!({ "address": forgetter.address().to_string(), "time": 2.0, "hashes": [named] });
        let forget = signed(forgetter, "FORGET", &content);
        let parsed = ParsedMessage::from_value(&serde_json::to_value(&forget).unwrap()).unwrap();
        envelope.item_content = None;
        let skeleton =
            Skeleton { envelope, owner: address, forgotten_by: vec![parsed.message.item_hash.clone()] };
        (skeleton, HashMap::from([(forget.item_hash, parsed)]))
    }

    #[test]
    fn only_what_can_be_checked_is_believed() {
        let (author, other) = (key(1), key(2));
        let (skeleton, forgets) = case(&author, &author, true);
        let tombstone = judge(&skeleton, &forgets, false).unwrap();
        assert_eq!(
            (tombstone.item_type, tombstone.message.sender.as_str()),
            (ItemType::Inline, &*skeleton.owner)
        );
        assert!(matches!(judge(&skeleton, &HashMap::new(), true), Err(Doubt::NoForget(_))));

        for (forgetter, names_it) in [(&other, true), (&author, false)] {
            let (skeleton, forgets) = case(&author, forgetter, names_it);
            assert!(matches!(judge(&skeleton, &forgets, false), Err(Doubt::Stranger)));
            assert!(judge(&skeleton, &forgets, true).is_ok());
        }
        // Nobody can invent a message, nor a FORGET.
        let mut invented = skeleton.clone();
        invented.envelope.sender = other.address().to_string();
        assert!(matches!(judge(&invented, &forgets, true), Err(Doubt::Signature)));
        let mut invented = forgets.clone();
        for forget in invented.values_mut() {
            forget.message.sender = other.address().to_string().as_str().into();
        }
        assert!(matches!(judge(&skeleton, &invented, true), Err(Doubt::ForgetSignature)));
        let unnamed = Skeleton { forgotten_by: Vec::new(), ..skeleton };
        assert!(matches!(judge(&unnamed, &forgets, true), Err(Doubt::Unnamed)));
    }
}
