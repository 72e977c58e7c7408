//! What a node tells about its own state.

use serde_json::json;

use crate::node::{Author, TestNode};

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
