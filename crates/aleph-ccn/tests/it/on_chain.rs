//! Messages that chains carry, and the transactions that confirm them (`spec: messages.md §25`).

use aleph_ccn::Outcome;
use aleph_types::{Chain, ChainTx, ContractEvent, MessageType, ParsedMessage, Timestamp};
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_714_564_800.0;

fn tx(number: u64, chain: Chain) -> ChainTx {
    ChainTx {
        chain,
        hash: format!("0x{number:064x}"),
        height: 1000 + number,
        time: Timestamp::from_secs_f64(TIME + 100.0 + number as f64).unwrap(),
        publisher: "0xPublisher".into(),
    }
}

async fn confirm(node: &TestNode, message: &Value, tx: ChainTx) -> Outcome {
    let parsed = ParsedMessage::from_value(message).unwrap();
    node.node.pipeline.submit_confirmed(parsed, tx, false).await.unwrap()
}

async fn shown(node: &TestNode, message: &Value) -> Value {
    node.ok(&format!("/api/v0/messages/{}", hash(message))).await["message"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_confirmed_by_every_transaction_that_carries_it() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let note = author.note(TIME, "c", json!(1));
    let first = tx(7, Chain::Eth);

    // Unknown: it is processed and confirmed at once.
    assert_eq!(confirm(&node, &note, first.clone()).await, Outcome::Processed);
    let expected = json!([{ "chain": "ETH", "hash": first.hash, "height": 1007 }]);
    let message = shown(&node, &note).await;
    assert_eq!((&message["confirmed"], &message["confirmations"]), (&json!(true), &expected));

    // Known: confirmed once for each transaction, whatever the signature of the copy.
    confirm(&node, &note, first).await;
    let mut forged = note.clone();
    forged["signature"] = format!("0x{}1b", "22".repeat(64)).into();
    forged["time"] = json!(TIME - 50.0);
    assert_eq!(confirm(&node, &forged, tx(3, Chain::Bsc)).await, Outcome::Processed);
    let message = shown(&node, &note).await;
    let chains: Vec<&Value> =
        message["confirmations"].as_array().unwrap().iter().map(|one| &one["chain"]).collect();
    assert_eq!(chains, ["BSC", "ETH"]);
    assert_eq!((&message["signature"], &message["time"]), (&note["signature"], &json!(TIME)));

    // A verified copy with an earlier time lowers the envelope's time; a later one does not.
    for (time, expected) in [(TIME - 5.5, TIME - 5.5), (TIME + 5.0, TIME - 5.5)] {
        let mut copy = note.clone();
        copy["time"] = json!(time);
        confirm(&node, &copy, tx(8, Chain::Eth)).await;
        assert_eq!(shown(&node, &note).await["time"], json!(expected));
    }

    let explained = node.ok(&format!("/api/v1/messages/{}/explain", hash(&note))).await;
    assert_eq!(explained["confirmations"][0]["publisher"], "0xPublisher");
    assert_eq!(explained["origin"], "chain");
    let list = node.ok(&format!("/api/v0/messages.json?hashes={}", hash(&note))).await;
    assert_eq!(list["messages"][0]["confirmations"].as_array().unwrap().len(), 3);
    let posts = node.ok(&format!("/api/v0/posts.json?hashes={}", hash(&note))).await;
    assert_eq!(posts["posts"][0]["confirmed"], json!(true));

    // The digest is about what messages did: confirmations are each node's view of the chains.
    let both = node.node.store.recompute_digest().await.unwrap();
    assert_eq!(both.kept, both.recomputed);
    // Forgotten: no confirmation is left, and none comes any more.
    node.process(&[&author.forget(TIME + 1.0, &[&note])]).await;
    assert_eq!(confirm(&node, &note, tx(9, Chain::Eth)).await, Outcome::Forgotten);
    let item_hash = ParsedMessage::from_value(&note).unwrap().message.item_hash;
    assert_eq!(node.node.store.confirmations(item_hash).await.unwrap(), []);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_keeps_its_confirmation_and_what_is_refused_loses_it() {
    let folder = {
        let node = TestNode::start().await;
        let author = Author::new(1);
        let note = author.note(TIME, "c", json!(1));
        let amend = author.amend(TIME + 1.0, &note, json!(2));
        assert_eq!(confirm(&node, &amend, tx(1, Chain::Eth)).await, Outcome::Pending);
        let explained = node.ok(&format!("/api/v1/messages/{}/explain", hash(&amend))).await;
        assert_eq!(explained["confirmations"][0]["height"], 1001);

        let mut forged = author.note(TIME, "c", json!(3));
        forged["sender"] = Author::new(2).address.into();
        assert!(matches!(confirm(&node, &forged, tx(2, Chain::Eth)).await, Outcome::Rejected(_)));
        let item_hash = ParsedMessage::from_value(&forged).unwrap().message.item_hash;
        assert_eq!(node.node.store.confirmations(item_hash).await.unwrap(), []);
        node.stop_and_keep().await
    };
    // A restart in between, and the post comes.
    let node = TestNode::start_in(folder, |_| ()).await;
    let author = Author::new(1);
    let note = author.note(TIME, "c", json!(1));
    let amend = author.amend(TIME + 1.0, &note, json!(2));
    node.process(&[&note, &amend]).await;
    assert_eq!(shown(&node, &amend).await["confirmations"][0]["height"], 1001);
    assert_eq!(shown(&node, &note).await["confirmed"], json!(false));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_stands_for_its_sender() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let contract = "KT1VBeLD7hzKpj17aRJ3Kc6QQFeikCEXi7W6";
    let event = |owner: &str, number: u64| ContractEvent {
        address: contract.into(),
        message_type: "POST".into(),
        content: json!({ "address": owner, "time": TIME, "type": "note", "content": number }).to_string(),
        time_secs: TIME,
    };
    let tx = tx(1, Chain::Tezos);
    let submit = async |event: &ContractEvent, trusted: bool| {
        let parsed = event.to_message(&tx).unwrap();
        let document = serde_json::to_value(parsed.message.to_wire()).unwrap();
        let outcome = node.node.pipeline.submit_confirmed(parsed, tx.clone(), trusted).await.unwrap();
        (document, outcome)
    };
    let (message, outcome) = submit(&event(contract, 1), true).await;
    assert_eq!(outcome, Outcome::Processed);
    let single = shown(&node, &message).await;
    assert_eq!((&single["signature"], &single["sender"]), (&Value::Null, &json!(contract)));
    assert_eq!(single["confirmations"][0]["chain"], "TEZOS");
    let explained = node.ok(&format!("/api/v1/messages/{}/explain", hash(&message))).await;
    assert_eq!(explained["signature"]["checked"], json!(false));

    // Permissions apply to it like to everyone; and only the event itself is trusted.
    let (_, outcome) = submit(&event(&author.address, 2), true).await;
    assert!(matches!(&outcome, Outcome::Rejected(refusal) if refusal.code.as_i16() == 2), "{outcome:?}");
    let (message, outcome) = submit(&event(contract, 3), false).await;
    assert!(matches!(&outcome, Outcome::Rejected(refusal) if refusal.code.as_i16() == 1), "{outcome:?}");
    assert_eq!(node.publish(&message, true).await.status().as_u16(), 422);

    // A STORE of a file on IPFS waits for the file, trusted also after a restart.
    let store = ContractEvent {
        message_type: "STORE_IPFS".into(),
        content: "QmaMLRsvmDRCezZe2iebcKWtEzKNjBaQfwcu7mcpdm8eY2".into(),
        ..event(contract, 4)
    };
    let (message, outcome) = submit(&store, true).await;
    assert_eq!(outcome, Outcome::Pending);
    let folder = node.stop_and_keep().await;
    let node = TestNode::start_in(folder, |_| ()).await;
    let explained = node.ok(&format!("/api/v1/messages/{}/explain", hash(&message))).await;
    assert_eq!(explained["waits"][0]["on"], format!("file:{}", store.content));
    assert_eq!(explained["waits"][0]["origin"], "contract");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_by_confirmation() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let notes: Vec<Value> = (0..6).map(|n| author.note(TIME + f64::from(n), "c", json!(n))).collect();
    for note in &notes {
        node.process(&[note]).await;
    }
    // 1, 3 and 4 are confirmed, in another order than their own times.
    for (note, number) in [(1, 30), (3, 10), (4, 20)] {
        confirm(&node, &notes[note], tx(number, Chain::Eth)).await;
    }
    let numbers = async |query: &str| -> Vec<i64> {
        let list = node.ok(&format!("/api/v0/messages.json?{query}")).await;
        list["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["content"]["content"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(numbers("sortBy=tx-time").await, [5, 2, 0, 1, 4, 3]);
    assert_eq!(numbers("sortBy=tx-time&sortOrder=1").await, [3, 4, 1, 0, 2, 5]);
    let owner = format!("owners={}", author.address);
    assert_eq!(numbers(&format!("sortBy=tx-time&{owner}")).await, [5, 2, 0, 1, 4, 3]);
    for (page, expected) in [(1, &[5, 2][..]), (2, &[0, 1]), (3, &[4, 3]), (4, &[])] {
        assert_eq!(numbers(&format!("sortBy=tx-time&pagination=2&page={page}")).await, expected);
        let filtered = format!("sortBy=tx-time&pagination=2&page={page}&msgTypes=POST&channels=c,d");
        assert_eq!(numbers(&filtered).await, expected);
    }
    // Heights are those of the first confirmation; what has none passes the lower bound only.
    assert_eq!(numbers("startBlock=1020").await, [5, 2, 0, 1, 4]);
    assert_eq!(numbers("endBlock=1030").await, [4, 3]);
    assert_eq!(numbers("startBlock=1011&endBlock=1030&sortOrder=1").await, [4]);
    let count = node.ok("/api/v0/messages.json?endBlock=1030&pagination=1").await;
    assert_eq!(count["pagination_total"], 2);
    node.stop().await;
}

/// `MessageType` in the path of a contract: what is no type is refused before anything is decided.
#[test]
fn events_of_unknown_types_are_no_messages() {
    let event = ContractEvent {
        address: "0xA".into(),
        message_type: "UNKNOWN".into(),
        content: json!({ "address": "0xA", "time": 1 }).to_string(),
        time_secs: 1.0,
    };
    assert!(event.to_message(&tx(1, Chain::Eth)).is_err());
    assert!("UNKNOWN".parse::<MessageType>().is_err());
}
