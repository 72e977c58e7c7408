//! What a node tells about its own state.

use aleph_types::MessageType;
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_714_564_800.0;

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_with_the_same_messages_have_the_same_digest() {
    let (one, other) = (TestNode::start().await, TestNode::start().await);
    let author = Author::new(1);
    let note = author.note(TIME, "c", json!({ "n": 1 }));
    let messages = [
        note.clone(),
        author.aggregate(TIME, "k", json!({ "a": 1, "b": 2 })),
        author.aggregate(TIME + 1.0, "k", json!({ "b": 3 })),
        author.amend(TIME + 2.0, &note, json!({ "n": 2 })),
    ];
    for message in &messages {
        one.process(&[message]).await;
    }
    let path = "/api/v1/node/digest";
    assert_ne!(one.ok(path).await["digest"], other.ok(path).await["digest"]);
    for index in [0, 2, 3, 1] {
        other.process(&[&messages[index]]).await;
    }
    let digest = one.ok(path).await;
    assert_eq!(digest, other.ok(path).await);
    assert_eq!(digest["messages"], 4);
    assert_eq!(digest["rows"]["aggregate_fields"], 2);
    assert_eq!(digest["parts"]["posts"].as_str().unwrap().len(), 64);

    let recomputed = one.ok(&format!("{path}?recompute=true")).await;
    assert_eq!(recomputed["sound"], true);
    assert_eq!(recomputed["recomputed"], digest);
    one.stop().await;
    other.stop().await;
}

/// The explanation of a message, and its words as one text.
async fn explained(node: &TestNode, message: &Value) -> (Value, String) {
    let answer = node.ok(&format!("/api/v1/messages/{}/explain", hash(message))).await;
    let words: Vec<&str> =
        answer["words"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let text = words.join("\n");
    (answer, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_tells_what_it_did_and_what_came_after() {
    let node = TestNode::start().await;
    let (owner, delegate) = (Author::new(1), Author::new(2));
    let note = owner.note(TIME, "c", json!({ "n": 1 }));
    let amend = owner.amend(TIME + 1.0, &note, json!({ "n": 2 }));
    let first = owner.aggregate(TIME, "k", json!({ "a": 1, "b": 1 }));
    let second = owner.aggregate(TIME + 1.0, "k", json!({ "b": 2 }));
    let grant = json!({ "authorizations": [{ "address": delegate.address, "types": ["POST"] }] });
    let grant = owner.aggregate(TIME, "security", grant);
    let on_behalf = json!({ "type": "note", "content": {}, "address": owner.address });
    let on_behalf = delegate.sign(MessageType::Post, TIME, "c", on_behalf);
    node.process(&[&note, &amend, &first, &second, &grant, &on_behalf]).await;

    let (answer, words) = explained(&node, &note).await;
    assert_eq!(answer["status"], "processed");
    assert_eq!(answer["origin"], "http");
    assert_eq!(answer["permission"]["basis"], "owner");
    assert_eq!(answer["signature"], json!({ "chain": "ETH", "family": "evm", "checked": true }));
    assert_eq!(answer["superseded_by"], hash(&amend));
    assert!(words.contains(&format!("Readers see the text of {}", hash(&amend))), "{words}");
    let (answer, _) = explained(&node, &amend).await;
    assert_eq!(answer["effects"], json!({ "amends": hash(&note), "shown": hash(&amend) }));
    assert_eq!(answer["superseded_by"], Value::Null);

    let (answer, _) = explained(&node, &first).await;
    assert_eq!(answer["effects"]["fields"], json!(["a"]));
    assert_eq!(answer["effects"]["fields_set_by_others"], json!({ "b": hash(&second) }));
    let (answer, words) = explained(&node, &on_behalf).await;
    assert_eq!(answer["permission"]["basis"], "delegate");
    assert_eq!(answer["permission"]["entry"]["types"], json!(["POST"]));
    assert!(words.contains("'security' aggregate"), "{words}");

    let forget = owner.forget(TIME + 3.0, &[&note]);
    node.process(&[&forget]).await;
    let (answer, words) = explained(&node, &amend).await;
    assert_eq!((&answer["status"], &answer["forgotten_by"]), (&json!("forgotten"), &json!([hash(&forget)])));
    assert!(words.contains("can't come back"), "{words}");
    let (answer, _) = explained(&node, &forget).await;
    assert_eq!(answer["effects"]["forgets"], json!({ hash(&note): "forgotten" }));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_tells_what_it_waits_for_or_why_it_was_refused() {
    let node = TestNode::start().await;
    let (owner, other) = (Author::new(1), Author::new(2));
    let never_sent = owner.note(TIME, "c", json!({ "never": "sent" }));
    let amend = owner.amend(TIME + 1.0, &never_sent, json!({}));
    let foreign = json!({ "type": "note", "content": {}, "address": owner.address });
    let foreign = other.sign(MessageType::Post, TIME, "c", foreign);
    node.publish(&amend, false).await;
    node.publish(&foreign, true).await;
    let (mut answer, mut words) = explained(&node, &foreign).await;
    assert_eq!((&answer["status"], &answer["refusal"]["code"]), (&json!("rejected"), &json!(2)));
    assert!(words.contains("is not authorized") && words.contains("'security'"), "{words}");

    for _ in 0..500 {
        if node.get(&format!("/api/v1/messages/{}/explain", hash(&amend))).send().await.unwrap().status()
            == 200
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    (answer, words) = explained(&node, &amend).await;
    assert_eq!(answer["status"], "pending");
    assert_eq!(answer["waits"][0]["on"], format!("message:{}", hash(&never_sent)));
    assert_eq!(answer["waits"][0]["otherwise"]["code"], 101);
    assert!(words.contains("It waits for message"), "{words}");

    let (status, text) = node.text(&format!("/api/v1/messages/{}/explain", hash(&never_sent))).await;
    assert_eq!(status, 404);
    assert!(text.contains("never met"), "{text}");
    node.stop().await;
}
