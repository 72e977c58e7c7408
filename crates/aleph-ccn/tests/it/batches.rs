//! Signatures that are checked together get the verdicts that they get one by one.

use aleph_ccn::{Origin, Outcome};
use aleph_crypto::SigningKey;
use aleph_types::{
    Address, Chain, ErrorCode, ItemHash, ItemType, Message, MessageType, ParsedMessage, Timestamp,
};
use futures_util::future::join_all;
use serde_json::json;

use crate::node::TestNode;

/// A POST of `key`, signed unless `signed_for` is another message's number.
fn post(key: &SigningKey, number: usize, signed_for: usize) -> Message {
    let message = |number: usize| {
        let text = json!({
            "address": key.address(), "time": number, "type": "t", "content": { "number": number },
        })
        .to_string();
        Message {
            item_hash: ItemHash::sha256(text.as_bytes()),
            message_type: MessageType::Post,
            chain: key.chain(),
            sender: Address::from(key.address().as_str()),
            signature: None,
            item_type: ItemType::Inline,
            item_content: Some(text.into()),
            time: Timestamp::from_secs(number as i64),
            channel: None,
        }
    };
    let signature = key.sign_message(&message(signed_for));
    Message { signature: Some(signature), ..message(number) }
}

#[tokio::test]
async fn good_and_bad_signatures_of_a_batch_are_told_apart() {
    let node = TestNode::start().await;
    let keys: Vec<SigningKey> = [Chain::Sol, Chain::Es, Chain::Eth, Chain::Sol]
        .into_iter()
        .zip(1u8..)
        .map(|(chain, secret)| SigningKey::for_chain(chain, [secret; 32]).unwrap())
        .collect();
    let messages: Vec<Message> = (0..400)
        .map(|number| {
            post(&keys[number % keys.len()], number, if number % 7 == 3 { number + 1 } else { number })
        })
        .collect();
    let outcomes = join_all(messages.iter().map(|message| {
        let parsed = ParsedMessage::from_json(&serde_json::to_vec(&message.to_wire()).unwrap()).unwrap();
        node.node.pipeline.submit(parsed, Origin::CatchUp)
    }))
    .await;
    let mut refused = 0;
    for (message, outcome) in messages.iter().zip(outcomes) {
        match (aleph_crypto::check(message), outcome.unwrap()) {
            (Ok(()), Outcome::Processed) => {}
            (Err(_), Outcome::Rejected(rejection)) => {
                assert_eq!(rejection.code, ErrorCode::InvalidSignature);
                refused += 1;
            }
            (alone, together) => panic!("{alone:?} alone, {together:?} together: {message:?}"),
        }
    }
    assert_eq!(refused, 57);
    node.stop().await;
}
