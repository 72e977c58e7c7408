use aleph_types::{Chain, ChainTx, ContractEvent, ItemHash, ParsedMessage, Timestamp};
use serde_json::Value;

use crate::vectors;

fn tx(chain: &str, seconds: f64) -> ChainTx {
    ChainTx {
        chain: chain.parse::<Chain>().unwrap(),
        hash: "0xt".into(),
        height: 1,
        time: Timestamp::from_secs_f64(seconds).unwrap(),
        publisher: "contract".into(),
    }
}

#[test]
fn contract_events_become_the_recorded_messages() {
    let Some(root) = vectors::folder("") else { return };
    let mut ran = 0;
    let mut check = |chain: &str, seconds: f64, payload: &Value, expected: Option<&Value>| {
        let tx = tx(chain, seconds);
        let message = ContractEvent::from_payload(tx.chain, payload).map(|event| event.to_document(&tx));
        ran += 1;
        let Some(expected) = expected else {
            assert!(message.is_err(), "{payload}");
            return;
        };
        let message = message.unwrap();
        assert_eq!(&message, expected);
        let parsed = ParsedMessage::from_value(&message).unwrap();
        assert_eq!(parsed.message.signature, None);
        let text = parsed.message.item_content.unwrap();
        assert_eq!(ItemHash::sha256(text.as_bytes()), parsed.message.item_hash);
    };
    for case in vectors::read(&root.join("messages/smart_contract_store.json")).as_array().unwrap() {
        let event = &case["event"];
        let (chain, seconds) = (event["chain"].as_str().unwrap(), event["tx_time"].as_f64().unwrap());
        check(chain, seconds, &event["payload"], Some(&case["message"]));
    }
    for case in vectors::read(&root.join("chain_events.json"))["smart_contract_messages"].as_array().unwrap()
    {
        let tx = &case["tx"];
        let (chain, seconds) = (tx["chain"].as_str().unwrap(), tx["datetime"].as_f64().unwrap());
        let messages = case["expected"]["messages"].as_array();
        check(chain, seconds, &tx["content"], messages.map(|messages| &messages[0]));
    }
    println!("contract events: {ran} ran");
    assert_eq!(ran, 9);
}

#[test]
fn messages_of_a_recorded_archive_are_read() {
    let Some(root) = vectors::folder("") else { return };
    let recorded = vectors::read(&root.join("chain_events.json"));
    let text = recorded["archive"]["file_content"].as_str().unwrap();
    let archive = aleph_types::json::parse(text.as_bytes()).unwrap();
    let messages = archive["content"]["messages"].as_array().unwrap();
    for message in messages {
        let parsed = ParsedMessage::from_value(message).unwrap();
        assert_eq!(parsed.message.item_hash.as_str(), message["item_hash"].as_str().unwrap());
    }
    println!("archive: {} messages ran", messages.len());
}

#[test]
fn content_beside_a_hash_must_fit_the_schema() {
    let mut message = serde_json::json!({
        "chain": "ETH", "sender": "0xA", "signature": "0x", "type": "POST", "time": 1,
        "item_hash": "a".repeat(64), "content": null,
    });
    assert!(ParsedMessage::from_value(&message).unwrap().content.is_none());
    message["content"] = serde_json::json!({ "address": "0xA", "time": 1, "type": "note" });
    assert!(ParsedMessage::from_value(&message).unwrap().content.is_none());
    message["content"] = serde_json::json!({ "address": "0xA", "type": "note" });
    let error = ParsedMessage::from_value(&message).unwrap_err();
    assert_eq!(error.to_json_errors()[0]["loc"], "('content', 'time')");
}
