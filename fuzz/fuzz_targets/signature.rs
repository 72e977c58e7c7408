//! Three lines, chain, sender and signature: whatever they hold, there is a verdict.
#![no_main]

use aleph_crypto::check;
use aleph_types::{Address, Chain, ItemHash, ItemType, Message, MessageType, Signature, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let (Some(chain), Some(sender), Some(signature)) = (lines.next(), lines.next(), lines.next()) else { return };
    let Ok(chain) = chain.parse::<Chain>() else { return };
    let message = Message {
        item_hash: ItemHash::sha256(b""),
        message_type: MessageType::Post,
        chain,
        sender: Address::from(sender),
        signature: Some(Signature::from(signature)),
        item_type: ItemType::Storage,
        item_content: None,
        time: Timestamp::EPOCH,
        channel: None,
    };
    if let Err(error) = check(&message) {
        assert!(error.to_string().len() < 200);
    }
});
